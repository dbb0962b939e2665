//! A cell in virtual time, made of the production code: `schedulers` policies plan, `cell-state` judges and applies.
//!
//! A scheduler that begins to decide plans at once, on the cell as it is, and proposes when its decision time is over:
//! that is deciding on a copy taken at the beginning, without the copy. A monolithic scheduler plans when its
//! decision time is over, so nothing can have changed. Everything else is events in the cell's own log.

mod agenda;
mod counts;
mod run;
#[cfg(test)]
mod tests;

use cell_state::transaction::{Atomicity, Detection};
use schedulers::score::Score;

pub use counts::{ClassCounts, Counts};
pub use run::run;

/// Who decides, and on what state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Architecture {
    /// Every scheduler on its own view of the shared cell, with transactions.
    Shared,
    /// One scheduler for everything, on the cell itself.
    Monolithic,
}

/// How the schedulers of one class work.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Way {
    /// Microseconds a decision takes for the job.
    pub think_job_us: u64,
    /// Microseconds it takes more for each task.
    pub think_task_us: u64,
    /// What counts as a conflict.
    pub detection: Detection,
    /// What a conflict does to the rest of a transaction.
    pub atomicity: Atomicity,
    /// Whether a job is proposed only as a whole.
    pub gang: bool,
    /// Machines named in case the first choice is lost.
    pub fallbacks: usize,
    /// Fitting machines compared for each task.
    pub sample: usize,
    /// How machines are compared.
    pub score: Score,
}

impl Default for Way {
    fn default() -> Way {
        Way {
            think_job_us: 100_000,
            think_task_us: 5_000,
            detection: Detection::Fit,
            atomicity: Atomicity::Incremental,
            gang: false,
            fallbacks: 0,
            sample: schedulers::bounds::SAMPLE,
            score: Score::Pack,
        }
    }
}

/// One run.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Who decides.
    pub architecture: Architecture,
    /// How schedulers of batch and free jobs work.
    pub batch: Way,
    /// How schedulers of production and monitoring jobs work.
    pub service: Way,
    /// Percent of its capacity that a machine may be promised.
    pub promise_percent: u16,
    /// Microseconds until a job with tasks left is queued again.
    pub retry_us: u64,
    /// Decisions after which a job is given up.
    pub attempts_max: u32,
    /// Microseconds simulated.
    pub run_us: u64,
    /// Decides every draw.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            architecture: Architecture::Shared,
            batch: Way::default(),
            service: Way::default(),
            promise_percent: 100,
            retry_us: 1_000_000,
            attempts_max: 1_000,
            run_us: 3_600_000_000,
            seed: 0,
        }
    }
}
