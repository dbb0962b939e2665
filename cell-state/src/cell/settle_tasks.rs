//! Changes of single tasks, and what follows from them: counters, charges, versions in use.

use crate::ids::{JobId, TaskId, Time};
use crate::job::{GroupTasks, Job, JobVersion, RestartOn};
use crate::lifecycle::{self, After, Trigger};
use crate::page::PageKey;
use crate::resources::Resources;
use crate::task::packed::Packed;
use crate::task::{Exit, StopReason, TaskState};

use super::Cell;

impl Cell {
    /// Runs a task's state machine, with all that follows from the change.
    pub(super) fn trigger(&mut self, id: TaskId, trigger: Trigger, time: Time) {
        let Some(before) = self.record(id).map(Packed::state) else { return };
        let Some(after) = lifecycle::next(before, trigger) else { return };
        if before.is_live() && !after.is_live() {
            self.leave(id);
        }
        self.update_task(id, |task| {
            task.set_state(after, time);
            if trigger == Trigger::Revive {
                task.set_restarts(0);
            }
        });
    }

    /// A process was seen gone.
    pub(super) fn end(&mut self, id: TaskId, exit: Exit, time: Time) {
        let Some(task) = self.record(id).filter(|t| t.state().is_live()).copied() else { return };
        let after = self.after_end(id, task.restarts(), exit);
        let before = task.state();
        let Some(state) = lifecycle::next(before, Trigger::Ended(after)) else { return };
        let stopping = matches!(before, TaskState::Stopping(_));
        self.leave(id);
        self.update_task(id, |task| {
            task.set_state(state, time);
            // An end that was asked for is no failure: it neither counts as a restart nor delays the next placement.
            let asked = stopping && task.is_pending();
            task.set_exit(if asked { None } else { Some(exit) });
            if !stopping && after == After::Restart {
                task.set_restarts(task.restarts() + 1);
            }
        });
    }

    fn after_end(&self, id: TaskId, restarts: u16, exit: Exit) -> After {
        let over = if exit.is_success() { After::Complete } else { After::Fail };
        let group = self.job(id.job).and_then(|job| job.spec().groups.get(usize::from(id.group)));
        let Some(restart) = group.map(|g| g.restart) else { return over };
        let again = match restart.on {
            RestartOn::Always => true,
            RestartOn::Failure => !exit.is_success(),
            RestartOn::Never => false,
        };
        if again && restarts < restart.attempts { After::Restart } else { over }
    }

    /// Takes a live task off its machine.
    fn leave(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(id.job.0 as usize).and_then(Option::as_deref_mut) else { return };
        let Some(task) = job.record(id).copied() else { return };
        let charge = job.charge(id);
        self.quotas.release(job.account, &charge);
        if let Some(version) = job.version_mut(task.version()) {
            version.live -= 1;
        }
        if !job.resized.is_empty() && job.resized.remove(&id).is_some() {
            self.pages.note(PageKey::of_job(id.job));
        }
        if let Some(machine) = task.machine() {
            let load = &mut self.machines[machine.index()].load;
            if let Some((moved, position)) = load.remove(id, task.position(), &charge) {
                self.set_position(moved, position);
            }
            self.touch(machine, None);
        }
        self.prune_versions(id.job);
    }

    /// Changes a task's record and keeps the counters of its group.
    pub(super) fn update_task(&mut self, id: TaskId, change: impl FnOnce(&mut Packed)) {
        let Some(group) = self.group_mut(id) else { return };
        let total = group.tasks.len();
        let Some(task) = group.tasks.record_mut(id.index) else { return };
        let before = task.state();
        change(task);
        let after = task.state();
        group.note_change(id.index, before, after);
        self.pages.note(PageKey::of_task(id, total));
    }

    /// Brings a group to the size its spec asks for.
    pub(super) fn resize_group(&mut self, job: JobId, group: u16, count: u32, time: Time) {
        let at = TaskId { job, group, index: 0 };
        let Some(tasks) = self.group_mut(at) else { return };
        tasks.wanted = count;
        let before = tasks.tasks.len();
        if (count as usize) > before {
            tasks.tasks.grow(count as usize, time);
            tasks.counts.pending += count - before as u32;
            tasks.pending_from = tasks.pending_from.min(before as u32);
        }
        let after = tasks.tasks.len();
        self.pages.note_all(PageKey::of_group(job, group, before));
        self.pages.note_all(PageKey::of_group(job, group, after));
        for index in 0..before as u32 {
            let trigger = if index < count { Trigger::Revive } else { Trigger::Stop(StopReason::Stop) };
            self.trigger(TaskId { index, ..at }, trigger, time);
        }
    }

    /// Drops versions that are neither current nor in use.
    pub(super) fn prune_versions(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        if job.versions.len() < 2 {
            return;
        }
        let (before, current) = (job.versions.len(), job.current().version);
        job.versions.retain(|v| v.live > 0 || v.version == current);
        if job.versions.len() != before {
            self.pages.note(PageKey::of_job(id));
        }
    }

    /// Counts a live task that a snapshot brought back.
    pub(crate) fn restore_charge(&mut self, id: TaskId, charge: &Resources, version: u32) {
        let Some(job) = self.jobs.get_mut(id.job.0 as usize).and_then(Option::as_mut) else { return };
        self.quotas.charge(job.account, charge);
        if let Some(version) = job.version_mut(version) {
            version.live += 1;
        }
    }

    /// Notes where a live task is in the list of its machine.
    pub(crate) fn set_position(&mut self, id: TaskId, position: usize) {
        let task = self.group_mut(id).and_then(|group| group.tasks.record_mut(id.index));
        if let Some(task) = task {
            task.set_position(position);
        }
    }

    pub(super) fn record(&self, id: TaskId) -> Option<&Packed> {
        self.job(id.job)?.record(id)
    }

    fn group_mut(&mut self, id: TaskId) -> Option<&mut GroupTasks> {
        self.jobs.get_mut(id.job.0 as usize)?.as_mut()?.groups.get_mut(usize::from(id.group))
    }
}

impl Job {
    pub(super) fn version_mut(&mut self, version: u32) -> Option<&mut JobVersion> {
        self.versions.iter_mut().rev().find(|v| v.version == version)
    }
}

/// Tasks looked at per change to raise the index below which nothing is pending: what is left is looked at by the next change.
const PENDING_STEPS: usize = 64;

impl GroupTasks {
    /// Keeps the counters, and the index below which nothing is pending.
    pub(super) fn note_change(&mut self, index: u32, before: TaskState, after: TaskState) {
        if before == after {
            return;
        }
        *self.counts.slot(before) -= 1;
        *self.counts.slot(after) += 1;
        if after == TaskState::Pending {
            self.pending_from = self.pending_from.min(index);
        } else if before == TaskState::Pending {
            self.raise_pending_from(1);
        }
    }

    /// To be called after so many tasks are no longer pending.
    pub(super) fn raise_pending_from(&mut self, changes: usize) {
        let records = self.tasks.records();
        if self.counts.pending == 0 {
            self.pending_from = records.len() as u32;
            return;
        }
        let rest = records.get(self.pending_from as usize..).unwrap_or_default();
        let gap = rest.iter().take(changes * PENDING_STEPS).take_while(|task| !task.is_pending()).count();
        self.pending_from += gap as u32;
    }
}
