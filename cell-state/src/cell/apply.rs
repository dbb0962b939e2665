//! Apply: the one place where the state changes. Total and deterministic: no clock, no chance, no failure.
//!
//! What an entry may say was checked when it was judged or admitted, so anything that can't be applied here (a machine
//! or task that isn't there) means a log this build did not write; it is skipped, and the state hash will tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bounds;
use crate::event::{Committed, Event, Report, Seen};
use crate::fit::Demand;
use crate::ids::{JobId, MachineId, Seq, TaskId, Time, TxnId};
use crate::job::care::LostAfter;
use crate::job::{Band, Desired, GroupTasks, Job, JobSpec, JobVersion};
use crate::lifecycle::Trigger;
use crate::machine::{Machine, MachineSpec, MachineState};
use crate::page::PageKey;
use crate::resources::Resources;
use crate::session::Remembered;
use crate::task::packed::Packed;
use crate::task::{StopReason, TaskState};
use crate::verdict::{Outcome, Placed, PlacedExtra};

use super::Cell;

impl Cell {
    /// Applies the next entry of the log.
    ///
    /// # Panics
    /// In debug builds, when `seq` isn't the one after [`Cell::seq`]: entries have no gaps.
    pub fn apply(&mut self, seq: Seq, event: &Event) {
        debug_assert_eq!(seq, self.seq.next(), "entries are applied in order, without gaps");
        self.seq = seq;
        if let Some(time) = event.time() {
            self.time = time;
            self.pages.note(PageKey::Meta);
        }
        match event {
            Event::Configured { config } => self.configure(config),
            Event::QuotaSet { team, band, limit } => {
                self.quotas.set_limit(team, *band, *limit);
                self.pages.note(PageKey::Meta);
            }
            Event::MachineRegistered { machine, spec, incarnation, time } => {
                self.register(*machine, spec, *incarnation, *time);
            }
            Event::MachineStateSet { machine, state, grace_us, time } => {
                self.set_machine_state(*machine, *state, *grace_us, *time)
            }
            Event::JobSubmitted { job, spec, time } => self.submit(*job, spec, *time),
            Event::JobStopped { job, time } => self.stop_job(*job, *time),
            Event::JobsForgotten { jobs } => jobs.iter().for_each(|job| self.forget(*job)),
            Event::SessionOpened { session, scheduler, instance, time } => {
                let forgotten = self.sessions.open(*session, scheduler, *instance, *time);
                self.pages.note_all([PageKey::Meta, PageKey::Session(*session)]);
                self.pages.note_all(forgotten.map(PageKey::Session));
            }
            Event::SessionEnded { session, time } => {
                if let Some(found) = self.sessions.get_mut(*session) {
                    found.live = false;
                    found.since = *time;
                    self.pages.note(PageKey::Session(*session));
                }
            }
            Event::Committed(committed) => self.commit(committed),
            Event::Reported { machine, incarnation, first, reports, time } => {
                self.report(*machine, *incarnation, *first, reports, *time);
            }
        }
    }

    fn configure(&mut self, config: &crate::event::CellConfig) {
        if self.config.overcommit != config.overcommit {
            for machine in &mut self.machines {
                machine.limit = config.overcommit.limit(&machine.spec.capacity);
                machine.version = self.seq;
                self.pages.note(PageKey::of_machine(machine.id));
            }
        }
        self.config = config.clone();
        self.pages.note(PageKey::Meta);
    }

    fn register(&mut self, id: MachineId, spec: &Arc<MachineSpec>, incarnation: u64, time: Time) {
        let limit = self.config.overcommit.limit(&spec.capacity);
        if id.index() == self.machines.len() {
            let mut machine = Machine::new(id, spec.clone(), limit);
            machine.incarnation = incarnation;
            self.machines.push(machine);
            self.machine_names.insert(id, &self.machines);
        }
        let Some(machine) = self.machines.get_mut(id.index()) else { return };
        if machine.incarnation != incarnation {
            machine.incarnation = incarnation;
            machine.reports_seen = 0;
            self.lose_tasks(id, None, time);
        }
        let machine = &mut self.machines[id.index()];
        machine.spec = spec.clone();
        machine.limit = limit;
        if machine.state == MachineState::Down {
            machine.state = MachineState::Ready;
        }
        self.touch(id, None);
        self.pages.note(PageKey::of_machine_spec(id));
    }

    fn set_machine_state(&mut self, id: MachineId, state: MachineState, us: Option<u64>, time: Time) {
        let Some(machine) = self.machines.get_mut(id.index()) else { return };
        machine.state = state;
        self.touch(id, None);
        match state {
            MachineState::Ready => {}
            MachineState::Draining => {
                for task in self.machines[id.index()].load.tasks.clone() {
                    self.trigger(task, Trigger::Stop(StopReason::Drain), time);
                }
            }
            MachineState::Down => self.lose_tasks(id, us, time),
        }
    }

    fn lose_tasks(&mut self, id: MachineId, silent_us: Option<u64>, time: Time) {
        for task in self.given_up(id, silent_us) {
            self.trigger(task, Trigger::Lost, time);
        }
    }

    /// The tasks of a machine that are given up when it is down, silent for so long.
    pub fn given_up(&self, id: MachineId, silent_us: Option<u64>) -> Vec<TaskId> {
        let Some(machine) = self.machines.get(id.index()) else { return Vec::new() };
        let is_over = |task: &TaskId| {
            let stopping =
                self.record(*task).is_none_or(|record| matches!(record.state(), TaskState::Stopping(_)));
            stopping || self.lost_after(*task).is_over(silent_us)
        };
        machine.load.tasks.iter().copied().filter(is_over).collect()
    }

    /// What the version of its job that a task runs says of silent machines.
    fn lost_after(&self, id: TaskId) -> LostAfter {
        let version = self.record(id).map(Packed::version);
        let job = self.job(id.job);
        let spec = job.and_then(|job| job.versions.iter().find(|v| Some(v.version) == version));
        let group = spec.and_then(|v| v.spec.groups.get(usize::from(id.group)));
        group.map_or(LostAfter::Down, |group| group.run.lost_after())
    }

    fn submit(&mut self, id: JobId, spec: &Arc<JobSpec>, time: Time) {
        let demands: Result<Arc<[Demand]>, _> = spec.groups.iter().map(Demand::compile).collect();
        // Admission compiled the same patterns, so this holds for every log this build wrote.
        let Ok(demands) = demands else { return };
        let index = id.0 as usize;
        if self.jobs.len() <= index {
            self.jobs.resize_with(index + 1, || None);
            self.pages.note(PageKey::Meta);
        }
        let version = self.job(id).map_or(1, |job| job.current().version + 1);
        let account = self.quotas.account(&spec.team, Band::of(spec.priority));
        let new = JobVersion { version, spec: spec.clone(), demands, since: self.seq, live: 0 };
        let job = self.jobs[index].get_or_insert_with(|| {
            let (versions, groups, resized) = (Vec::new(), Vec::new(), BTreeMap::new());
            Box::new(Job { id, desired: Desired::Run, submitted: time, versions, groups, resized, account })
        });
        job.account = account;
        job.desired = Desired::Run;
        job.versions.push(new);
        job.groups.resize_with(spec.groups.len(), GroupTasks::default);
        self.job_names.insert(spec.name.clone(), id);
        self.pages.note(PageKey::of_job(id));
        for (group, g) in spec.groups.iter().enumerate() {
            self.resize_group(id, group as u16, g.count, time);
        }
        self.prune_versions(id);
    }

    fn stop_job(&mut self, id: JobId, time: Time) {
        let Some(job) = self.jobs.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        job.desired = Desired::Stop;
        self.pages.note(PageKey::of_job(id));
        let tasks: Vec<_> = job.tasks().map(|(task, _)| task).collect();
        for task in tasks {
            self.trigger(task, Trigger::Stop(StopReason::Stop), time);
        }
    }

    fn forget(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id.0 as usize).and_then(Option::take) else { return };
        self.job_names.remove(&job.spec().name);
        self.pages.note(PageKey::of_job(id));
        for (group, tasks) in job.groups.iter().enumerate() {
            self.pages.note_all(PageKey::of_group(id, group as u16, tasks.tasks.len()));
        }
    }

    fn commit(&mut self, committed: &Committed) {
        let mut outcomes = &committed.outcomes[..];
        while let Some((outcome, rest)) = outcomes.split_first() {
            outcomes = rest;
            match outcome {
                Outcome::Placed(placed) => match placed.extra.as_deref() {
                    None => outcomes = self.place_run(committed, placed, rest),
                    Some(extra) => self.place_beside(committed, placed, extra),
                },
                Outcome::Stopping { task, reason } => {
                    self.trigger(*task, Trigger::Stop(*reason), committed.time);
                }
                Outcome::Resized { task, resources } => self.resize(committed, *task, resources),
                Outcome::Conflict(_) | Outcome::Aborted => {}
            }
        }
        if let Some(session) = self.sessions.get_mut(committed.txn.session) {
            let answer = Remembered {
                at: self.seq,
                outcomes: committed.outcomes.clone(),
                failed_assertion: committed.failed_assertion.clone(),
            };
            session.remember(committed.txn.number, answer);
            self.pages.note(PageKey::Session(committed.txn.session));
        }
    }

    /// A placement that is given ports or devices, or waits for others to go.
    fn place_beside(&mut self, committed: &Committed, placed: &Placed, extra: &PlacedExtra) {
        let id = placed.task;
        let pending = self.record(id).is_some_and(Packed::is_pending);
        if !pending || placed.machine.index() >= self.machines.len() {
            return;
        }
        self.update_task(id, |task| task.place(placed, committed.txn, committed.time, 0));
        let charge = self.charge(id);
        self.restore_charge(id, &charge, placed.version);
        let held: Vec<_> = extra.preempted.iter().map(|victim| (*victim, self.charge(*victim))).collect();
        let load = &mut self.machines[placed.machine.index()].load;
        let position = if held.is_empty() {
            load.add(id, &charge, Some(&extra.grant))
        } else {
            load.add_waiting(id, charge, Some(&extra.grant), held)
        };
        self.update_task(id, |task| task.set_position(position));
        self.touch(placed.machine, Some(committed.txn));
        for victim in &extra.preempted {
            self.trigger(*victim, Trigger::Stop(StopReason::Evict), committed.time);
        }
    }

    fn resize(&mut self, committed: &Committed, id: TaskId, resources: &Resources) {
        let live = self.record(id).filter(|t| t.state().is_live());
        let Some(machine) = live.and_then(Packed::machine) else { return };
        let Some(job) = self.jobs.get_mut(id.job.0 as usize).and_then(Option::as_mut) else { return };
        let before = job.charge(id);
        self.quotas.release(job.account, &before);
        self.quotas.charge(job.account, resources);
        job.resized.insert(id, *resources);
        self.pages.note(PageKey::of_job(id.job));
        let load = &mut self.machines[machine.index()].load;
        load.used = load.used.minus(&before).plus(resources);
        self.touch(machine, Some(committed.txn));
    }

    fn report(&mut self, id: MachineId, incarnation: u64, first: u64, reports: &[Report], time: Time) {
        let Some(machine) = self.machines.get_mut(id.index()) else { return };
        if machine.incarnation != incarnation {
            return;
        }
        let skip = (machine.reports_seen + 1).saturating_sub(first) as usize;
        machine.reports_seen = machine.reports_seen.max(first + reports.len() as u64 - 1);
        self.pages.note(PageKey::of_machine(id));
        for report in reports.iter().skip(skip) {
            let current = self.record(report.task);
            let here = current.is_some_and(|t| t.epoch() == report.epoch && t.machine() == Some(id));
            if !here {
                continue;
            }
            match report.seen {
                Seen::Started => self.trigger(report.task, Trigger::Started, time),
                Seen::Ended(exit) => self.end(report.task, exit, time),
            }
        }
    }

    /// Notes that a machine's state or load changed in this entry, by a transaction or otherwise.
    pub(super) fn touch(&mut self, id: MachineId, by: Option<TxnId>) {
        let machine = &mut self.machines[id.index()];
        machine.version = self.seq;
        if let Some(txn) = by {
            machine.set_changed_by(self.seq, txn);
        }
        self.pages.note(PageKey::of_machine(id));
    }
}

const _: () = assert!(bounds::JOB_GROUPS_MAX <= u16::MAX as usize, "a group's position fits its type");
