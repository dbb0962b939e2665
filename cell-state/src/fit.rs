//! The one fit rule: whether a task fits a machine. Policies, commit, agent admission, explanations and the audit
//! all call [`fit`]; nothing else in the product answers that question.
//!
//! Step 4 (think) and step 6 (commit) of a placement's life both end here, which is why a plan that was feasible on
//! an up-to-date copy can't be refused.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::constraint::Matcher;
use crate::ids::TaskId;
use crate::job::{GroupSpec, PortAsk};
use crate::machine::{Grant, Machine, MachineState};
use crate::resources::{Dimension, Resources};

/// Thousandths of one whole GPU device.
pub const DEVICE_MILLI: u16 = 1_000;

/// What one task of a group asks of a machine, compiled once per job version.
#[derive(Clone, Debug)]
pub struct Demand {
    /// What it is promised.
    pub resources: Resources,
    /// Conditions on the machine.
    pub matchers: Vec<Matcher>,
    /// Never beside another task of its job.
    pub distinct_machines: bool,
    /// Ports it needs.
    pub ports: Vec<PortAsk>,
}

impl Demand {
    /// Compiles the demand of a group.
    ///
    /// # Errors
    /// The complaint of the first regular expression that doesn't compile.
    pub fn compile(group: &GroupSpec) -> Result<Demand, regex::Error> {
        Ok(Demand {
            resources: group.resources,
            matchers: group.conditions().iter().map(Matcher::compile).collect::<Result<_, _>>()?,
            distinct_machines: group.distinct_machines,
            ports: group.ports.clone(),
        })
    }

    /// Whether it asks for sums alone, so that what else is on the machine doesn't matter.
    pub(crate) fn is_plain(&self) -> bool {
        let sums = self.matchers.is_empty() && self.ports.is_empty() && !self.distinct_machines;
        sums && self.resources.get(Dimension::GPU) == 0
    }
}

/// Why a task doesn't fit a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Misfit {
    /// The machine takes no tasks.
    State(MachineState),
    /// Too little is free in a dimension.
    Resource {
        /// Which.
        dimension: Dimension,
        /// What the task asks for.
        wanted: u64,
        /// What may still be committed.
        free: u64,
    },
    /// The constraint at this position of the group's list doesn't hold.
    Constraint(u16),
    /// Another task of the job is there, and the group wants distinct machines.
    SameJob(TaskId),
    /// A fixed port is taken.
    Port(u16),
    /// Too few dynamic ports are free.
    Ports {
        /// How many the task asks for.
        wanted: u16,
        /// How many are free.
        free: u16,
    },
    /// Enough GPU is free in sum, but not on one device, or not in whole devices.
    Devices {
        /// Thousandths asked for.
        wanted_milli: u64,
        /// The most thousandths free on one device.
        largest_free_milli: u64,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::State(state) => write!(f, "the machine is {state}"),
            Misfit::Resource { dimension, wanted, free } => {
                let name = crate::resources::Schema::default().name(*dimension);
                write!(f, "{name} wanted {wanted}, free {free}")
            }
            Misfit::Constraint(index) => write!(f, "constraint {index} does not hold"),
            Misfit::SameJob(task) => write!(f, "task {task} of the same job is there"),
            Misfit::Port(port) => write!(f, "port {port} is taken"),
            Misfit::Ports { wanted, free } => write!(f, "dynamic ports wanted {wanted}, free {free}"),
            Misfit::Devices { wanted_milli, largest_free_milli } => {
                write!(f, "gpu wanted {wanted_milli} milli, most free on one device {largest_free_milli}")
            }
        }
    }
}

/// Changes of one machine's load that are planned or being judged, but not applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// Charges added.
    pub added: Resources,
    /// Charges taken away.
    pub removed: Resources,
    /// Tasks added.
    pub tasks: SmallVec<[TaskId; 2]>,
    /// What they would be granted, for the few that ask for ports or devices.
    pub grants: Vec<(TaskId, Grant)>,
}

impl Delta {
    fn ports(&self) -> impl Iterator<Item = u16> {
        self.grants.iter().flat_map(|(_, grant)| grant.ports.iter().copied())
    }

    fn device_milli(&self, device: usize) -> u16 {
        let grants = self.grants.iter().flat_map(|(_, grant)| &grant.devices);
        grants.filter(|(d, _)| usize::from(*d) == device).map(|(_, milli)| milli).sum()
    }
}

/// Whether `task` fits `machine` on top of `delta`, and what it would be granted. `freed` is what the tasks it
/// preempts there are charged.
///
/// # Errors
/// The first reason why not, in a fixed order: state, resources, constraints, other tasks, ports, devices.
pub fn fit(
    task: TaskId,
    demand: &Demand,
    machine: &Machine,
    delta: Option<&Delta>,
    freed: &Resources,
) -> Result<Grant, Misfit> {
    if machine.state != MachineState::Ready {
        return Err(Misfit::State(machine.state));
    }
    resources_fit(&demand.resources.minus(freed), machine, delta)?;
    if !demand.matchers.is_empty()
        && let Some(at) =
            demand.matchers.iter().position(|m| !m.matches(&machine.spec.name, &machine.spec.attributes))
    {
        return Err(Misfit::Constraint(at as u16));
    }
    if demand.distinct_machines {
        let planned = delta.into_iter().flat_map(|d| d.tasks.iter().copied());
        let mut there = machine.load.tasks.iter().copied().chain(planned);
        if let Some(other) = there.find(|t| t.job == task.job) {
            return Err(Misfit::SameJob(other));
        }
    }
    let ports = if demand.ports.is_empty() { Vec::new() } else { choose_ports(demand, machine, delta)? };
    let milli = demand.resources.get(Dimension::GPU);
    let devices = if milli == 0 { Vec::new() } else { choose_devices(milli, machine, delta)? };
    Ok(Grant { ports, devices })
}

/// The fit rule for a plain demand on a machine on which nothing is planned: [`fit`] says why not.
#[inline]
pub(crate) fn fits_plainly(amount: &Resources, machine: &Machine) -> bool {
    machine.state == MachineState::Ready && resources_fit(amount, machine, None).is_ok()
}

/// The part of the fit rule that is about sums: whether `wanted` more may be committed to the machine.
///
/// # Errors
/// The first dimension in which too little is free.
#[inline]
pub fn resources_fit(wanted: &Resources, machine: &Machine, delta: Option<&Delta>) -> Result<(), Misfit> {
    let used = match delta {
        Some(delta) => machine.load.used.plus(&delta.added).minus(&delta.removed),
        None => machine.load.used,
    };
    let free = machine.limit.minus(&used);
    // A dimension that isn't asked for never decides: over-commit may have been lowered below what is used.
    match wanted.first_over(&free) {
        None => Ok(()),
        Some(dimension) => {
            Err(Misfit::Resource { dimension, wanted: wanted.get(dimension), free: free.get(dimension) })
        }
    }
}

fn choose_ports(demand: &Demand, machine: &Machine, delta: Option<&Delta>) -> Result<Vec<u16>, Misfit> {
    let mut taken: BTreeSet<u16> = delta.into_iter().flat_map(Delta::ports).collect();
    for number in demand.ports.iter().filter_map(|p| p.number) {
        if machine.load.extra().ports.contains(&number) || !taken.insert(number) {
            return Err(Misfit::Port(number));
        }
    }
    let wanted = demand.ports.iter().filter(|p| p.number.is_none()).count();
    let (first, last) = machine.spec.ports;
    let free = (first..=last).filter(|p| !machine.load.extra().ports.contains(p) && !taken.contains(p));
    let mut dynamic = free.take(wanted).collect::<Vec<u16>>().into_iter();
    if dynamic.len() < wanted {
        return Err(Misfit::Ports { wanted: wanted as u16, free: dynamic.len() as u16 });
    }
    Ok(demand.ports.iter().filter_map(|p| p.number.or_else(|| dynamic.next())).collect())
}

fn choose_devices(milli: u64, machine: &Machine, delta: Option<&Delta>) -> Result<Vec<(u8, u16)>, Misfit> {
    let free: Vec<u16> = (0..machine.spec.devices.len())
        .map(|i| {
            let held = machine.load.extra().devices.get(i).copied().unwrap_or(0);
            DEVICE_MILLI.saturating_sub(held).saturating_sub(delta.map_or(0, |d| d.device_milli(i)))
        })
        .collect();
    let misfit = Misfit::Devices {
        wanted_milli: milli,
        largest_free_milli: free.iter().copied().max().unwrap_or(0).into(),
    };
    let whole = u64::from(DEVICE_MILLI);
    if milli >= whole {
        let idle = (0..free.len()).filter(|i| free[*i] == DEVICE_MILLI);
        let chosen: Vec<_> = idle.take((milli / whole) as usize).map(|i| (i as u8, DEVICE_MILLI)).collect();
        return if chosen.len() as u64 * whole == milli { Ok(chosen) } else { Err(misfit) };
    }
    // A fraction goes where it leaves the least, so that whole devices stay whole.
    let fitting = (0..free.len()).filter(|i| u64::from(free[*i]) >= milli);
    let best = fitting.min_by_key(|i| free[*i]).ok_or(misfit)?;
    Ok(vec![(best as u8, milli as u16)])
}

#[cfg(test)]
mod tests;
