//! The `service` policy: careful. A full scan, spread over failure domains, few tasks of a job per machine, and the
//! load of the cell kept even.
//!
//! One scan per run of equal tasks puts every machine with the resources into a heap of its failure domain; each task
//! then takes the best machine of the domain that holds the fewest tasks of the job, at the cost of a few heap steps. A
//! limit per domain is planned for here and asserted in the transaction, so that two processes can't break it together.

mod domains;

use cell_state::TaskId;

use crate::bounds::FALLBACKS;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::preempt::Hunt;
use domains::Domains;

/// What `service` can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceOptions {
    /// Machines named in case the first is lost; of the same failure domain.
    pub fallbacks: usize,
    /// Whether tasks of lower bands may have to go when nothing fits.
    pub preempt: bool,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions { fallbacks: FALLBACKS, preempt: true }
    }
}

/// The `service` policy.
#[derive(Clone, Debug)]
pub struct Service {
    options: ServiceOptions,
}

impl Service {
    /// The policy with these options.
    pub fn new(options: ServiceOptions) -> Service {
        Service { options }
    }
}

impl Policy for Service {
    fn name(&self) -> &str {
        "service"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        let mut hunt = Hunt::default();
        let mut load = plan.job_load();
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            let spread = plan.group(group[0]).and_then(|g| g.spread.as_ref());
            let mut domains = Domains::count(plan, spread, &load);
            domains.scan(plan, group[0], &load);
            for task in group {
                let placed = domains.place(plan, *task, self.options.fallbacks, &mut load)
                    || (self.options.preempt
                        && !plan.is_full()
                        && domains.preempt(plan, *task, &mut hunt, &mut load));
                if !placed {
                    break;
                }
            }
        }
    }
}
