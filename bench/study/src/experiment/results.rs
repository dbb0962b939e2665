//! Results of a study as a table: one row per point, seed and class of jobs, known by a hash of its configuration.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::file::{Study, StudyError};
use super::metrics::Metrics;
use super::point::Point;
use super::sweep::spread;
use crate::bounds::STUDY_RESULTS_BYTES_MAX;

/// The results of a study.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Results {
    /// One per point, seed and class.
    pub rows: Vec<Row>,
}

/// What one run measured of one class of jobs.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The hash of settings, seed and version: what was run before needn't be run again.
    pub config: String,
    /// The label of the series.
    pub series: String,
    /// The values of the axes.
    pub at: Vec<f64>,
    /// The seed.
    pub seed: u64,
    /// `batch` or `service`.
    pub class: String,
    /// What was measured.
    pub metrics: Metrics,
}

/// The results of a new version of the simulators are not those of an old one. Goes up when any result changes.
const RESULTS_VERSION: u32 = 2;

/// The hash of what decides a run's results.
pub(super) fn config(point: &Point, seed: u64) -> String {
    let settings = serde_json::to_string(point).expect("settings are plain");
    format!("{:016x}", xxh3_64(format!("{RESULTS_VERSION} {seed} {settings}").as_bytes()))
}

impl Results {
    /// The rows of one configuration, if it was run.
    pub(super) fn of(&self, config: &str) -> Option<[Row; 2]> {
        let of = |class: &str| self.rows.iter().find(|r| r.config == config && r.class == class).cloned();
        Some([of("batch")?, of("service")?])
    }

    /// Median and median absolute deviation of a metric over the seeds of a point.
    pub fn at(&self, series: &str, at: &[f64], class: &str, metric: &str) -> Option<(f64, f64)> {
        let of_point = self.rows.iter().filter(|r| r.series == series && r.at == at && r.class == class);
        spread(of_point.filter_map(|row| row.metrics.get(metric)).collect())
    }

    /// The table as CSV.
    pub fn to_csv(&self, study: &Study) -> String {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        let mut head = vec!["config".to_owned(), "series".to_owned()];
        head.extend(study.axis.iter().map(|axis| axis.field.clone()));
        head.extend(["seed", "class"].map(str::to_owned));
        head.extend(Metrics::NAMES.iter().map(|name| (*name).to_owned()));
        writer.write_record(&head).expect("a row fits memory");
        for row in &self.rows {
            let at: Vec<String> = row.at.iter().map(f64::to_string).collect();
            let (seed, class) = (row.seed.to_string(), row.class.clone());
            writer
                .serialize((&row.config, &row.series, at, seed, class, row.metrics))
                .expect("a row fits memory");
        }
        let bytes = writer.into_inner().expect("memory takes all that is written");
        String::from_utf8(bytes).expect("a table of text is text")
    }

    /// Reads a table written by [`Results::to_csv`]; nothing, if there is no file or it is of another form.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn read(path: &Path, study: &Study) -> Result<Results, StudyError> {
        let bytes = match crate::rows::bounded(path, STUDY_RESULTS_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Results::default()),
            Err(source) => {
                return Err(StudyError::File { act: "can't read", path: path.display().to_string(), source });
            }
        };
        let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(bytes.as_slice());
        let axes = study.axis.len();
        // Rows of another form are of another version of the study: they are run again.
        let rows = reader.records().map_while(Result::ok).filter_map(|record| row(&record, axes));
        Ok(Results { rows: rows.collect() })
    }
}

fn row(record: &csv::StringRecord, axes: usize) -> Option<Row> {
    if record.len() != 4 + axes + Metrics::NAMES.len() {
        return None;
    }
    let at = (2..2 + axes).map(|i| record[i].parse().ok()).collect::<Option<Vec<f64>>>()?;
    let rest: csv::StringRecord = record.iter().skip(4 + axes).collect();
    let head: csv::StringRecord = Metrics::NAMES.iter().copied().collect();
    Some(Row {
        config: record[0].to_owned(),
        series: record[1].to_owned(),
        at,
        seed: record[2 + axes].parse().ok()?,
        class: record[3 + axes].to_owned(),
        metrics: rest.deserialize(Some(&head)).ok()?,
    })
}
