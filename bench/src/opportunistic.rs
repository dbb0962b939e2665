//! MapReduce jobs that grow into idle resources: the paper's figures 15 and 16.
//!
//! The `mapreduce` policy of `schedulers` decides how many workers a job gets, on a cell that other work fills to a level
//! that rises and falls with the day. A worker does one activity at a time, and all workers of a job share its activities
//! (the paper's linear model): a job is done when its activities are. The speed-up of a job is how long it would have
//! taken with the workers it asked for, over how long it took.

mod cell;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schedulers::mapreduce::Cap;

use crate::bounds::MAPREDUCE_ACTIVITIES_MAX;
use crate::model::Distribution;

pub use cell::run;

/// One run.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// How far jobs grow; nothing: not at all.
    pub cap: Option<Cap>,
    /// Machines, of the shapes of cell C.
    pub machines: u32,
    /// The part of the cell that other work holds, on average over a day.
    pub held: f64,
    /// By how much that part rises and falls with the day.
    pub swing: f64,
    /// The part of the cell that MapReduce jobs would hold on average with the workers they ask for.
    pub offered: f64,
    /// Seconds an activity takes, on average over jobs.
    pub activity_s: f64,
    /// Seconds simulated.
    pub run_s: u64,
    /// Decides every draw.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// The speed-up of each job that ended, in the order they ended.
    pub speedups: Vec<f64>,
    /// Jobs that arrived.
    pub jobs: u64,
    /// By the minute: hours, the part of cpu promised, the part of memory promised.
    pub utilisation: Vec<(f64, f64, f64)>,
}

/// Workers that people ask for: round numbers, as the paper found, and how often of a hundred.
const ASKED: [(u32, u32); 5] = [(5, 30), (11, 30), (50, 10), (200, 25), (1_000, 5)];

/// Activities of a job: the median and the spread of a lognormal. They don't follow from the workers asked for.
const ACTIVITIES: (f64, f64) = (100.0, 1.8);

/// A MapReduce job.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Job {
    at_us: u64,
    /// Workers asked for: never more than there are activities.
    asked: u32,
    /// Workers it could use besides.
    extra: u32,
    activities: u32,
    activity_us: u64,
}

impl Job {
    /// Microseconds it takes with so many workers.
    fn takes_us(&self, workers: u32) -> f64 {
        f64::from(self.activities) * self.activity_us as f64 / f64::from(workers.max(1))
    }
}

/// The jobs of a run, such that on average they ask for the offered part of the cell, which has room for so many workers.
fn jobs(settings: &Settings, room: f64) -> Vec<Job> {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x6d61_7072);
    // Work in worker-seconds per job, over a sample of its own, so that the rate doesn't depend on the run's length.
    let sample: f64 = (0..4_000).map(|_| work_s(&draw(settings, 0, &mut rng))).sum::<f64>() / 4_000.0;
    let gap_s = sample / (settings.offered * room).max(1e-9);
    let mut jobs = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += Distribution::Exponential { mean: gap_s }.draw(&mut rng);
        if at_s >= settings.run_s as f64 {
            return jobs;
        }
        jobs.push(draw(settings, (at_s * 1e6) as u64, &mut rng));
    }
}

fn work_s(job: &Job) -> f64 {
    f64::from(job.activities) * job.activity_us as f64 / 1e6
}

fn draw(settings: &Settings, at_us: u64, rng: &mut ChaCha8Rng) -> Job {
    let mut drawn = rng.random_range(0..100);
    let mut wanted = ASKED[0].0;
    for (workers, share) in ASKED {
        if drawn < share {
            wanted = workers;
            break;
        }
        drawn -= share;
    }
    let (median, sigma) = ACTIVITIES;
    let activities = Distribution::Lognormal { median, sigma }.draw(rng);
    let activities = activities.clamp(1.0, f64::from(MAPREDUCE_ACTIVITIES_MAX)) as u32;
    let activity_s = Distribution::Exponential { mean: settings.activity_s }.draw(rng);
    let activity_us = (activity_s * 1e6).max(1e5) as u64;
    let asked = wanted.min(activities);
    Job { at_us, asked, extra: activities - asked, activities, activity_us }
}

#[cfg(test)]
mod tests;
