//! Study files: what is varied, what is plotted, and what the paper says about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::metrics::Metrics;
use super::plotted::Plotted;
use super::point::Point;
use super::settings::{Kind, Settings, find};
use super::workload::Found;
use crate::bounds::{STUDY_POINTS_MAX, STUDY_SEEDS_MAX};
use crate::locate::{Key, Mistake, key, line};

/// A study file that can't be run, or results that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// A file can't be read or written.
    #[error("{act} {path}")]
    File {
        /// What was tried ("can't read").
        act: &'static str,
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is no study.
    #[error("{path}{}: {problem}", at_line(.line))]
    Form {
        /// The file.
        path: String,
        /// The line, where one is to blame.
        line: Option<usize>,
        /// What is wrong, with the field.
        problem: String,
    },
    /// A point can't be run.
    #[error("{study}: can't run {point}: {problem}")]
    Run {
        /// The study.
        study: String,
        /// The point: its series and values.
        point: String,
        /// The reason.
        problem: String,
    },
    /// A table or a plot can't be made.
    #[error("can't make {what}: {problem}")]
    Output {
        /// The table or plot.
        what: String,
        /// The reason.
        problem: String,
    },
}

fn at_line(line: &Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

/// A study.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name: of its files.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What is run.
    #[serde(default)]
    pub kind: Kind,
    /// What the paper states about it, in words.
    #[serde(default)]
    pub paper: String,
    /// What we found, in words.
    #[serde(default)]
    pub finding: String,
    /// How many seeds each point is run with.
    pub seeds: u64,
    /// Settings of every point.
    #[serde(default)]
    pub base: Table,
    /// Lines of the plots.
    pub series: Vec<Series>,
    /// What is varied; the first is the plots' x axis.
    #[serde(default)]
    pub axis: Vec<Axis>,
    /// What is plotted.
    pub plot: Vec<Plotted>,
    /// What is expected.
    #[serde(default)]
    pub check: Vec<Check>,
    /// Settings that make it small, to try whether it runs at all.
    #[serde(default)]
    pub smoke: Table,
    /// The directory of its file: workloads are relative to it.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// A line of the plots.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What it is called.
    pub label: String,
    /// Settings of its points.
    #[serde(default)]
    pub set: Table,
}

/// Something that is varied.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The setting.
    pub field: String,
    /// What it is called.
    pub label: String,
    /// Its values.
    pub values: Vec<f64>,
    /// Whether it is drawn on a logarithmic scale.
    #[serde(default)]
    pub log: bool,
}

/// Something the paper states that can be compared with a number.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The statement.
    pub text: String,
    /// The series it is about.
    pub series: String,
    /// Of which jobs.
    pub class: String,
    /// The metric.
    pub metric: String,
    /// The values of the axes.
    #[serde(default)]
    pub at: Vec<f64>,
    /// At least this.
    pub min: Option<f64>,
    /// At most this.
    pub max: Option<f64>,
    /// Why it is otherwise here, if that is known.
    #[serde(default)]
    pub why: String,
}

/// One point of a study with its place in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The label of its series.
    pub series: String,
    /// Its values on the axes.
    pub at: Vec<f64>,
    /// Its settings.
    pub settings: Settings,
}

impl Study {
    /// Reads a study.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line; `path` is what the file is called then.
    pub fn parse(path: &str, text: &str) -> Result<Study, StudyError> {
        let form = |line, problem| StudyError::Form { path: path.to_owned(), line, problem };
        let mut study: Study = toml::from_str(text).map_err(|error| {
            let line = error.span().and_then(|span| Some(text.get(..span.start)?.matches('\n').count() + 1));
            form(line, error.message().to_owned())
        })?;
        study.dir = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
        study.check().map_err(|Mistake { place, problem }| form(line(text, &place), problem))?;
        Ok(study)
    }

    fn check(&self) -> Result<(), Mistake> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(Mistake::at(
                [key("name")],
                format!("name: {:?} has other than letters, digits and -", self.name),
            ));
        }
        if !(1..=STUDY_SEEDS_MAX).contains(&self.seeds) {
            let problem = format!("seeds: {} is not between 1 and {STUDY_SEEDS_MAX}", self.seeds);
            return Err(Mistake::at([key("seeds")], problem));
        }
        let points = self.points_max();
        let axes = self.axis.len();
        if axes > 2 || (axes == 0 && self.kind == Kind::Sweep) || points == 0 || points > STUDY_POINTS_MAX {
            let problem = format!(
                "axis: {points} points on {axes} axes; write one axis or two, with 1 to {STUDY_POINTS_MAX} points \
                 of all series together"
            );
            return Err(Mistake::at([key("axis")], problem));
        }
        for (number, series) in self.series.iter().enumerate() {
            if self.series[..number].iter().any(|before| before.label == series.label) {
                let problem = format!("label: {:?} is the label of two series", series.label);
                return Err(Mistake::at([key("series"), Key::At(number), key("label")], problem));
            }
        }
        let smoke: Vec<Key> = vec![key("smoke")];
        self.kind.check_table(&self.smoke, &smoke)?;
        self.cases()?;
        for (number, plot) in self.plot.iter().enumerate() {
            plot.check(self).map_err(|m| m.within([key("plot"), Key::At(number)]))?;
        }
        for (number, check) in self.check.iter().enumerate() {
            self.check_statement(check).map_err(|m| m.within([key("check"), Key::At(number)]))?;
        }
        Ok(())
    }

    fn points_max(&self) -> usize {
        self.axis.iter().map(|a| a.values.len()).product::<usize>() * self.series.len()
    }

    /// How many runs it is, if nothing is left out.
    pub fn runs(&self) -> u64 {
        self.points_max() as u64 * self.seeds
    }

    fn check_statement(&self, check: &Check) -> Result<(), Mistake> {
        self.kind.check_metric("metric", &check.metric)?;
        self.kind.check_class("class", &check.class)?;
        if !self.series.iter().any(|series| series.label == check.series) {
            return Err(Mistake::at([key("series")], format!("series: {:?} is no series", check.series)));
        }
        let on_axes = check.at.len() == self.axis.len()
            && check.at.iter().zip(&self.axis).all(|(at, axis)| axis.values.contains(at));
        if !on_axes {
            return Err(Mistake::at([key("at")], format!("at: {:?} is no point of the axes", check.at)));
        }
        Ok(())
    }

    /// All points, in the order of series and axes.
    ///
    /// # Errors
    /// The first setting that no point has, or that makes no sense, and where it is.
    pub(super) fn cases(&self) -> Result<Vec<Case>, Mistake> {
        self.kind.check_table(&self.base, &[key("base")])?;
        for (number, axis) in self.axis.iter().enumerate() {
            for value in &axis.values {
                let alone = Table::from_iter([(axis.field.clone(), self.number(*value, &axis.field))]);
                self.kind
                    .check_table(&alone, &[])
                    .map_err(|m| Mistake::at([key("axis"), Key::At(number), key("field")], m.problem))?;
            }
        }
        let (mut cases, mut workloads) = (Vec::new(), BTreeMap::new());
        for (number, series) in self.series.iter().enumerate() {
            self.kind.check_table(&series.set, &[key("series"), Key::At(number), key("set")])?;
            for at in combinations(&self.axis) {
                let mut settings = self.base.clone();
                settings.extend(series.set.clone());
                for (axis, value) in self.axis.iter().zip(&at) {
                    settings.insert(axis.field.clone(), self.number(*value, &axis.field));
                }
                let settings = self.settings(settings, &mut workloads).map_err(|problem| {
                    let place = self.place_of(number, &problem);
                    Mistake { place, problem: format!("series {:?}: {problem}", series.label) }
                })?;
                cases.push(Case { series: series.label.clone(), at, settings });
            }
        }
        Ok(cases)
    }

    /// All points, in the order of series and axes.
    ///
    /// # Errors
    /// Settings were changed to what makes no sense.
    pub fn points(&self) -> Result<Vec<Case>, StudyError> {
        let form = |m: Mistake| StudyError::Form { path: self.name.clone(), line: None, problem: m.problem };
        self.cases().map_err(form)
    }

    /// The settings of a point, with the workload it names.
    fn settings(&self, table: Table, workloads: &mut BTreeMap<String, Found>) -> Result<Settings, String> {
        let mut settings = self.kind.settings(table)?;
        if let Settings::Sweep(point) = &mut settings {
            self.measured_by(point)?;
            find(point, &self.dir, workloads)?;
        }
        Ok(settings)
    }

    /// Refuses metrics that a point doesn't measure.
    fn measured_by(&self, point: &Point) -> Result<(), String> {
        let plotted = self.plot.iter().map(|p| &p.metric);
        let mut wanted =
            plotted.chain(self.check.iter().map(|c| &c.metric)).filter(|metric| !metric.is_empty());
        match wanted.find(|metric| !Metrics::FIRST_FIT.contains(&metric.as_str())) {
            Some(metric) if point.engine == "first-fit" && Metrics::NAMES.contains(&metric.as_str()) => {
                Err(format!("metric: {metric} is measured only with engine = \"cell\""))
            }
            _ => Ok(()),
        }
    }

    /// Where the setting is that a problem begins with.
    fn place_of(&self, series: usize, problem: &str) -> Vec<Key> {
        let named = |name: &String| {
            problem.contains(&format!("`{name}`")) || problem.starts_with(&format!("{name}:"))
        };
        if let Some(axis) = self.axis.iter().position(|axis| named(&axis.field)) {
            return vec![key("axis"), Key::At(axis), key("field")];
        }
        if let Some(name) = self.series[series].set.keys().find(|name| named(name)) {
            return vec![key("series"), Key::At(series), key("set"), key(name)];
        }
        match self.base.keys().find(|name| named(name)) {
            Some(name) => vec![key("base"), key(name)],
            None => vec![key("series"), Key::At(series)],
        }
    }

    /// A value of an axis as the setting takes it: a whole number where it doesn't take others.
    fn number(&self, value: f64, field: &str) -> Value {
        let alone = |value: Value| Table::from_iter([(field.to_owned(), value)]);
        let real = Value::Float(value);
        if value.fract() == 0.0 && !self.kind.takes(alone(real.clone())) {
            return Value::Integer(value as i64);
        }
        real
    }

    /// The same, small: with the settings of `[smoke]`, one seed, and the first and last value of each axis. What is
    /// stated is stated of the full size, so it isn't compared.
    #[must_use]
    pub fn reduced(mut self) -> Study {
        self.base.extend(self.smoke.clone());
        for series in &mut self.series {
            // What makes it small holds for every series.
            series.set.retain(|name, _| !self.smoke.contains_key(name));
            if series.set.contains_key("workload") && self.smoke.contains_key("percent") {
                // It is of the synthetic cell, which this series doesn't run.
                series.set.insert("percent".to_owned(), Value::Integer(100));
            }
        }
        self.seeds = 1;
        self.check.clear();
        for axis in &mut self.axis {
            let last = axis.values.len() - 1;
            if last > 0 {
                axis.values = vec![axis.values[0], axis.values[last]];
            }
        }
        self
    }
}

fn combinations(axes: &[Axis]) -> Vec<Vec<f64>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let with = |before: &Vec<f64>| -> Vec<Vec<f64>> {
            axis.values.iter().map(|value| [before.clone(), vec![*value]].concat()).collect()
        };
        all.iter().flat_map(with).collect()
    })
}
