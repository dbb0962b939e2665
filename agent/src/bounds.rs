//! Every bound and pause of the agent's state machine, with its reason.

/// Reports in one message: the cell's own bound.
pub const REPORTS_MAX: usize = cell_state::bounds::REPORTS_MAX;

/// Microseconds between two kills of a process that is still there: a kill can't be refused, so only a process stuck
/// in the kernel, or a shim that is stopped, outlives the first.
pub const KILL_AGAIN_US: u64 = 5_000_000;

/// Microseconds before a spec that could not be had is asked for again.
pub const SPEC_RETRY_US: u64 = 1_000_000;

/// Microseconds before reports that the server was too busy for are sent again.
pub const REPORT_RETRY_US: u64 = 100_000;

/// Microseconds before a machine that another agent has registered is registered again: long enough that two agents
/// of one name, which is a mistake of their operator, don't keep the cell busy.
pub const DISPLACED_RETRY_US: u64 = 10_000_000;
