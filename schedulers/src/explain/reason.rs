//! Reasons why a task doesn't fit machines: one per machine, counted by kind.

use std::collections::BTreeMap;

use cell_state::fit::Misfit;
use cell_state::job::Job;
use cell_state::machine::{Machine, MachineState};
use cell_state::overlay::Overlay;
use cell_state::{Cell, TaskId};

use super::dimension_name;
use crate::bounds::CLOSEST_MAX;

/// The kinds of reasons, which are counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ReasonKind {
    /// The machine takes no tasks: draining, or down.
    State(String),
    /// Too little is free of this resource.
    Short(String),
    /// This constraint doesn't hold.
    Constraint(String),
    /// Another task of the job is there, and the group wants distinct machines.
    SameJob,
    /// A fixed port is taken.
    PortTaken(u16),
    /// Too few dynamic ports are free.
    Ports,
    /// GPU is free in sum only, not on one device or in whole devices.
    Devices,
    /// The machine lacks the attribute the group is spread over with a limit.
    NoAttribute(String),
    /// The failure domain is at its limit: attribute, value, tasks allowed.
    DomainFull(String, String, u32),
}

/// One reason, with how many machines it holds for.
#[derive(Clone, PartialEq, Debug)]
pub struct Reason {
    /// The kind.
    pub kind: ReasonKind,
    /// How many machines.
    pub machines: u32,
    /// Those that came closest.
    pub closest: Vec<Candidate>,
}

/// A machine that came close.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// Its name.
    pub machine: String,
    /// What was asked for and what it has, when that is a matter of amounts.
    pub wanted_free: Option<(u64, u64)>,
}

/// The reason of one machine.
pub(super) struct Found {
    kind: ReasonKind,
    wanted_free: Option<(u64, u64)>,
}

/// How full the failure domains of a group with a limit are.
pub(super) struct Limits {
    attribute: String,
    max: u32,
    tasks: BTreeMap<String, u32>,
}

/// Reasons being counted.
pub(super) struct Tally {
    limits: Option<Limits>,
    /// By kind: how many, and the closest with how far off they are.
    by_kind: BTreeMap<ReasonKind, (u32, Vec<(f64, Candidate)>)>,
}

/// Why the task doesn't fit the machine; `None` when it does.
pub(super) fn of(
    cell: &Cell,
    job: &Job,
    task: TaskId,
    machine: &Machine,
    limits: Option<&Limits>,
) -> Option<Found> {
    let demand = cell.demand(task)?;
    match Overlay::new().fit_demand(task, demand, machine) {
        Ok(_) => limits.and_then(|limits| limits.of(machine)),
        Err(misfit) => Some(of_misfit(cell, job, task, misfit)),
    }
}

fn of_misfit(cell: &Cell, job: &Job, task: TaskId, misfit: Misfit) -> Found {
    let (kind, wanted_free) = match misfit {
        Misfit::State(state) => (ReasonKind::State(state_word(state)), None),
        Misfit::Resource { dimension, wanted, free } => {
            (ReasonKind::Short(dimension_name(cell, dimension)), Some((wanted, free)))
        }
        Misfit::Constraint(index) => {
            let group = job.spec().groups.get(usize::from(task.group));
            let condition = group.and_then(|g| g.conditions().into_iter().nth(usize::from(index)));
            (ReasonKind::Constraint(condition.map(|c| c.to_string()).unwrap_or_default()), None)
        }
        Misfit::SameJob(_) => (ReasonKind::SameJob, None),
        Misfit::Port(port) => (ReasonKind::PortTaken(port), None),
        Misfit::Ports { wanted, free } => (ReasonKind::Ports, Some((wanted.into(), free.into()))),
        Misfit::Devices { wanted_milli, largest_free_milli } => {
            (ReasonKind::Devices, Some((wanted_milli, largest_free_milli)))
        }
    };
    Found { kind, wanted_free }
}

fn state_word(state: MachineState) -> String {
    state.to_string()
}

impl Limits {
    fn count(cell: &Cell, job: &Job, group: u16) -> Option<Limits> {
        let spread = job.spec().groups.get(usize::from(group))?.spread.as_ref()?;
        if spread.max_per_value == 0 {
            return None;
        }
        let mut tasks: BTreeMap<String, u32> = BTreeMap::new();
        for (_, task) in job.tasks().filter(|(_, task)| task.state.is_live()) {
            let machine = task.machine.and_then(|id| cell.machine(id));
            if let Some(value) = machine.and_then(|m| m.attribute(&spread.attribute)) {
                *tasks.entry(value.to_owned()).or_default() += 1;
            }
        }
        Some(Limits { attribute: spread.attribute.clone(), max: spread.max_per_value, tasks })
    }

    fn of(&self, machine: &Machine) -> Option<Found> {
        let kind = match machine.attribute(&self.attribute) {
            None => ReasonKind::NoAttribute(self.attribute.clone()),
            Some(value) if self.tasks.get(value).is_some_and(|tasks| *tasks >= self.max) => {
                ReasonKind::DomainFull(self.attribute.clone(), value.to_owned(), self.max)
            }
            Some(_) => return None,
        };
        Some(Found { kind, wanted_free: None })
    }
}

impl Tally {
    pub(super) fn new(cell: &Cell, job: &Job, group: u16) -> Tally {
        Tally { limits: Limits::count(cell, job, group), by_kind: BTreeMap::new() }
    }

    pub(super) fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }

    pub(super) fn add(&mut self, machine: &Machine, found: Found) {
        let (count, closest) = self.by_kind.entry(found.kind).or_default();
        *count += 1;
        // How much of what is wanted is missing; machines without amounts come in the order of the cell.
        let missing =
            found.wanted_free.map_or(0.0, |(wanted, free)| 1.0 - free as f64 / wanted.max(1) as f64);
        let at = closest.partition_point(|(other, _)| *other <= missing);
        if at < CLOSEST_MAX {
            let candidate = Candidate { machine: machine.spec.name.clone(), wanted_free: found.wanted_free };
            closest.insert(at, (missing, candidate));
            closest.truncate(CLOSEST_MAX);
        }
    }

    pub(super) fn into_reasons(self) -> Vec<Reason> {
        let all = self.by_kind.into_iter().map(|(kind, (machines, closest))| Reason {
            kind,
            machines,
            closest: closest.into_iter().map(|(_, candidate)| candidate).collect(),
        });
        let mut reasons: Vec<Reason> = all.collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.machines));
        reasons
    }
}
