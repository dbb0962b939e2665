//! A seeded synthetic load with the marginals of cell C: the same jobs, tasks, sizes and durations as populations,
//! none of the recorded ones.
//!
//! For each priority the tasks are laid end to end in a seeded order of jobs, once per amount (cpu, memory, disk, duration),
//! and each stretch of tasks gets the mean of the recorded curve over it. So totals are exact whatever the seed, and
//! only who has which amount is chance. A job that reaches over a point of a curve is cut there into groups.

use cell_state::job::JobSpec;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cell_c;
use crate::curve::Curve;
use crate::division::Division;
use crate::marginals::{ARRIVING, JOB_POINTS, Marginals, RUNNING, Spread, TASK_POINTS};
use crate::workload::{self, Arrival, Batch, Workload};

/// How long the recorded arrivals took, in microseconds: 83 minutes.
pub const ARRIVALS_US: u64 = 83 * 60 * 1_000_000;

/// Tasks of a job that must be on machines of their own: beyond this it would need most of the cell.
const DISTINCT_JOB_TASKS_MAX: u32 = 6_000;

/// A load for these schedulers, like that of cell C.
pub fn workload(seed: u64, mut division: Division) -> Workload {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c6f_6164);
    let mut initial: Vec<JobSpec> =
        RUNNING.iter().flat_map(|marginals| jobs("t0", marginals, &mut rng)).collect();
    workload::in_submission_order(&mut initial);
    let mut arrivals: Vec<Arrival> = ARRIVING
        .iter()
        .flat_map(|marginals| jobs("a0", marginals, &mut rng))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|job| Arrival { at_us: rng.random_range(0..ARRIVALS_US), job })
        .collect();
    arrivals.sort_by(|a, b| a.at_us.cmp(&b.at_us).then_with(|| a.job.name.cmp(&b.job.name)));
    for job in initial.iter_mut().chain(arrivals.iter_mut().map(|a| &mut a.job)) {
        job.scheduler = division.assign(job.priority, workload::tasks(job));
    }
    Workload { machines: cell_c::machines(seed), initial, arrivals }
}

/// The jobs of one priority.
fn jobs(prefix: &str, marginals: &Marginals, rng: &mut impl Rng) -> Vec<JobSpec> {
    let counts = task_counts(marginals);
    let distinct = distinct_jobs(&counts, marginals.distinct_tasks, rng);
    let amounts = [
        Amounts::lay(&counts, &marginals.cpu_milli, marginals.tasks, rng),
        Amounts::lay(&counts, &marginals.memory_kib, marginals.tasks, rng),
        Amounts::lay(&counts, &marginals.disk_kib, marginals.tasks, rng),
    ];
    let run_for = marginals.run_for_ms.as_ref().map(|spread| {
        let mut amounts = Amounts::lay(&counts, spread, marginals.ended_tasks, rng);
        // The tasks laid beyond the last that ended run on.
        amounts.end = f64::from(marginals.ended_tasks) / f64::from(marginals.tasks.max(1));
        amounts
    });
    let priority = marginals.google_priority;
    let specs = |job: usize| {
        let batches = batches(job, counts[job], &amounts, run_for.as_ref());
        workload::jobs(&format!("{prefix}-{priority}-{job}"), priority, distinct[job], &batches)
    };
    (0..counts.len()).flat_map(specs).collect()
}

/// How many tasks each job has: the recorded curve at evenly spread fractions, stretched to the recorded total.
fn task_counts(marginals: &Marginals) -> Vec<u32> {
    let values = marginals.tasks_per_job.map(u64::from);
    let curve = Curve::new(&JOB_POINTS, &values);
    let jobs = marginals.jobs;
    let at = |i: u32| curve.value((f64::from(i) + 0.5) / f64::from(jobs)).max(1.0);
    let beyond_one: f64 = (0..jobs).map(|i| at(i) - 1.0).sum();
    let stretch = if beyond_one > 0.0 { f64::from(marginals.tasks - jobs) / beyond_one } else { 0.0 };
    let mut counts: Vec<u32> = (0..jobs).map(|i| 1 + ((at(i) - 1.0) * stretch) as u32).collect();
    let missing = marginals.tasks - counts.iter().sum::<u32>();
    if let Some(largest) = counts.last_mut() {
        *largest += missing;
    }
    counts
}

/// Which jobs want distinct machines, so that as many tasks as recorded do.
fn distinct_jobs(counts: &[u32], wanted: u32, rng: &mut impl Rng) -> Vec<bool> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.shuffle(rng);
    let mut distinct = vec![false; counts.len()];
    let mut left = wanted;
    for job in order {
        if counts[job] <= left.min(DISTINCT_JOB_TASKS_MAX) {
            distinct[job] = true;
            left -= counts[job];
        }
    }
    distinct
}

/// One amount laid over the tasks of all jobs of a priority.
struct Amounts<'a> {
    curve: Curve<'a>,
    /// What means are multiplied with, to meet the recorded total.
    stretch: f64,
    /// The fraction of tasks that have this amount at all.
    end: f64,
    /// Where each job's first task lies, as a fraction of all tasks.
    starts: Vec<f64>,
    tasks: f64,
}

impl<'a> Amounts<'a> {
    fn lay(counts: &[u32], spread: &'a Spread, having: u32, rng: &mut impl Rng) -> Amounts<'a> {
        let tasks: f64 = counts.iter().map(|c| f64::from(*c)).sum();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.shuffle(rng);
        let mut starts = vec![0.0; counts.len()];
        let mut before = 0.0;
        for job in order {
            starts[job] = before / tasks;
            before += f64::from(counts[job]);
        }
        let curve = Curve::new(&TASK_POINTS, &spread.at);
        let mean = curve.mean_of_all();
        let stretch = if mean > 0.0 { spread.total as f64 / (mean * f64::from(having.max(1))) } else { 0.0 };
        Amounts { curve, stretch, end: 1.0, starts, tasks }
    }

    /// The task numbers at which a job's amount has to change: where its stretch passes a point of the curve.
    fn cuts(&self, job: usize, count: u32) -> impl Iterator<Item = u32> {
        let points =
            TASK_POINTS.iter().map(move |p| ((p * self.end - self.starts[job]) * self.tasks).round());
        points.filter(move |cut| *cut > 0.0 && *cut < f64::from(count)).map(|cut| cut as u32)
    }

    /// The amount of the tasks `from..to` of a job; `None` beyond the end.
    fn of(&self, job: usize, from: u32, to: u32) -> Option<u64> {
        let at = |task: u32| (self.starts[job] + f64::from(task) / self.tasks) / self.end;
        let (from, to) = (at(from), at(to));
        let half_task = 0.5 / self.tasks;
        if from > 1.0 - half_task {
            return None;
        }
        let value = self.curve.mean(from, to.min(1.0)) * self.stretch;
        Some((value as u64).min(self.curve.largest()))
    }
}

/// The groups of one job.
fn batches(job: usize, count: u32, amounts: &[Amounts<'_>; 3], run_for: Option<&Amounts<'_>>) -> Vec<Batch> {
    let mut cuts: Vec<u32> = amounts.iter().chain(run_for).flat_map(|a| a.cuts(job, count)).collect();
    cuts.extend([0, count]);
    cuts.sort_unstable();
    cuts.dedup();
    let batch = |ends: &[u32]| {
        let (from, to) = (ends[0], ends[1]);
        let amount = |a: &Amounts<'_>| a.of(job, from, to).unwrap_or(0);
        let [cpu, memory, disk] = [&amounts[0], &amounts[1], &amounts[2]].map(amount);
        let run_for_us = run_for.and_then(|a| a.of(job, from, to)).map(|ms| ms * 1_000);
        Batch { size: [cpu, memory << 10, disk << 10], run_for_us, exit_code: 0, count: to - from }
    };
    cuts.windows(2).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cell_state::job::Run;

    use super::*;

    fn load(seed: u64) -> Workload {
        workload(seed, Division::new("service", "batch", 2))
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(load(1), load(1));
        assert_ne!(load(1).initial, load(2).initial);
    }

    #[test]
    fn totals_are_those_of_the_cell_whatever_the_seed() {
        for seed in 0..5 {
            let load = load(seed);
            assert_eq!(
                (load.initial_tasks(), load.arriving_tasks(), load.arrivals.len()),
                (132_982, 46_587, 917)
            );
            let asked = load
                .initial
                .iter()
                .map(workload::requested)
                .fold(cell_state::Resources::ZERO, |a, b| a.plus(&b));
            let capacity = load.capacity();
            let percent = |d: usize| asked.0[d] as f64 * 100.0 / capacity.0[d] as f64;
            // Recorded: 113.5 % of cpu and 93.3 % of memory.
            assert!(
                (percent(0) - 113.5).abs() < 1.0 && (percent(1) - 93.3).abs() < 1.0,
                "{} {}",
                percent(0),
                percent(1)
            );
            let distinct: u64 =
                load.initial.iter().filter(|j| j.groups[0].distinct_machines).map(workload::tasks).sum();
            assert!((34_000..=34_632).contains(&distinct), "{distinct}");
        }
    }

    #[test]
    fn every_priority_has_its_jobs_and_tasks() {
        let load = load(3);
        for marginals in &RUNNING {
            let prefix = format!("t0-{}-", marginals.google_priority);
            let found: Vec<_> = load.initial.iter().filter(|j| j.name.starts_with(&prefix)).collect();
            assert_eq!(found.len(), marginals.jobs as usize);
            assert_eq!(found.iter().map(|j| workload::tasks(j)).sum::<u64>(), u64::from(marginals.tasks));
        }
    }

    #[test]
    fn as_many_arriving_tasks_end_as_recorded() {
        let load = load(4);
        let groups = load.arrivals.iter().flat_map(|a| &a.job.groups);
        let ending = groups.filter(|g| matches!(g.run, Run::Simulated { run_for_us: Some(_), .. }));
        let ending: u32 = ending.map(|g| g.count).sum();
        assert_eq!(ending, ARRIVING.iter().map(|m| m.ended_tasks).sum::<u32>());
    }

    #[test]
    fn names_are_unique_and_jobs_stay_within_the_bounds() {
        let load = load(5);
        let all: Vec<_> = load.initial.iter().chain(load.arrivals.iter().map(|a| &a.job)).collect();
        assert_eq!(all.iter().map(|j| j.name.as_str()).collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|j| j.groups.len() <= cell_state::bounds::JOB_GROUPS_MAX));
        assert!(all.iter().all(|j| j.groups.iter().all(|g| g.count > 0)));
        assert!(load.arrivals.is_sorted_by_key(|a| a.at_us));
    }
}
