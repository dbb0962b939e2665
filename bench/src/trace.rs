//! A recorded trace as plain records, and the workload they make.
//!
//! A Google job is split by priority (a job of ours has one; two of 3,976 are split) and by when it was submitted;
//! its tasks are grouped by equal size and, for those that end, by how long they ran.
//! A job with more kinds of tasks than a job of ours may have groups becomes several.

mod recorded;

use std::collections::BTreeMap;

use cell_state::Resources;
use cell_state::job::JobSpec;

use crate::cell_c;
use crate::division::Division;
use crate::workload::{self, Arrival, Batch, Workload};

pub use recorded::TraceChange;

/// A machine of a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceMachine {
    /// Google's number.
    pub id: u64,
    /// The platform.
    pub platform: String,
    /// What it has, in our units.
    pub capacity: Resources,
}

/// A task of a trace, as its owner asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceTask {
    /// Google's job.
    pub job: u64,
    /// The task's index in it.
    pub index: u32,
    /// Google's priority, 0 to 11.
    pub priority: u8,
    /// Cpu, memory and disk asked for, in our units.
    pub size: [u64; 3],
    /// Whether every task of the job must be on another machine.
    pub distinct: bool,
}

/// A task that runs when the trace starts, and where it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Running {
    /// The task.
    pub task: TraceTask,
    /// Google's number of its machine.
    pub machine: u64,
}

/// A task submitted later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arriving {
    /// The task.
    pub task: TraceTask,
    /// When it was submitted, in microseconds of the trace.
    pub submit_us: u64,
    /// When Google's scheduler placed it, if it did while recorded.
    pub schedule_us: Option<u64>,
    /// Google's number of the machine it was placed on then.
    pub machine: Option<u64>,
    /// When and how it ended, if it did while recorded.
    pub end: Option<(u64, End)>,
}

/// How a task of a trace ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It made room for others, or its machine went away.
    Evicted,
    /// By itself, badly.
    Failed,
    /// By itself, well.
    Finished,
    /// Its owner, or a job it depended on, ended it.
    Killed,
    /// The record of its end is missing.
    Lost,
}

/// The time at which traces start, in microseconds; what was there before has time 0.
pub const START_US: u64 = 600_000_000;

/// Tasks of one job submitted further apart than this, in microseconds, count as jobs of their own.
const WAVE_GAP_US: u64 = 1_000_000;

/// A job of the trace, its priority, and which of its waves.
type WaveId = (u64, u8, u32);

/// The steps durations are rounded to, per doubling: a step is 9 %.
const DURATION_STEPS: u64 = 8;

/// A recorded trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The machines when it starts.
    pub machines: Vec<TraceMachine>,
    /// The tasks that run when it starts.
    pub running: Vec<Running>,
    /// The tasks submitted later, by the time of their submission.
    pub arriving: Vec<Arriving>,
    /// The machines that go and come after the start, by time.
    pub changes: Vec<TraceChange>,
}

impl Trace {
    /// The load of the trace for these schedulers. The seed decides racks and zones, which the trace doesn't tell.
    pub fn workload(&self, seed: u64, mut division: Division) -> Workload {
        let machines = cell_c::specs(&self.machines, seed);
        let mut initial = self.initial();
        workload::in_submission_order(&mut initial);
        for job in &mut initial {
            job.scheduler = division.assign(job.priority, workload::tasks(job));
        }
        let mut arrivals = self.arrivals();
        arrivals.sort_by(|a, b| a.at_us.cmp(&b.at_us).then_with(|| a.job.name.cmp(&b.job.name)));
        for Arrival { job, .. } in &mut arrivals {
            job.scheduler = division.assign(job.priority, workload::tasks(job));
        }
        Workload { machines, initial, arrivals }
    }

    fn initial(&self) -> Vec<JobSpec> {
        let mut jobs: BTreeMap<(u64, u8), Parts> = BTreeMap::new();
        for Running { task, .. } in &self.running {
            jobs.entry((task.job, task.priority)).or_default().add(task, None, 0);
        }
        let specs = |((job, priority), parts): ((u64, u8), Parts)| {
            parts.jobs(&format!("t0-{job}-{priority}"), priority)
        };
        jobs.into_iter().flat_map(specs).collect()
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let mut jobs: BTreeMap<WaveId, (u64, Parts)> = BTreeMap::new();
        for (wave, arriving) in self.waves() {
            let (_, parts) = jobs.entry(wave).or_insert((arriving.submit_us, Parts::default()));
            let (run_for_us, exit_code) = arriving.run();
            parts.add(&arriving.task, run_for_us, exit_code);
        }
        let specs = |((job, priority, wave), (at, parts)): (WaveId, (u64, Parts))| {
            let at_us = at.saturating_sub(START_US);
            parts
                .jobs(&format!("a{wave}-{job}-{priority}"), priority)
                .into_iter()
                .map(move |job| Arrival { at_us, job })
        };
        jobs.into_iter().flat_map(specs).collect()
    }

    /// Each arriving task, in order, with the wave of its job that it belongs to: a job whose tasks come after a pause is
    /// submitted again.
    fn waves(&self) -> impl Iterator<Item = (WaveId, &Arriving)> {
        // The wave a job's latest task belongs to, and when it was submitted.
        let mut latest: BTreeMap<(u64, u8), (u32, u64)> = BTreeMap::new();
        self.arriving.iter().map(move |arriving| {
            let (job, priority, at) = (arriving.task.job, arriving.task.priority, arriving.submit_us);
            let (wave, last) = latest.entry((job, priority)).or_insert((0, at));
            *wave += u32::from(at > *last + WAVE_GAP_US);
            *last = at;
            ((job, priority, *wave), arriving)
        })
    }
}

impl Arriving {
    /// How long it ran, rounded, and the exit code its simulation pretends.
    fn run(&self) -> (Option<u64>, i32) {
        let (Some(start), Some((end, how))) = (self.schedule_us, self.end) else { return (None, 0) };
        let code = match how {
            End::Failed => 1,
            End::Evicted | End::Finished | End::Killed | End::Lost => 0,
        };
        (Some(rounded(end.saturating_sub(start))), code)
    }
}

/// Rounds down to `DURATION_STEPS` steps per doubling, so that tasks which ran about as long share a group.
fn rounded(us: u64) -> u64 {
    let step = us.checked_ilog2().map_or(1, |log| ((1u64 << log) / DURATION_STEPS).max(1));
    us / step * step
}

/// The tasks of one job being collected: sizes and durations, each with how many tasks have it.
#[derive(Default)]
struct Parts {
    distinct: bool,
    counts: BTreeMap<([u64; 3], Option<u64>, i32), u32>,
}

impl Parts {
    fn add(&mut self, task: &TraceTask, run_for_us: Option<u64>, exit_code: i32) {
        self.distinct |= task.distinct;
        *self.counts.entry((task.size, run_for_us, exit_code)).or_default() += 1;
    }

    fn jobs(self, name: &str, priority: u8) -> Vec<JobSpec> {
        let batch = |((size, run_for_us, exit_code), count)| Batch { size, run_for_us, exit_code, count };
        let batches: Vec<Batch> = self.counts.into_iter().map(batch).collect();
        workload::jobs(name, priority, self.distinct, &batches)
    }
}

#[cfg(test)]
mod tests;
