//! The audit: every invariant of the state, checked from outside by counting everything again.
//!
//! It shares no bookkeeping with `apply`: sums are added up from the tasks, so it finds what incremental bookkeeping
//! got wrong. An audit of a healthy cell returns nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::bounds;
use crate::cell::Cell;
use crate::fit::DEVICE_MILLI;
use crate::ids::{MachineId, TaskId};
use crate::job::{Band, Counts, Job};
use crate::machine::Machine;
use crate::resources::{Dimension, Resources};
use crate::task::TaskState;

/// A violated invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What it is about.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// Checks every invariant of the state; the result is empty when all hold.
pub fn audit(cell: &Cell) -> Vec<Violation> {
    let mut audit = Audit { cell, found: Vec::new() };
    let by_machine = audit.jobs();
    for machine in cell.machines() {
        let empty = BTreeSet::new();
        audit.machine(machine, by_machine.get(&machine.id).unwrap_or(&empty));
    }
    for id in by_machine.keys().filter(|id| cell.machine(**id).is_none()) {
        audit.note(format!("machine {}", id.0), "tasks are on it, but it isn't in the cell".into());
    }
    audit.quotas();
    audit.indexes();
    audit.found
}

struct Audit<'a> {
    cell: &'a Cell,
    found: Vec<Violation>,
}

impl Audit<'_> {
    fn note(&mut self, subject: String, problem: String) {
        self.found.push(Violation { subject, problem });
    }

    /// Checks every job, and returns the live tasks by machine.
    fn jobs(&mut self) -> BTreeMap<MachineId, BTreeSet<TaskId>> {
        let mut by_machine: BTreeMap<MachineId, BTreeSet<TaskId>> = BTreeMap::new();
        for job in self.cell.jobs() {
            self.job(job);
            for (id, task) in job.tasks().filter(|(_, task)| task.state.is_live()) {
                match task.machine {
                    Some(machine) => drop(by_machine.entry(machine).or_default().insert(id)),
                    None => {
                        self.note(format!("task {id}"), format!("{} without a machine", task.state.word()))
                    }
                }
                if task.epoch == 0 {
                    self.note(format!("task {id}"), "live at epoch 0".into());
                }
            }
        }
        by_machine
    }

    fn job(&mut self, job: &Job) {
        let subject = format!("job {} ({})", job.id, job.spec().name);
        for (g, group) in job.groups.iter().enumerate() {
            let mut counts = Counts::default();
            group.tasks.iter().for_each(|task| *counts.slot(task.state) += 1);
            if counts != group.counts {
                self.note(subject.clone(), format!("group {g} counts {:?}, has {counts:?}", group.counts));
            }
            let first = group.tasks.iter().position(|t| t.state == TaskState::Pending);
            if first.is_some_and(|first| first < group.pending_from as usize) {
                self.note(subject.clone(), format!("group {g} looks for pending tasks behind the first one"));
            }
        }
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        for (_, task) in job.tasks().filter(|(_, task)| task.state.is_live()) {
            *live.entry(task.version).or_default() += 1;
        }
        for version in &job.versions {
            let counted = live.remove(&version.version).unwrap_or(0);
            if counted != version.live {
                let problem =
                    format!("version {} counts {} live tasks, has {counted}", version.version, version.live);
                self.note(subject.clone(), problem);
            }
        }
        if let Some(version) = live.keys().next() {
            self.note(subject.clone(), format!("live tasks of version {version}, which is gone"));
        }
        if job.versions.len() > bounds::JOB_VERSIONS_MAX {
            self.note(subject, format!("{} versions, over the bound", job.versions.len()));
        }
    }

    fn machine(&mut self, machine: &Machine, tasks: &BTreeSet<TaskId>) {
        let subject = format!("machine {}", machine.spec.name);
        let held: BTreeSet<TaskId> = machine.load.tasks.iter().copied().collect();
        if held != *tasks || held.len() != machine.load.tasks.len() {
            let problem =
                format!("holds {} tasks, but {} say they are there", machine.load.tasks.len(), tasks.len());
            self.note(subject.clone(), problem);
        }
        let listed = |(at, id): (usize, &TaskId)| {
            let record = self.cell.job(id.job).and_then(|job| job.record(*id));
            record.is_some_and(|task| task.position() == at)
        };
        if !machine.load.tasks.iter().enumerate().all(listed) {
            self.note(subject.clone(), "its tasks aren't at the positions they are said to be".into());
        }
        let used = self.used(machine, tasks);
        if used != machine.load.used {
            self.note(
                subject.clone(),
                format!("counts {:?} used, its tasks add up to {used:?}", machine.load.used),
            );
        }
        if let Some(dimension) = used.first_over(&machine.limit) {
            let name = self.cell.config().schema.name(dimension);
            let (used, limit) = (used.get(dimension), machine.limit.get(dimension));
            self.note(subject.clone(), format!("over-committed: {name} {used} of {limit}"));
        }
        if machine.limit != self.cell.config().overcommit.limit(&machine.spec.capacity) {
            self.note(subject.clone(), "its limit isn't its capacity times over-commit".into());
        }
        if machine.version > self.cell.seq() {
            self.note(subject.clone(), format!("its version {} is in the future", machine.version));
        }
        self.grants(machine, tasks);
        self.waiting(machine, tasks);
    }

    /// What the live tasks of a machine are charged together.
    fn used(&self, machine: &Machine, tasks: &BTreeSet<TaskId>) -> Resources {
        let waiting = &machine.load.extra().waiting;
        let alone = tasks.iter().filter(|id| !machine.load.is_paired(**id));
        let alone = alone.fold(Resources::ZERO, |sum, id| sum.plus(&self.cell.charge(*id)));
        waiting.iter().fold(alone, |sum, w| {
            let victims =
                w.victims.iter().fold(Resources::ZERO, |sum, (v, _)| sum.plus(&self.cell.charge(*v)));
            sum.plus(&victims.max(&self.cell.charge(w.task)))
        })
    }

    fn grants(&mut self, machine: &Machine, tasks: &BTreeSet<TaskId>) {
        let subject = format!("machine {}", machine.spec.name);
        let mut ports = BTreeSet::new();
        let mut devices = vec![0u32; machine.spec.devices.len()];
        for (task, grant) in &machine.load.extra().grants {
            if !tasks.contains(task) {
                self.note(subject.clone(), format!("task {task} holds ports or devices, but isn't there"));
            }
            for port in &grant.ports {
                if !ports.insert(*port) {
                    self.note(subject.clone(), format!("port {port} is given twice"));
                }
            }
            for (device, milli) in &grant.devices {
                match devices.get_mut(usize::from(*device)) {
                    Some(sum) => *sum += u32::from(*milli),
                    None => self.note(subject.clone(), format!("device {device} is given, but isn't there")),
                }
            }
            let given: u64 = grant.devices.iter().map(|(_, milli)| u64::from(*milli)).sum();
            if given != self.cell.charge(*task).get(Dimension::GPU) {
                self.note(
                    subject.clone(),
                    format!("task {task} is promised other than its devices add up to"),
                );
            }
        }
        if ports != machine.load.extra().ports {
            self.note(subject.clone(), "the ports it counts aren't those its tasks hold".into());
        }
        if let Some(device) = devices.iter().position(|sum| *sum > u32::from(DEVICE_MILLI)) {
            self.note(subject, format!("device {device} is given to {} thousandths", devices[device]));
        }
    }

    fn waiting(&mut self, machine: &Machine, tasks: &BTreeSet<TaskId>) {
        for waiting in &machine.load.extra().waiting {
            let subject = format!("machine {}", machine.spec.name);
            let victims = waiting.victims.iter().map(|(victim, _)| victim);
            if waiting.victims.is_empty() || !victims.chain([&waiting.task]).all(|id| tasks.contains(id)) {
                self.note(subject, format!("task {} waits for tasks that aren't there", waiting.task));
            }
        }
    }

    fn quotas(&mut self) {
        let mut sums: BTreeMap<(String, Band), Resources> = BTreeMap::new();
        for job in self.cell.jobs() {
            let key = (job.spec().team.clone(), Band::of(job.spec().priority));
            for (id, _) in job.tasks().filter(|(_, task)| task.state.is_live()) {
                let sum = sums.entry(key.clone()).or_default();
                *sum = sum.plus(&self.cell.charge(id));
            }
        }
        let usage: Vec<_> =
            self.cell.quotas().usage().map(|(t, b, used)| ((t.to_owned(), b), used)).collect();
        for (key, used) in usage {
            let sum = sums.remove(&key).unwrap_or_default();
            if sum != used {
                let subject = format!("team {} in band {}", key.0, key.1);
                self.note(subject, format!("counts {used:?}, its tasks add up to {sum:?}"));
            }
        }
        for (key, sum) in sums.into_iter().filter(|(_, sum)| !sum.is_zero()) {
            self.note(format!("team {}", key.0), format!("uses {sum:?}, which nobody counts"));
        }
    }

    fn indexes(&mut self) {
        for machine in self.cell.machines() {
            if self.cell.machine_named(&machine.spec.name).map(|m| m.id) != Some(machine.id) {
                self.note(format!("machine {}", machine.spec.name), "its name leads elsewhere".into());
            }
        }
        let jobs = self.cell.jobs().count();
        if jobs != self.cell.job_count() {
            self.note("jobs".into(), format!("{jobs} jobs, {} names", self.cell.job_count()));
        }
        for job in self.cell.jobs() {
            if self.cell.job_named(&job.spec().name).map(|j| j.id) != Some(job.id) {
                self.note(format!("job {}", job.id), "its name leads elsewhere".into());
            }
        }
        let sessions = self.cell.sessions().iter().count();
        if sessions > bounds::SESSIONS_MAX {
            self.note("sessions".into(), format!("{sessions}, over the bound"));
        }
    }
}
