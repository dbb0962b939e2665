//! What follows a decision: tasks run and end, and what is left of a job is tried again.

use super::agenda::Due;
use super::amounts::Amounts;
use super::run::{Ending, Simulation};

impl<A: Amounts> Simulation<'_, A> {
    /// Tasks of a job were placed on these machines: they run until they end.
    pub(super) fn placed(&mut self, job: u32, machines: Vec<u32>) {
        let state = &mut self.jobs[job as usize];
        state.unscheduled -= machines.len() as u32;
        self.used.tasks(&state.of, machines.len() as f64);
        let ending = Ending { job: state.of, need: state.need, scheduler: state.scheduler, machines };
        self.end_later(ending);
    }

    /// Tasks that run now end after their duration.
    pub(super) fn end_later(&mut self, ending: Ending<A>) {
        let duration_s = ending.job.duration_s;
        let slot = match self.ended.pop() {
            Some(slot) => {
                self.endings[slot as usize] = ending;
                slot
            }
            None => {
                self.endings.push(ending);
                self.endings.len() as u32 - 1
            }
        };
        self.agenda.after(duration_s, Due::Ends(slot));
    }

    /// What is left of a job after an attempt is tried again, unless there is no hope.
    pub(super) fn leftovers(&mut self, number: u32) {
        let job = &mut self.jobs[number as usize];
        if job.unscheduled > 0 && !job.is_hopeless() {
            return self.agenda.again(number);
        }
        if job.unscheduled > 0 {
            self.schedulers[job.scheduler as usize].counts.given_up += 1;
        }
        self.outcomes[job.class as usize].add(job);
        job.over = true;
        self.over.push(number);
    }

    /// All tasks of a commit end; past the end of the run only the first does, each being an event of its own.
    pub(super) fn end(&mut self, slot: u32, past: bool) {
        let ending = &self.endings[slot as usize];
        let machines = if past { &ending.machines[..1] } else { &ending.machines[..] };
        self.used.tasks(&ending.job, -(machines.len() as f64));
        match &mut self.two_level {
            None => machines.iter().for_each(|machine| self.cell.free(*machine, ending.need)),
            Some(two_level) => {
                two_level.give_back(ending, machines);
                two_level.plan_offer(&mut self.agenda);
            }
        }
        self.ended.push(slot);
    }
}
