//! The three projections of the trace: one row per machine, per running task and per arriving task.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bench::Trace;
use bench::trace::{Arriving, Running, TraceChange, TraceMachine};
use bench::units;

use super::{TaskColumns, end, only_once};
use crate::rows::{Rows, TraceError};

/// Their names.
pub(super) const FILES: [&str; 3] =
    ["machines_t0.csv", "tasks_running_t0.csv", "tasks_arriving_first83min.csv"];

const MACHINE_COLUMNS: [&str; 4] = ["machine", "platform", "cpu", "mem"];

/// Machines going and coming later; may be missing.
pub(super) const CHANGES: [&str; 1] = ["machine_changes_29days.csv"];

const CHANGE_COLUMNS: [&str; 6] = ["time", "machine", "ev", "platform", "cpu", "mem"];

const RUNNING_COLUMNS: [&str; 9] = ["job", "idx", "machine", "cls", "prio", "cpu", "mem", "disk", "diff"];

const RUNNING: TaskColumns = TaskColumns { job: 0, index: 1, priority: 4, size: [5, 6, 7], distinct: 8 };

const ARRIVING_COLUMNS: [&str; 14] = [
    "submit_us",
    "job",
    "idx",
    "user",
    "cls",
    "prio",
    "cpu",
    "mem",
    "disk",
    "diff",
    "schedule_us",
    "sched_machine",
    "end_us",
    "end_event",
];

const ARRIVING: TaskColumns = TaskColumns { job: 1, index: 2, priority: 5, size: [6, 7, 8], distinct: 9 };

/// Reads the files of [`FILES`], in that order.
pub(super) fn read(files: &[PathBuf; 3], changes: Option<&Path>) -> Result<Trace, TraceError> {
    let mut running = running(&files[1])?;
    running.sort_by_key(|r| (r.task.job, r.task.index));
    let mut arriving = arriving(&files[2])?;
    arriving.sort_by_key(|a| a.submit_us);
    let changes = changes.map_or_else(|| Ok(Vec::new()), self::changes)?;
    Ok(Trace { machines: machines(&files[0])?, running, arriving, changes })
}

fn machines(path: &Path) -> Result<Vec<TraceMachine>, TraceError> {
    let mut rows = Rows::open(path, &MACHINE_COLUMNS, true)?;
    let mut machines = Vec::new();
    let mut seen = BTreeSet::new();
    while rows.next()? {
        let id = rows.number(0)?;
        only_once(&mut seen, id, &rows, 0)?;
        let sizes = (rows.text(2), rows.text(3));
        let capacity =
            units::machine_capacity(sizes.0, sizes.1).map_err(|e| rows.field_error(2, e.to_string()))?;
        machines.push(TraceMachine { id, platform: rows.text(1).to_owned(), capacity });
    }
    Ok(machines)
}

fn running(path: &Path) -> Result<Vec<Running>, TraceError> {
    let mut rows = Rows::open(path, &RUNNING_COLUMNS, true)?;
    let mut running = Vec::new();
    while rows.next()? {
        running.push(Running { task: RUNNING.read(&rows)?, machine: rows.number(2)? });
    }
    Ok(running)
}

fn arriving(path: &Path) -> Result<Vec<Arriving>, TraceError> {
    let mut rows = Rows::open(path, &ARRIVING_COLUMNS, true)?;
    let mut arriving = Vec::new();
    while rows.next()? {
        let ended = match rows.optional(12)? {
            None => None,
            Some(at) => {
                let how = end(rows.number(13)?);
                let how = how.ok_or_else(|| {
                    rows.field_error(13, format!("{:?} is no end; 2 to 6 are", rows.text(13)))
                })?;
                Some((at, how))
            }
        };
        arriving.push(Arriving {
            task: ARRIVING.read(&rows)?,
            submit_us: rows.number(0)?,
            schedule_us: rows.optional(10)?,
            machine: rows.optional(11)?,
            end: ended,
        });
    }
    Ok(arriving)
}

/// Machines going and coming; changes of a machine's size, and machines without a size, are left out.
fn changes(path: &Path) -> Result<Vec<TraceChange>, TraceError> {
    let mut rows = Rows::open(path, &CHANGE_COLUMNS, true)?;
    let mut changes = Vec::new();
    while rows.next()? {
        let id = rows.number(1)?;
        let added = match rows.text(2) {
            "0" if rows.text(4).is_empty() || rows.text(5).is_empty() => continue,
            "0" => {
                let capacity = units::machine_capacity(rows.text(4), rows.text(5))
                    .map_err(|e| rows.field_error(4, e.to_string()))?;
                Some(TraceMachine { id, platform: rows.text(3).to_owned(), capacity })
            }
            "1" => None,
            "2" => continue,
            other => return Err(rows.field_error(2, format!("{other:?} is no event; 0 to 2 are"))),
        };
        changes.push(TraceChange { at_us: rows.number(0)?, machine: id, added });
    }
    changes.sort_by_key(|change| change.at_us);
    Ok(changes)
}
