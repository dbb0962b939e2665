//! A recorded trace as a scenario: every task with its recorded placement, and the machines as they came and went.

use std::collections::BTreeMap;

use cell_state::job::Band;

use super::{Arriving, End, START_US, Trace, TraceMachine, TraceTask, WaveId};
use crate::cell_c;
use crate::priority;
use crate::scenario::{Change, Gathered, Job, MachineChange, Placed, Scenario, Tasks};

/// A machine that goes or comes after the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceChange {
    /// When, in microseconds of the trace.
    pub at_us: u64,
    /// Google's number of the machine.
    pub machine: u64,
    /// The machine that comes; `None` goes.
    pub added: Option<TraceMachine>,
}

impl Trace {
    /// The trace as a scenario, and how many placements were on machines it doesn't describe. The seed decides racks
    /// and zones, which the trace doesn't tell. What ran at the start runs on: when it ended isn't read.
    pub fn scenario(&self, seed: u64) -> (Scenario, u64) {
        let mut all = self.machines.clone();
        let mut index: BTreeMap<u64, u32> = (0..).zip(&all).map(|(i, m)| (m.id, i)).collect();
        let mut scenario = Scenario::default();
        for change in &self.changes {
            let machine = match (&change.added, index.get(&change.machine).copied()) {
                (_, Some(known)) => known,
                (Some(added), None) => {
                    index.insert(change.machine, all.len() as u32);
                    all.push(added.clone());
                    all.len() as u32 - 1
                }
                (None, None) => continue,
            };
            let change_of = if change.added.is_some() { Change::Up } else { Change::Down };
            let at_us = change.at_us.saturating_sub(START_US);
            scenario.changes.push(MachineChange { at_us, machine, change: change_of });
        }
        scenario.machines = cell_c::specs(&all, seed);
        let mut placing = Placing { index, unknown: 0 };
        self.initial_jobs(&mut placing, &mut scenario);
        self.arriving_jobs(&mut placing, &mut scenario);
        scenario.put_in_order();
        (scenario, placing.unknown)
    }

    fn initial_jobs(&self, placing: &mut Placing, scenario: &mut Scenario) {
        let mut jobs: BTreeMap<(u64, u8), (bool, Gathered)> = BTreeMap::new();
        for running in &self.running {
            let (distinct, tasks) = jobs.entry((running.task.job, running.task.priority)).or_default();
            *distinct |= running.task.distinct;
            tasks.add(Tasks { placed: placing.at(Some(running.machine), 0), ..of(&running.task, None) });
        }
        for ((id, priority), (distinct, tasks)) in jobs {
            scenario.jobs.push(job(format!("t0-{id}-{priority}"), None, priority, distinct, tasks));
        }
    }

    fn arriving_jobs(&self, placing: &mut Placing, scenario: &mut Scenario) {
        let mut jobs: BTreeMap<WaveId, (u64, bool, Gathered)> = BTreeMap::new();
        for (wave, arriving) in self.waves() {
            let new = || (arriving.submit_us, false, Gathered::default());
            let (_, distinct, tasks) = jobs.entry(wave).or_insert_with(new);
            *distinct |= arriving.task.distinct;
            let scheduled = arriving.schedule_us.map(|at| at.saturating_sub(START_US));
            let placed = scheduled.and_then(|at| placing.at(arriving.machine, at));
            tasks.add(Tasks { placed, ..ran(arriving) });
        }
        for ((id, priority, wave), (at, distinct, tasks)) in jobs {
            let (name, submit) = (format!("a{wave}-{id}-{priority}"), at.saturating_sub(START_US));
            scenario.jobs.push(job(name, Some(submit), priority, distinct, tasks));
        }
    }
}

/// Where machines are among the scenario's.
struct Placing {
    index: BTreeMap<u64, u32>,
    unknown: u64,
}

impl Placing {
    fn at(&mut self, machine: Option<u64>, at_us: u64) -> Option<Placed> {
        let known = self.index.get(&machine?).copied();
        self.unknown += u64::from(known.is_none());
        known.map(|machine| Placed { machine, at_us })
    }
}

fn job(name: String, submit_us: Option<u64>, google: u8, distinct: bool, tasks: Gathered) -> Job {
    let priority = priority::of_google(google).expect("readers refuse priorities Google doesn't have");
    let production = priority::is_production(Band::of(priority));
    let class = if production { "service" } else { "batch" };
    Job { distinct, tasks: tasks.finish(), ..Job::new(name, submit_us, class, priority) }
}

fn of(task: &TraceTask, run_for_us: Option<u64>) -> Tasks {
    let [cpu, memory, disk] = task.size;
    let ask = cell_state::Resources([cpu, memory, disk, 0, 0, 0, 0, 0]);
    Tasks::new(1, ask, run_for_us)
}

fn ran(arriving: &Arriving) -> Tasks {
    let (Some(start), Some((end, how))) = (arriving.schedule_us, arriving.end) else {
        return of(&arriving.task, None);
    };
    Tasks { exit_code: i32::from(how == End::Failed), ..of(&arriving.task, Some(end.saturating_sub(start))) }
}
