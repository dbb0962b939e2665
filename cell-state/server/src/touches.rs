//! Which machines an event is about: what the subscriptions of agents go by.

use cell_state::event::Event;
use cell_state::verdict::Outcome;
use cell_state::{Cell, JobId, MachineId, TaskId};

/// Adds the machines whose agents need to see this event, judged on the state just before it. A machine may be added
/// more than once.
pub(crate) fn machines(cell: &Cell, event: &Event, out: &mut Vec<MachineId>) {
    match event {
        // Agents ask the fit rule too, and over-commit is part of it.
        Event::Configured { config } if config.overcommit != cell.config().overcommit => {
            out.extend(cell.machines().iter().map(|machine| machine.id));
        }
        Event::Configured { .. } | Event::QuotaSet { .. } => {}
        Event::SessionOpened { .. } | Event::SessionEnded { .. } => {}
        // The agent said so itself.
        Event::Reported { .. } => {}
        Event::MachineRegistered { machine, .. } | Event::MachineStateSet { machine, .. } => {
            out.push(*machine)
        }
        Event::JobSubmitted { job, .. } | Event::JobStopped { job, .. } => live_tasks(cell, *job, out),
        Event::JobsForgotten { jobs } => jobs.iter().for_each(|job| last_tasks(cell, *job, out)),
        Event::Committed(committed) => {
            for outcome in committed.outcomes.iter() {
                match outcome {
                    // Victims sit on the same machine.
                    Outcome::Placed(placed) => out.push(placed.machine),
                    Outcome::Stopping { task, .. } | Outcome::Resized { task, .. } => {
                        machine_of(cell, *task, out)
                    }
                    Outcome::Conflict(_) | Outcome::Aborted => {}
                }
            }
        }
    }
}

fn machine_of(cell: &Cell, task: TaskId, out: &mut Vec<MachineId>) {
    out.extend(cell.task(task).and_then(|t| t.machine));
}

fn live_tasks(cell: &Cell, job: JobId, out: &mut Vec<MachineId>) {
    let Some(job) = cell.job(job) else { return };
    if job.counts().live() > 0 {
        out.extend(job.tasks().filter(|(_, task)| task.state.is_live()).filter_map(|(_, task)| task.machine));
    }
}

/// The machines that ran the job last: their agents may drop its files.
fn last_tasks(cell: &Cell, job: JobId, out: &mut Vec<MachineId>) {
    if let Some(job) = cell.job(job) {
        out.extend(job.tasks().filter_map(|(_, task)| task.machine));
    }
}
