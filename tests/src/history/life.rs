//! What happens to single tasks, as the history check understands it.

use std::collections::BTreeSet;

use cell_state::job::care::LostAfter;
use cell_state::job::{Band, RestartOn};
use cell_state::machine::Grant;
use cell_state::task::StopReason;
use cell_state::task::{Exit, TaskState};
use cell_state::{Resources, TaskId};

use super::{History, Task};

/// A task's life, in words of the check's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// To be placed.
    Pending,
    /// On a machine, not seen running.
    Placed,
    /// Seen running.
    Running,
    /// Asked to stop, never to come back.
    StoppingForGood,
    /// Asked to leave its machine.
    Leaving,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Stopped.
    Stopped,
}

impl Life {
    /// On a machine.
    pub fn is_live(self) -> bool {
        matches!(self, Life::Placed | Life::Running | Life::StoppingForGood | Life::Leaving)
    }

    /// Neither on a machine nor waiting for one.
    pub fn is_over(self) -> bool {
        matches!(self, Life::Completed | Life::Failed | Life::Stopped)
    }

    /// What the product calls it.
    pub fn of(state: TaskState) -> Life {
        match state {
            TaskState::Pending => Life::Pending,
            TaskState::Placed => Life::Placed,
            TaskState::Running => Life::Running,
            TaskState::Stopping(StopReason::Stop) => Life::StoppingForGood,
            TaskState::Stopping(StopReason::Evict | StopReason::Drain) => Life::Leaving,
            TaskState::Completed => Life::Completed,
            TaskState::Failed => Life::Failed,
            TaskState::Stopped => Life::Stopped,
        }
    }
}

impl History {
    /// A submission asks for a task: it is made, or gets another chance.
    pub(super) fn want(&mut self, id: TaskId) {
        let task = self.tasks.entry(id).or_insert(Task {
            life: Life::Pending,
            epoch: 0,
            restarts: 0,
            machine: None,
            promised: Resources::ZERO,
            grant: Grant::default(),
            lost_after: LostAfter::Down,
            waits_for: BTreeSet::new(),
        });
        match task.life {
            Life::Stopped | Life::Failed => (task.life, task.restarts) = (Life::Pending, 0),
            // It is to run after all, once its process is gone.
            Life::StoppingForGood => (task.life, task.restarts) = (Life::Leaving, 0),
            Life::Pending | Life::Placed | Life::Running | Life::Leaving | Life::Completed => {}
        }
    }

    pub(super) fn stop_for_good(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.life = match task.life {
            Life::Pending => Life::Stopped,
            Life::Placed | Life::Running | Life::Leaving => Life::StoppingForGood,
            same @ (Life::StoppingForGood | Life::Completed | Life::Failed | Life::Stopped) => same,
        };
    }

    pub(super) fn ask_to_leave(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if matches!(task.life, Life::Placed | Life::Running) {
            task.life = Life::Leaving;
        }
    }

    pub(super) fn lost(&mut self, id: TaskId) {
        let for_good = self.tasks.get(&id).is_some_and(|t| t.life == Life::StoppingForGood);
        self.off(id, if for_good { Life::Stopped } else { Life::Pending });
    }

    /// A live task leaves its machine.
    fn off(&mut self, id: TaskId, next: Life) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (machine, promised) = (task.machine, task.promised);
        task.life = next;
        task.grant = Grant::default();
        task.waits_for.clear();
        if let Some(machine) = machine.and_then(|m| self.machines.get_mut(m.index())) {
            machine.tasks.remove(&id);
            // Only a task of the same machine can have waited for it.
            for other in machine.tasks.clone() {
                if let Some(other) = self.tasks.get_mut(&other) {
                    other.waits_for.remove(&id);
                }
            }
        }
        self.promise(id, |sum| sum.minus(&promised));
    }

    /// Changes what the team of a task is promised.
    pub(super) fn promise(&mut self, id: TaskId, change: impl FnOnce(&Resources) -> Resources) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let team = (job.spec.team.clone(), Band::of(job.spec.priority));
        let sum = self.promised.entry(team).or_default();
        *sum = change(sum);
    }

    pub(super) fn ended(&mut self, id: TaskId, exit: Exit) {
        let good = exit == Exit::Code(0);
        let Some(rule) = self.jobs.get(&id.job).and_then(|j| j.spec.groups.get(usize::from(id.group))) else {
            return;
        };
        let rule = rule.restart;
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let wanted_again = match rule.on {
            RestartOn::Always => true,
            RestartOn::Failure => !good,
            RestartOn::Never => false,
        };
        let next = match task.life {
            Life::StoppingForGood => Life::Stopped,
            Life::Leaving => Life::Pending,
            Life::Pending | Life::Completed | Life::Failed | Life::Stopped => return,
            Life::Placed | Life::Running if wanted_again && task.restarts < rule.attempts => {
                task.restarts += 1;
                Life::Pending
            }
            Life::Placed | Life::Running if good => Life::Completed,
            Life::Placed | Life::Running => Life::Failed,
        };
        self.off(id, next);
    }
}
