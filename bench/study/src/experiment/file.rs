//! Study files: what is varied, what is plotted, and what the paper says about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::metrics::Metrics;
use super::point::Point;
use crate::bounds::{STUDY_POINTS_MAX, STUDY_SEEDS_MAX};

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
    #[error("{path}: {problem}")]
    Form {
        /// The file.
        path: String,
        /// What is wrong, with line and field.
        problem: String,
    },
    /// A plot can't be drawn.
    #[error("can't draw {plot}: {problem}")]
    Plot {
        /// The plot.
        plot: String,
        /// The reason.
        problem: String,
    },
}

/// A study.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name: of its files.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What the paper states about it, in words.
    #[serde(default)]
    pub paper: String,
    /// How many seeds each point is run with.
    pub seeds: u64,
    /// Settings of every point.
    #[serde(default)]
    pub base: Table,
    /// Lines of the plots.
    pub series: Vec<Series>,
    /// What is varied; the first is the plots' x axis.
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

/// A plot.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plotted {
    /// What is on the y axis: a name of [`Metrics::NAMES`].
    pub metric: String,
    /// Of which jobs: `batch` or `service`.
    pub class: String,
    /// Its heading.
    pub title: String,
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
    pub at: Vec<f64>,
    /// At least this.
    pub min: Option<f64>,
    /// At most this.
    pub max: Option<f64>,
}

/// One point of a study with its place in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The label of its series.
    pub series: String,
    /// Its values on the axes.
    pub at: Vec<f64>,
    /// Its settings.
    pub point: Point,
}

impl Study {
    /// Reads a study.
    ///
    /// # Errors
    /// The first thing that is wrong with it; `path` is what it is called then.
    pub fn parse(path: &str, text: &str) -> Result<Study, StudyError> {
        let form = |problem: String| StudyError::Form { path: path.to_owned(), problem };
        let mut study: Study = toml::from_str(text).map_err(|e| form(e.to_string().trim_end().to_owned()))?;
        study.dir = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
        study.check().map_err(form)?;
        Ok(study)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(format!("name: {:?} has other than letters, digits and -", self.name));
        }
        if !(1..=STUDY_SEEDS_MAX).contains(&self.seeds) {
            return Err(format!("seeds: {} is not between 1 and {STUDY_SEEDS_MAX}", self.seeds));
        }
        let cases = self.axis.iter().map(|a| a.values.len()).product::<usize>() * self.series.len();
        if self.axis.is_empty() || self.axis.len() > 2 || cases == 0 || cases > STUDY_POINTS_MAX {
            let problem = format!("{cases} points on {} axes", self.axis.len());
            return Err(format!("axis: {problem}; expected 1 to {STUDY_POINTS_MAX} on one axis or two"));
        }
        let plots = self.plot.iter().map(|p| (&p.metric, &p.class));
        for (metric, class) in plots.chain(self.check.iter().map(|c| (&c.metric, &c.class))) {
            if !Metrics::NAMES.contains(&metric.as_str()) {
                return Err(format!("metric: {metric:?} is none of {}", Metrics::NAMES.join(", ")));
            }
            if !["batch", "service"].contains(&class.as_str()) {
                return Err(format!("class: {class:?} is neither batch nor service"));
            }
        }
        self.cases().map(|_| ())
    }

    /// All points, in the order of series and axes.
    ///
    /// # Errors
    /// The first setting that no point has, or that makes no sense.
    pub fn cases(&self) -> Result<Vec<Case>, String> {
        let (mut cases, mut workloads) = (Vec::new(), BTreeMap::new());
        for series in &self.series {
            for at in combinations(&self.axis) {
                let mut settings = self.base.clone();
                settings.extend(series.set.clone());
                for (axis, value) in self.axis.iter().zip(&at) {
                    settings.insert(axis.field.clone(), number(*value, &axis.field));
                }
                let mut point: Point = settings.try_into().map_err(|error: toml::de::Error| {
                    format!("series {:?}: {}", series.label, error.message())
                })?;
                let told = |problem: String| format!("series {:?}: {problem}", series.label);
                point.check().map_err(told)?;
                self.measured_by(&point).map_err(told)?;
                point.find(&self.dir, &mut workloads).map_err(told)?;
                cases.push(Case { series: series.label.clone(), at, point });
            }
        }
        Ok(cases)
    }

    /// Refuses metrics that a point doesn't measure.
    fn measured_by(&self, point: &Point) -> Result<(), String> {
        let mut wanted = self.plot.iter().map(|p| &p.metric).chain(self.check.iter().map(|c| &c.metric));
        match wanted.find(|metric| !Metrics::FIRST_FIT.contains(&metric.as_str())) {
            Some(metric) if point.engine == "first-fit" => {
                Err(format!("metric: {metric} is measured only with engine = \"cell\""))
            }
            _ => Ok(()),
        }
    }

    /// The same, small: with the settings of `[smoke]`, one seed, and the first and last value of each axis.
    #[must_use]
    pub fn reduced(mut self) -> Study {
        self.base.extend(self.smoke.clone());
        self.seeds = 1;
        for axis in &mut self.axis {
            let last = axis.values.len() - 1;
            axis.values =
                if last == 0 { vec![axis.values[0]] } else { vec![axis.values[0], axis.values[last]] };
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

/// A value of an axis as the setting takes it: those that end in `_s`, rates and parts are no whole numbers.
fn number(value: f64, field: &str) -> Value {
    if Point::WHOLE.contains(&field) { Value::Integer(value as i64) } else { Value::Float(value) }
}
