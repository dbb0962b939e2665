//! A workload: machines, the jobs a cell starts with, and the jobs that arrive later.

use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::MachineSpec;
use cell_state::{Resources, bounds};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::priority;
use crate::transform::unit;

/// What a cell is given to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Its machines.
    pub machines: Vec<MachineSpec>,
    /// Jobs that are there from the start, larger priorities first.
    pub initial: Vec<JobSpec>,
    /// Jobs that come later, in order.
    pub arrivals: Vec<Arrival>,
}

/// A job that comes later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Microseconds after the start.
    pub at_us: u64,
    /// The job.
    pub job: JobSpec,
}

/// Tasks of a job.
pub fn tasks(job: &JobSpec) -> u64 {
    job.groups.iter().map(|g| u64::from(g.count)).sum()
}

/// The sum of what the tasks of a job ask for.
pub fn requested(job: &JobSpec) -> Resources {
    let one =
        |g: &GroupSpec| Resources(g.resources.0.map(|amount| amount.saturating_mul(u64::from(g.count))));
    job.groups.iter().map(one).fold(Resources::ZERO, |sum, r| sum.plus(&r))
}

impl Workload {
    /// Tasks that are there from the start.
    pub fn initial_tasks(&self) -> u64 {
        self.initial.iter().map(tasks).sum()
    }

    /// Tasks that come later.
    pub fn arriving_tasks(&self) -> u64 {
        self.arrivals.iter().map(|a| tasks(&a.job)).sum()
    }

    /// What all machines have together.
    pub fn capacity(&self) -> Resources {
        self.machines.iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.capacity))
    }

    /// The same on a smaller scale: about this part of the machines, and of the jobs, and of the tasks of large jobs.
    #[must_use]
    pub fn reduced(mut self, percent: u32) -> Workload {
        let percent = percent.clamp(1, 100);
        self.machines = every(percent, self.machines);
        let (large, small): (Vec<_>, Vec<_>) = self.initial.into_iter().partition(is_large);
        self.initial = every(percent, small);
        self.initial.extend(large);
        in_submission_order(&mut self.initial);
        let (large, small): (Vec<_>, Vec<_>) = self.arrivals.into_iter().partition(|a| is_large(&a.job));
        self.arrivals = every(percent, small);
        self.arrivals.extend(large);
        self.arrivals.sort_by_key(|a| a.at_us);
        let jobs = self.initial.iter_mut().chain(self.arrivals.iter_mut().map(|a| &mut a.job));
        for job in jobs.filter(|job| is_large(job)) {
            for group in &mut job.groups {
                group.count = (group.count * percent).div_ceil(100);
            }
        }
        self
    }

    /// The same with the jobs that `of` picks arriving `factor` times as often over the same span: below 1 each stays
    /// with that chance, above 1 copies (`NAME-copy1`, …) come at any time of it.
    #[must_use]
    pub fn at_rate(mut self, factor: f64, seed: u64, of: impl Fn(&JobSpec) -> bool) -> Workload {
        if factor == 1.0 {
            return self;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7261_7465);
        let span_us = self.arrivals.iter().map(|a| a.at_us).max().unwrap_or(0);
        let mut arrivals = Vec::new();
        for arrival in self.arrivals {
            if !of(&arrival.job) {
                arrivals.push(arrival);
                continue;
            }
            let times = factor.floor() as u64 + u64::from(unit(&mut rng) < factor.fract());
            for copy in 1..times {
                let mut job = arrival.job.clone();
                job.name = format!("{}-copy{copy}", job.name);
                arrivals.push(Arrival { at_us: rng.random_range(0..=span_us), job });
            }
            if times > 0 {
                arrivals.push(arrival);
            }
        }
        arrivals.sort_by(|a, b| (a.at_us, &a.job.name).cmp(&(b.at_us, &b.job.name)));
        self.arrivals = arrivals;
        self
    }

    /// The same with time running `factor` times as fast: arrivals and simulated durations are divided alike.
    #[must_use]
    pub fn compressed(mut self, factor: u64) -> Workload {
        let factor = factor.max(1);
        let shorten = |job: &mut JobSpec| {
            for group in &mut job.groups {
                if let Run::Simulated { run_for_us: Some(us), .. } = &mut group.run {
                    *us /= factor;
                }
            }
        };
        self.initial.iter_mut().for_each(shorten);
        for arrival in &mut self.arrivals {
            arrival.at_us /= factor;
            shorten(&mut arrival.job);
        }
        self
    }
}

/// Jobs of equal tasks that run on, `total` tasks altogether: what a cell is filled with to measure it.
pub fn filler(
    prefix: &str,
    scheduler: &str,
    total: u32,
    tasks_per_job: u32,
    size: Resources,
) -> Vec<JobSpec> {
    let per_job = tasks_per_job.clamp(1, bounds::GROUP_TASKS_MAX);
    let size = [size.0[0], size.0[1], size.0[2]];
    let job = |number: u32| {
        let count = per_job.min(total - number * per_job);
        let batch = Batch { size, run_for_us: None, exit_code: 0, count };
        job(format!("{prefix}-{number}"), 5, scheduler.to_owned(), false, &[batch])
    };
    (0..total.div_ceil(per_job)).map(job).collect()
}

/// Equal tasks of a job that a workload makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Batch {
    /// What each asks for.
    pub(crate) size: [u64; 3],
    /// Microseconds until each ends; `None` runs on.
    pub(crate) run_for_us: Option<u64>,
    /// The exit code each then pretends.
    pub(crate) exit_code: i32,
    /// How many.
    pub(crate) count: u32,
}

/// A job of simulated tasks, or several when there are more kinds of tasks than a job may have groups.
/// `google_priority` must be one of Google's.
pub(crate) fn jobs(name: &str, google_priority: u8, distinct: bool, batches: &[Batch]) -> Vec<JobSpec> {
    let part = |(part, batches): (usize, &[Batch])| {
        let name = if part == 0 { name.to_owned() } else { format!("{name}-part{part}") };
        job(name, google_priority, String::new(), distinct, batches)
    };
    batches.chunks(bounds::JOB_GROUPS_MAX).enumerate().map(part).collect()
}

/// A job of simulated tasks with at most as many kinds of tasks as a job may have groups.
pub(crate) fn job(
    name: String,
    google_priority: u8,
    scheduler: String,
    distinct: bool,
    batches: &[Batch],
) -> JobSpec {
    assert!(
        batches.len() <= bounds::JOB_GROUPS_MAX,
        "a workload's jobs stay below the cell's bound of groups"
    );
    let priority =
        priority::of_google(google_priority).expect("readers refuse priorities Google doesn't have");
    let production = priority::is_production(cell_state::job::Band::of(priority));
    let group = |(number, batch): (usize, &Batch)| GroupSpec {
        name: format!("g{number}"),
        count: batch.count,
        resources: Resources([batch.size[0], batch.size[1], batch.size[2], 0, 0, 0, 0, 0]),
        constraints: Vec::new(),
        distinct_machines: distinct,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 1_000_000,
        run: Run::Simulated { run_for_us: batch.run_for_us, exit_code: batch.exit_code },
    };
    JobSpec {
        name,
        kind: if production { JobKind::Service } else { JobKind::Batch },
        priority,
        team: "cell-c".to_owned(),
        scheduler,
        groups: batches.iter().enumerate().map(group).collect(),
    }
}

/// Puts the jobs a cell starts with in the order they are submitted in: what matters most first, the largest first
/// among equals, so that a cell that fills up fills up with what matters.
pub(crate) fn in_submission_order(jobs: &mut [JobSpec]) {
    jobs.sort_by(|a, b| {
        b.priority.cmp(&a.priority).then_with(|| tasks(b).cmp(&tasks(a))).then_with(|| a.name.cmp(&b.name))
    });
}

/// Jobs with at least so many tasks are made smaller rather than left out.
const LARGE_TASKS: u64 = 100;

fn is_large(job: &JobSpec) -> bool {
    tasks(job) >= LARGE_TASKS
}

/// This part of a list, taken evenly.
fn every<T>(percent: u32, list: Vec<T>) -> Vec<T> {
    let due = |i: usize| i * percent as usize / 100;
    list.into_iter().enumerate().filter(|(i, _)| due(i + 1) > due(*i)).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Division;

    #[test]
    fn a_reduced_load_keeps_its_proportions() {
        let whole = crate::synthetic::workload(1, Division::new("service", "batch", 2));
        assert_eq!(whole.clone().reduced(100), whole);
        let tenth = whole.clone().reduced(10);
        assert_eq!(tenth.machines.len(), whole.machines.len() / 10);
        let near = |part: u64, of: u64| part.abs_diff(of / 10) < of / 50;
        assert!(near(tenth.initial_tasks(), whole.initial_tasks()), "{}", tenth.initial_tasks());
        assert!(near(tenth.arriving_tasks(), whole.arriving_tasks()), "{}", tenth.arriving_tasks());
    }

    #[test]
    fn jobs_of_one_class_come_more_or_less_often() {
        let whole = crate::synthetic::workload(1, Division::new("service", "batch", 1)).reduced(20);
        let batch = |job: &JobSpec| job.kind == JobKind::Batch;
        let count = |w: &Workload, kind| w.arrivals.iter().filter(|a| a.job.kind == kind).count() as f64;
        for factor in [0.5, 2.0, 3.5] {
            let scaled = whole.clone().at_rate(factor, 7, batch);
            let times = count(&scaled, JobKind::Batch) / count(&whole, JobKind::Batch);
            assert!((times / factor - 1.0).abs() < 0.1, "{factor}: {times}");
            assert_eq!(count(&scaled, JobKind::Service), count(&whole, JobKind::Service));
            assert!(scaled.arrivals.is_sorted_by_key(|a| a.at_us));
        }
        assert_eq!(whole.clone().at_rate(1.0, 7, batch), whole);
    }

    #[test]
    fn filling_jobs_have_exactly_the_tasks_asked_for() {
        for (total, per_job, jobs) in [(10, 3, 4), (9, 3, 3), (1, 5_000, 1), (1_000_000, 5_000, 200)] {
            let list = filler("f", "batch", total, per_job, Resources::cpu_memory(1, 1));
            assert_eq!((list.len(), list.iter().map(tasks).sum::<u64>()), (jobs, u64::from(total)));
        }
    }

    fn two_kinds() -> JobSpec {
        let first = Batch { size: [10, 20, 30], run_for_us: Some(1_000), exit_code: 0, count: 3 };
        let second = Batch { size: [1, 0, 0], run_for_us: None, exit_code: 0, count: 2 };
        job("j".into(), 9, "service".into(), true, &[first, second])
    }

    #[test]
    fn sums_are_over_all_tasks() {
        let job = two_kinds();
        assert_eq!((tasks(&job), job.priority, job.kind), (5, 225, JobKind::Service));
        assert_eq!(requested(&job), Resources([32, 60, 90, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn compression_divides_arrivals_and_durations_alike() {
        let arrival = Arrival { at_us: 5_000, job: two_kinds() };
        let workload =
            Workload { machines: Vec::new(), initial: Vec::new(), arrivals: vec![arrival] }.compressed(10);
        assert_eq!(workload.arrivals[0].at_us, 500);
        let runs: Vec<_> = workload.arrivals[0].job.groups.iter().map(|g| g.run.clone()).collect();
        let simulated = |run_for_us| Run::Simulated { run_for_us, exit_code: 0 };
        assert_eq!(runs, [simulated(Some(100)), simulated(None)]);
    }
}
