//! Every bound of deciding, with its reason. None of them loses work: what doesn't fit now is taken up again.

/// Tasks of one transaction unless set otherwise: planning them takes about a millisecond, and a server holds its
/// writer for less than that.
pub const TASKS_PER_TXN: usize = 500;

/// The fewest tasks per transaction the adaptive pace goes down to.
pub const TASKS_PER_TXN_MIN: usize = 16;

/// Transactions in flight unless set otherwise: covers the answer time of a busy server (a few milliseconds).
pub const IN_FLIGHT: usize = 8;

/// Entries a copy may be behind the server while still deciding: about a tenth of a second of a busy log.
pub const LAG_ENTRIES_MAX: u64 = 10_000;

/// Microseconds between two unconditional sweeps of what is blocked: the longest a forgotten wake-up can last for
/// up to [`SWEEP_CLASSES_MAX`] classes.
pub const SWEEP_US: u64 = 5_000_000;

/// Classes of blocked work woken by one sweep; the next one goes on where it stopped. Each may cost a full scan.
pub const SWEEP_CLASSES_MAX: usize = 512;

/// Machines remembered as having given something back; beyond it everything blocked is swept at once.
pub const FREED_MACHINES_MAX: usize = 4_096;

/// Fit checks of one round of waking (about two milliseconds); what is left is done in the next round.
pub const WAKE_CHECKS_MAX: usize = 20_000;

/// Machines one job avoids after lost races; the oldest entry goes first. More than a large transaction can lose.
pub const EXCLUSIONS_MAX: usize = 1_024;

/// Microseconds a job pauses after its second lost race in a row; doubles with each further one.
pub const BACKOFF_FIRST_US: u64 = 2_000;

/// The longest pause after lost races, in microseconds.
pub const BACKOFF_MAX_US: u64 = 1_000_000;

/// Microseconds a job pauses after its second fruitless plan in a row; doubles with each further one.
pub const FRUITLESS_FIRST_US: u64 = 5_000;

/// The longest pause after fruitless plans, in microseconds: bounds both what a blocked job costs and how late it
/// may notice that room was made.
pub const FRUITLESS_MAX_US: u64 = 250_000;

/// Microseconds a job pauses after the server was too busy to take its transaction.
pub const BUSY_US: u64 = 5_000;

/// Microseconds a job pauses after the server called its transaction wrong, which only a changed policy cures.
pub const REJECTED_US: u64 = 1_000_000;

/// Plans without a placement in one round of deciding, before input and output get their turn again.
pub const FRUITLESS_PLANS_MAX: usize = 8;

/// Machines looked at for preemption in one plan: with ten tasks each about five milliseconds.
pub const PREEMPT_MACHINES_MAX: usize = 4_096;

/// Machines with possible victims that are compared before one is taken.
pub const PREEMPT_CANDIDATES: usize = 8;

/// Machines `batch` scores for a task unless set otherwise.
pub const SAMPLE: usize = 32;

/// Fallback machines per placement unless set otherwise.
pub const FALLBACKS: usize = 2;

/// Machines named in one line of an explanation.
pub const CLOSEST_MAX: usize = 3;

/// Alarms kept until the shell fetches them; further ones are only counted.
pub const ALARMS_MAX: usize = 64;

/// Plans of one preview: a job of a million tasks takes two thousand at the usual size.
pub const PREVIEW_PLANS_MAX: usize = 10_000;

/// Machines noted as changed before what follows them is made anew instead; more than a round of a busy log changes.
pub const CHANGES_MAX: usize = 4_096;

/// Sets of constraints whose machines are remembered, the last used: a bit per machine each.
pub const CONSTRAINTS_KEPT: usize = 256;

/// Attributes whose values are remembered, the last used: eight bytes per machine each.
pub const ATTRIBUTES_KEPT: usize = 8;

/// Demands whose scores are remembered, the last used: a byte per machine each.
pub const LEVELS_KEPT: usize = 8;
