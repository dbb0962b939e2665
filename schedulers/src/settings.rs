//! How a scheduler process works: what can be set, and the usual values.

use crate::bounds::{IN_FLIGHT, LAG_ENTRIES_MAX, TASKS_PER_TXN};
use crate::plan::Terms;

/// How a scheduler process works.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The scheduler's name: it takes care of jobs that name it.
    pub name: String,
    /// The number this process drew when it started.
    pub instance: u64,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How transactions are judged. All-or-nothing means all pending tasks of a job in one transaction.
    pub terms: Terms,
    /// Transactions in flight at most.
    pub in_flight: usize,
    /// Tasks per transaction at most.
    pub tasks_per_txn: usize,
    /// Whether both shrink when many ops are lost.
    pub adaptive: bool,
    /// Entries the copy may be behind while deciding.
    pub lag_max: u64,
    /// Microseconds a decision is made to take for the job, for studies (the paper's t_job).
    pub think_job_us: u64,
    /// Microseconds a decision is made to take for each task (the paper's t_task).
    pub think_task_us: u64,
}

impl Settings {
    /// The usual settings.
    pub fn new(name: impl Into<String>, instance: u64, seed: u64) -> Settings {
        Settings {
            name: name.into(),
            instance,
            seed,
            terms: Terms::default(),
            in_flight: IN_FLIGHT,
            tasks_per_txn: TASKS_PER_TXN,
            adaptive: true,
            lag_max: LAG_ENTRIES_MAX,
            think_job_us: 0,
            think_task_us: 0,
        }
    }
}
