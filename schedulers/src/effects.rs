//! What an entry of the log means for the queue: which jobs may have something to place, which machines gave something
//! back. Read off before the entry is applied, while the state still says where things were. Step 12 (back in the cell)
//! of a placement's life, as a scheduler sees it.

use cell_state::event::{Event, Seen};
use cell_state::machine::MachineState;
use cell_state::task::StopReason;
use cell_state::verdict::Outcome;
use cell_state::{Cell, JobId, MachineId};

/// What one entry changes for schedulers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// Jobs that may have something new to place, or nothing left to.
    pub jobs: Vec<JobId>,
    /// Machines on which something was freed, or that take tasks again.
    pub freed: Vec<MachineId>,
    /// Scheduler processes came or went: jobs may have another owner.
    pub sessions: bool,
    /// Everything may be possible again: settings or quotas changed.
    pub everything: bool,
}

impl Effects {
    /// The effects of an event on a cell that has not applied it yet.
    pub fn of(before: &Cell, event: &Event) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Configured { .. } | Event::QuotaSet { .. } => effects.everything = true,
            Event::MachineRegistered { machine, incarnation, .. } => {
                let known = before.machine(*machine);
                if known.is_some_and(|m| m.incarnation != *incarnation) {
                    effects.jobs_on(before, *machine);
                }
                effects.freed.push(*machine);
            }
            Event::MachineStateSet { machine, state, .. } => match state {
                MachineState::Ready => effects.freed.push(*machine),
                MachineState::Down => effects.jobs_on(before, *machine),
                MachineState::Draining => {}
            },
            Event::JobSubmitted { job, .. } | Event::JobStopped { job, .. } => effects.jobs.push(*job),
            Event::JobsForgotten { jobs } => effects.jobs.extend(jobs),
            Event::SessionOpened { .. } | Event::SessionEnded { .. } => effects.sessions = true,
            Event::Committed(committed) => {
                for outcome in committed.outcomes.iter() {
                    effects.outcome(before, outcome);
                }
            }
            Event::Reported { machine, reports, .. } => {
                for report in reports.iter().filter(|r| matches!(r.seen, Seen::Ended(_))) {
                    effects.job(report.task.job);
                    effects.free(*machine);
                }
            }
        }
        effects
    }

    fn outcome(&mut self, before: &Cell, outcome: &Outcome) {
        match outcome {
            Outcome::Resized { task, .. } => {
                if let Some(machine) = before.task(*task).and_then(|t| t.machine) {
                    self.free(machine);
                }
            }
            // A pending task that is stopped leaves the queue.
            Outcome::Stopping { task, reason: StopReason::Stop } => self.job(task.job),
            Outcome::Stopping { .. } | Outcome::Placed(_) | Outcome::Conflict(_) | Outcome::Aborted => {}
        }
    }

    /// The jobs of everything on a machine whose tasks are lost.
    fn jobs_on(&mut self, before: &Cell, machine: MachineId) {
        let lost = before.machine(machine).into_iter().flat_map(|m| &m.load.tasks);
        lost.for_each(|task| self.job(task.job));
    }

    // Entries mostly name the same job or machine many times in a row; what slips through is only looked at twice.
    fn job(&mut self, job: JobId) {
        if self.jobs.last() != Some(&job) {
            self.jobs.push(job);
        }
    }

    fn free(&mut self, machine: MachineId) {
        if self.freed.last() != Some(&machine) {
            self.freed.push(machine);
        }
    }
}
