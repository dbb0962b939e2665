//! The spec of a job version as the agent uses it: with its demands compiled once, shared by all its placements.

use std::sync::Arc;

use cell_state::fit::Demand;
use cell_state::job::{GroupSpec, JobSpec};

/// A job version's spec, ready for the fit rule.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The job as submitted.
    pub job: Arc<JobSpec>,
    demands: Arc<[Demand]>,
}

impl Spec {
    /// Compiles a spec. A pattern that doesn't compile can't have been admitted by the cell; its group then has no
    /// demand and its tasks are unfit here.
    pub fn compile(job: JobSpec) -> Spec {
        let demands = job.groups.iter().map_while(|group| Demand::compile(group).ok()).collect();
        Spec { job: Arc::new(job), demands }
    }

    /// A group with its demand.
    pub(crate) fn group(&self, group: u16) -> Option<(&GroupSpec, &Demand)> {
        let at = usize::from(group);
        self.job.groups.get(at).zip(self.demands.get(at))
    }
}
