//! The history check: reads the whole log in order with rules of its own, slow and obvious, and says whether every
//! entry could have happened and whether the state is what the entries add up to.
//!
//! It shares the encoding and the specs with the product, and no rule: each machine's load is added up from its tasks
//! at every placement, each task's life is followed entry by entry. [`History::take`] refuses an entry that no cell
//! could have written; [`History::explains`] compares what is left with a copy of the cell.

mod commit;
mod compare;
mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::care::LostAfter;
use cell_state::job::{Band, JobSpec};
use cell_state::machine::{Grant, MachineSpec, MachineState};
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, Resources, Seq, SessionId, TaskId};

pub use life::Life;

/// What is wrong with a history.
pub type Wrong = String;

/// Stops with a description unless the condition holds.
macro_rules! must {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
use must;

/// A task as its entries tell.
#[derive(Clone, Debug)]
struct Task {
    life: Life,
    epoch: u32,
    restarts: u16,
    machine: Option<MachineId>,
    promised: Resources,
    grant: Grant,
    /// What the version of its job that it runs says of a silent machine.
    lost_after: LostAfter,
    /// Tasks it made leave, as long as they are there.
    waits_for: BTreeSet<TaskId>,
}

#[derive(Clone, Debug)]
struct Job {
    wanted: bool,
    version: u32,
    spec: JobSpec,
    /// Tasks ever made, by group.
    sizes: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Machine {
    spec: MachineSpec,
    state: MachineState,
    incarnation: u64,
    reports_seen: u64,
    tasks: BTreeSet<TaskId>,
}

#[derive(Clone, Debug)]
struct Session {
    scheduler: String,
    instance: u64,
    live: bool,
    answers: BTreeMap<u64, Answered>,
}

/// The answer to a transaction, as the log has it.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    /// The entry.
    pub at: Seq,
    /// One per op.
    pub outcomes: Arc<[Outcome]>,
}

/// A cell as its log explains it.
#[derive(Clone, Debug, Default)]
pub struct History {
    seq: u64,
    config: CellConfig,
    machines: Vec<Machine>,
    jobs: BTreeMap<JobId, Job>,
    next_job: u32,
    tasks: BTreeMap<TaskId, Task>,
    sessions: BTreeMap<SessionId, Session>,
    quotas: BTreeMap<(String, Band), Resources>,
    /// What teams are promised; checked against their tasks at the end.
    promised: BTreeMap<(String, Band), Resources>,
    /// Transactions seen.
    pub transactions: u64,
    /// Ops that took effect.
    pub accepted: u64,
}

impl History {
    /// Of the empty cell.
    pub fn new() -> History {
        History::default()
    }

    /// How far it has read.
    pub fn seq(&self) -> Seq {
        Seq(self.seq)
    }

    /// The answer to a transaction.
    pub fn answer(&self, session: SessionId, number: u64) -> Option<&Answered> {
        self.sessions.get(&session)?.answers.get(&number)
    }

    /// Reads the next entry.
    ///
    /// # Errors
    /// No cell could have written it here, in words.
    pub fn take(&mut self, seq: Seq, event: &Event) -> Result<(), Wrong> {
        must!(seq.0 == self.seq + 1, "entry {seq} follows {}", self.seq);
        self.seq = seq.0;
        self.entry(event).map_err(|wrong| format!("entry {seq}: {wrong}"))
    }

    fn entry(&mut self, event: &Event) -> Result<(), Wrong> {
        match event {
            Event::Configured { config } => {
                self.config = config.clone();
                self.none_over()
            }
            Event::QuotaSet { team, band, limit } => {
                match limit {
                    Some(limit) => drop(self.quotas.insert((team.clone(), *band), *limit)),
                    None => drop(self.quotas.remove(&(team.clone(), *band))),
                }
                Ok(())
            }
            Event::MachineRegistered { machine, spec, incarnation, .. } => {
                self.register(*machine, spec, *incarnation)
            }
            Event::MachineStateSet { machine, state, grace_us, .. } => {
                self.set_state(*machine, *state, *grace_us)
            }
            Event::JobSubmitted { job, spec, .. } => self.submit(*job, spec),
            Event::JobStopped { job, .. } => {
                must!(self.jobs.contains_key(job), "{job} is stopped and isn't there");
                self.jobs.entry(*job).and_modify(|j| j.wanted = false);
                let tasks: Vec<TaskId> = self.tasks_of(*job).collect();
                tasks.into_iter().for_each(|task| self.stop_for_good(task));
                Ok(())
            }
            Event::JobsForgotten { jobs } => jobs.iter().try_for_each(|job| self.forget(*job)),
            Event::SessionOpened { session, scheduler, instance, .. } => {
                self.open(*session, scheduler, *instance)
            }
            Event::SessionEnded { session, .. } => {
                let found = self.sessions.get_mut(session).ok_or("a session ended that never opened")?;
                must!(found.live, "session {} ended twice", session.0);
                found.live = false;
                Ok(())
            }
            Event::Committed(committed) => self.commit(committed),
            Event::Reported { machine, incarnation, first, reports, .. } => {
                self.report(*machine, *incarnation, *first, reports)
            }
        }
    }

    fn machine(&mut self, id: MachineId) -> Result<&mut Machine, Wrong> {
        self.machines.get_mut(id.index()).ok_or_else(|| format!("machine {} isn't there", id.0))
    }

    fn tasks_of(&self, job: JobId) -> impl Iterator<Item = TaskId> {
        let first = TaskId { job, group: 0, index: 0 };
        let last = TaskId { job, group: u16::MAX, index: u32::MAX };
        self.tasks.range(first..=last).map(|(id, _)| *id)
    }

    fn register(&mut self, id: MachineId, spec: &MachineSpec, incarnation: u64) -> Result<(), Wrong> {
        let known = self.machines.iter().position(|m| m.spec.name == spec.name);
        must!(
            known.unwrap_or(self.machines.len()) == id.index(),
            "{} is registered as machine {}, and is {known:?}",
            spec.name,
            id.0
        );
        if known.is_none() {
            let (spec, state) = (spec.clone(), MachineState::Ready);
            let machine = Machine { spec, state, incarnation, reports_seen: 0, tasks: BTreeSet::new() };
            self.machines.push(machine);
        }
        let machine = self.machine(id)?;
        if machine.incarnation != incarnation {
            (machine.incarnation, machine.reports_seen) = (incarnation, 0);
            self.lose(id, None)?;
        }
        let machine = self.machine(id)?;
        machine.spec = spec.clone();
        if machine.state == MachineState::Down {
            machine.state = MachineState::Ready;
        }
        self.within(id)
    }

    fn set_state(&mut self, id: MachineId, state: MachineState, us: Option<u64>) -> Result<(), Wrong> {
        self.machine(id)?.state = state;
        match state {
            MachineState::Ready => {}
            MachineState::Down => self.lose(id, us)?,
            MachineState::Draining => {
                let there = self.machine(id)?.tasks.clone();
                there.into_iter().for_each(|task| self.ask_to_leave(task));
            }
        }
        Ok(())
    }

    /// Tasks that outlast a silence of so many microseconds stay, unless they are to end anyway.
    fn lose(&mut self, id: MachineId, silent_us: Option<u64>) -> Result<(), Wrong> {
        let there = self.machine(id)?.tasks.clone();
        let stays = |task: &Task| match (task.lost_after, silent_us) {
            (LostAfter::Never, Some(_)) => true,
            (LostAfter::Silent(after), Some(silent)) => after > silent,
            (LostAfter::Down, _) | (_, None) => false,
        };
        for task in there {
            let found = &self.tasks[&task];
            if !(stays(found) && matches!(found.life, Life::Placed | Life::Running)) {
                self.lost(task);
            }
        }
        Ok(())
    }

    fn submit(&mut self, id: JobId, spec: &JobSpec) -> Result<(), Wrong> {
        let named = self.jobs.iter().find(|(_, j)| j.spec.name == spec.name).map(|(id, _)| *id);
        must!(
            named.unwrap_or(JobId(self.next_job)) == id,
            "{} is submitted as {id}, and is {named:?}",
            spec.name
        );
        self.next_job = self.next_job.max(id.0 + 1);
        let (version, mut sizes) =
            self.jobs.get(&id).map_or((1, Vec::new()), |j| (j.version + 1, j.sizes.clone()));
        must!(sizes.len() <= spec.groups.len(), "{} loses a group", spec.name);
        sizes.resize(spec.groups.len(), 0);
        for (group, size) in sizes.iter_mut().enumerate() {
            let count = spec.groups[group].count;
            for index in 0..(*size).max(count) {
                let task = TaskId { job: id, group: group as u16, index };
                if index >= count {
                    self.stop_for_good(task);
                } else {
                    self.want(task);
                }
            }
            *size = (*size).max(count);
        }
        self.jobs.insert(id, Job { wanted: true, version, spec: spec.clone(), sizes });
        Ok(())
    }

    fn forget(&mut self, id: JobId) -> Result<(), Wrong> {
        must!(self.jobs.contains_key(&id), "{id} is forgotten and isn't there");
        let tasks: Vec<TaskId> = self.tasks_of(id).collect();
        let open = tasks.iter().find(|t| !self.tasks[*t].life.is_over());
        must!(open.is_none(), "{id} is forgotten while {open:?} isn't over");
        tasks.iter().for_each(|task| drop(self.tasks.remove(task)));
        self.jobs.remove(&id);
        Ok(())
    }

    fn open(&mut self, id: SessionId, scheduler: &str, instance: u64) -> Result<(), Wrong> {
        if let Some(known) = self.sessions.get_mut(&id) {
            must!(!known.live, "session {} is opened twice", id.0);
            must!(
                known.scheduler == scheduler && known.instance == instance,
                "session {} is another one",
                id.0
            );
            known.live = true;
            return Ok(());
        }
        let last = self.sessions.last_key_value().map(|(id, _)| id.0);
        must!(last.map_or(0, |last| last + 1) == id.0, "session {} follows {last:?}", id.0);
        let scheduler = scheduler.to_owned();
        self.sessions.insert(id, Session { scheduler, instance, live: true, answers: BTreeMap::new() });
        Ok(())
    }

    fn report(
        &mut self,
        id: MachineId,
        incarnation: u64,
        first: u64,
        reports: &[Report],
    ) -> Result<(), Wrong> {
        let machine = self.machine(id)?;
        must!(machine.incarnation == incarnation, "a report of another life of {}", machine.spec.name);
        must!(first > 0 && first <= machine.reports_seen + 1, "reports of {} have a gap", machine.spec.name);
        for (number, report) in (first..).zip(reports) {
            let machine = self.machine(id)?;
            if number <= machine.reports_seen {
                continue;
            }
            machine.reports_seen = number;
            let Some(task) = self.tasks.get_mut(&report.task) else { continue };
            if task.epoch != report.epoch || task.machine != Some(id) || !task.life.is_live() {
                continue;
            }
            match report.seen {
                Seen::Started if task.life == Life::Placed => task.life = Life::Running,
                Seen::Started => {}
                Seen::Ended(exit) => self.ended(report.task, exit),
            }
        }
        Ok(())
    }
}
