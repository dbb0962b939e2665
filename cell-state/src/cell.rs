//! The cell: the whole shared state, and how to read it. What changes it is in [`apply`](crate::Cell::apply).
//!
//! Invariants, asserted by [`crate::audit`]: a machine's load is the sum of what its live tasks are charged, and never
//! over its limit; a task is live exactly when its machine holds it; counters equal what they count; the state at seq
//! *n* is a function of entries 1..=n alone.

mod apply;
mod names;
mod place;
mod scoped;
mod settle_tasks;

use std::collections::BTreeMap;

use crate::event::CellConfig;
use crate::fit::Demand;
use crate::ids::{JobId, MachineId, Seq, SessionId, TaskId, Time};
use crate::job::Job;
use crate::machine::Machine;
use crate::page::{PageHashes, Tracking};
use crate::quota::Quotas;
use crate::resources::Resources;
use crate::session::{Session, Sessions};
use crate::task::{Task, TaskState};

use names::MachineNames;
use scoped::Scope;

/// The state of a cell after some entry of its log.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub(crate) seq: Seq,
    pub(crate) time: Time,
    pub(crate) config: CellConfig,
    pub(crate) machines: Vec<Machine>,
    pub(crate) machine_names: MachineNames,
    /// By number; `None` where the job has been forgotten.
    pub(crate) jobs: Vec<Option<Box<Job>>>,
    pub(crate) job_names: BTreeMap<String, JobId>,
    pub(crate) sessions: Sessions,
    pub(crate) quotas: Quotas,
    /// Which pages have changed.
    pub(crate) pages: Tracking,
    pub(crate) hashes: PageHashes,
    /// Whose jobs these are, when not all of the cell's are here.
    pub(crate) scope: Option<Box<Scope>>,
}

impl Cell {
    /// The empty cell, before the first entry.
    pub fn new() -> Cell {
        Cell::default()
    }

    /// The last entry applied.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The time of the last entry that carries one.
    pub fn time(&self) -> Time {
        self.time
    }

    /// The settings.
    pub fn config(&self) -> &CellConfig {
        &self.config
    }

    /// All machines, by number.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// One machine.
    pub fn machine(&self, id: MachineId) -> Option<&Machine> {
        self.machines.get(id.index())
    }

    /// The machine of that name.
    pub fn machine_named(&self, name: &str) -> Option<&Machine> {
        self.machine(self.machine_names.get(name, &self.machines)?)
    }

    /// Names of machines that begin with `prefix`, in order. Looks at every machine.
    pub fn machines_with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, MachineId)> {
        let named = self.machines.iter().map(|machine| (machine.spec.name.as_str(), machine.id));
        let mut found: Vec<_> = named.filter(|(name, _)| name.starts_with(prefix)).collect();
        found.sort_unstable();
        found.into_iter()
    }

    /// All jobs not yet forgotten, by number.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().flatten().map(|job| &**job)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id.0 as usize)?.as_deref()
    }

    /// The job of that name.
    pub fn job_named(&self, name: &str) -> Option<&Job> {
        self.job(*self.job_names.get(name)?)
    }

    /// Names of jobs that begin with `prefix`, in order.
    pub fn jobs_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, JobId)> {
        let from =
            self.job_names.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(prefix)).map(|(name, id)| (name.as_str(), *id))
    }

    /// How many jobs are in the state.
    pub fn job_count(&self) -> usize {
        self.job_names.len()
    }

    /// The number the next new job gets.
    pub fn next_job(&self) -> JobId {
        JobId(self.jobs.len() as u32)
    }

    /// One task.
    pub fn task(&self, id: TaskId) -> Option<Task> {
        self.job(id.job)?.task(id)
    }

    /// What a live task is charged on its machine: the promise of the version it was placed with, or what it was
    /// resized to.
    pub fn charge(&self, id: TaskId) -> Resources {
        self.job(id.job).map_or(Resources::ZERO, |job| job.charge(id))
    }

    /// What a new placement of the task would ask of a machine: the demand of its job's current version.
    pub fn demand(&self, id: TaskId) -> Option<&Demand> {
        self.job(id.job)?.current().demands.get(usize::from(id.group))
    }

    /// The priority of the task's job.
    pub fn priority(&self, id: TaskId) -> Option<u16> {
        Some(self.job(id.job)?.spec().priority)
    }

    /// Whether the task's job still wants it to run.
    pub fn is_wanted(&self, id: TaskId) -> bool {
        self.job(id.job).is_some_and(|job| job.wants(id))
    }

    /// The time before which a pending task isn't to be placed: it waits out its restart delay.
    pub fn eligible_at(&self, id: TaskId) -> Option<Time> {
        let job = self.job(id.job)?;
        let task = job.task(id).filter(|t| t.state == TaskState::Pending)?;
        if task.restarts == 0 || task.exit.is_none() {
            return Some(task.changed);
        }
        let restart = job.spec().groups.get(usize::from(id.group))?.restart;
        let doublings = u32::from(task.restarts - 1).min(6);
        Some(task.changed.plus(restart.delay_us << doublings))
    }

    /// The scheduler processes.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// One scheduler process.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// The quotas.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }
}
