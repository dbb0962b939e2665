//! Job streams of the golden results: two tables, sorted by time of submission.

use std::path::Path;

use bench::omega2013::{StreamJob, Streams};

use crate::rows::{Rows, TraceError};

const COLUMNS: [&str; 6] = ["id", "submit_s", "tasks", "duration_s", "cpus_per_task", "mem_gb_per_task"];

/// Reads `batch.csv` and `service.csv` of a directory, packed or not.
///
/// # Errors
/// A table is missing, or the first thing that is wrong with one: file, line and column.
pub fn read(dir: &Path) -> Result<Streams, TraceError> {
    Ok(Streams { batch: stream(dir, "batch.csv")?, service: stream(dir, "service.csv")? })
}

fn stream(dir: &Path, name: &str) -> Result<Vec<StreamJob>, TraceError> {
    let packed = dir.join(format!("{name}.gz"));
    let path = if packed.is_file() { packed } else { dir.join(name) };
    let mut rows = Rows::open(&path, &COLUMNS, true)?;
    let mut jobs: Vec<StreamJob> = Vec::new();
    while rows.next()? {
        rows.number::<u64>(0)?;
        let job = StreamJob {
            submit_s: rows.decimal(1)?,
            tasks: rows.number(2)?,
            duration_s: rows.decimal(3)?,
            cpus: rows.decimal(4)?,
            memory: rows.decimal(5)?,
        };
        if job.tasks == 0 {
            return Err(rows.field_error(2, "a job has at least one task".to_owned()));
        }
        if jobs.last().is_some_and(|last| last.submit_s > job.submit_s) {
            return Err(rows.field_error(1, "the job before was submitted later".to_owned()));
        }
        jobs.push(job);
    }
    Ok(jobs)
}
