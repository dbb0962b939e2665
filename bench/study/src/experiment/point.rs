//! One point of a study: its settings, how it is run, and what is measured.

use bench::omega2013::{self, Averages, Class, Defects, Machines, Offers, Prefill, Think};
use bench::virtual_cell::{self, ClassCounts, Way};
use bench::{Division, synthetic};
use cell_state::transaction::{Atomicity, Detection};
use serde::{Deserialize, Serialize};

use crate::bounds::{STUDY_HOURS_MAX, STUDY_MACHINES_MAX, STUDY_SCHEDULERS_MAX};

/// The settings of a point. What a file doesn't set is as in SBS1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Point {
    /// `first-fit`: the paper's simulator; `cell`: the production code, on a cell like Google's cell C.
    pub engine: String,
    /// `mono-single`, `mono-multi`, `omega`, `mesos`.
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
    /// Seconds a decision on a batch job takes for the job, and for each task.
    pub batch_job_s: f64,
    /// See `batch_job_s`.
    pub batch_task_s: f64,
    /// Seconds a decision on a service job takes for the job, and for each task.
    pub service_job_s: f64,
    /// See `service_job_s`.
    pub service_task_s: f64,
    /// Batch jobs arrive so many times as often.
    pub batch_rate: f64,
    /// Service jobs arrive so many times as often (`first-fit`).
    pub service_rate: f64,
    /// Seconds a batch task runs, on average (`first-fit`).
    pub batch_duration_s: f64,
    /// Hours simulated.
    pub hours: f64,
    /// Whether the paper's simulator has its defects (`first-fit`).
    pub defects: bool,
    /// Machines named in case the first is lost (`cell`).
    pub fallbacks: usize,
    /// Percent of the cell: machines, jobs, tasks of large jobs (`cell`).
    pub percent: u32,
    /// Percent of its capacity that a machine may be promised (`cell`).
    pub promise_percent: u16,
}

impl Default for Point {
    fn default() -> Point {
        Point {
            engine: "first-fit".to_owned(),
            architecture: "omega".to_owned(),
            detection: "fit".to_owned(),
            atomicity: "incremental".to_owned(),
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
        }
    }
}

/// What is measured of each class of jobs. Definitions: docs/contention-study.md.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metrics {
    /// The part of the time schedulers spent deciding.
    pub busy: f64,
    /// Of this, the part that led to placements.
    pub useful: f64,
    /// Of this, the part lost to conflicts.
    pub wasted: f64,
    /// Transactions with a conflict per transaction without.
    pub conflict_fraction: f64,
    /// Transactions with a conflict per transaction.
    pub conflicts_per_attempt: f64,
    /// Seconds queued before the first decision, on average.
    pub wait_s: f64,
    /// 90 percent wait no longer.
    pub wait_s_p90: f64,
    /// Jobs that arrived.
    pub jobs: u64,
    /// The part of them placed in full by the end.
    pub placed_jobs: f64,
    /// Transactions without a conflict.
    pub won: u64,
    /// Transactions with one.
    pub conflicted: u64,
    /// Claims lost to conflicts.
    pub lost: u64,
    /// Jobs given up.
    pub given_up: u64,
}

impl Metrics {
    /// The names of what can be plotted.
    pub const NAMES: [&'static str; 8] = [
        "busy",
        "useful",
        "wasted",
        "conflict_fraction",
        "conflicts_per_attempt",
        "wait_s",
        "wait_s_p90",
        "placed_jobs",
    ];

    /// One of them by its name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let all = [
            self.busy,
            self.useful,
            self.wasted,
            self.conflict_fraction,
            self.conflicts_per_attempt,
            self.wait_s,
            self.wait_s_p90,
            self.placed_jobs,
        ];
        Some(*all.iter().zip(Metrics::NAMES).find(|(_, n)| *n == name)?.0)
    }
}

fn one_of(field: &str, value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) {
        return Ok(());
    }
    Err(format!("{field}: {value:?} is none of {}", words.join(", ")))
}

impl Point {
    /// Checks that it can be run.
    ///
    /// # Errors
    /// The first setting that makes no sense, by its name.
    pub fn check(&self) -> Result<(), String> {
        one_of("engine", &self.engine, &["first-fit", "cell"])?;
        let architectures: &[&str] = match self.engine.as_str() {
            "cell" => &["omega", "mono-single"],
            _ => &["mono-single", "mono-multi", "omega", "mesos"],
        };
        one_of("architecture", &self.architecture, architectures)?;
        one_of("detection", &self.detection, &["fit", "version"])?;
        one_of("atomicity", &self.atomicity, &["incremental", "all-or-nothing", "gang"])?;
        let counts = [
            ("machines", self.machines, STUDY_MACHINES_MAX),
            ("batch_schedulers", self.batch_schedulers, STUDY_SCHEDULERS_MAX),
            ("service_schedulers", self.service_schedulers, STUDY_SCHEDULERS_MAX),
            ("percent", self.percent, 100),
        ];
        for (field, value, max) in counts {
            if !(1..=max).contains(&value) {
                return Err(format!("{field}: {value} is not between 1 and {max}"));
            }
        }
        let numbers = [
            ("prefill", self.prefill, 0.0, 1.0),
            ("batch_job_s", self.batch_job_s, 0.0, 1e6),
            ("batch_task_s", self.batch_task_s, 0.0, 1e6),
            ("service_job_s", self.service_job_s, 0.0, 1e6),
            ("service_task_s", self.service_task_s, 0.0, 1e6),
            ("batch_rate", self.batch_rate, 1e-3, 1e3),
            ("service_rate", self.service_rate, 1e-3, 1e3),
            ("batch_duration_s", self.batch_duration_s, 1e-3, 1e9),
            ("hours", self.hours, 1e-3, STUDY_HOURS_MAX),
        ];
        for (field, value, min, max) in numbers {
            if !(min..=max).contains(&value) {
                return Err(format!("{field}: {value} is not between {min} and {max}"));
            }
        }
        Ok(())
    }

    /// Runs it: the metrics of batch jobs and of service jobs.
    pub fn run(&self, seed: u64) -> [Metrics; 2] {
        match self.engine.as_str() {
            "cell" => self.run_cell(seed),
            _ => self.run_first_fit(seed),
        }
    }

    fn run_first_fit(&self, seed: u64) -> [Metrics; 2] {
        let run_time_s = self.hours * 3_600.0;
        let scaled = |of: Averages, rate| Averages { inter_arrival_s: of.inter_arrival_s / rate, ..of };
        let batch =
            Averages { duration_s: self.batch_duration_s, ..scaled(Averages::BATCH, self.batch_rate) };
        let service = scaled(Averages::SERVICE, self.service_rate);
        let streams = omega2013::drawn_as(seed, run_time_s, batch, service);
        let figures = omega2013::run(&self.first_fit(run_time_s, seed), &streams);
        Class::ALL.map(|class| {
            let jobs = figures.workloads.iter().find(|(of, _)| *of == class).map(|(_, w)| *w);
            let jobs = jobs.expect("every run has figures of both classes");
            let kind = if class == Class::Batch { "Batch" } else { "Other" };
            let found = figures.schedulers.iter().find(|(name, _)| *name == kind);
            // A monolithic scheduler has only the one kind, and its busyness is that of both classes.
            let of = found.or(figures.schedulers.first()).expect("every run has schedulers").1;
            Metrics {
                busy: of.useful + of.wasted,
                useful: of.useful,
                wasted: of.wasted,
                conflict_fraction: of.conflicts_per_success(),
                conflicts_per_attempt: of.conflicts_per_attempt(),
                wait_s: jobs.wait_first_s[0],
                wait_s_p90: jobs.wait_first_s[2],
                jobs: jobs.jobs,
                placed_jobs: bench::figures::fraction(jobs.full, jobs.jobs),
                won: of.won,
                conflicted: of.lost,
                lost: of.tasks_lost,
                given_up: of.given_up,
            }
        })
    }

    fn first_fit(&self, run_time_s: f64, seed: u64) -> omega2013::Settings {
        use omega2013::{Architecture, Detection, Transaction};
        let mut defects = if self.defects { Defects::ALL } else { Defects::NONE };
        // A gang is all of a job; all-or-nothing, in this simulator as in the paper's, all that found machines.
        defects.parts_pass_as_whole |= self.atomicity == "all-or-nothing";
        omega2013::Settings {
            architecture: match self.architecture.as_str() {
                "mono-single" => Architecture::MonoSingle,
                "mono-multi" => Architecture::MonoMulti,
                "mesos" => Architecture::Mesos,
                _ => Architecture::Omega,
            },
            detection: match self.detection.as_str() {
                "version" => Detection::SequenceNumbers,
                _ => Detection::ResourceFit,
            },
            transaction: match self.atomicity.as_str() {
                "incremental" => Transaction::Incremental,
                _ => Transaction::AllOrNothing,
            },
            machines: Machines { count: self.machines, cpus: 4.0, memory: 16.0 },
            // Tasks of a core and 4 GB: four of them fill a machine.
            prefill: Prefill {
                jobs: (f64::from(self.machines) * 4.0 * self.prefill / 50.0).round() as u32,
                tasks: 50,
                cpus: 1.0,
                memory: 4.0,
            },
            batch_schedulers: self.batch_schedulers,
            service_schedulers: self.service_schedulers,
            batch_think: Think { per_job_s: self.batch_job_s, per_task_s: self.batch_task_s },
            service_think: Think { per_job_s: self.service_job_s, per_task_s: self.service_task_s },
            offers: Offers::PAPER,
            run_time_s,
            seed: seed as i64,
            defects,
        }
    }

    fn run_cell(&self, seed: u64) -> [Metrics; 2] {
        let division = Division::new("service", "batch", self.batch_schedulers as usize);
        let mut workload = synthetic::workload(seed, division).reduced(self.percent);
        for arrival in &mut workload.arrivals {
            arrival.at_us = (arrival.at_us as f64 / self.batch_rate) as u64;
        }
        let us = |seconds: f64| (seconds * 1e6).round() as u64;
        let way = |job_s, task_s| Way {
            think_job_us: us(job_s),
            think_task_us: us(task_s),
            detection: if self.detection == "version" { Detection::Version } else { Detection::Fit },
            atomicity: match self.atomicity.as_str() {
                "incremental" => Atomicity::Incremental,
                _ => Atomicity::AllOrNothing,
            },
            gang: self.atomicity == "gang",
            fallbacks: self.fallbacks,
            ..Way::default()
        };
        let settings = virtual_cell::Settings {
            architecture: match self.architecture.as_str() {
                "mono-single" => virtual_cell::Architecture::Monolithic,
                _ => virtual_cell::Architecture::Shared,
            },
            batch: way(self.batch_job_s, self.batch_task_s),
            service: way(self.service_job_s, self.service_task_s),
            promise_percent: self.promise_percent,
            run_us: us(self.hours * 3_600.0),
            seed,
            ..virtual_cell::Settings::default()
        };
        let counts = virtual_cell::run(&settings, &workload);
        [&counts.batch, &counts.service].map(|of| of_class(of, settings.run_us))
    }
}

fn of_class(of: &ClassCounts, run_us: u64) -> Metrics {
    let [wait_s, _, wait_s_p90, _] = of.wait_s();
    let busy = of.busyness(run_us);
    let useful = of.busyness_without_conflicts(run_us);
    Metrics {
        busy,
        useful,
        wasted: busy - useful,
        conflict_fraction: of.conflict_fraction(),
        conflicts_per_attempt: bench::figures::fraction(of.conflicted, of.won + of.conflicted),
        wait_s,
        wait_s_p90,
        jobs: of.jobs,
        placed_jobs: bench::figures::fraction(of.full, of.jobs),
        won: of.won,
        conflicted: of.conflicted,
        lost: of.lost,
        given_up: of.given_up,
    }
}
