//! Google's cluster trace of 2011 ("ClusterData2011_2") from a directory: as downloaded, or as three projections.
//!
//! | file (with or without `.gz`) | what |
//! |---|---|
//! | `machine_events/part-00000-of-00001.csv` | original: machines coming, going, changing |
//! | `task_events/part-00000-of-00500.csv` | original: what happened to tasks in the first 83 minutes |
//! | `machines_t0.csv` | projection: machines at the start |
//! | `tasks_running_t0.csv` | projection: tasks running at the start |
//! | `tasks_arriving_first83min.csv` | projection: tasks submitted later |
//! | `machine_changes_29days.csv` | projection, may be missing: machines going and coming later |
//!
//! The projections are used when all three are there. In the names of originals `/` may be `_`. Both forms give the
//! same trace, record by record.

mod originals;
mod projections;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bench::Trace;
use bench::trace::{End, TraceTask};
use bench::units::{CPU_ONE, DISK_ONE, MEMORY_ONE};

use crate::rows::{Column, Rows, TraceError};

/// Reads the trace in a directory.
///
/// # Errors
/// The directory holds no trace, or the first thing that is wrong with it: file, line and column.
pub fn read(dir: &Path) -> Result<Trace, TraceError> {
    if let Some(files) = find(dir, &projections::FILES) {
        let changes = find(dir, &projections::CHANGES);
        return projections::read(&files, changes.as_ref().map(|[path]| path.as_path()));
    }
    if let Some(files) = find(dir, &originals::FILES) {
        return originals::read(&files);
    }
    let expected = format!("{}, or {}", originals::FILES.join(" and "), projections::FILES.join(", "));
    Err(TraceError::NotFound { dir: dir.display().to_string(), expected })
}

/// The files of these names, if all are there.
fn find<const N: usize>(dir: &Path, names: &[&str; N]) -> Option<[PathBuf; N]> {
    let found: Vec<PathBuf> = names
        .iter()
        .filter_map(|name| {
            let spellings = [(*name).to_owned(), name.replace('/', "_")];
            let packed = spellings.iter().flat_map(|s| [dir.join(format!("{s}.gz")), dir.join(s)]);
            packed.into_iter().find(|path| path.is_file())
        })
        .collect();
    found.try_into().ok()
}

/// Where a table has what makes up a task.
struct TaskColumns {
    job: Column,
    index: Column,
    priority: Column,
    /// Cpu, memory, disk.
    size: [Column; 3],
    distinct: Column,
}

impl TaskColumns {
    /// The task in this row.
    fn read(&self, rows: &Rows) -> Result<TraceTask, TraceError> {
        Ok(TraceTask {
            job: rows.number(self.job)?,
            index: rows.number(self.index)?,
            priority: self.priority(rows)?,
            size: self.size(rows)?,
            distinct: self.distinct(rows)?,
        })
    }

    fn priority(&self, rows: &Rows) -> Result<u8, TraceError> {
        let priority: u8 = rows.number(self.priority)?;
        if bench::priority::of_google(priority).is_some() {
            return Ok(priority);
        }
        let problem = format!("{priority} is no priority; Google's are 0 to {}", bench::priority::GOOGLE_MAX);
        Err(rows.field_error(self.priority, problem))
    }

    fn size(&self, rows: &Rows) -> Result<[u64; 3], TraceError> {
        let [cpu, memory, disk] = self.size;
        Ok([rows.amount(cpu, CPU_ONE)?, rows.amount(memory, MEMORY_ONE)?, rows.amount(disk, DISK_ONE)?])
    }

    fn distinct(&self, rows: &Rows) -> Result<bool, TraceError> {
        match rows.text(self.distinct) {
            "0" | "0.0" => Ok(false),
            "1" | "1.0" => Ok(true),
            other => Err(rows.field_error(self.distinct, format!("{other:?} is neither 0 nor 1"))),
        }
    }
}

/// How a task ended, by Google's event type, if that type is an end.
fn end(event: u8) -> Option<End> {
    match event {
        2 => Some(End::Evicted),
        3 => Some(End::Failed),
        4 => Some(End::Finished),
        5 => Some(End::Killed),
        6 => Some(End::Lost),
        _ => None,
    }
}

/// Refuses a machine that was there before: its name must be unique in the cell.
fn only_once(seen: &mut BTreeSet<u64>, id: u64, rows: &Rows, column: Column) -> Result<(), TraceError> {
    if seen.insert(id) {
        return Ok(());
    }
    Err(rows.field_error(column, format!("machine {id} is there twice")))
}

#[cfg(test)]
mod tests;
