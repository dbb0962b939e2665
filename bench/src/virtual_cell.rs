//! A cell in virtual time, made of the production code: `schedulers` policies plan, `cell-state` judges and applies.
//!
//! A scheduler that begins to decide plans at once, on the cell as it sees it, and proposes when its decision time is
//! over: that is deciding on a copy taken at the beginning, without the copy. What it sees may be older still, all of
//! it or part by part ([`Settings::staleness_us`], [`Architecture::PartitionedSync`]): columns and machine records of
//! that time are kept, so that the very policy plans on them. A monolithic scheduler plans when its decision time is
//! over, so nothing can have changed. Everything else is events in the cell's own log.
//!
//! ```text
//!   arrival ─▶ queue ─▶ think (plan, then decide) ─▶ propose ─▶ verdict ─▶ placed ─▶ end
//!                ▲                                                 │
//!                └────────────── retry, lost machine, preempted ◀──┘
//! ```
//!
//! One event core runs every architecture: they differ in who decides ([`Architecture`]), what is seen (`views`), and
//! what may be used of it (`offers`, static partitions).

mod agenda;
mod counts;
mod durations;
mod fill;
mod load;
mod machines;
mod offers;
mod past;
mod plan;
mod run;
mod scheduler;
mod setup;
mod think;
mod verdict;
mod views;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cell_state::transaction::{Atomicity, Detection};
use schedulers::score::Score;

pub use counts::{ClassCounts, Counts, Daily, SIZES, Tries, jain};
pub use durations::Durations;
pub use load::{Load, Placement, Submission};
pub use run::{Policies, run, run_policies};

/// Who decides, and on what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Architecture {
    /// Every scheduler on its own view of the shared cell, with transactions.
    Shared,
    /// One scheduler for everything, on the cell itself; every decision takes as long as one of a service job.
    MonoSingle,
    /// One scheduler for everything, on the cell itself; each class has its own decision time.
    MonoMulti,
    /// Each scheduler on machines of its own.
    Partitions {
        /// Percent of the machines that are the service schedulers'; the rest are the batch schedulers'.
        service_percent: u16,
    },
    /// An allocator offers all that is free to the scheduler with the smallest dominant share, and to nobody else
    /// until it is answered.
    Offers {
        /// Microseconds between two rounds of offers.
        every_us: u64,
    },
    /// As shared, but each scheduler's view is brought up to date one part of the machines after another.
    PartitionedSync {
        /// Into how many parts machines are divided.
        parts: u32,
        /// Microseconds until every part has been brought up to date once.
        gap_us: u64,
        /// Which parts a plan prefers.
        prefer: Prefer,
    },
}

/// Which parts of a view a plan prefers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefer {
    /// The parts seen last, one after another: fewest conflicts.
    Latency,
    /// The best machines, whatever their part.
    Quality,
    /// Quality, until many placements are lost; then latency, until few are.
    Adaptive,
}

/// Which policy places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placing {
    /// `batch`: the best of a sample.
    Batch,
    /// `choices`: the emptiest of a few machines drawn at random for each task.
    Choices,
    /// `service`: spread over failure domains, on the evenest of all machines.
    Service,
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
    /// Which policy places.
    pub placing: Placing,
    /// Fitting machines compared for each task.
    pub sample: usize,
    /// How machines are compared.
    pub score: Score,
    /// Whether tasks of lower bands may have to go when nothing fits.
    pub preempt: bool,
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
            placing: Placing::Batch,
            sample: schedulers::bounds::SAMPLE,
            score: Score::Pack,
            preempt: false,
        }
    }
}

/// What is different for jobs of one label.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LabelWay {
    /// What counts as a conflict.
    pub detection: Option<Detection>,
    /// What a conflict does to the rest, and whether a job is proposed only as a whole.
    pub atomicity: Option<(Atomicity, bool)>,
}

/// When a job with tasks left is queued again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After so many microseconds.
    After(u64),
    /// As a scheduler process does: at once after the first lost race, then after a pause that doubles with each and
    /// is drawn at random. A decision that found nothing counts as a lost race.
    BackOff,
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
    /// What is different for jobs of some labels.
    pub labels: BTreeMap<String, LabelWay>,
    /// Schedulers of batch and free jobs; jobs are divided among them as among processes of one name.
    pub batch_schedulers: u32,
    /// Schedulers of production and monitoring jobs.
    pub service_schedulers: u32,
    /// Microseconds by which all that is seen of machines is older than the moment of planning.
    pub staleness_us: u64,
    /// Microseconds from a proposal to its verdict.
    pub commit_us: u64,
    /// Transactions of one scheduler in flight at most.
    pub in_flight: usize,
    /// Tasks of one transaction at most; gangs are never divided.
    pub tasks_per_txn: usize,
    /// Whether both shrink when many placements are lost, as in production.
    pub adaptive: bool,
    /// When a job with tasks left is queued again.
    pub retry: Retry,
    /// Decisions after which a job is given up.
    pub attempts_max: u32,
    /// Lost transactions in a row after which a job claims machines at the beginning of its decision; 0 is never.
    pub escalate_after: u32,
    /// Microseconds a preempted task takes to go.
    pub grace_us: u64,
    /// Percent of its capacity that a machine may be promised.
    pub promise_percent: u16,
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
            labels: BTreeMap::new(),
            batch_schedulers: 1,
            service_schedulers: 1,
            staleness_us: 0,
            commit_us: 0,
            in_flight: 1,
            tasks_per_txn: cell_state::bounds::TXN_OPS_MAX,
            adaptive: false,
            retry: Retry::After(1_000_000),
            attempts_max: 1_000,
            escalate_after: 0,
            grace_us: 1_000_000,
            promise_percent: 100,
            run_us: 3_600_000_000,
            seed: 0,
        }
    }
}

/// Who decides on a job, and whose figures it counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Batch and free jobs.
    Batch,
    /// Production and monitoring jobs.
    Service,
}

impl Class {
    /// The class of a label that names one, else of a priority.
    pub fn of(label: &str, priority: u16) -> Class {
        match label {
            "batch" => Class::Batch,
            "service" => Class::Service,
            _ if crate::priority::is_production(cell_state::job::Band::of(priority)) => Class::Service,
            _ => Class::Batch,
        }
    }
}
