//! The one thing a team writes to have a scheduler of its own: a policy. Step 4 (think) of a placement's life.
//!
//! A policy is pure and synchronous. It is given a pending job and a [`Plan`]: the cell as this process sees it, what
//! this process has in flight, a seeded random source and the time. It puts tasks on machines; everything else
//! (following the log, the queue, committing, retrying) is done for it.

use cell_state::TaskId;

use crate::batch::{Batch, BatchOptions};
use crate::gang::Gang;
use crate::mapreduce::{Cap, MapReduce};
use crate::plan::Plan;
use crate::service::{Service, ServiceOptions};

/// Where tasks go.
pub trait Policy: Send {
    /// A short name for tables and metrics.
    fn name(&self) -> &str;

    /// Whether a job is planned as a whole: it is offered all its pending tasks at once, and they are placed in one
    /// transaction that takes effect entirely or not at all.
    fn takes_whole_jobs(&self) -> bool {
        false
    }

    /// Places what it can of `tasks`, all of one job ([`Plan::job`]), pending, due, and nowhere planned yet. Tasks of
    /// one group stand together and ask for the same, so what one of them can't have the next can't have either.
    ///
    /// What is left unplaced is offered again when something has changed, and now and then in any case.
    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]);
}

/// The names [`built_in`] knows.
pub const BUILT_IN: [&str; 6] =
    ["batch", "service", "gang", "mapreduce", "mapreduce-global-cap", "mapreduce-relative"];

/// A built-in policy with its usual options.
pub fn built_in(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        "batch" => Some(Box::new(Batch::new(BatchOptions::default()))),
        "service" => Some(Box::new(Service::new(ServiceOptions::default()))),
        "gang" => Some(Box::new(Gang::new(BatchOptions::default()))),
        "mapreduce" => Some(Box::new(MapReduce::new(Cap::MaxParallelism))),
        "mapreduce-global-cap" => Some(Box::new(MapReduce::new(Cap::GLOBAL))),
        "mapreduce-relative" => Some(Box::new(MapReduce::new(Cap::RELATIVE))),
        _ => None,
    }
}
