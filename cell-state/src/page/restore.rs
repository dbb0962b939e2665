//! Reading pages back into a state.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bounds::JOB_NUMBERS_MAX;
use crate::cell::Cell;
use crate::codec::{self, DecodeError};
use crate::fit::Demand;
use crate::ids::{JobId, MachineId, Seq, TaskId};
use crate::job::{Band, GroupTasks, Job, JobVersion};
use crate::machine::Machine;
use crate::resources::Resources;
use crate::session::Session;
use crate::task::Task;
use crate::task::packed::Packed;

use super::{GROUP_TASKS, JobPage, MachinePage, MetaPage, PageKey, SmallGroup, SpecsPage};

/// Pages that make no state.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A page doesn't decode.
    #[error("page {key:?}: {source}")]
    Page {
        /// The page.
        key: PageKey,
        /// The decoder's complaint.
        source: DecodeError,
    },
    /// A page that another one calls for is missing, or they disagree.
    #[error("the pages don't fit together: {0}")]
    Incomplete(String),
}

/// Gathers pages and puts a state together from them.
#[derive(Debug)]
pub struct Restore {
    seq: Seq,
    meta: Option<MetaPage>,
    specs: BTreeMap<u32, SpecsPage>,
    machines: BTreeMap<u32, Vec<MachinePage>>,
    jobs: Vec<JobPage>,
    tasks: BTreeMap<(JobId, u16), BTreeMap<u32, Vec<Task>>>,
    sessions: Vec<Session>,
}

impl std::fmt::Debug for MetaPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetaPage").field("machines", &self.machines).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for MachinePage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachinePage").field("version", &self.version).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for JobPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobPage").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Restore {
    /// Begins to gather the pages of the state at `seq`.
    pub fn new(seq: Seq) -> Restore {
        Restore {
            seq,
            meta: None,
            specs: BTreeMap::new(),
            machines: BTreeMap::new(),
            jobs: Vec::new(),
            tasks: BTreeMap::new(),
            sessions: Vec::new(),
        }
    }

    /// Adds a page, in any order.
    ///
    /// # Errors
    /// The page doesn't decode.
    pub fn add(&mut self, key: PageKey, bytes: &[u8]) -> Result<(), RestoreError> {
        self.decode(key, bytes).map_err(|source| RestoreError::Page { key, source })
    }

    fn decode(&mut self, key: PageKey, bytes: &[u8]) -> Result<(), DecodeError> {
        match key {
            PageKey::Meta => self.meta = Some(codec::decode(bytes)?),
            PageKey::Specs(n) => drop(self.specs.insert(n, codec::decode(bytes)?)),
            PageKey::Machines(n) => drop(self.machines.insert(n, codec::decode(bytes)?)),
            PageKey::Jobs(_) => self.jobs.extend(codec::decode::<Vec<JobPage>>(bytes)?),
            PageKey::Tasks(_) => {
                for small in codec::decode::<Vec<SmallGroup>>(bytes)? {
                    self.tasks.entry((small.job, small.group)).or_default().insert(0, small.tasks);
                }
            }
            PageKey::Group(job, group, n) => {
                self.tasks.entry((job, group)).or_default().insert(n, codec::decode(bytes)?);
            }
            PageKey::Session(_) => self.sessions.push(codec::decode(bytes)?),
            PageKey::Assigned(_) => {}
        }
        Ok(())
    }

    /// Puts the state together.
    ///
    /// # Errors
    /// A page is missing, or two disagree.
    pub fn finish(mut self) -> Result<Cell, RestoreError> {
        let Some(meta) = self.meta.take() else { return incomplete("no meta page") };
        let mut cell = Cell { seq: self.seq, time: meta.time, config: meta.config, ..Cell::default() };
        for (team, band, limit) in &meta.quotas {
            cell.quotas.set_limit(team, *band, Some(*limit));
        }
        cell.sessions.set_next(meta.next_session);
        for session in std::mem::take(&mut self.sessions) {
            cell.sessions.restore(session);
        }
        self.machines_into(&mut cell, meta.machines)?;
        if meta.next_job > JOB_NUMBERS_MAX {
            return incomplete(format!("{} jobs were numbered, over the bound", meta.next_job));
        }
        cell.jobs.resize_with(meta.next_job as usize, || None);
        for page in std::mem::take(&mut self.jobs) {
            self.job_into(&mut cell, page)?;
        }
        if let Some((job, _)) = self.tasks.keys().next() {
            return incomplete(format!("job {job} has tasks, but no spec"));
        }
        add_up(&mut cell)?;
        Ok(cell)
    }

    fn machines_into(&mut self, cell: &mut Cell, count: u32) -> Result<(), RestoreError> {
        let specs = std::mem::take(&mut self.specs).into_values().flatten();
        let pages = std::mem::take(&mut self.machines).into_values().flatten();
        for (i, (spec, page)) in specs.zip(pages).enumerate() {
            let id = MachineId(i as u32);
            let limit = cell.config.overcommit.limit(&spec.capacity);
            let mut machine = Machine::new(id, spec, limit);
            machine.state = page.state;
            machine.version = page.version;
            if let Some((at, txn)) = page.changed_by {
                machine.set_changed_by(at, txn);
            }
            machine.incarnation = page.incarnation;
            machine.reports_seen = page.reports_seen;
            if !(page.grants.is_empty() && page.waiting.is_empty()) {
                let extra = machine.load.extra_mut();
                extra.grants = page.grants.into_iter().collect();
                extra.waiting = page.waiting;
            }
            cell.machines.push(machine);
            cell.machine_names.insert(id, &cell.machines);
        }
        if cell.machines.len() != count as usize {
            return incomplete(format!("{} machines of {count}", cell.machines.len()));
        }
        Ok(())
    }

    fn job_into(&mut self, cell: &mut Cell, page: JobPage) -> Result<(), RestoreError> {
        let id = page.id;
        let mut versions = Vec::new();
        for (version, since, spec) in page.versions {
            let demands: Result<Arc<[Demand]>, _> = spec.groups.iter().map(Demand::compile).collect();
            let demands = demands.map_err(|e| RestoreError::Incomplete(format!("job {id}: {e}")))?;
            versions.push(JobVersion { version, spec: Arc::new(spec), demands, since, live: 0 });
        }
        let Some(current) = versions.last() else { return incomplete(format!("job {id} has no version")) };
        let Some(slot) = cell.jobs.get_mut(id.0 as usize) else {
            return incomplete(format!("job {id} is beyond the last number"));
        };
        cell.job_names.insert(current.spec.name.clone(), id);
        let mut groups = Vec::new();
        for (group, size) in page.sizes.iter().enumerate() {
            let wanted = current.spec.groups.get(group).map_or(0, |g| g.count);
            let pages = self.tasks.remove(&(id, group as u16)).unwrap_or_default();
            groups.push(group_of(pages, id, *size, wanted)?);
        }
        let resized = page.resized.into_iter().collect();
        let account = cell.quotas.account(&current.spec.team, Band::of(current.spec.priority));
        let (desired, submitted) = (page.desired, page.submitted);
        let job = Job { id, desired, submitted, versions, groups, resized, account };
        *slot = Some(Box::new(job));
        Ok(())
    }
}

fn group_of(
    pages: BTreeMap<u32, Vec<Task>>,
    job: JobId,
    size: u32,
    wanted: u32,
) -> Result<GroupTasks, RestoreError> {
    let mut group = GroupTasks { wanted, ..GroupTasks::default() };
    group.tasks.reserve(pages.values().map(Vec::len).sum());
    for (n, tasks) in pages {
        if group.tasks.len() as u64 != u64::from(n) * u64::from(GROUP_TASKS) {
            return incomplete(format!("job {job}: page {n} of a group's tasks has no predecessor"));
        }
        group.tasks.extend(tasks.into_iter());
    }
    if group.tasks.len() as u32 != size {
        return incomplete(format!("job {job}: {} tasks of {size} in a group", group.tasks.len()));
    }
    for task in group.tasks.records() {
        *group.counts.slot(task.state()) += 1;
    }
    let first = group.tasks.records().iter().position(Packed::is_pending);
    group.pending_from = first.unwrap_or(group.tasks.len()) as u32;
    Ok(group)
}

/// Derives loads, usage of quotas and versions in use from the tasks.
fn add_up(cell: &mut Cell) -> Result<(), RestoreError> {
    let live: Vec<(TaskId, MachineId, u32)> = cell
        .jobs()
        .flat_map(Job::tasks)
        .filter(|(_, task)| task.state.is_live())
        .filter_map(|(id, task)| Some((id, task.machine?, task.version)))
        .collect();
    for (id, machine, version) in live {
        let charge = cell.charge(id);
        cell.restore_charge(id, &charge, version);
        let Some(machine) = cell.machines.get_mut(machine.index()) else {
            return incomplete(format!("task {id} is on machine {}, which isn't there", machine.0));
        };
        let load = &mut machine.load;
        let grant = load.extra().grants.get(&id).cloned();
        let charge = if load.is_paired(id) { Resources::ZERO } else { charge };
        let position = load.add(id, &charge, grant.as_ref());
        cell.set_position(id, position);
    }
    for machine in &mut cell.machines {
        let waiting =
            machine.load.extra().waiting.iter().fold(Resources::ZERO, |sum, w| sum.plus(&w.charge()));
        machine.load.used = machine.load.used.plus(&waiting);
    }
    Ok(())
}

fn incomplete<T>(why: impl Into<String>) -> Result<T, RestoreError> {
    Err(RestoreError::Incomplete(why.into()))
}
