//! A scenario recorded from the log of a live cell: its entries, one by one, become machines and what happened to
//! them, jobs, where their tasks were put first, and how long they ran until they ended by themselves.
//!
//! Time 0 is the first entry that carries a time. A job submitted again is there once, as first submitted.

use std::collections::BTreeMap;

use cell_state::event::{Committed, Event, Report, Seen};
use cell_state::job::{Band, JobSpec, Run};
use cell_state::machine::MachineState;
use cell_state::task::Exit;
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, TaskId, Time};

use crate::priority;
use crate::scenario::{Change, Job, MachineChange, Placed, Scenario, Tasks};

/// A log on its way to a scenario.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recording {
    scenario: Scenario,
    start: Option<Time>,
    machines: BTreeMap<MachineId, Known>,
    jobs: BTreeMap<JobId, Recorded>,
    names: BTreeMap<String, u32>,
    resubmitted: u64,
    lost: u64,
}

/// A machine of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    index: u32,
    up: bool,
    incarnation: u64,
}

/// A job of the log.
#[derive(Clone, PartialEq, Debug)]
struct Recorded {
    id: JobId,
    job: Job,
    spec: std::sync::Arc<JobSpec>,
    tasks: BTreeMap<TaskId, Life>,
}

/// What is known of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Life {
    placed: Option<Placed>,
    started_us: Option<u64>,
    /// How long it ran, and its exit code.
    ran: Option<(u64, i32)>,
}

impl Recording {
    /// Takes the next entry of the log.
    pub fn take(&mut self, event: &Event) {
        let now = event.time();
        if let Some(time) = now {
            self.start.get_or_insert(time);
        }
        let at_us = now.map_or(0, |time| time.since(self.start.unwrap_or(time)));
        match event {
            Event::MachineRegistered { machine, spec, incarnation, .. } => {
                self.registered(*machine, spec, *incarnation, at_us);
            }
            Event::MachineStateSet { machine, state, .. } => {
                let Some(known) = self.machines.get(machine).copied() else { return };
                match state {
                    MachineState::Down => self.set(*machine, known, false, at_us),
                    MachineState::Ready => self.set(*machine, known, true, at_us),
                    // A machine that is drained keeps what it has for a while; nothing is lost.
                    MachineState::Draining => {}
                }
            }
            Event::JobSubmitted { job, spec, .. } => self.submitted(*job, spec, at_us),
            Event::Committed(committed) => self.committed(committed, at_us),
            Event::Reported { machine, incarnation, reports, .. } => {
                if self.machines.get(machine).is_some_and(|known| known.incarnation == *incarnation) {
                    reports.iter().for_each(|report| self.reported(report, at_us));
                }
            }
            Event::Configured { .. }
            | Event::QuotaSet { .. }
            | Event::JobStopped { .. }
            | Event::JobsForgotten { .. }
            | Event::SessionOpened { .. }
            | Event::SessionEnded { .. } => {}
        }
    }

    /// The scenario, and what of the log it lacks.
    pub fn finish(mut self) -> (Scenario, Vec<String>) {
        for recorded in std::mem::take(&mut self.jobs).into_values() {
            self.scenario.jobs.push(recorded.finish());
        }
        self.scenario.put_in_order();
        let left_out = [
            (self.resubmitted, "later versions of jobs were left out"),
            (self.lost, "runs that were cut short (evicted, machine lost) were left out"),
        ];
        let told = left_out.into_iter().filter(|(count, _)| *count > 0);
        (self.scenario, told.map(|(count, what)| format!("{count} {what}")).collect())
    }

    fn registered(
        &mut self,
        machine: MachineId,
        spec: &cell_state::machine::MachineSpec,
        incarnation: u64,
        at_us: u64,
    ) {
        if let Some(known) = self.machines.get(&machine).copied() {
            if known.up && known.incarnation != incarnation {
                // The agent has lost its records: what ran there is gone.
                self.set(machine, known, false, at_us);
            }
            self.set(
                machine,
                Known { incarnation, up: known.up && known.incarnation == incarnation, ..known },
                true,
                at_us,
            );
            return;
        }
        let index = self.scenario.machines.len() as u32;
        self.scenario.machines.push(spec.clone());
        self.machines.insert(machine, Known { index, up: true, incarnation });
        // Those that register at the very start were there; a study begins with a cell, not with an empty room.
        if at_us > STARTING_US {
            self.scenario.changes.push(MachineChange { at_us, machine: index, change: Change::Up });
        }
    }

    fn set(&mut self, machine: MachineId, known: Known, up: bool, at_us: u64) {
        if known.up != up {
            let change = if up { Change::Up } else { Change::Down };
            self.scenario.changes.push(MachineChange { at_us, machine: known.index, change });
        }
        self.machines.insert(machine, Known { up, ..known });
    }

    fn submitted(&mut self, id: JobId, spec: &std::sync::Arc<JobSpec>, at_us: u64) {
        if self.jobs.contains_key(&id) {
            self.resubmitted += 1;
            return;
        }
        // A name may be used again once its job has been forgotten.
        let uses = self.names.entry(spec.name.clone()).or_default();
        *uses += 1;
        let name = if *uses == 1 { spec.name.clone() } else { format!("{}-again{}", spec.name, *uses - 1) };
        let production = priority::is_production(Band::of(spec.priority));
        let mut job =
            Job::new(name, Some(at_us), if production { "service" } else { "batch" }, spec.priority);
        job.team.clone_from(&spec.team);
        job.distinct = spec.groups.iter().any(|g| g.distinct_machines);
        self.jobs.insert(id, Recorded { id, job, spec: spec.clone(), tasks: BTreeMap::new() });
    }

    fn committed(&mut self, committed: &Committed, at_us: u64) {
        for outcome in committed.outcomes.iter() {
            match outcome {
                Outcome::Placed(placed) => {
                    let Some(machine) = self.machines.get(&placed.machine).map(|known| known.index) else {
                        continue;
                    };
                    let Some(life) = self.life(placed.task) else { continue };
                    life.placed.get_or_insert(Placed { machine, at_us });
                    life.started_us = None;
                }
                Outcome::Stopping { .. }
                | Outcome::Resized { .. }
                | Outcome::Conflict(_)
                | Outcome::Aborted => {}
            }
        }
    }

    fn reported(&mut self, report: &Report, at_us: u64) {
        let Some(life) = self.life(report.task) else { return };
        match report.seen {
            Seen::Started => life.started_us = Some(at_us),
            Seen::Ended(exit) => {
                let Some(started) = life.started_us.take() else { return };
                match exit {
                    Exit::Code(code) => {
                        life.ran.get_or_insert((at_us - started, code));
                    }
                    Exit::Signal(_) | Exit::NotStarted(_) | Exit::Unseen | Exit::OutOfMemory(_) => {
                        self.lost += 1
                    }
                }
            }
        }
    }

    fn life(&mut self, task: TaskId) -> Option<&mut Life> {
        self.jobs.get_mut(&task.job).map(|job| job.tasks.entry(task).or_default())
    }
}

/// Machines that register within this time of the first entry count as there from the start: ten seconds, what agents
/// take to connect when a cell is started.
const STARTING_US: u64 = 10_000_000;

/// Machine and time of the placement, duration and exit code.
type Kind = (Option<(u32, u64)>, Option<(u64, i32)>);

impl Recorded {
    fn finish(self) -> Job {
        let Recorded { id, mut job, spec, tasks } = self;
        for (number, group) in spec.groups.iter().enumerate() {
            // Equal lives share an entry.
            let mut kinds: BTreeMap<Kind, u32> = BTreeMap::new();
            for index in 0..group.count {
                let task = TaskId { job: id, group: number as u16, index };
                let life = tasks.get(&task).copied().unwrap_or_default();
                *kinds.entry((life.placed.map(|p| (p.machine, p.at_us)), life.ran)).or_default() += 1;
            }
            let planned = match &group.run {
                Run::Simulated { run_for_us, exit_code } => (*run_for_us, *exit_code),
                Run::Exec(_) => (None, 0),
            };
            for ((placed, ran), count) in kinds {
                let (run_for_us, exit_code) = ran.map_or(planned, |(us, code)| (Some(us), code));
                job.tasks.push(Tasks {
                    exit_code,
                    constraints: group.constraints.clone(),
                    placed: placed.map(|(machine, at_us)| Placed { machine, at_us }),
                    ..Tasks::new(count, group.resources, run_for_us)
                });
            }
        }
        job
    }
}

#[cfg(test)]
mod tests;
