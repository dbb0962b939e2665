//! Records of golden results: the parameters of a run and the figures it had.

use std::collections::BTreeMap;
use std::path::Path;

use bench::omega2013::{
    Architecture, Defects, Detection, Machines, Offers, Prefill, Settings, Think, Transaction,
};
use serde::Deserialize;

use super::GoldenError;
use crate::bounds::{GOLDEN_BYTES_MAX, STUDY_MACHINES_MAX, STUDY_SCHEDULERS_MAX};

/// One run of the public simulator.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The experiment it belongs to.
    pub experiment: String,
    /// `mono-single`, `mono-multi`, `omega` or `mesos`.
    #[serde(deserialize_with = "architecture")]
    pub architecture: Architecture,
    /// The directory of the job streams.
    pub workload: String,
    /// `resource-fit` or `sequence-numbers`.
    #[serde(deserialize_with = "detection")]
    pub conflict_detection: Detection,
    /// `incremental` or `all-or-nothing`.
    #[serde(deserialize_with = "transaction")]
    pub transaction: Transaction,
    /// Machines.
    pub machines: u32,
    /// Schedulers of batch jobs.
    pub batch_schedulers: u32,
    /// Schedulers of service jobs.
    pub service_schedulers: u32,
    /// Their think time.
    pub batch_think_s: Seconds,
    /// Their think time.
    pub service_think_s: Seconds,
    /// Seconds simulated.
    pub run_time_s: f64,
    /// The seed of all generators.
    pub seed: i64,
    /// The time of the last event.
    pub end_of_simulation_s: f64,
    /// Figures of each class of jobs, by name.
    pub workloads: BTreeMap<String, BTreeMap<String, Figure>>,
    /// Figures of each kind of schedulers, by name.
    pub schedulers: BTreeMap<String, BTreeMap<String, Figure>>,
    /// Figures of the cell.
    pub cell: BTreeMap<String, Figure>,
    /// `exact`, or `within N percent`.
    #[serde(rename = "match", deserialize_with = "sameness")]
    pub sameness: Sameness,
}

/// A figure as recorded.
pub type Figure = f64;

/// A think time.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// For each decision.
    pub per_job: f64,
    /// More for each task.
    pub per_task: f64,
}

/// What equality is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Sameness {
    /// Counters equal, averages equal to six digits.
    Exact,
    /// Busyness, waits and locked resources within so many percent.
    Percent(f64),
}

fn word<'de, D: serde::Deserializer<'de>, T: Copy>(from: D, words: &[(&str, T)]) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        serde::de::Error::custom(format!("{text:?} is none of {}", words.join(", ")))
    })
}

fn architecture<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Architecture, D::Error> {
    word(
        from,
        &[
            ("mono-single", Architecture::MonoSingle),
            ("mono-multi", Architecture::MonoMulti),
            ("omega", Architecture::Omega),
            ("mesos", Architecture::Mesos),
        ],
    )
}

fn detection<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Detection, D::Error> {
    let words = [("resource-fit", Detection::ResourceFit), ("sequence-numbers", Detection::SequenceNumbers)];
    word(from, &words)
}

fn transaction<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Transaction, D::Error> {
    let words = [("incremental", Transaction::Incremental), ("all-or-nothing", Transaction::AllOrNothing)];
    word(from, &words)
}

fn sameness<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Sameness, D::Error> {
    let text = String::deserialize(from)?;
    if text == "exact" {
        return Ok(Sameness::Exact);
    }
    let percent = text.strip_prefix("within ").and_then(|rest| rest.strip_suffix(" percent"));
    let percent = percent.and_then(|number| number.parse::<f64>().ok()).filter(|number| *number >= 0.0);
    percent.map(Sameness::Percent).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is neither \"exact\" nor \"within N percent\""))
    })
}

/// Reads the records of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, GoldenError> {
    let name = path.display().to_string();
    let bytes = crate::rows::bounded(path, GOLDEN_BYTES_MAX)
        .map_err(|source| GoldenError::Read { path: name.clone(), source })?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let records: Vec<Record> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let error = error.into_inner();
        GoldenError::Record { path: name.clone(), line: error.line(), field, problem: error.to_string() }
    })?;
    for (record, number) in records.iter().zip(1..) {
        record.check().map_err(|(field, problem)| GoldenError::Value {
            path: name.clone(),
            record: number,
            field,
            problem,
        })?;
    }
    Ok(records)
}

impl Record {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let counts = [
            ("machines", self.machines, STUDY_MACHINES_MAX),
            ("batch_schedulers", self.batch_schedulers, STUDY_SCHEDULERS_MAX),
            ("service_schedulers", self.service_schedulers, STUDY_SCHEDULERS_MAX),
        ];
        for (field, count, max) in counts {
            if !(1..=max).contains(&count) {
                return Err((field, format!("{count} is not between 1 and {max}")));
            }
        }
        let seconds = [
            ("batch_think_s.per_job", self.batch_think_s.per_job),
            ("batch_think_s.per_task", self.batch_think_s.per_task),
            ("service_think_s.per_job", self.service_think_s.per_job),
            ("service_think_s.per_task", self.service_think_s.per_task),
            ("run_time_s", self.run_time_s),
        ];
        for (field, value) in seconds {
            if !(value.is_finite() && value >= 0.0) {
                return Err((field, format!("{value} seconds are not possible")));
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.workload.is_empty() || self.workload.starts_with('.') || !self.workload.chars().all(plain) {
            return Err((
                "workload",
                format!("{:?} is no name of a directory beside the file", self.workload),
            ));
        }
        Ok(())
    }

    /// The run these parameters mean: cell and prefill are those of all golden results.
    pub fn settings(&self) -> Settings {
        let think = |s: Seconds| Think { per_job_s: s.per_job, per_task_s: s.per_task };
        Settings {
            architecture: self.architecture,
            detection: self.conflict_detection,
            transaction: self.transaction,
            machines: Machines { count: self.machines, cpus: 4.0, memory: 16.0 },
            prefill: Prefill { jobs: 480, tasks: 50, cpus: 1.0, memory: 4.0 },
            batch_schedulers: self.batch_schedulers,
            service_schedulers: self.service_schedulers,
            batch_think: think(self.batch_think_s),
            service_think: think(self.service_think_s),
            offers: Offers::PAPER,
            run_time_s: self.run_time_s,
            seed: self.seed,
            defects: Defects::ALL,
        }
    }

    /// What tells this run from the others, in one line.
    pub fn title(&self) -> String {
        let architecture = match self.architecture {
            Architecture::MonoSingle => "mono-single",
            Architecture::MonoMulti => "mono-multi",
            Architecture::Omega => "omega",
            Architecture::Mesos => "mesos",
        };
        let detection = match self.conflict_detection {
            Detection::ResourceFit => "resource-fit",
            Detection::SequenceNumbers => "sequence-numbers",
        };
        let transaction = match self.transaction {
            Transaction::Incremental => "incremental",
            Transaction::AllOrNothing => "all-or-nothing",
        };
        let think = |s: Seconds| format!("{}+{}", s.per_job, s.per_task);
        format!(
            "{} {architecture} {} {detection}/{transaction} schedulers={}+{} think={},{}",
            self.experiment,
            self.workload,
            self.batch_schedulers,
            self.service_schedulers,
            think(self.batch_think_s),
            think(self.service_think_s),
        )
    }
}
