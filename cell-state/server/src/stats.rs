//! Counters since the start of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use cell_state::SessionId;
use cell_state::event::Committed;
use cell_state::verdict::{Conflict, Outcome};
use dashmap::DashMap;

/// What became of the transactions of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Transactions judged.
    pub(crate) transactions: u64,
    /// Ops that took effect.
    pub(crate) accepted: u64,
    /// Ops that were lost.
    pub(crate) conflicts: u64,
}

/// All counters.
#[derive(Default)]
pub(crate) struct Stats {
    divergences: AtomicU64,
    by_session: DashMap<SessionId, Tally>,
}

impl Stats {
    /// Counts a judged transaction, and raises the alarm for a plan that was wrong when it was made.
    pub(crate) fn count(&self, committed: &Committed) {
        let mut tally = self.by_session.entry(committed.txn.session).or_default();
        tally.transactions += 1;
        for outcome in committed.outcomes.iter() {
            match outcome {
                Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } => {
                    tally.accepted += 1
                }
                Outcome::Conflict(conflict) => {
                    tally.conflicts += 1;
                    self.watch(committed, conflict);
                }
                Outcome::Aborted => tally.conflicts += 1,
            }
        }
        drop(tally);
        if let Some(conflict) = &committed.failed_assertion {
            self.watch(committed, conflict);
        }
    }

    fn watch(&self, committed: &Committed, conflict: &Conflict) {
        if conflict.divergence {
            self.divergences.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                txn = %committed.txn,
                basis = committed.basis.0,
                task = ?conflict.task,
                machine = ?conflict.machine,
                kind = %conflict.kind,
                "divergence: a plan was refused although nothing it rests on has changed"
            );
        }
    }

    /// Plans that were wrong when they were made.
    pub(crate) fn divergences(&self) -> u64 {
        self.divergences.load(Ordering::Relaxed)
    }

    /// The counters of a session.
    pub(crate) fn tally(&self, session: SessionId) -> Tally {
        self.by_session.get(&session).map(|tally| *tally).unwrap_or_default()
    }

    /// Drops the counters of sessions that the cell has forgotten.
    pub(crate) fn retain(&self, known: impl Fn(SessionId) -> bool) {
        self.by_session.retain(|session, _| known(*session));
    }
}
