//! The kinds of studies: what a point's settings are, and what a run of it gives.

use std::collections::BTreeMap;
use std::path::Path;

use bench::virtual_cell::Class;
use schedulers::Policy;
use serde::Deserialize;
use toml::Table;

use super::mapreduce::{self, MapReduceSettings};
use super::metrics::Metrics;
use super::point::Point;
use super::runs::Ran;
use super::shape::{self, GOOGLE, ShapeSettings, trace_path};
use super::workload::Found;
use crate::experiment::cell;
use crate::locate::{Key, Mistake, key};

/// What a study runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Schedulers on a cell: [`Point`].
    #[default]
    Sweep,
    /// Nothing: it looks at what a workload is made of, [`ShapeSettings`].
    Workload,
    /// MapReduce jobs on idle resources: [`MapReduceSettings`].
    MapReduce,
}

/// The settings of a point.
#[derive(Clone, PartialEq, Debug)]
pub enum Settings {
    /// Of schedulers on a cell.
    Sweep(Box<Point>),
    /// Of a look at a workload.
    Workload(ShapeSettings),
    /// Of MapReduce jobs on idle resources.
    MapReduce(MapReduceSettings),
}

/// A policy of the caller's, for points with `policy = "own"`.
pub struct Own<'a> {
    /// What it is called: runs of one aren't taken for another's.
    pub name: &'a str,
    /// Makes it for a scheduler of this class.
    pub make: &'a (dyn Fn(Class) -> Box<dyn Policy> + Sync),
}

/// What stands for Google's trace, wherever it is.
pub(super) const GOOGLE_WORD: &str = "google2011";

/// Why Google's trace can't be used.
pub(super) fn no_google() -> String {
    format!("Google's trace isn't in {} ($OHM_TRACES says where traces are)", trace_path(GOOGLE).display())
}

/// Finds the workload that a point names. Google's trace may be missing: the point is left out then.
pub(super) fn find(point: &mut Point, dir: &Path, known: &mut BTreeMap<String, Found>) -> Result<(), String> {
    if point.workload == GOOGLE_WORD && !known.contains_key(GOOGLE_WORD) {
        let path = trace_path(GOOGLE);
        if !path.is_dir() {
            return Ok(());
        }
        let found = Found::read(&path).map_err(|problem| format!("workload: {problem}"))?;
        known.insert(GOOGLE_WORD.to_owned(), found);
    }
    point.find(dir, known)
}

const CLASSES: [&str; 2] = ["batch", "service"];

impl Kind {
    /// The metrics a run gives.
    pub fn metrics(self) -> Vec<&'static str> {
        match self {
            Kind::Sweep => Metrics::NAMES.to_vec(),
            Kind::Workload => shape::METRICS.to_vec(),
            Kind::MapReduce => mapreduce::METRICS.to_vec(),
        }
    }

    /// The curves a run gives.
    pub fn curves(self) -> &'static [&'static str] {
        match self {
            Kind::Sweep => &[],
            Kind::Workload => &shape::CURVES,
            Kind::MapReduce => &mapreduce::CURVES,
        }
    }

    /// The settings in a table.
    ///
    /// # Errors
    /// A setting there is none of, or that makes no sense; its name comes first.
    pub(super) fn settings(self, table: Table) -> Result<Settings, String> {
        let told = |error: toml::de::Error| error.message().to_owned();
        match self {
            Kind::Sweep => {
                let point: Point = table.try_into().map_err(told)?;
                point.check()?;
                Ok(Settings::Sweep(Box::new(point)))
            }
            Kind::Workload => {
                let shape: ShapeSettings = table.try_into().map_err(told)?;
                shape.check()?;
                Ok(Settings::Workload(shape))
            }
            Kind::MapReduce => {
                let jobs: MapReduceSettings = table.try_into().map_err(told)?;
                jobs.check()?;
                Ok(Settings::MapReduce(jobs))
            }
        }
    }

    /// Whether these settings are of the right types; whether they go together is not looked at.
    pub(super) fn takes(self, table: Table) -> bool {
        self.typed(table).is_ok()
    }

    fn typed(self, table: Table) -> Result<(), String> {
        let told = |error: toml::de::Error| error.message().to_owned();
        match self {
            Kind::Sweep => table.try_into::<Point>().map(drop).map_err(told),
            Kind::Workload => table.try_into::<ShapeSettings>().map(drop).map_err(told),
            Kind::MapReduce => table.try_into::<MapReduceSettings>().map(drop).map_err(told),
        }
    }

    /// Checks the names and types in a part of the settings.
    pub(super) fn check_table(self, table: &Table, place: &[Key]) -> Result<(), Mistake> {
        for (name, value) in table {
            let alone = Table::from_iter([(name.clone(), value.clone())]);
            self.typed(alone).map_err(|problem| {
                let mut place = place.to_vec();
                place.push(key(name));
                Mistake { place, problem: format!("{name}: {problem}") }
            })?;
        }
        Ok(())
    }

    pub(super) fn check_metric(self, field: &str, metric: &str) -> Result<(), Mistake> {
        one_of(field, metric, &self.metrics())
    }

    pub(super) fn check_curve(self, field: &str, curve: &str) -> Result<(), Mistake> {
        one_of(field, curve, self.curves())
    }

    pub(super) fn check_class(self, field: &str, class: &str) -> Result<(), Mistake> {
        one_of(field, class, &CLASSES)
    }
}

fn one_of(field: &str, word: &str, words: &[&str]) -> Result<(), Mistake> {
    if words.contains(&word) {
        return Ok(());
    }
    let words = if words.is_empty() {
        "those this kind of study has: there are none".to_owned()
    } else {
        words.join(", ")
    };
    Err(Mistake::at([key(field)], format!("{field}: {word:?} is none of {words}")))
}

impl Settings {
    /// Runs it.
    ///
    /// # Errors
    /// Why it can't be run.
    pub fn run(&self, seed: u64, own: Option<&Own<'_>>) -> Result<Ran, String> {
        match self {
            Settings::Sweep(point) => {
                let mut ran = Ran::default();
                let found = match (point.policy == "own", own) {
                    (false, _) => point.run(seed)?,
                    (true, Some(own)) => cell::run_policies(point, seed, Some(own))?,
                    (true, None) => {
                        return Err("policy: own is what a program gives with `Doing::own`".to_owned());
                    }
                };
                for (class, metrics) in CLASSES.iter().zip(found) {
                    ran.measured_all(class, &metrics);
                }
                Ok(ran)
            }
            Settings::Workload(shape) => shape.run(seed),
            Settings::MapReduce(jobs) => jobs.run(seed),
        }
    }

    /// Why it can't be run here, when that is no mistake: a trace that isn't there.
    pub fn missing(&self) -> Option<String> {
        match self {
            Settings::Sweep(point) => {
                (point.workload == GOOGLE_WORD && point.found.is_none()).then(no_google)
            }
            Settings::MapReduce(_) => None,
            Settings::Workload(shape) => shape.missing(),
        }
    }

    /// All that decides a run's results, as text.
    pub(super) fn text(&self) -> String {
        match self {
            Settings::Sweep(point) => serde_json::to_string(point),
            Settings::Workload(shape) => serde_json::to_string(shape),
            Settings::MapReduce(jobs) => serde_json::to_string(jobs),
        }
        .expect("settings are plain")
    }
}
