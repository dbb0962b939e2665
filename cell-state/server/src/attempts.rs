//! The side log: where in the log each judged transaction is, won or lost, and conflicts counted by pair of
//! schedulers. For people who ask who lost to whom, and for studies afterwards.
//!
//! What a transaction asked and got is in the log already, so nothing is written twice: the side log holds a *row* of a
//! few bytes for each of the latest transactions, and a transaction can be shown for as long as the log keeps its
//! entry. Names are looked up when somebody asks. Publish adds rows in memory; a thread of its own writes them at
//! intervals. Best effort: nothing rests on it and no commit waits for it. What a crash takes of its end is read again
//! from the log by the next start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cell_state::event::{Committed, Event};
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{JobId, Seq, SessionId, TxnId};
use parking_lot::Mutex;
use transport::view::ConflictCount;

use crate::bounds::{ATTEMPTS_BEHIND_MAX, ATTEMPTS_LOOK, ATTEMPTS_NAMES_MAX, CATCH_UP_BYTES};
use crate::checkpoint::DatabaseError;
use crate::log::{LogId, LogReader, ReadError};

mod counts;
mod finding;
mod rows;
mod store;

pub use finding::mentioned;

use counts::Counts;
use rows::{Row, Rows};
use store::{Held, Store, Unsaved};

/// The side log. A clone is the same one.
#[derive(Clone)]
pub struct Attempts(Arc<Inner>);

/// Which attempts are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// How many at most.
    pub limit: usize,
    /// Only those of this scheduler.
    pub scheduler: Option<String>,
    /// Only those about this job.
    pub job: Option<JobId>,
    /// Only those with a conflict.
    pub conflicts_only: bool,
}

/// A judged transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its entry.
    pub at: Seq,
    /// Its author's scheduler.
    pub scheduler: String,
    /// What was asked and answered.
    pub committed: Committed,
}

struct Inner {
    store: Store,
    log: LogReader,
    state: Mutex<State>,
}

struct State {
    rows: Rows,
    /// Rows before this number are on the disk.
    saved: u64,
    /// The last entry looked at.
    upto: Seq,
    /// The schedulers of sessions, also of those that the cell has forgotten.
    names: BTreeMap<SessionId, String>,
    counts: Counts,
}

impl Attempts {
    /// Opens the side log, makes it if it isn't there, and brings it up to the end of the log. One that can't be used
    /// is set aside.
    ///
    /// # Errors
    /// It is in use, or the operating system refused.
    pub fn open(
        path: &Path,
        id: LogId,
        log: LogReader,
        sessions: impl Iterator<Item = (SessionId, String)>,
    ) -> Result<Attempts, DatabaseError> {
        let (store, Held { upto, rows, names, counts }) = Store::open(path, id)?;
        let names = names.into_iter().chain(sessions).collect();
        let state = State { saved: rows.end(), rows, upto, names, counts };
        let attempts = Attempts(Arc::new(Inner { store, log, state: Mutex::new(state) }));
        if let Err(error) = attempts.catch_up() {
            tracing::warn!(%error, "some transactions will be missing from the side log of attempts");
        }
        Ok(attempts)
    }

    /// Looks at the entries that the log has and the side log has not, up to a bound.
    fn catch_up(&self) -> Result<(), ReadError> {
        let Inner { log, state, .. } = &*self.0;
        let mut state = state.lock();
        let last = log.last();
        let oldest = last.0.saturating_sub(ATTEMPTS_BEHIND_MAX).max(state.upto.0) + 1;
        let mut next = Seq(oldest).max(log.first());
        while next <= last {
            let piece = log.read(next, CATCH_UP_BYTES)?;
            for record in piece.records() {
                let record = record.map_err(finding::unreadable)?;
                let event = record.event().map_err(|error| finding::unreadable(error.into()))?;
                state.note(record.seq, &event);
            }
            next = piece.last.next();
        }
        state.upto = last;
        Ok(())
    }

    /// Notes the transactions among these entries, which are durable, and counts their conflicts. Called by one thread,
    /// with entries in order.
    pub(crate) fn note<'a>(&self, entries: impl Iterator<Item = (Seq, &'a Event)>) {
        let mut state = self.0.state.lock();
        for (seq, event) in entries {
            state.note(seq, event);
        }
    }

    /// Writes what has been noted since the last time. Called by one thread, which nobody waits for.
    ///
    /// # Errors
    /// The database failed; the next call tries again.
    pub fn save(&self) -> Result<(), DatabaseError> {
        let Inner { store, state, .. } = &*self.0;
        let (unsaved, end) = {
            let mut state = state.lock();
            let blocks = state.rows.blocks(state.saved, &state.names);
            let counts = state.counts.take_unsaved();
            if state.saved == state.rows.end() && counts.is_empty() {
                return Ok(());
            }
            (Unsaved { upto: state.upto, blocks, counts }, state.rows.end())
        };
        let written = store.write(&unsaved);
        let mut state = state.lock();
        match &written {
            Ok(()) => state.saved = end,
            Err(_) => state.counts.put_back(unsaved.counts),
        }
        written
    }

    /// The latest attempts that are wanted, newest first.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn latest(&self, wanted: &Wanted) -> Result<Vec<Found>, ReadError> {
        let mut found = Vec::new();
        let mut end = u64::MAX;
        while found.len() < wanted.limit {
            let (candidates, start) = {
                let state = self.0.state.lock();
                // Whether a job is mentioned is in the log only, so more rows than are missing may have to be read.
                let enough = if wanted.job.is_some() { ATTEMPTS_LOOK } else { wanted.limit - found.len() };
                state.candidates(wanted, end, enough.min(ATTEMPTS_LOOK))
            };
            for (row, committed) in finding::read(&self.0.log, &candidates)? {
                if found.len() < wanted.limit && wanted.job.is_none_or(|job| mentions(&committed, job)) {
                    found.push(self.found(row.at, committed));
                }
            }
            match start {
                Some(start) => end = start,
                None => break,
            }
        }
        Ok(found)
    }

    /// The attempt of this id, if it is still kept.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn get(&self, txn: TxnId) -> Result<Option<Found>, ReadError> {
        let mut end = Some(u64::MAX);
        while let Some(before) = end {
            let state = self.0.state.lock();
            let mut rows = state.rows.before(before).take(ATTEMPTS_LOOK);
            let row = rows.find_map(|(number, row)| {
                end = Some(number);
                (row.txn == txn).then_some(*row)
            });
            drop(rows);
            drop(state);
            if let Some(row) = row {
                let read = finding::read(&self.0.log, &[row])?;
                return Ok(read.into_iter().next().map(|(row, committed)| self.found(row.at, committed)));
            }
            end = end.filter(|end| *end < before);
        }
        Ok(None)
    }

    fn found(&self, at: Seq, committed: Committed) -> Found {
        let state = self.0.state.lock();
        let scheduler = state.names.get(&committed.txn.session).cloned().unwrap_or_default();
        Found { at, scheduler, committed }
    }

    /// Conflicts counted since the side log was made, most frequent first.
    pub fn conflicts(&self) -> Vec<ConflictCount> {
        self.0.state.lock().counts.list()
    }

    /// Makes what was saved survive a power cut, for a clean end.
    ///
    /// # Errors
    /// The database failed.
    pub fn flush(&self) -> Result<(), DatabaseError> {
        self.0.store.flush()
    }
}

impl State {
    fn note(&mut self, seq: Seq, event: &Event) {
        self.upto = seq;
        match event {
            Event::Committed(committed) => {
                let lost = conflicts(committed).next().is_some();
                self.rows.push(Row { at: seq, txn: committed.txn, lost });
                if lost {
                    let loser = self.names.get(&committed.txn.session).map_or("", String::as_str);
                    self.counts.add(loser, conflicts(committed));
                }
            }
            Event::SessionOpened { session, scheduler, .. } => {
                self.names.insert(*session, scheduler.clone());
                if self.names.len() > ATTEMPTS_NAMES_MAX {
                    // Sessions are numbered as they come.
                    self.names.pop_first();
                }
            }
            Event::Configured { .. }
            | Event::QuotaSet { .. }
            | Event::MachineRegistered { .. }
            | Event::MachineStateSet { .. }
            | Event::JobSubmitted { .. }
            | Event::JobStopped { .. }
            | Event::JobsForgotten { .. }
            | Event::SessionEnded { .. }
            | Event::Reported { .. } => {}
        }
    }

    /// Up to `enough` rows before number `end` that may be wanted, newest first, and where to go on.
    fn candidates(&self, wanted: &Wanted, end: u64, enough: usize) -> (Vec<Row>, Option<u64>) {
        let (mut candidates, mut start) = (Vec::new(), None);
        for (number, row) in self.rows.before(end) {
            if candidates.len() == enough {
                return (candidates, start);
            }
            start = Some(number);
            let scheduler = self.names.get(&row.txn.session).map_or("", String::as_str);
            let of_scheduler = wanted.scheduler.as_ref().is_none_or(|name| name == scheduler);
            if of_scheduler && (row.lost || !wanted.conflicts_only) {
                candidates.push(*row);
            }
        }
        (candidates, None)
    }
}

/// The conflicts that a transaction met.
fn conflicts(committed: &Committed) -> impl Iterator<Item = &Conflict> {
    let lost = committed.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Conflict(conflict) => Some(&**conflict),
        Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => None,
    });
    lost.chain(committed.failed_assertion.as_deref())
}

fn mentions(committed: &Committed, job: JobId) -> bool {
    mentioned(committed).jobs.contains(&job)
}

#[cfg(test)]
mod tests;
