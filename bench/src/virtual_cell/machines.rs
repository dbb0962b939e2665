//! What machines do: tasks end on them, leave for others, and are lost with them.

use cell_state::event::{Event, Report, Seen};
use cell_state::machine::MachineState;
use cell_state::task::{Exit, TaskState};
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, TaskId};

use super::agenda::{Due, Ending};
use super::counts::size_of;
use super::run::Run;
use super::scheduler::Waiting;
use crate::scenario::Change;

/// Jobs that are over before they are forgotten together.
const FORGET_AT: usize = 256;

impl Run<'_> {
    /// Tasks have ended, if they are still where they were.
    pub(super) fn end(&mut self, endings: &[Ending]) {
        for of_machine in endings.chunk_by(|a, b| a.machine == b.machine) {
            let id = of_machine[0].machine;
            let still = |ending: &&Ending| {
                self.cell
                    .task(ending.task)
                    .is_some_and(|task| task.epoch == ending.epoch && task.state.is_live())
            };
            let ended: Vec<&Ending> = of_machine.iter().filter(still).collect();
            let Some(machine) = self.cell.machine(id).filter(|_| !ended.is_empty()) else { continue };
            let (incarnation, first) = (machine.incarnation, machine.reports_seen + 1);
            let seen = Seen::Ended(Exit::Code(0));
            let reports = ended.iter().map(|e| Report { task: e.task, epoch: e.epoch, seen }).collect();
            ended.iter().for_each(|ending| self.give_back(ending.task, id));
            self.apply(&Event::Reported { machine: id, incarnation, first, reports, time: self.now });
            for tasks in ended.chunk_by(|a, b| a.task.job == b.task.job) {
                self.after_end(tasks[0].task.job);
            }
        }
    }

    /// A job of which tasks have ended: it is over, or they have to be placed again.
    fn after_end(&mut self, job: JobId) {
        let Some(counts) = self.cell.job(job).map(|job| job.counts()) else { return };
        if counts.pending > 0 {
            return self.came_back(job);
        }
        if counts.live() == 0 {
            self.over.push(job);
            if self.over.len() >= FORGET_AT {
                let jobs = std::mem::take(&mut self.over);
                self.forget(jobs);
            }
        }
    }

    /// A job has tasks to place again.
    fn came_back(&mut self, job: JobId) {
        // Whoever has it in hand will see that there is more to do.
        if !self.waiting.contains_key(&job) {
            let size = size_of(u64::from(self.pending(job)));
            self.waiting.insert(job, Waiting::new(self.now, size, true));
            self.queue(job);
        }
    }

    /// What a task holds is free for offers.
    fn give_back(&mut self, task: TaskId, machine: MachineId) {
        let who = self.jobs_scheduler(task.job);
        let charge = self.cell.charge(task);
        if let Some(offers) = &mut self.offers {
            offers.ended(who, machine, &charge);
        }
    }

    /// The scheduler that decides on a job.
    pub(super) fn jobs_scheduler(&self, job: JobId) -> usize {
        self.info(job).scheduler as usize
    }

    /// The tasks that have to go for what a transaction places.
    pub(super) fn victims(&mut self, outcomes: &[Outcome]) -> Vec<Ending> {
        let mut victims = Vec::new();
        for outcome in outcomes {
            let Outcome::Placed(placed) = outcome else { continue };
            for task in placed.extra.iter().flat_map(|extra| &extra.preempted) {
                let Some(epoch) = self.cell.task(*task).map(|task| task.epoch) else { continue };
                victims.push(Ending { machine: placed.machine, task: *task, epoch });
            }
        }
        for victim in &victims {
            let class = self.info(victim.task.job).class;
            self.class_counts(class).preempted += 1;
        }
        victims
    }

    /// Tasks that were asked to go are gone after their grace.
    pub(super) fn leave_soon(&mut self, mut victims: Vec<Ending>) {
        if !victims.is_empty() {
            victims.sort_by_key(|victim| (victim.machine, victim.task));
            self.agenda.at(self.now.plus(self.settings.grace_us), Due::Ends(victims.into()));
        }
    }

    /// A machine goes or comes.
    pub(super) fn change(&mut self, id: MachineId, change: Change) {
        let state = match change {
            Change::Down => MachineState::Down,
            Change::Up => MachineState::Ready,
        };
        let Some(machine) = self.cell.machine(id).filter(|machine| machine.state != state) else { return };
        let lost: Vec<TaskId> = if change == Change::Down { machine.load.tasks.clone() } else { Vec::new() };
        for task in &lost {
            self.give_back(*task, id);
            let asked = self.cell.task(*task).is_some_and(|t| matches!(t.state, TaskState::Stopping(_)));
            let class = self.info(task.job).class;
            self.class_counts(class).failed += u64::from(!asked);
        }
        self.apply(&Event::MachineStateSet { machine: id, state, grace_us: None, time: self.now });
        let mut jobs: Vec<JobId> = lost.iter().map(|task| task.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs.into_iter().for_each(|job| self.after_end(job));
    }
}
