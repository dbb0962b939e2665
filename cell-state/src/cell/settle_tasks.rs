//! Changes of single tasks, and what follows from them: counters, charges, versions in use.

use crate::ids::{JobId, TaskId, Time};
use crate::job::{Band, GroupTasks, JobVersion, RestartOn};
use crate::lifecycle::{self, After, Trigger};
use crate::page::PageKey;
use crate::resources::Resources;
use crate::task::{Exit, Task, TaskState};

use super::Cell;

impl Cell {
    /// Runs a task's state machine, with all that follows from the change.
    pub(super) fn trigger(&mut self, id: TaskId, trigger: Trigger, time: Time) {
        let Some(before) = self.task(id).map(|t| t.state) else { return };
        let Some(after) = lifecycle::next(before, trigger) else { return };
        let leaves = before.is_live() && !after.is_live();
        if leaves {
            self.leave(id);
        }
        self.update_task(id, |task| {
            task.state = after;
            task.changed = time;
            if trigger == Trigger::Revive {
                task.restarts = 0;
            }
        });
    }

    /// A process was seen gone.
    pub(super) fn end(&mut self, id: TaskId, exit: Exit, time: Time) {
        let Some(task) = self.task(id).filter(|t| t.state.is_live()).copied() else { return };
        let after = self.after_end(id, &task, exit);
        let stopping = matches!(task.state, TaskState::Stopping(_));
        self.trigger(id, Trigger::Ended(after), time);
        self.update_task(id, |task| {
            // An end that was asked for is no failure: it neither counts as a restart nor delays the next placement.
            let asked = stopping && task.state == TaskState::Pending;
            task.exit = if asked { None } else { Some(exit) };
            if !stopping && after == After::Restart {
                task.restarts += 1;
            }
        });
    }

    fn after_end(&self, id: TaskId, task: &Task, exit: Exit) -> After {
        let over = if exit.is_success() { After::Complete } else { After::Fail };
        let group = self.job(id.job).and_then(|job| job.spec().groups.get(usize::from(id.group)));
        let Some(restart) = group.map(|g| g.restart) else { return over };
        let again = match restart.on {
            RestartOn::Always => true,
            RestartOn::Failure => !exit.is_success(),
            RestartOn::Never => false,
        };
        if again && task.restarts < restart.attempts { After::Restart } else { over }
    }

    /// Takes a live task off its machine.
    fn leave(&mut self, id: TaskId) {
        let Some(task) = self.task(id).copied() else { return };
        let charge = self.charge(id);
        self.charge_team(id, &charge, false);
        if let Some(machine) = task.machine {
            self.machines[machine.index()].load.remove(id, &charge);
            self.touch(machine, None);
        }
        if let Some(version) = self.job_version_mut(id.job, task.version) {
            version.live -= 1;
        }
        if let Some(job) = self.jobs.get_mut(id.job.0 as usize).and_then(Option::as_mut)
            && job.resized.remove(&id).is_some()
        {
            self.stale.insert(PageKey::of_job(id.job));
        }
        self.prune_versions(id.job);
    }

    /// Changes a task's record and keeps the counters of its group.
    pub(super) fn update_task(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let Some(group) = self.group_mut(id) else { return };
        let total = group.tasks.len();
        let Some(task) = group.tasks.get_mut(id.index as usize) else { return };
        let before = task.state;
        change(task);
        let after = task.state;
        if before != after {
            *group.counts.slot(before) -= 1;
            *group.counts.slot(after) += 1;
            group.note_pending(id.index, before, after);
        }
        self.stale.insert(PageKey::of_task(id, total));
    }

    /// Brings a group to the size its spec asks for.
    pub(super) fn resize_group(&mut self, job: JobId, group: u16, count: u32, time: Time) {
        let at = TaskId { job, group, index: 0 };
        let Some(tasks) = self.group_mut(at) else { return };
        let before = tasks.tasks.len();
        if (count as usize) > before {
            tasks.tasks.resize(count as usize, Task::pending(time));
            tasks.counts.pending += count - before as u32;
            tasks.pending_from = tasks.pending_from.min(before as u32);
        }
        let after = tasks.tasks.len();
        self.stale.extend(PageKey::of_group(job, group, before));
        self.stale.extend(PageKey::of_group(job, group, after));
        for index in 0..before as u32 {
            let trigger =
                if index < count { Trigger::Revive } else { Trigger::Stop(crate::task::StopReason::Stop) };
            self.trigger(TaskId { index, ..at }, trigger, time);
        }
    }

    /// Drops versions that are neither current nor in use.
    pub(super) fn prune_versions(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let (before, current) = (job.versions.len(), job.current().version);
        job.versions.retain(|v| v.live > 0 || v.version == current);
        if job.versions.len() != before {
            self.stale.insert(PageKey::of_job(id));
        }
    }

    pub(super) fn charge_team(&mut self, id: TaskId, amount: &Resources, add: bool) {
        let Some(job) = self.jobs.get(id.job.0 as usize).and_then(Option::as_ref) else { return };
        let spec = job.spec();
        let band = Band::of(spec.priority);
        if add {
            self.quotas.charge(&spec.team, band, amount);
        } else {
            self.quotas.release(&spec.team, band, amount);
        }
    }

    /// Counts a live task that a snapshot brought back.
    pub(crate) fn restore_charge(&mut self, id: TaskId, charge: &Resources, version: u32) {
        self.charge_team(id, charge, true);
        if let Some(version) = self.job_version_mut(id.job, version) {
            version.live += 1;
        }
    }

    pub(super) fn job_version_mut(&mut self, id: JobId, version: u32) -> Option<&mut JobVersion> {
        let job = self.jobs.get_mut(id.0 as usize)?.as_mut()?;
        job.versions.iter_mut().rev().find(|v| v.version == version)
    }

    fn group_mut(&mut self, id: TaskId) -> Option<&mut GroupTasks> {
        self.jobs.get_mut(id.job.0 as usize)?.as_mut()?.groups.get_mut(usize::from(id.group))
    }
}

impl GroupTasks {
    /// Keeps the index below which nothing is pending.
    fn note_pending(&mut self, index: u32, before: TaskState, after: TaskState) {
        if after == TaskState::Pending {
            self.pending_from = self.pending_from.min(index);
        } else if before == TaskState::Pending && index == self.pending_from {
            let rest = self.tasks[index as usize..].iter();
            let gap = rest.take_while(|t| t.state != TaskState::Pending).count();
            self.pending_from += gap as u32;
        }
    }
}
