//! From rows back to transactions: their entries are read from the log.

use std::collections::BTreeSet;

use cell_state::event::{Committed, Event};
use cell_state::fit::Misfit;
use cell_state::record::RecordError;
use cell_state::verdict::{Conflict, ConflictKind, Outcome};
use cell_state::{JobId, MachineId, TaskId};

use super::rows::Row;
use crate::bounds::{ATTEMPTS_GAP_MAX, CATCH_UP_BYTES};
use crate::log::{LogError, LogReader, ReadError};

/// The transactions of these rows, newest first as they are, without those that the log no longer keeps.
pub(super) fn read(log: &LogReader, rows: &[Row]) -> Result<Vec<(Row, Committed)>, ReadError> {
    let mut all = Vec::with_capacity(rows.len());
    for run in rows.chunk_by(|newer, older| newer.at.0 - older.at.0 <= ATTEMPTS_GAP_MAX) {
        let start = all.len();
        let run: Vec<Row> = run.iter().rev().copied().skip_while(|row| row.at < log.first()).collect();
        match read_run(log, &run, &mut all) {
            Ok(()) => {}
            // Trimmed just now.
            Err(ReadError::TooOld { .. }) => break,
            Err(error) => return Err(error),
        }
        all[start..].reverse();
    }
    Ok(all)
}

/// Reads neighbours, oldest first.
fn read_run(log: &LogReader, run: &[Row], out: &mut Vec<(Row, Committed)>) -> Result<(), ReadError> {
    let mut rows = run.iter().copied().peekable();
    while let Some(first) = rows.peek().map(|row| row.at) {
        let last = run[run.len() - 1].at;
        // One record if one is wanted, else about as many bytes as they usually take.
        let bytes = ((last.0 - first.0) as usize).saturating_mul(256).clamp(1, CATCH_UP_BYTES);
        let piece = log.read(first, bytes)?;
        for record in piece.records() {
            let record = record.map_err(unreadable)?;
            let Some(row) = rows.next_if(|row| row.at == record.seq) else { continue };
            if let Event::Committed(committed) = record.event().map_err(|error| unreadable(error.into()))? {
                out.push((row, committed));
            }
        }
    }
    Ok(())
}

/// A record that was written well and can't be read any more.
pub(super) fn unreadable(error: RecordError) -> ReadError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    ReadError::Log(LogError::Io { act: "read", path: "log".into(), source })
}

/// What a transaction mentions.
#[derive(Default, Debug)]
pub struct Mentioned {
    /// Machines.
    pub machines: BTreeSet<MachineId>,
    /// Jobs.
    pub jobs: BTreeSet<JobId>,
}

/// What a transaction mentions: the names that a person needs to understand it.
pub fn mentioned(committed: &Committed) -> Mentioned {
    let mut mentioned = Mentioned::default();
    for outcome in committed.outcomes.iter() {
        mentioned.outcome(outcome);
    }
    if let Some(conflict) = &committed.failed_assertion {
        mentioned.conflict(conflict);
    }
    mentioned
}

impl Mentioned {
    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Placed(placed) => {
                self.machines.insert(placed.machine);
                self.task(placed.task);
                let victims = placed.extra.as_ref().map_or(&[][..], |extra| &extra.preempted);
                victims.iter().for_each(|victim| self.task(*victim));
            }
            Outcome::Stopping { task, .. } | Outcome::Resized { task, .. } => self.task(*task),
            Outcome::Conflict(conflict) => self.conflict(conflict),
            Outcome::Aborted => {}
        }
    }

    fn conflict(&mut self, conflict: &Conflict) {
        self.machines.extend(conflict.machine);
        self.jobs.extend(conflict.task.map(|task| task.job));
        match &conflict.kind {
            ConflictKind::Victim(task) | ConflictKind::Waiting(task) => self.task(*task),
            ConflictKind::Misfit(Misfit::SameJob(task)) => self.task(*task),
            ConflictKind::Misfit(_)
            | ConflictKind::Changed { .. }
            | ConflictKind::TaskState(_)
            | ConflictKind::Epoch { .. }
            | ConflictKind::NoTask
            | ConflictKind::NoMachine
            | ConflictKind::Unwanted
            | ConflictKind::Quota { .. }
            | ConflictKind::Assertion { .. } => {}
        }
    }

    fn task(&mut self, task: TaskId) {
        self.jobs.insert(task.job);
    }
}
