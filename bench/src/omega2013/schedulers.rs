//! Schedulers: their queues, what they think about, and what they have done.

use std::collections::VecDeque;

use super::cell::Moment;
use super::first_fit::Finder;
use super::{Architecture, Class, Settings, Think};

/// A scheduler, or a framework in two-level scheduling.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) class: Class,
    pub(super) queue: VecDeque<u32>,
    pub(super) finder: Finder,
    pub(super) thinking: Option<Thought>,
    pub(super) counts: Counts,
}

/// What a scheduler thinks about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thought {
    pub(super) job: u32,
    pub(super) takes_s: f64,
    /// The moment its copy of the cell is of.
    pub(super) copy: Option<Moment>,
}

/// What a scheduler has done.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Counts {
    pub(super) useful_s: f64,
    pub(super) wasted_s: f64,
    pub(super) won: u64,
    pub(super) lost: u64,
    pub(super) retried: u64,
    pub(super) fruitless: u64,
    pub(super) tasks_won: u64,
    pub(super) tasks_lost: u64,
    pub(super) given_up: u64,
}

/// The schedulers of a run, those of batch jobs first.
pub(super) fn schedulers(settings: &Settings) -> Vec<Scheduler> {
    let classes: Vec<Class> = match settings.architecture {
        Architecture::MonoSingle | Architecture::MonoMulti => vec![Class::Service],
        Architecture::Omega | Architecture::Mesos => {
            let batch = (0..settings.batch_schedulers).map(|_| Class::Batch);
            batch.chain((0..settings.service_schedulers).map(|_| Class::Service)).collect()
        }
    };
    let seed = |number: usize| match settings.defects.equal_seeds {
        true => settings.seed,
        false => settings.seed.wrapping_add(1 + number as i64),
    };
    let scheduler = |(number, class): (usize, Class)| Scheduler {
        class,
        queue: VecDeque::new(),
        finder: Finder::new(seed(number), settings.machines.count),
        thinking: None,
        counts: Counts::default(),
    };
    classes.into_iter().enumerate().map(scheduler).collect()
}

/// How long a decision on a job of this class takes, with so many tasks left.
pub(super) fn think_s(settings: &Settings, class: Class, unscheduled: u32) -> f64 {
    let think: Think = match (settings.architecture, class) {
        (Architecture::MonoSingle, _) | (_, Class::Service) => settings.service_think,
        (_, Class::Batch) => settings.batch_think,
    };
    think.per_job_s + think.per_task_s * f64::from(unscheduled)
}

/// The scheduler of the job of this number: jobs are dealt to the schedulers of their class in turn.
pub(super) fn dealt(settings: &Settings, class: Class, number: u32) -> u32 {
    match (settings.architecture, class) {
        (Architecture::MonoSingle | Architecture::MonoMulti, _) => 0,
        (Architecture::Omega | Architecture::Mesos, Class::Batch) => number % settings.batch_schedulers,
        (Architecture::Omega | Architecture::Mesos, Class::Service) => {
            settings.batch_schedulers + number % settings.service_schedulers
        }
    }
}
