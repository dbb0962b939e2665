//! Classes of blocked work: groups that the same things help, so that one look answers for all of them.

use cell_state::job::{Band, GroupSpec, Job};
use cell_state::overlay::Overlay;
use cell_state::{Cell, JobId, MachineId, Resources, TaskId, codec};

use crate::exclude::Exclusions;

/// Quota that plans have taken and given back: none, since a class is woken by what the cell shows.
const NOTHING: (Resources, Resources) = (Resources::ZERO, Resources::ZERO);

/// What a blocked group waits for. Groups of equal class are helped by the same things.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Room for this demand (encoded), whoever has it.
    Demand(Vec<u8>),
    /// Room for this group alone: its rules depend on where its own tasks are, or it keeps off some machines.
    Own(JobId, u16),
    /// Quota of a team in a band for this demand (encoded).
    Quota(String, Band, Vec<u8>),
}

impl Class {
    /// The class of a group that no machine would take.
    pub fn of_room(job: &Job, group: u16, exclusions: &Exclusions) -> Class {
        let spec = job.spec().groups.get(usize::from(group));
        let own = spec.is_none_or(|g| g.distinct_machines || g.spread.is_some());
        if own || !exclusions.is_empty() {
            Class::Own(job.id, group)
        } else {
            Class::Demand(demand_bytes(job, group))
        }
    }

    /// The class of a group whose team has no quota left.
    pub fn of_quota(job: &Job, group: u16) -> Class {
        Class::Quota(job.spec().team.clone(), Band::of(job.spec().priority), demand_bytes(job, group))
    }

    /// Whether one of these machines, or the quota there is now, would do for a task of the class.
    pub fn is_helped(&self, cell: &Cell, overlay: &Overlay, machines: &[MachineId], task: TaskId) -> bool {
        // A job that is gone or changed is woken to find that out by itself.
        let Some(demand) = cell.demand(task) else { return true };
        match self {
            Class::Demand(_) | Class::Own(..) => {
                let mut machines = machines.iter().filter_map(|id| cell.machine(*id));
                machines.any(|machine| overlay.fit_demand(task, demand, machine).is_ok())
            }
            Class::Quota(team, band, _) => {
                cell.quotas().first_over(team, *band, &demand.resources, &NOTHING).is_none()
            }
        }
    }
}

fn demand_bytes(job: &Job, group: u16) -> Vec<u8> {
    let spec = job.spec().groups.get(usize::from(group));
    let ports = |g: &GroupSpec| g.ports.iter().map(|p| p.number).collect::<Vec<_>>();
    spec.map(|g| codec::encode(&(g.resources, &g.conditions(), ports(g)))).unwrap_or_default()
}
