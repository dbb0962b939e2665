//! What a study plots.

use serde::Deserialize;

use super::file::Study;
use crate::locate::{Mistake, key};

/// How a plot looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A metric over the first axis: a line per series (and value of the second axis), medians with their deviation.
    #[default]
    Lines,
    /// A metric over both axes, as a surface; one per series.
    Surface,
    /// Curves that a run gives: distributions, or something over time.
    Curves,
    /// Metrics side by side, classes stacked.
    Bars,
}

/// A plot.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plotted {
    /// Its heading.
    pub title: String,
    /// How it looks.
    pub form: Form,
    /// What is on the y axis (`lines`, `surface`).
    pub metric: String,
    /// Another metric, dashed beside the first (`lines`).
    pub beside: String,
    /// Of which jobs; nothing: of all classes, each for itself (`curves`).
    pub class: String,
    /// Which curve (`curves`).
    pub curve: String,
    /// Which metrics (`bars`).
    pub metrics: Vec<String>,
    /// The point of the axes (`curves`, `bars`); nothing: the first.
    pub at: Vec<f64>,
    /// The series drawn; nothing: all.
    pub series: Vec<String>,
    /// What the x axis is called; nothing: as the axis is.
    pub x: String,
    /// What the y axis is called; nothing: as the metric is.
    pub y: String,
    /// Whether the x axis is logarithmic (`curves`; for others the axis says).
    pub x_log: bool,
    /// Whether the y axis is logarithmic.
    pub y_log: bool,
    /// Where the x axis ends.
    pub x_max: Option<f64>,
    /// Where the y axis begins.
    pub y_min: Option<f64>,
    /// Where the y axis ends.
    pub y_max: Option<f64>,
}

impl Plotted {
    /// Whether a series is drawn.
    pub fn draws(&self, series: &str) -> bool {
        self.series.is_empty() || self.series.iter().any(|s| s == series)
    }

    /// The point of the axes that is drawn where only one is; the nearest there is, since a small size has fewer.
    pub fn point(&self, study: &Study) -> Vec<f64> {
        let nearest = |(number, axis): (usize, &super::file::Axis)| {
            let wanted = self.at.get(number).copied().unwrap_or(axis.values[0]);
            let off = |value: &&f64| (**value - wanted).abs();
            axis.values.iter().min_by(|a, b| off(a).total_cmp(&off(b))).copied().unwrap_or(wanted)
        };
        study.axis.iter().enumerate().map(nearest).collect()
    }

    pub(super) fn check(&self, study: &Study) -> Result<(), Mistake> {
        if self.title.is_empty() {
            return Err(Mistake::at([key("title")], "title: is missing".to_owned()));
        }
        if let Some(none) =
            self.series.iter().find(|s| !study.series.iter().any(|series| series.label == **s))
        {
            return Err(Mistake::at([key("series")], format!("series: {none:?} is no series")));
        }
        let kind = study.kind;
        let axes = |wanted: usize| match study.axis.len() >= wanted {
            true => Ok(()),
            false => Err(Mistake::at([key("form")], format!("form: needs {wanted} axes"))),
        };
        match self.form {
            Form::Lines => {
                axes(1)?;
                kind.check_metric("metric", &self.metric)?;
                if !self.beside.is_empty() {
                    kind.check_metric("beside", &self.beside)?;
                }
                kind.check_class("class", &self.class)
            }
            Form::Surface => {
                axes(2)?;
                if study.axis.iter().any(|axis| axis.values.len() < 2) {
                    return Err(Mistake::at(
                        [key("form")],
                        "form: a surface needs two values on each axis".to_owned(),
                    ));
                }
                kind.check_metric("metric", &self.metric)?;
                kind.check_class("class", &self.class)
            }
            Form::Bars => {
                if self.metrics.is_empty() {
                    return Err(Mistake::at([key("metrics")], "metrics: none is named".to_owned()));
                }
                self.metrics.iter().try_for_each(|metric| kind.check_metric("metrics", metric))
            }
            Form::Curves => {
                if !self.class.is_empty() {
                    kind.check_class("class", &self.class)?;
                }
                kind.check_curve("curve", &self.curve)
            }
        }
    }
}
