//! One point of a study: its settings, and which of them go together.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::workload::Found;
use super::{cell, first_fit};
use crate::bounds::{
    STUDY_HOURS_MAX, STUDY_IN_FLIGHT_MAX, STUDY_MACHINES_MAX, STUDY_PARTS_MAX, STUDY_SCHEDULERS_MAX,
};

/// The settings of a point. What a file doesn't set is as in SBS1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Point {
    /// `first-fit`: the paper's simulator; `cell`: the production code.
    pub engine: String,
    /// Who decides, and on what.
    pub architecture: String,
    /// `fit` or `version`.
    pub detection: String,
    /// `incremental`, `all-or-nothing` or `gang`.
    pub atomicity: String,
    /// Machines of four cores and 16 GB (`first-fit`).
    pub machines: u32,
    /// The part of cpu and memory that is taken from the start, for good (`first-fit`).
    pub prefill: f64,
    /// Schedulers of batch jobs.
    pub batch_schedulers: u32,
    /// Schedulers of service jobs.
    pub service_schedulers: u32,
    /// Seconds a decision on a batch job takes for the job.
    pub batch_job_s: f64,
    /// And for each task.
    pub batch_task_s: f64,
    /// Seconds a decision on a service job takes for the job.
    pub service_job_s: f64,
    /// And for each task.
    pub service_task_s: f64,
    /// Batch jobs arrive so many times as often.
    pub batch_rate: f64,
    /// Service jobs arrive so many times as often.
    pub service_rate: f64,
    /// Seconds a batch task runs, on average (`first-fit`).
    pub batch_duration_s: f64,
    /// Hours simulated.
    pub hours: f64,
    /// Whether the paper's simulator has its defects (`first-fit`).
    pub defects: bool,
    /// Machines named in case the first is lost.
    pub fallbacks: usize,
    /// Percent of the synthetic cell C: machines, jobs, tasks of large jobs.
    pub percent: u32,
    /// Percent of its capacity that a machine may be promised.
    pub promise_percent: u16,
    /// A workload instead of the synthetic cell C: tables, a trace or a model, relative to the study's file.
    pub workload: String,
    /// Jobs of a class of the workload arrive so many times as often.
    pub rates: BTreeMap<String, f64>,
    /// How full the workload's cell is made before it starts.
    pub fill: f64,
    /// Mean seconds a machine is up before it fails; 0 is for ever.
    pub mtbf_s: f64,
    /// Mean seconds until it is back.
    pub mttr_s: f64,
    /// The detection for jobs of a class of the workload.
    pub detections: BTreeMap<String, String>,
    /// The atomicity for jobs of a class of the workload.
    pub atomicities: BTreeMap<String, String>,
    /// `batch`: the best of a sample; `choices`: the emptiest of a few drawn for each task; `service`: the evenest of
    /// all, spread over failure domains; `own`: a program's.
    pub policy: String,
    /// How many are compared.
    pub sample: usize,
    /// `pack` or `even`.
    pub score: String,
    /// Whether tasks of lower bands may have to go.
    pub preempt: bool,
    /// Seconds they take to go.
    pub grace_s: f64,
    /// Seconds by which what is seen of machines is older than the plan.
    pub staleness_s: f64,
    /// Seconds from a proposal to its verdict.
    pub commit_s: f64,
    /// Transactions of a scheduler in flight at most.
    pub in_flight: usize,
    /// Tasks of a transaction at most.
    pub tasks_per_txn: usize,
    /// Whether both shrink when many placements are lost.
    pub adaptive: bool,
    /// `after` or `back-off`.
    pub retry: String,
    /// Seconds until a job with tasks left is queued again (`after`).
    pub retry_s: f64,
    /// Decisions after which a job is given up.
    pub attempts_max: u32,
    /// Lost transactions in a row after which a job claims machines before its decision; 0 is never.
    pub escalate_after: u32,
    /// Into how many parts machines are divided (`parsync-…`); 0 is as many as there are schedulers.
    pub parts: u32,
    /// Seconds until each part was seen once (`parsync-…`).
    pub gap_s: f64,
    /// The part of the machines that service schedulers have (`partitions`).
    pub service_part: f64,
    /// Seconds between two rounds of offers (`mesos`).
    pub offers_s: f64,
    /// What the workload's files hold: results of another workload aren't taken for this one's.
    #[serde(skip_deserializing)]
    pub(super) digest: String,
    /// The workload, once it was found.
    #[serde(skip)]
    pub(super) found: Option<Found>,
}

impl Default for Point {
    fn default() -> Point {
        let word = str::to_owned;
        Point {
            engine: word("first-fit"),
            architecture: word("omega"),
            detection: word("fit"),
            atomicity: word("incremental"),
            machines: 10_000,
            prefill: 0.6,
            batch_schedulers: 1,
            service_schedulers: 1,
            batch_job_s: 0.1,
            batch_task_s: 0.005,
            service_job_s: 10.0,
            service_task_s: 0.005,
            batch_rate: 1.0,
            service_rate: 1.0,
            batch_duration_s: 600.0,
            hours: 24.0,
            defects: false,
            fallbacks: 0,
            percent: 100,
            promise_percent: 150,
            workload: String::new(),
            rates: BTreeMap::new(),
            fill: 0.0,
            mtbf_s: 0.0,
            mttr_s: 3_600.0,
            detections: BTreeMap::new(),
            atomicities: BTreeMap::new(),
            policy: word("batch"),
            sample: schedulers::bounds::SAMPLE,
            score: word("pack"),
            preempt: false,
            grace_s: 1.0,
            staleness_s: 0.0,
            commit_s: 0.0,
            in_flight: 1,
            tasks_per_txn: cell_state::bounds::TXN_OPS_MAX,
            adaptive: false,
            retry: word("after"),
            retry_s: 1.0,
            attempts_max: 1_000,
            escalate_after: 0,
            parts: 0,
            gap_s: 1.0,
            service_part: 0.5,
            offers_s: 1.0,
            digest: String::new(),
            found: None,
        }
    }
}

const DETECTIONS: [&str; 2] = ["fit", "version"];
const ATOMICITIES: [&str; 3] = ["incremental", "all-or-nothing", "gang"];
const PARSYNC: [&str; 3] = ["parsync-latency", "parsync-quality", "parsync-adaptive"];

/// Settings that mean something only where a condition holds, with the condition in words.
type Only = (&'static str, &'static [&'static str]);

const ONLY_FIRST_FIT: Only =
    ("engine = \"first-fit\"", &["machines", "prefill", "batch_duration_s", "defects"]);

#[rustfmt::skip]
const ONLY_CELL: Only = ("engine = \"cell\"", &[
    "fallbacks", "percent", "promise_percent", "workload", "policy", "sample", "score", "preempt", "grace_s",
    "staleness_s", "commit_s", "in_flight", "tasks_per_txn", "adaptive", "retry", "retry_s", "attempts_max",
    "escalate_after", "parts", "gap_s", "service_part", "offers_s",
]);

const ONLY_WORKLOAD: Only =
    ("a workload", &["rates", "fill", "mtbf_s", "mttr_s", "detections", "atomicities"]);

fn one_of(field: &str, value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) {
        return Ok(());
    }
    Err(format!("{field}: {value:?} is none of {}", words.join(", ")))
}

fn between(field: &str, value: f64, min: f64, max: f64) -> Result<(), String> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(format!("{field}: {value} is not between {min} and {max}"))
}

impl Point {
    /// Checks that it can be run.
    ///
    /// # Errors
    /// The first setting that makes no sense, by its name.
    pub fn check(&self) -> Result<(), String> {
        one_of("engine", &self.engine, &["first-fit", "cell"])?;
        let mut architectures = vec!["mono-single", "mono-multi", "omega", "mesos"];
        if self.engine == "cell" {
            architectures.push("partitions");
            architectures.extend(PARSYNC);
        }
        one_of("architecture", &self.architecture, &architectures)?;
        one_of("detection", &self.detection, &DETECTIONS)?;
        one_of("atomicity", &self.atomicity, &ATOMICITIES)?;
        one_of("policy", &self.policy, &["batch", "choices", "service", "own"])?;
        one_of("score", &self.score, &["pack", "even"])?;
        one_of("retry", &self.retry, &["after", "back-off"])?;
        let detections = self.detections.values().map(|word| ("detections", word, &DETECTIONS[..]));
        let atomicities = self.atomicities.values().map(|word| ("atomicities", word, &ATOMICITIES[..]));
        detections.chain(atomicities).try_for_each(|(field, word, words)| one_of(field, word, words))?;
        self.rates.values().try_for_each(|rate| between("rates", *rate, 0.0, 1e3))?;
        self.ranges()?;
        self.go_together()
    }

    fn ranges(&self) -> Result<(), String> {
        let schedulers = f64::from(STUDY_SCHEDULERS_MAX);
        let numbers = [
            ("machines", f64::from(self.machines), 1.0, f64::from(STUDY_MACHINES_MAX)),
            ("batch_schedulers", f64::from(self.batch_schedulers), 1.0, schedulers),
            ("service_schedulers", f64::from(self.service_schedulers), 1.0, schedulers),
            ("percent", f64::from(self.percent), 1.0, 100.0),
            ("promise_percent", f64::from(self.promise_percent), 1.0, 10_000.0),
            ("sample", self.sample as f64, 1.0, f64::from(STUDY_MACHINES_MAX)),
            ("fallbacks", self.fallbacks as f64, 0.0, (cell_state::bounds::PLACE_MACHINES_MAX - 1) as f64),
            ("in_flight", self.in_flight as f64, 1.0, STUDY_IN_FLIGHT_MAX as f64),
            ("tasks_per_txn", self.tasks_per_txn as f64, 1.0, cell_state::bounds::TXN_OPS_MAX as f64),
            ("attempts_max", f64::from(self.attempts_max), 1.0, 1e9),
            ("parts", f64::from(self.parts), 0.0, f64::from(STUDY_PARTS_MAX)),
            ("prefill", self.prefill, 0.0, 1.0),
            ("fill", self.fill, 0.0, 1.0),
            ("service_part", self.service_part, 0.01, 0.99),
            ("batch_job_s", self.batch_job_s, 0.0, 1e6),
            ("batch_task_s", self.batch_task_s, 0.0, 1e6),
            ("service_job_s", self.service_job_s, 0.0, 1e6),
            ("service_task_s", self.service_task_s, 0.0, 1e6),
            ("staleness_s", self.staleness_s, 0.0, 1e6),
            ("commit_s", self.commit_s, 0.0, 1e6),
            ("grace_s", self.grace_s, 0.0, 1e6),
            ("retry_s", self.retry_s, 1e-6, 1e6),
            ("gap_s", self.gap_s, 1e-3, 1e6),
            ("offers_s", self.offers_s, 1e-3, 1e6),
            ("mtbf_s", self.mtbf_s, 0.0, 1e12),
            ("mttr_s", self.mttr_s, 1e-3, 1e12),
            ("batch_rate", self.batch_rate, 1e-3, 1e3),
            ("service_rate", self.service_rate, 1e-3, 1e3),
            ("batch_duration_s", self.batch_duration_s, 1e-3, 1e9),
            ("hours", self.hours, 1e-3, STUDY_HOURS_MAX),
        ];
        numbers.into_iter().try_for_each(|(field, value, min, max)| between(field, value, min, max))
    }

    /// Refuses settings that would mean nothing beside the others.
    fn go_together(&self) -> Result<(), String> {
        let is_cell = self.engine == "cell";
        let omega = self.architecture == "omega";
        let by_parts = PARSYNC.contains(&self.architecture.as_str());
        let races = omega || by_parts || self.architecture == "partitions";
        let policy = self.policy.as_str();
        let rules: [(bool, Only); 11] = [
            (!is_cell, ONLY_FIRST_FIT),
            (is_cell, ONLY_CELL),
            (is_cell && !self.workload.is_empty(), ONLY_WORKLOAD),
            (omega, ("architecture = \"omega\"", &["staleness_s"])),
            (by_parts, ("architecture = \"parsync-…\"", &["parts", "gap_s"])),
            (self.architecture == "partitions", ("architecture = \"partitions\"", &["service_part"])),
            (self.architecture == "mesos", ("architecture = \"mesos\"", &["offers_s"])),
            (races, ("schedulers that race (omega, partitions, parsync-…)", &["escalate_after"])),
            (policy == "batch", ("policy = \"batch\"", &["score"])),
            (["batch", "choices"].contains(&policy), ("policy = \"batch\" or \"choices\"", &["sample"])),
            (
                ["batch", "service"].contains(&policy) && self.architecture != "mesos",
                ("policy = \"batch\" or \"service\", and not with mesos", &["fallbacks", "preempt"]),
            ),
        ];
        let (mine, usual) = (self.values(), Point::default().values());
        for (holds, (condition, fields)) in rules {
            if holds {
                continue;
            }
            if let Some(field) = fields.iter().find(|field| mine.get(**field) != usual.get(**field)) {
                return Err(format!("{field}: it means something only with {condition}; leave it out"));
            }
        }
        if !self.workload.is_empty() && self.percent != 100 {
            return Err("percent: it is of the synthetic cell C, not of a workload; leave it out".to_owned());
        }
        Ok(())
    }

    fn values(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(values)) => values,
            _ => unreachable!("settings are plain"),
        }
    }

    /// The classes it names, each with the setting that names it.
    fn labels(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let rates = self.rates.keys().map(|label| ("rates", label));
        let detections = self.detections.keys().map(|label| ("detections", label));
        rates.chain(detections).chain(self.atomicities.keys().map(|label| ("atomicities", label)))
    }

    /// Finds the workload it names, which is relative to this directory, among those that were found or on the disk.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub(super) fn find(&mut self, dir: &Path, known: &mut BTreeMap<String, Found>) -> Result<(), String> {
        if self.workload.is_empty() {
            return Ok(());
        }
        let told = |problem: String| format!("workload: {problem}");
        if !known.contains_key(&self.workload) {
            let found = Found::read(&dir.join(&self.workload)).map_err(told)?;
            known.insert(self.workload.clone(), found);
        }
        let found = known[&self.workload].clone();
        if let Some((field, label)) = self.labels().find(|(_, label)| !found.classes.contains_key(*label)) {
            let classes: Vec<&str> = found.classes.keys().map(String::as_str).collect();
            let classes = classes.join(", ");
            return Err(format!("{field}: {} has no class {label:?}; it has {classes}", self.workload));
        }
        (self.digest, self.found) = (found.digest.clone(), Some(found));
        Ok(())
    }

    /// Runs it: the metrics of batch jobs and of service jobs.
    ///
    /// # Errors
    /// Its workload can't be changed as its settings say.
    pub fn run(&self, seed: u64) -> Result<[Metrics; 2], String> {
        match self.engine.as_str() {
            "cell" => cell::run(self, seed),
            _ => Ok(first_fit::run(self, seed)),
        }
    }
}
