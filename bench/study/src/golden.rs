//! Golden results: what the public Omega simulator measured, and whether our `omega-2013` mode measures the same.
//!
//! A directory holds `expected.json`, one record per run with its parameters and figures, and a directory per workload
//! with `batch.csv.gz` and `service.csv.gz`, the job streams. Each record is run again and compared field by field.

mod compare;
mod defects;
mod record;
mod streams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bench::omega2013::{self, Figures, Streams};

pub use compare::{Difference, compare};
pub use defects::{Change, Effect};
pub use record::{Figure, Record, Sameness, Seconds};
pub use streams::read as read_streams;

use crate::rows::TraceError;

/// Golden results that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// The records are no records.
    #[error("{path}, line {line}, field {field}: {problem}")]
    Record {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The field, by its path.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// A record has a value that can't be run.
    #[error("{path}, record {record}, field {field}: {problem}")]
    Value {
        /// The file.
        path: String,
        /// The record, from 1.
        record: usize,
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A job stream is wrong.
    #[error(transparent)]
    Stream(#[from] TraceError),
}

/// A directory of golden results.
#[derive(Debug)]
pub struct Golden {
    /// The runs.
    pub records: Vec<Record>,
    /// The job streams, by the name of the workload.
    pub workloads: BTreeMap<String, Streams>,
}

/// A record that was run again.
#[derive(Debug)]
pub struct Checked {
    /// What came out.
    pub figures: Figures,
    /// The first field that differs, if any does.
    pub difference: Option<Difference>,
}

/// Reads a directory of golden results.
///
/// # Errors
/// The first thing that is wrong with it: file, line and field.
pub fn read(dir: &Path) -> Result<Golden, GoldenError> {
    let path = dir.join("expected.json");
    let records = record::read(&path)?;
    let mut workloads = BTreeMap::new();
    for record in &records {
        if !workloads.contains_key(&record.workload) {
            let streams = read_streams(&dir.join(&record.workload))?;
            workloads.insert(record.workload.clone(), streams);
        }
    }
    Ok(Golden { records, workloads })
}

impl Golden {
    /// Runs one record again and compares it.
    pub fn check(&self, record: &Record) -> Checked {
        let figures = omega2013::run(&record.settings(), &self.workloads[&record.workload]);
        let difference = compare(record, &figures);
        Checked { figures, difference }
    }

    /// Runs all records on so many threads; tells how many are done. The results are in the records' order.
    pub fn check_all(&self, threads: usize, done: &(dyn Fn(usize) + Sync)) -> Vec<Checked> {
        let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let mut checked = Vec::new();
            while let Some((at, record)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, self.records.get(at)?)))
            {
                checked.push((at, self.check(record)));
                done(finished.fetch_add(1, Ordering::Relaxed) + 1);
            }
            checked
        };
        let mut all: Vec<(usize, Checked)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|w| w.join().expect("a run doesn't panic")).collect()
        });
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, checked)| checked).collect()
    }
}

/// Where golden results of the Omega simulator lie beside a workspace; for tests.
pub fn beside(workspace: &Path) -> PathBuf {
    workspace.join("../shared/golden/omega-simulator")
}
