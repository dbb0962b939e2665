//! A look at what a workload is made of: the paper's figures 2, 3 and 4.

use std::path::PathBuf;

use bench::shape::{ClassShape, Shape, distribution, shape};
use bench::{Division, Workload, synthetic};
use serde::{Deserialize, Serialize};

use super::quantile;
use super::runs::Ran;
use super::settings::{GOOGLE_WORD, no_google};
use crate::traces::{Format, Given};

/// What is measured.
pub(super) const METRICS: [&str; 8] =
    ["jobs", "tasks", "cpu", "memory", "mean_gap_s", "run_on", "tasks_p50", "tasks_p95"];

/// What can be plotted as curves.
pub(super) const CURVES: [&str; 3] = ["run_s", "gap_s", "tasks_per_job"];

/// The workload that is looked at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapeSettings {
    /// `synthetic`: the synthetic cell C; `google2011`: Google's trace, where there is one; `FORMAT:PATH`: a trace.
    pub workload: String,
    /// Percent of the synthetic cell.
    pub percent: u32,
}

impl Default for ShapeSettings {
    fn default() -> ShapeSettings {
        ShapeSettings { workload: "synthetic".to_owned(), percent: 100 }
    }
}

/// The environment variable that names the directory of traces.
const TRACES: &str = "OHM_TRACES";

/// The directory of a trace by its name: in `$OHM_TRACES`, else in `traces`.
pub fn trace_path(name: &str) -> PathBuf {
    std::env::var_os(TRACES).map_or_else(|| PathBuf::from("traces"), PathBuf::from).join(name)
}

/// The directory of Google's trace in that of traces.
pub(super) const GOOGLE: &str = "google2011_cell_c";

impl ShapeSettings {
    /// Checks that it makes sense.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=100).contains(&self.percent) {
            return Err(format!("percent: {} is not between 1 and 100", self.percent));
        }
        self.source().map(drop)
    }

    /// The format and place of the trace; nothing for the synthetic cell.
    fn source(&self) -> Result<Option<(Format, PathBuf)>, String> {
        match self.workload.as_str() {
            "synthetic" => Ok(None),
            GOOGLE_WORD => Ok(Some((Format::Google2011, trace_path(GOOGLE)))),
            other => {
                let (word, path) = other.split_once(':').unwrap_or((other, ""));
                let format = Format::ALL.iter().find(|(name, _)| *name == word).map(|(_, format)| *format);
                match format.filter(|_| !path.is_empty()) {
                    Some(format) => Ok(Some((format, PathBuf::from(path)))),
                    None => Err(format!("workload: {other:?} is none of synthetic, google2011, FORMAT:PATH")),
                }
            }
        }
    }

    /// Why there is nothing to look at: Google's trace isn't there.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = self.workload == GOOGLE_WORD && !trace_path(GOOGLE).is_dir();
        missing.then(no_google)
    }

    pub(super) fn run(&self, seed: u64) -> Result<Ran, String> {
        let (workload, horizon_us) = self.read(seed)?;
        let Shape { batch, service } = shape(&workload, horizon_us);
        let mut ran = Ran::default();
        let share = |of: f64, other: f64| if of + other > 0.0 { of / (of + other) } else { 0.0 };
        for (name, class, other) in [("batch", &batch, &service), ("service", &service, &batch)] {
            ran.measured(name, "jobs", share(class.jobs as f64, other.jobs as f64));
            ran.measured(name, "tasks", share(class.tasks as f64, other.tasks as f64));
            ran.measured(name, "cpu", share(class.cpu_s, other.cpu_s));
            ran.measured(name, "memory", share(class.memory_gb_s, other.memory_gb_s));
            let ClassShape { run_s, gap_s, tasks_per_job, .. } = class;
            let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len().max(1) as f64;
            ran.measured(name, "mean_gap_s", mean(gap_s));
            ran.measured(name, "run_on", 1.0 - run_s.len() as f64 / class.jobs.max(1) as f64);
            ran.measured(name, "tasks_p50", quantile(tasks_per_job, 0.5));
            ran.measured(name, "tasks_p95", quantile(tasks_per_job, 0.95));
            ran.curve(name, "run_s", distribution(run_s, class.jobs as usize));
            ran.curve(name, "gap_s", distribution(gap_s, gap_s.len()));
            ran.curve(name, "tasks_per_job", distribution(tasks_per_job, tasks_per_job.len()));
        }
        Ok(ran)
    }

    /// The workload, and for how long it is looked at: until the last job arrives.
    fn read(&self, seed: u64) -> Result<(Workload, u64), String> {
        let division = Division::new("service", "batch", 1);
        let workload = match self.source()? {
            None => synthetic::workload(seed, division).reduced(self.percent),
            Some((format, path)) => {
                let given = Given { seed, ..Given::default() };
                format
                    .read(&[path], &given)
                    .map_err(|e| format!("workload: {e}"))?
                    .scenario
                    .workload(division)
            }
        };
        let last_us = workload.arrivals.iter().map(|a| a.at_us).max().unwrap_or(0);
        Ok((workload, last_us + 1))
    }
}
