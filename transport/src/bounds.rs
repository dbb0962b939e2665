//! Every bound of the transport, with its reason.

/// Bytes of one frame: the largest request is a transaction at its bound of ops (about 400 KiB) or a job spec
/// (64 KiB); the largest reply is a page of tasks or of log text (1 MiB).
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Requests one session may have unanswered; more are answered "busy".
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1_024;

/// Request streams one session may have open at a time: a client of ours needs one. Each may hold back most of a frame,
/// so a hostile session costs the server at most 64 MiB of half frames.
pub const STREAMS_MAX: u32 = 16;

/// Subscriptions of one session.
pub const SUBSCRIPTIONS_MAX: u32 = 8;

/// Rows of one reply: larger listings are read page by page.
pub const ROWS_MAX: u32 = 5_000;

/// Bytes of log text in one reply.
pub const LOG_BYTES_MAX: u32 = 1 << 20;

/// Machines one agent identity with a trailing `*` may play (the simulated driver).
pub const MACHINES_PER_AGENT_MAX: usize = 100_000;
