//! What tasks use: the newest samples of each machine, in memory only. They aren't state of the cell: after a start there
//! are none until agents have sampled again, and nothing that is decided by the log depends on them.
//!
//! Bounded by what agents may say: rounds replace each other, a round has at most as many samples as the machine has live
//! tasks, and a machine that hasn't been heard of for a while has none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use cell_state::machine::Machine;
use cell_state::{Cell, MachineId, TaskId};
use dashmap::DashMap;
use transport::bounds::ROWS_MAX;
use transport::usage::{MachineUsage, MachineUsageRow, TaskUsage, TaskUsageRow, Usage, UsageView};

use crate::bounds::{USAGE_KEPT, USAGE_MACHINES_AT_ONCE};
use crate::clock;
use crate::mirror::Mirror;

/// The newest samples.
#[derive(Default)]
pub(crate) struct Usages {
    of: DashMap<MachineId, Round>,
}

/// One round of samples of a machine.
struct Round {
    came: Instant,
    /// By task.
    tasks: Vec<TaskUsage>,
}

impl Usages {
    /// Takes samples of a machine that has so many live tasks.
    pub(crate) fn note(&self, samples: MachineUsage, live: usize) {
        let MachineUsage { machine, first, tasks } = samples;
        let mut round =
            self.of.entry(machine).or_insert_with(|| Round { came: Instant::now(), tasks: Vec::new() });
        if first {
            round.tasks.clear();
            round.came = Instant::now();
        }
        let room = live.saturating_sub(round.tasks.len());
        round.tasks.extend(tasks.into_iter().take(room));
        round.tasks.sort_unstable_by_key(|sample| sample.task);
        round.tasks.shrink_to(live);
    }

    /// Forgets what is too old to mean anything.
    pub(crate) fn forget_old(&self) {
        self.of.retain(|_, round| round.came.elapsed() <= USAGE_KEPT);
    }

    /// The samples of a machine whose placements are still there, with the time since they came.
    pub(crate) fn of(&self, cell: &Cell, machine: &Machine) -> Option<(Duration, Vec<TaskUsage>)> {
        let round = self.of.get(&machine.id)?;
        let age = round.came.elapsed();
        let is_current = |sample: &&TaskUsage| {
            let task = cell.task(sample.task);
            task.is_some_and(|t| {
                t.epoch == sample.epoch && t.machine == Some(machine.id) && t.state.is_live()
            })
        };
        (age <= USAGE_KEPT).then(|| (age, round.tasks.iter().filter(is_current).copied().collect()))
    }

    /// What people read: of all machines, or of one. The state is looked at a few machines at a time, since publish waits
    /// meanwhile.
    pub(crate) fn view(&self, mirror: &Mirror, only: Option<MachineId>, limit: u32) -> UsageView {
        let limit = limit.min(ROWS_MAX) as usize;
        let (mut rows, mut total) = (Vec::new(), 0);
        // The highest so far, lowest on top: a million samples are read without being kept.
        let mut highest = BinaryHeap::new();
        let mut next = only.map_or(0, MachineId::index);
        loop {
            let cell = mirror.read();
            let count = if only.is_some() { 1 } else { USAGE_MACHINES_AT_ONCE };
            let machines = cell.machines().iter().skip(next).take(count);
            let before = next;
            for machine in machines {
                next += 1;
                let found = self.of(&cell, machine);
                let (age, tasks) = found.map_or((None, Vec::new()), |(age, tasks)| (Some(age), tasks));
                let age_us = age.map(|age| age.as_micros() as u64);
                if rows.len() < ROWS_MAX as usize {
                    rows.push(machine_row(machine, &tasks, age_us));
                }
                total += tasks.len() as u32;
                for sample in tasks {
                    highest.push(Reverse((sample.usage.cpu_milli, Reverse(sample.task), age_us, machine.id)));
                    if highest.len() > limit {
                        highest.pop();
                    }
                }
            }
            if next == before || only.is_some() {
                break;
            }
        }
        let cell = mirror.read();
        let tasks = highest.into_sorted_vec().into_iter();
        let tasks = tasks.filter_map(|Reverse((_, Reverse(task), age_us, machine))| {
            self.task_row(&cell, machine, task, age_us.unwrap_or(0))
        });
        let tasks = tasks.collect();
        UsageView { at: cell.seq(), time: clock::now(), tasks, machines: rows, tasks_total: total }
    }

    fn task_row(&self, cell: &Cell, machine: MachineId, task: TaskId, age_us: u64) -> Option<TaskUsageRow> {
        let round = self.of.get(&machine)?;
        let at = round.tasks.binary_search_by_key(&task, |sample| sample.task).ok()?;
        let job = cell.job(task.job)?;
        let group = job.spec().groups.get(usize::from(task.group));
        Some(TaskUsageRow {
            task,
            epoch: round.tasks[at].epoch,
            job: job.spec().name.clone(),
            group: group.map_or_else(String::new, |group| group.name.clone()),
            machine: cell.machine(machine)?.spec.name.clone(),
            priority: job.spec().priority,
            promised: cell.charge(task),
            usage: round.tasks[at].usage,
            age_us,
        })
    }
}

fn machine_row(machine: &Machine, tasks: &[TaskUsage], age_us: Option<u64>) -> MachineUsageRow {
    MachineUsageRow {
        name: machine.spec.name.clone(),
        state: machine.state,
        tasks: machine.load.tasks.len() as u32,
        sampled: tasks.len() as u32,
        limit: machine.limit,
        promised: machine.load.used,
        usage: tasks.iter().fold(Usage::default(), |sum, sample| sum.plus(sample.usage)),
        age_us,
    }
}
