//! The Omega paper's own simulator, rule by rule: the `omega-2013` mode, whose figures equal those of the public one.
//!
//! Job streams, think times and a cell go in, the counters and averages of the original come out, every one equal.
//! Some rules of the original are defects. They are named in [`Defects`], live in this module only, and each can be
//! switched off: with all of them off the mode is called `faithful` and measures what the paper describes.
//!
//! It is fast because it never copies the cell: a scheduler's view of an earlier moment is made by undoing, in place,
//! the few changes since then (see [`cell`]), and one event ends all tasks of a commit.

mod agenda;
mod amounts;
mod cell;
mod coming;
mod defects;
mod figures;
mod first_fit;
mod jobs;
mod outcomes;
mod random;
mod run;
mod sbs1;
mod schedulers;
mod settle;
mod two_level;

pub use defects::Defects;
pub use figures::{CellFigures, Figures, SchedulerFigures, Value, WorkloadFigures};
pub use random::JavaRandom;
pub use run::{run, run_drawn, run_watched};
pub use sbs1::{Averages, Draws, drawn, sbs1};

/// Who decides, and on what state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Architecture {
    /// One scheduler on the cell itself, with the think time of services for every job.
    MonoSingle,
    /// One scheduler on the cell itself, with a think time per class.
    MonoMulti,
    /// Several schedulers on copies of the cell, with transactions.
    Omega,
    /// Several frameworks, to each of which an allocator offers what is free.
    Mesos,
}

/// What counts as a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detection {
    /// The task no longer fits its machine.
    ResourceFit,
    /// The machine's sequence number is another than the claim recorded.
    SequenceNumbers,
}

/// What one conflict does to the rest of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transaction {
    /// Nothing.
    Incremental,
    /// All of it is lost.
    AllOrNothing,
}

/// What a run is busy with, for those who measure where its time goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Finding machines, on an earlier state of the cell.
    Place,
    /// Judging and applying claims.
    Commit,
    /// Tasks end.
    End,
    /// The agenda, queues, samples and figures.
    Rest,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Phase; 4] = [Phase::Place, Phase::Commit, Phase::End, Phase::Rest];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Place => "place",
            Phase::Commit => "commit",
            Phase::End => "end",
            Phase::Rest => "rest",
        }
    }
}

/// The class of a job: decides its think time and its schedulers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Ends by itself, soon.
    Batch,
    /// Runs on.
    Service,
}

impl Class {
    /// Both, in the order they are loaded in.
    pub const ALL: [Class; 2] = [Class::Batch, Class::Service];

    /// The name of its workload.
    pub fn word(self) -> &'static str {
        match self {
            Class::Batch => "Batch",
            Class::Service => "Service",
        }
    }
}

/// How long a decision takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Think {
    /// Seconds for each decision.
    pub per_job_s: f64,
    /// Seconds more for each task not yet placed.
    pub per_task_s: f64,
}

/// A job of a stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StreamJob {
    /// Seconds after the start.
    pub submit_s: f64,
    /// Tasks, all alike.
    pub tasks: u32,
    /// Seconds each runs.
    pub duration_s: f64,
    /// Cores of each.
    pub cpus: f64,
    /// GB of memory of each.
    pub memory: f64,
}

/// The jobs of both classes, each in order of submission.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Streams {
    /// Batch jobs.
    pub batch: Vec<StreamJob>,
    /// Service jobs.
    pub service: Vec<StreamJob>,
}

/// Tasks that are there before the start and never end.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prefill {
    /// Jobs.
    pub jobs: u32,
    /// Tasks of each.
    pub tasks: u32,
    /// Cores of each task.
    pub cpus: f64,
    /// GB of memory of each task.
    pub memory: f64,
}

/// The machines, all alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machines {
    /// How many.
    pub count: u32,
    /// Cores of each.
    pub cpus: f64,
    /// GB of memory of each.
    pub memory: f64,
}

/// How an allocator makes offers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Offers {
    /// Seconds the allocator takes to decide.
    pub decision_s: f64,
    /// Seconds between a wish and the offer, in which more becomes free.
    pub batch_s: f64,
    /// Free cores below which no offer is made.
    pub cpus_min: f64,
    /// Free GB of memory below which no offer is made.
    pub memory_min: f64,
}

impl Offers {
    /// As in the paper's experiments.
    pub const PAPER: Offers = Offers { decision_s: 0.001, batch_s: 1.0, cpus_min: 100.0, memory_min: 100.0 };
}

/// One run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Who decides.
    pub architecture: Architecture,
    /// What counts as a conflict.
    pub detection: Detection,
    /// What a conflict does to the rest.
    pub transaction: Transaction,
    /// The machines.
    pub machines: Machines,
    /// What runs from the start.
    pub prefill: Prefill,
    /// Schedulers of batch jobs.
    pub batch_schedulers: u32,
    /// Schedulers of service jobs.
    pub service_schedulers: u32,
    /// Think time for batch jobs.
    pub batch_think: Think,
    /// Think time for service jobs.
    pub service_think: Think,
    /// How an allocator makes offers, in two-level scheduling.
    pub offers: Offers,
    /// Seconds simulated.
    pub run_time_s: f64,
    /// Decides every draw.
    pub seed: i64,
    /// Defects of the original to have too.
    pub defects: Defects,
}
