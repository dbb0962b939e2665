//! Results of a study as tables: one row per point, seed and class of jobs, known by a hash of its configuration.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::file::Study;
use super::runs::Ran;
use super::settings::{Kind, Settings};
use super::sweep::spread;

/// The results of a study.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Results {
    /// One per point and seed, in the order of the file.
    pub runs: Vec<Run>,
    /// What wasn't run, and why.
    pub left_out: BTreeSet<String>,
}

/// One run and its place in the study.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// The hash of settings, seed and version: what was run before needn't be run again.
    pub config: String,
    /// The label of the series.
    pub series: String,
    /// The values of the axes.
    pub at: Vec<f64>,
    /// The seed.
    pub seed: u64,
    /// What was measured.
    pub ran: Ran,
}

/// A row of the table of numbers.
pub(super) struct Row<'a> {
    pub(super) run: &'a Run,
    pub(super) class: &'a str,
    /// By the columns; nothing where this class has no such number.
    pub(super) values: Vec<Option<f64>>,
}

/// The results of a new version of the simulators are not those of an old one. Goes up when any result changes.
const RESULTS_VERSION: u32 = 4;

/// The hash of what decides a run's results.
pub(super) fn config(kind: Kind, settings: &Settings, seed: u64, own: &str) -> String {
    let text = format!("{RESULTS_VERSION} {seed} {own} {} {}", kind.metrics().join(" "), settings.text());
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

impl Results {
    /// All values of a metric at a point, by seed.
    pub fn values(&self, series: &str, at: &[f64], class: &str, metric: &str) -> Vec<(u64, f64)> {
        let of_point = self.runs.iter().filter(|r| r.series == series && r.at == at);
        of_point.filter_map(|run| Some((run.seed, run.ran.value(class, metric)?))).collect()
    }

    /// Median and median absolute deviation of a metric over the seeds of a point.
    pub fn at(&self, series: &str, at: &[f64], class: &str, metric: &str) -> Option<(f64, f64)> {
        spread(self.values(series, at, class, metric).into_iter().map(|(_, value)| value).collect())
    }

    /// The columns of the table of numbers, in the order they were measured.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for measured in self.runs.iter().flat_map(|run| &run.ran.values) {
            if !columns.contains(&measured.metric.as_str()) {
                columns.push(&measured.metric);
            }
        }
        columns
    }

    pub(super) fn rows(&self, columns: &[&str]) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for run in &self.runs {
            let mut classes: Vec<&str> = Vec::new();
            for measured in &run.ran.values {
                if !classes.contains(&measured.class.as_str()) {
                    classes.push(&measured.class);
                }
            }
            for class in classes {
                let values = columns.iter().map(|column| run.ran.value(class, column)).collect();
                rows.push(Row { run, class, values });
            }
        }
        rows
    }

    /// The table of numbers as CSV.
    pub fn to_csv(&self, study: &Study) -> String {
        let columns = self.columns();
        let mut head = vec!["config", "series"];
        head.extend(study.axis.iter().map(|axis| axis.field.as_str()));
        head.extend(["seed", "class"]);
        head.extend(&columns);
        let mut lines = Vec::new();
        for Row { run, class, values } in self.rows(&columns) {
            let mut line = vec![run.config.clone(), run.series.clone()];
            line.extend(run.at.iter().map(f64::to_string));
            line.extend([run.seed.to_string(), class.to_owned()]);
            line.extend(values.iter().map(|v| v.map_or_else(String::new, |value| value.to_string())));
            lines.push(line);
        }
        text(&head, lines)
    }

    /// The table of curves as CSV; nothing if there are none.
    pub fn curves_csv(&self, study: &Study) -> Option<String> {
        let mut head = vec!["config", "series"];
        head.extend(study.axis.iter().map(|axis| axis.field.as_str()));
        head.extend(["seed", "class", "curve", "x", "y"]);
        let mut lines = Vec::new();
        for run in &self.runs {
            for curve in &run.ran.curves {
                for (x, y) in &curve.points {
                    let mut line = vec![run.config.clone(), run.series.clone()];
                    line.extend(run.at.iter().map(f64::to_string));
                    line.extend([run.seed.to_string(), curve.class.clone(), curve.name.clone()]);
                    line.extend([x.to_string(), y.to_string()]);
                    lines.push(line);
                }
            }
        }
        (!lines.is_empty()).then(|| text(&head, lines))
    }
}

fn text(head: &[&str], lines: Vec<Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(head).expect("a row fits memory");
    for line in lines {
        writer.write_record(line).expect("a row fits memory");
    }
    let bytes = writer.into_inner().expect("memory takes all that is written");
    String::from_utf8(bytes).expect("a table of text is text")
}
