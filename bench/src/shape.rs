//! What a workload is made of: the share of each class of jobs, how long jobs run, how often they come, how many tasks
//! they have. The paper's figures 2, 3 and 4.

use cell_state::Dimension;
use cell_state::job::{Band, GroupSpec, JobSpec, Run};

use crate::bounds::CURVE_POINTS_MAX;
use crate::priority;
use crate::workload::{self, Workload};

/// What a workload is made of.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// Batch and free jobs.
    pub batch: ClassShape,
    /// Production and monitoring jobs.
    pub service: ClassShape,
}

/// What the jobs of a class are like.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClassShape {
    /// Jobs that arrive.
    pub jobs: u64,
    /// Their tasks.
    pub tasks: u64,
    /// What tasks hold while the workload is looked at, those that were there before included: core-seconds.
    pub cpu_s: f64,
    /// The same of memory: GB-seconds.
    pub memory_gb_s: f64,
    /// How long each arriving job runs, in seconds; those that run on beyond the end are left out.
    pub run_s: Vec<f64>,
    /// Seconds between arrivals.
    pub gap_s: Vec<f64>,
    /// Tasks of each arriving job.
    pub tasks_per_job: Vec<f64>,
}

/// What a workload is made of, looked at for so long.
pub fn shape(workload: &Workload, horizon_us: u64) -> Shape {
    let mut shape = Shape::default();
    for job in &workload.initial {
        shape.class(job).hold(job, horizon_us);
    }
    let mut before = [None; 2];
    for arrival in workload.arrivals.iter().filter(|a| a.at_us < horizon_us) {
        let job = &arrival.job;
        let last = &mut before[usize::from(is_service(job))];
        let gap_us = last.replace(arrival.at_us).map(|last| arrival.at_us - last);
        let class = shape.class(job);
        class.jobs += 1;
        class.tasks += workload::tasks(job);
        class.tasks_per_job.push(workload::tasks(job) as f64);
        class.gap_s.extend(gap_us.map(|us| us as f64 / 1e6));
        class.run_s.extend(runs_us(job).map(|us| us as f64 / 1e6));
        class.hold(job, horizon_us - arrival.at_us);
    }
    shape
}

fn is_service(job: &JobSpec) -> bool {
    priority::is_production(Band::of(job.priority))
}

/// How long a job runs: until its last task ends; nothing if one runs on.
fn runs_us(job: &JobSpec) -> Option<u64> {
    let longest = job.groups.iter().map(run_us).collect::<Option<Vec<u64>>>()?;
    longest.into_iter().max()
}

fn run_us(group: &GroupSpec) -> Option<u64> {
    match &group.run {
        Run::Simulated { run_for_us, .. } => *run_for_us,
        _ => None,
    }
}

impl Shape {
    fn class(&mut self, job: &JobSpec) -> &mut ClassShape {
        if is_service(job) { &mut self.service } else { &mut self.batch }
    }
}

impl ClassShape {
    fn hold(&mut self, job: &JobSpec, left_us: u64) {
        for group in &job.groups {
            let seconds = run_us(group).unwrap_or(left_us).min(left_us) as f64 / 1e6 * f64::from(group.count);
            self.cpu_s += group.resources.get(Dimension::CPU) as f64 / 1e3 * seconds;
            self.memory_gb_s += group.resources.get(Dimension::MEMORY) as f64 / 1e9 * seconds;
        }
    }
}

/// The cumulative distribution of samples, as the part of `whole` that is at most x: where some of the whole have no
/// sample it ends below 1.
pub fn distribution(samples: &[f64], whole: usize) -> Vec<(f64, f64)> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let whole = whole.max(sorted.len()).max(1) as f64;
    let count = sorted.len();
    let step = count.div_ceil(CURVE_POINTS_MAX).max(1);
    let kept = (0..count).filter(|at| at % step == 0 || at + 1 == count);
    kept.map(|at| (sorted[at], (at + 1) as f64 / whole)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Arrival, Batch, job};

    fn arrival(at_s: u64, google_priority: u8, tasks: u32, run_s: Option<u64>) -> Arrival {
        let run_for_us = run_s.map(|s| s * 1_000_000);
        let batch = Batch { size: [2_000, 1_000_000_000, 0], run_for_us, exit_code: 0, count: tasks };
        Arrival {
            at_us: at_s * 1_000_000,
            job: job(format!("j{at_s}"), google_priority, "s".into(), false, &[batch]),
        }
    }

    #[test]
    fn a_workload_of_three_jobs_is_made_of_what_they_are() {
        let arrivals = vec![arrival(0, 2, 3, Some(10)), arrival(5, 9, 1, None), arrival(20, 2, 1, Some(100))];
        let shape = shape(&Workload { machines: Vec::new(), initial: Vec::new(), arrivals }, 30_000_000);
        assert_eq!((shape.batch.jobs, shape.batch.tasks, shape.service.jobs), (2, 4, 1));
        assert_eq!(shape.batch.gap_s, [20.0]);
        assert_eq!((shape.batch.run_s.as_slice(), shape.service.run_s.len()), ([10.0, 100.0].as_slice(), 0));
        // Three tasks of 2 cores for 10 s, and one for the 10 s that are left; the service task holds 25 s.
        assert_eq!((shape.batch.cpu_s, shape.service.cpu_s), (80.0, 50.0));
        assert!((shape.service.memory_gb_s - 25.0).abs() < 1e-9);
    }

    #[test]
    fn a_distribution_ends_at_the_part_that_has_samples() {
        assert_eq!(distribution(&[3.0, 1.0], 4), [(1.0, 0.25), (3.0, 0.5)]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let curve = distribution(&many, 10_000);
        assert!(curve.len() <= CURVE_POINTS_MAX + 1 && curve.last() == Some(&(9_999.0, 1.0)));
    }
}
