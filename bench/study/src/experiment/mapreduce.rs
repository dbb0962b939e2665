//! MapReduce jobs on idle resources: the paper's figures 15 and 16.

use bench::opportunistic::{self, Outcome};
use bench::shape::distribution;
use schedulers::mapreduce::Cap;
use serde::{Deserialize, Serialize};

use super::quantile;
use super::runs::Ran;
use crate::bounds::{STUDY_HOURS_MAX, STUDY_MACHINES_MAX};

/// What is measured, all of it of the class `batch`.
pub(super) const METRICS: [&str; 9] = [
    "jobs",
    "ended",
    "helped",
    "speedup_p50",
    "speedup_p80",
    "speedup_p95",
    "cpu_mean",
    "cpu_deviation",
    "memory_mean",
];

/// What can be plotted as curves.
pub(super) const CURVES: [&str; 3] = ["speedup", "cpu", "memory"];

/// A job is helped if it takes less time by this factor.
const HELPED: f64 = 1.05;

/// A cell with MapReduce jobs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapReduceSettings {
    /// `none`, `max-parallelism`, `global-cap` or `relative-size`.
    pub cap: String,
    /// Percent of the cell that may be promised under `global-cap`.
    pub cap_percent: u32,
    /// Times the workers asked for under `relative-size`.
    pub cap_times: u32,
    /// Machines, of the shapes of cell C.
    pub machines: u32,
    /// The part of the cell that other work holds, on average over a day.
    pub held: f64,
    /// By how much that part rises and falls with the day.
    pub swing: f64,
    /// The part of the cell that MapReduce jobs ask for on average.
    pub offered: f64,
    /// Seconds an activity takes, on average over jobs.
    pub activity_s: f64,
    /// Hours simulated.
    pub hours: f64,
}

impl Default for MapReduceSettings {
    fn default() -> MapReduceSettings {
        MapReduceSettings {
            cap: "none".to_owned(),
            cap_percent: 60,
            cap_times: 4,
            machines: 600,
            held: 0.4,
            swing: 0.1,
            offered: 0.1,
            activity_s: 60.0,
            hours: 24.0,
        }
    }
}

impl MapReduceSettings {
    fn cap(&self) -> Result<Option<Cap>, String> {
        match self.cap.as_str() {
            "none" => Ok(None),
            "max-parallelism" => Ok(Some(Cap::MaxParallelism)),
            "global-cap" => Ok(Some(Cap::GlobalCap(self.cap_percent))),
            "relative-size" => Ok(Some(Cap::RelativeSize(self.cap_times))),
            other => {
                Err(format!("cap: {other:?} is none of none, max-parallelism, global-cap, relative-size"))
            }
        }
    }

    /// Checks that it makes sense.
    pub(super) fn check(&self) -> Result<(), String> {
        self.cap()?;
        let numbers = [
            ("machines", f64::from(self.machines), 1.0, f64::from(STUDY_MACHINES_MAX)),
            ("cap_percent", f64::from(self.cap_percent), 1.0, 100.0),
            ("cap_times", f64::from(self.cap_times), 1.0, 1e6),
            ("held", self.held, 0.0, 1.0),
            ("swing", self.swing, 0.0, 1.0),
            ("offered", self.offered, 1e-6, 1.0),
            ("activity_s", self.activity_s, 0.1, 1e6),
            ("hours", self.hours, 0.01, STUDY_HOURS_MAX),
        ];
        for (field, value, min, max) in numbers {
            if !(min..=max).contains(&value) {
                return Err(format!("{field}: {value} is not between {min} and {max}"));
            }
        }
        Ok(())
    }

    pub(super) fn run(&self, seed: u64) -> Result<Ran, String> {
        let Outcome { speedups, jobs, utilisation } = opportunistic::run(&opportunistic::Settings {
            cap: self.cap()?,
            machines: self.machines,
            held: self.held,
            swing: self.swing,
            offered: self.offered,
            activity_s: self.activity_s,
            run_s: (self.hours * 3_600.0) as u64,
            seed,
        });
        let mut ran = Ran::default();
        let mut measured = |metric, value| ran.measured("batch", metric, value);
        let helped = speedups.iter().filter(|s| **s >= HELPED).count();
        let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len().max(1) as f64;
        let cpu: Vec<f64> = utilisation.iter().map(|(_, cpu, _)| *cpu).collect();
        let memory: Vec<f64> = utilisation.iter().map(|(_, _, memory)| *memory).collect();
        let cpu_mean = mean(&cpu);
        let squares: Vec<f64> = cpu.iter().map(|part| (part - cpu_mean) * (part - cpu_mean)).collect();
        measured("jobs", jobs as f64);
        measured("ended", speedups.len() as f64);
        measured("helped", helped as f64 / speedups.len().max(1) as f64);
        measured("speedup_p50", quantile(&speedups, 0.5));
        measured("speedup_p80", quantile(&speedups, 0.8));
        measured("speedup_p95", quantile(&speedups, 0.95));
        measured("cpu_mean", cpu_mean);
        measured("cpu_deviation", mean(&squares).sqrt());
        measured("memory_mean", mean(&memory));
        ran.curve("batch", "speedup", distribution(&speedups, speedups.len()));
        ran.curve("batch", "cpu", utilisation.iter().map(|(hour, cpu, _)| (*hour, *cpu)).collect());
        ran.curve("batch", "memory", utilisation.iter().map(|(hour, _, memory)| (*hour, *memory)).collect());
        Ok(ran)
    }
}
