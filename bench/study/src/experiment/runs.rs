//! What runs measured, kept as they end: a study that is stopped takes up where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::file::StudyError;
use crate::bounds::STUDY_RESULTS_BYTES_MAX;

/// What one run measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ran {
    /// Numbers.
    pub values: Vec<Measured>,
    /// Distributions, and what is over time.
    pub curves: Vec<Curve>,
}

/// A number that was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Of which jobs.
    pub class: String,
    /// What.
    pub metric: String,
    /// The number.
    pub value: f64,
}

/// A curve that was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    /// Of which jobs.
    pub class: String,
    /// What.
    pub name: String,
    /// Its points, by x.
    pub points: Vec<(f64, f64)>,
}

impl Ran {
    /// Adds a number.
    pub fn measured(&mut self, class: &str, metric: &str, value: f64) {
        self.values.push(Measured { class: class.to_owned(), metric: metric.to_owned(), value });
    }

    /// Adds all numbers of a record, by the names of its fields.
    pub fn measured_all(&mut self, class: &str, record: &impl Serialize) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(record).expect("a record of numbers is a row");
        let bytes = writer.into_inner().expect("memory takes all that is written");
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let names = reader.headers().cloned().unwrap_or_default();
        for row in reader.records().map_while(Result::ok) {
            for (name, value) in names.iter().zip(&row) {
                self.measured(class, name, value.parse().unwrap_or(f64::NAN));
            }
        }
    }

    /// Adds a curve.
    pub fn curve(&mut self, class: &str, name: &str, points: Vec<(f64, f64)>) {
        self.curves.push(Curve { class: class.to_owned(), name: name.to_owned(), points });
    }

    /// A number.
    pub fn value(&self, class: &str, metric: &str) -> Option<f64> {
        self.values.iter().find(|m| m.class == class && m.metric == metric).map(|m| m.value)
    }
}

/// Runs by the hash of their configuration, and the file they are kept in.
#[derive(Debug, Default)]
pub struct Runs {
    known: BTreeMap<String, Ran>,
    file: Option<File>,
}

/// The row that ends a run: without it the run was cut off.
const END: &str = "end";

impl Runs {
    /// Opens the file that runs are kept in, and reads those that are complete. `fresh` forgets them.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn open(path: &Path, fresh: bool) -> Result<Runs, StudyError> {
        let failed = |act| move |source| StudyError::File { act, path: path.display().to_string(), source };
        let known = match crate::rows::bounded(path, STUDY_RESULTS_BYTES_MAX) {
            _ if fresh => BTreeMap::new(),
            Ok(bytes) => read(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(failed("can't read")(source)),
        };
        // Written anew, so that what was cut off doesn't stay in it.
        let mut file = File::create(path).map_err(failed("can't write"))?;
        for (config, ran) in &known {
            file.write_all(&rows(config, ran)).map_err(failed("can't write"))?;
        }
        drop(file);
        let file = OpenOptions::new().append(true).open(path).map_err(failed("can't write"))?;
        Ok(Runs { known, file: Some(file) })
    }

    /// The run of a configuration, if there was one.
    pub fn of(&self, config: &str) -> Option<&Ran> {
        self.known.get(config)
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep(&mut self, config: &str, ran: &Ran) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&rows(config, ran))?;
        }
        self.known.insert(config.to_owned(), ran.clone());
        Ok(())
    }
}

fn rows(config: &str, ran: &Ran) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let mut row = |class: &str, name: &str, x: &str, y: &str| {
        writer.write_record([config, class, name, x, y]).expect("a row fits memory");
    };
    for Measured { class, metric, value } in &ran.values {
        row(class, metric, "", &value.to_string());
    }
    for Curve { class, name, points } in &ran.curves {
        for (x, y) in points {
            row(class, name, &x.to_string(), &y.to_string());
        }
    }
    row("", END, "", "");
    writer.into_inner().expect("memory takes all that is written")
}

fn read(bytes: &[u8]) -> BTreeMap<String, Ran> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut known: BTreeMap<String, Ran> = BTreeMap::new();
    let mut complete = BTreeSet::new();
    // A row that makes no sense ends the file: it was cut off there.
    for row in reader.records().map_while(Result::ok) {
        if row.len() != 5 {
            break;
        }
        let ran = known.entry(row[0].to_owned()).or_default();
        if &row[2] == END {
            complete.insert(row[0].to_owned());
            continue;
        }
        let (class, name) = (&row[1], &row[2]);
        let Ok(y) = row[4].parse() else { break };
        match row[3].parse() {
            Err(_) => ran.measured(class, name, y),
            Ok(x) => match ran.curves.last_mut().filter(|c| c.class == class && c.name == name) {
                Some(curve) => curve.points.push((x, y)),
                None => ran.curve(class, name, vec![(x, y)]),
            },
        }
    }
    known.retain(|config, _| complete.contains(config));
    known
}
