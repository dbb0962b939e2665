//! What should run here, as the log says it, against what is known here.

use std::collections::{BTreeMap, BTreeSet};

use cell_state::job::JobSpec;
use cell_state::machine::MachineState;
use cell_state::page::Assigned;
use cell_state::task::{Exit, NotStarted, TaskState};
use cell_state::verdict::Placed;
use cell_state::{JobId, Seq, TaskId, Time};

use cell_state::event::Seen;

use crate::agent::Agent;
use crate::follow::Change;
use crate::kept::{Found, Intent, Kept, Write};
use crate::placement::{Phase, Placement, PlacementId, Stop, Wanted};

impl Agent {
    /// Takes up what an earlier life of the agent left: records, reports, and what its driver found.
    pub(crate) fn restore(&mut self, kept: Kept, found: Vec<Found>) {
        // An end that was reported without ever being started has no record, only its report.
        for (number, report) in &kept.reports {
            let id = PlacementId::of(report);
            if matches!(report.seen, Seen::Ended(_)) && !kept.records.contains_key(&id) {
                self.placements.insert(id, Placement::ended(0, *number));
                self.due.over(*number, id);
            }
        }
        let found_by_id: BTreeMap<_, _> = found.iter().map(|f| (f.intent.id, f.exit)).collect();
        for (id, record) in &kept.records {
            let there = found_by_id.get(id).copied();
            match (record.ended, there) {
                (Some(exit), _) => {
                    let report =
                        cell_state::event::Report { task: id.task, epoch: id.epoch, seen: Seen::Ended(exit) };
                    match self.outbox.find(&report) {
                        Some(number) => {
                            let ended = Placement::ended(record.intent.version, number);
                            self.placements.insert(*id, ended);
                            self.due.over(number, *id);
                        }
                        // Acknowledged: whatever the cell says from now on, it says knowing this end.
                        None => drop(self.record(Write::Forget(*id))),
                    }
                }
                (None, there) => {
                    self.placements.insert(*id, restored(&record.intent));
                    match there {
                        // If the cell hasn't seen its start, the next snapshot says so.
                        Some(None) => {}
                        Some(Some(exit)) => self.end(*id, exit),
                        None => self.end(*id, Exit::Unseen),
                    }
                }
            }
        }
        // Processes of records that are lost: they take room until a snapshot says that nobody wants them.
        for Found { intent, exit } in found {
            if exit.is_none() && !kept.records.contains_key(&intent.id) {
                self.placements.insert(intent.id, restored(&intent));
                self.record(Write::Intent(Box::new(intent)));
            }
        }
    }

    /// Takes over what the cell has on this machine.
    pub(crate) fn snapshot(&mut self, now: Time, at: Seq, assigned: &[Assigned]) {
        // One from before what is known already: what follows it would be read onto the wrong state.
        self.synced = at >= self.gate.max(self.seq);
        if !self.synced {
            return;
        }
        self.seq = at;
        let wanted: BTreeSet<_> =
            assigned.iter().map(|a| PlacementId { task: a.task, epoch: a.epoch }).collect();
        let absent = self.placements.iter().filter(|(id, p)| p.assigned && !wanted.contains(id));
        for id in absent.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.unassign(now, id);
        }
        for wanted in assigned {
            self.assigned(now, wanted);
        }
        for wanted in assigned.iter().filter(|wanted| !wanted.waits_for.is_empty()) {
            let epoch_of = |task: &TaskId| assigned.iter().find(|a| a.task == *task).map(|a| a.epoch);
            let victims = wanted.waits_for.iter();
            let victims =
                victims.filter_map(|task| Some(PlacementId { task: *task, epoch: epoch_of(task)? }));
            let victims = victims.collect();
            let id = PlacementId { task: wanted.task, epoch: wanted.epoch };
            if let Some(placement) = self.placements.get_mut(&id) {
                placement.waits_for = victims;
            }
        }
    }

    fn assigned(&mut self, now: Time, wanted: &Assigned) {
        let id = PlacementId { task: wanted.task, epoch: wanted.epoch };
        let known = self.placements.contains_key(&id);
        if !known {
            self.expect(id, wanted.version);
        }
        let placement = self.placements.get_mut(&id).expect("it was just inserted");
        placement.assigned = true;
        placement.resources = Some(wanted.resources);
        placement.grant = wanted.grant.clone();
        let phase = placement.phase;
        match wanted.state {
            TaskState::Placed if phase == Phase::Running => {
                let report =
                    cell_state::event::Report { task: id.task, epoch: id.epoch, seen: Seen::Started };
                if self.outbox.find(&report).is_none() {
                    self.report(id, Seen::Started);
                }
            }
            TaskState::Placed => {}
            // The cell saw it started, and there is no record of it: it isn't started a second time.
            TaskState::Running if !known => self.end(id, Exit::Unseen),
            TaskState::Running => {}
            TaskState::Stopping(_) => self.ask_stop(now, id),
            // Not live: the cell doesn't assign such tasks.
            TaskState::Pending | TaskState::Completed | TaskState::Failed | TaskState::Stopped => {
                self.unassign(now, id);
            }
        }
    }

    /// Takes a change from the log.
    pub(crate) fn change(&mut self, now: Time, at: Seq, change: Change<'_>) {
        self.seq = self.seq.max(at);
        if !self.synced {
            return;
        }
        match change {
            Change::Placed(placed) => self.placed(now, placed),
            Change::Stop(task) => self.stop_task(now, task),
            Change::Resized(task, resources) => {
                if let Some(id) = self.latest(task) {
                    self.placements.get_mut(&id).expect("the latest is known").resources = Some(*resources);
                }
            }
            Change::StopJob(job) => self.stop_where(now, job, |_| true),
            Change::Submitted(job, spec) => self.stop_where(now, job, |task| is_surplus(spec, task)),
            Change::State { state: MachineState::Ready, grace_us: _ } => {}
            Change::State { state: MachineState::Draining, grace_us } => self.drain(now, grace_us),
            Change::State { state: MachineState::Down, grace_us } => {
                self.was_silent(now, grace_us);
                // A registration that came after it is ahead in the log.
                if at > self.gate && self.is_online() {
                    self.register();
                }
            }
            Change::Registered { spec: _, incarnation } => {
                if incarnation != self.incarnation && at > self.gate {
                    self.displaced(now);
                }
            }
            Change::Configured(config) => self.limit = config.overcommit.limit(&self.spec.capacity),
        }
    }

    fn placed(&mut self, now: Time, placed: &Placed) {
        let id = PlacementId { task: placed.task, epoch: placed.epoch };
        if self.placements.contains_key(&id) {
            return;
        }
        self.expect(id, placed.version);
        let Some(extra) = placed.extra.as_deref() else { return };
        let victims: Vec<_> = extra.preempted.iter().filter_map(|task| self.latest(*task)).collect();
        let placement = self.placements.get_mut(&id).expect("it was just inserted");
        placement.grant = extra.grant.clone();
        placement.waits_for.clone_from(&victims);
        for victim in victims {
            self.ask_stop(now, victim);
        }
    }

    /// A new placement: gets its spec, and waits.
    fn expect(&mut self, id: PlacementId, version: u32) {
        self.placements.insert(id, Placement::waiting(version));
        self.ask_spec(id, version);
    }

    /// The placement of a task that the cell means: the one of the highest epoch.
    fn latest(&self, task: TaskId) -> Option<PlacementId> {
        self.of_task(task).next_back().map(|(id, _)| id)
    }

    fn stop_task(&mut self, now: Time, task: TaskId) {
        if let Some(id) = self.latest(task) {
            self.ask_stop(now, id);
        }
    }

    fn stop_where(&mut self, now: Time, job: JobId, which: impl Fn(TaskId) -> bool) {
        let first = PlacementId::first_of(TaskId { job, group: 0, index: 0 });
        let of_job = self.placements.range(first..).take_while(|(id, _)| id.task.job == job);
        let tasks: Vec<TaskId> = of_job.map(|(id, _)| id.task).filter(|task| which(*task)).collect();
        for task in tasks {
            self.stop_task(now, task);
        }
    }

    fn drain(&mut self, now: Time, grace_us: Option<u64>) {
        let assigned = self.placements.iter().filter(|(_, p)| p.assigned);
        for id in assigned.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(grace_us) = grace_us {
                self.hurry(now, id, grace_us);
            }
            self.ask_stop(now, id);
        }
    }

    /// Nothing of what is here is assigned any longer.
    pub(crate) fn lose_all(&mut self, now: Time) {
        for id in self.placements.keys().copied().collect::<Vec<_>>() {
            self.unassign(now, id);
        }
    }

    /// The cell no longer has this placement here: nobody waits for its reports, and it must go.
    pub(crate) fn unassign(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        placement.assigned = false;
        self.ask_stop(now, id);
    }

    /// Somebody wants the placement to end.
    pub(crate) fn ask_stop(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        match placement.phase {
            Phase::Waiting | Phase::Recording { .. } => {
                self.end(id, Exit::NotStarted(NotStarted::StoppedFirst))
            }
            Phase::Starting if placement.stop == Stop::Unasked => placement.stop = Stop::Asked,
            Phase::Running if placement.stop == Stop::Unasked => self.terminate(now, id),
            Phase::Starting | Phase::Running => {}
            Phase::Ended { .. } => {
                if !placement.assigned {
                    self.forget(id);
                }
            }
        }
    }

    /// Drops a placement that is over, with its record.
    pub(crate) fn forget(&mut self, id: PlacementId) {
        self.placements.remove(&id);
        self.record(Write::Forget(id));
    }
}

/// A placement that an earlier life of the agent started.
fn restored(intent: &Intent) -> Placement {
    Placement {
        phase: Phase::Running,
        resources: Some(intent.resources),
        grant: intent.grant.clone(),
        stop_grace_us: intent.stop_grace_us,
        stop_after_us: intent.stop_after_us,
        lost_after: intent.lost_after,
        spec: Wanted::Done,
        ..Placement::waiting(intent.version)
    }
}

/// Whether a new version of the job has no place for the task.
fn is_surplus(spec: &JobSpec, task: TaskId) -> bool {
    spec.groups.get(usize::from(task.group)).is_none_or(|group| task.index >= group.count)
}
