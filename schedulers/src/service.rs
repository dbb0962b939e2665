//! The `service` policy: careful. A full scan, spread over failure domains, few tasks of a job per machine, and the
//! load of the cell kept even.
//!
//! One scan per run of equal tasks gives every machine a level; each task then takes a machine of the highest level, in
//! the failure domain that holds the fewest tasks of the job. Levels are kept from plan to plan, so the scan is mostly of
//! what has changed. A limit per domain is planned for here and asserted in the transaction, so that two processes can't
//! break it together.

mod domains;

use cell_state::{MachineId, TaskId};

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
    load: JobLoad,
}

impl Service {
    /// The policy with these options.
    pub fn new(options: ServiceOptions) -> Service {
        Service { options, load: JobLoad::default() }
    }
}

impl Policy for Service {
    fn name(&self) -> &str {
        "service"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        let mut hunt = Hunt::default();
        self.load.count(plan);
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            let Some(mut domains) = Domains::new(plan, group[0], &mut self.load) else { continue };
            for task in group {
                let placed = domains.place(plan, *task, self.options.fallbacks)
                    || (self.options.preempt && !plan.is_full() && domains.preempt(plan, *task, &mut hunt));
                if !placed {
                    break;
                }
            }
            domains.finish(plan);
        }
    }
}

/// How many tasks of a job each machine holds or is about to hold.
#[derive(Clone, Debug, Default)]
struct JobLoad {
    counts: Vec<u32>,
    /// Machines with any, once each.
    machines: Vec<MachineId>,
}

impl JobLoad {
    /// Counts the tasks of the plan's job.
    fn count(&mut self, plan: &Plan<'_>) {
        for machine in self.machines.drain(..) {
            self.counts[machine.index()] = 0;
        }
        self.counts.resize(plan.cell().machines().len(), 0);
        for machine in plan.job_machines() {
            self.add(machine);
        }
    }

    fn of(&self, machine: MachineId) -> u32 {
        self.counts[machine.index()]
    }

    fn add(&mut self, machine: MachineId) {
        let count = &mut self.counts[machine.index()];
        if *count == 0 {
            self.machines.push(machine);
        }
        *count += 1;
    }

    fn take(&mut self, machine: MachineId) {
        let count = &mut self.counts[machine.index()];
        *count -= 1;
        if *count == 0 {
            self.machines.retain(|other| *other != machine);
        }
    }
}
