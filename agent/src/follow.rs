//! What an event means for machines. The agent's side of step 9 (stream) of a placement's life.
//!
//! [`cell_state::Cell::apply`] is the master of these rules: whatever makes a task stopping there is a [`Change`] here.
//! A property test feeds both the same log and compares.

use cell_state::event::{CellConfig, Event};
use cell_state::job::JobSpec;
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{JobId, MachineId, Resources, TaskId};

/// Whom a change concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// One machine.
    Machine(MachineId),
    /// The machine that holds this task.
    Task(TaskId),
    /// The machines that hold tasks of this job.
    Job(JobId),
    /// All of them.
    Everyone,
}

/// One thing that an event changes for a machine.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A task was placed on it.
    Placed(&'a Placed),
    /// A task is to stop.
    Stop(TaskId),
    /// A task's promise was changed.
    Resized(TaskId, &'a Resources),
    /// All tasks of a job are to stop.
    StopJob(JobId),
    /// A job has a new version: tasks beyond its groups' counts are to stop.
    Submitted(JobId, &'a JobSpec),
    /// Drained, undrained, or given up.
    State {
        /// Its state from now on.
        state: MachineState,
        /// What tasks have at most to end, when it is drained; how long it was silent, when it is given up.
        grace_us: Option<u64>,
    },
    /// An agent registered it.
    Registered {
        /// Its description.
        spec: &'a MachineSpec,
        /// The records of that agent.
        incarnation: u64,
    },
    /// The cell's settings changed.
    Configured(&'a CellConfig),
}

/// Calls `each` for everything the event changes for machines, in order.
pub fn changes<'a>(event: &'a Event, mut each: impl FnMut(Target, Change<'a>)) {
    match event {
        Event::Configured { config } => each(Target::Everyone, Change::Configured(config)),
        Event::MachineRegistered { machine, spec, incarnation, time: _ } => {
            each(Target::Machine(*machine), Change::Registered { spec, incarnation: *incarnation });
        }
        Event::MachineStateSet { machine, state, grace_us, time: _ } => {
            each(Target::Machine(*machine), Change::State { state: *state, grace_us: *grace_us });
        }
        Event::JobSubmitted { job, spec, time: _ } => each(Target::Job(*job), Change::Submitted(*job, spec)),
        Event::JobStopped { job, time: _ } => each(Target::Job(*job), Change::StopJob(*job)),
        Event::Committed(committed) => {
            for outcome in committed.outcomes.iter() {
                match outcome {
                    Outcome::Placed(placed) => each(Target::Machine(placed.machine), Change::Placed(placed)),
                    Outcome::Stopping { task, reason: _ } => each(Target::Task(*task), Change::Stop(*task)),
                    Outcome::Resized { task, resources } => {
                        each(Target::Task(*task), Change::Resized(*task, resources));
                    }
                    Outcome::Conflict(_) | Outcome::Aborted => {}
                }
            }
        }
        // Reports are this agent's own words; the others are nothing to a machine.
        Event::Reported { .. }
        | Event::QuotaSet { .. }
        | Event::JobsForgotten { .. }
        | Event::SessionOpened { .. }
        | Event::SessionEnded { .. } => {}
    }
}
