//! What a load counts: proposals and their outcomes, and how long each answer took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cell_state::Seq;
use cell_state::verdict::{Conflict, Outcome};
use hdrhistogram::Histogram;

use crate::bounds::{LOAD_LAGS_MAX, LOAD_TIME_MAX_US};

/// Outcomes of transactions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Transactions answered.
    pub transactions: u64,
    /// Placements proposed in them.
    pub attempts: u64,
    /// Placements committed.
    pub placed: u64,
    /// Placements that would have been committed, but their transaction was not.
    pub aborted: u64,
    /// Placements lost, by the word of the conflict's kind.
    pub conflicts: BTreeMap<&'static str, u64>,
    /// Of those, how many the proposer could have known: this load looks at nothing before it proposes.
    pub divergences: u64,
    /// Times the server said that it was busy.
    pub busy: u64,
    /// Times a proposer had to wait for a free task: if this is not small, the load was bound by its tasks.
    pub starved: u64,
}

impl Counts {
    /// Placements lost.
    pub fn lost(&self) -> u64 {
        self.conflicts.values().sum()
    }

    /// Takes the answer to a transaction.
    pub(super) fn take(&mut self, outcomes: &[Outcome], failed: Option<&Conflict>) {
        self.transactions += 1;
        self.attempts += outcomes.len() as u64;
        for outcome in outcomes {
            match outcome {
                Outcome::Placed(_) => self.placed += 1,
                Outcome::Conflict(conflict) => {
                    *self.conflicts.entry(conflict.kind.word()).or_default() += 1;
                    self.divergences += u64::from(conflict.divergence);
                }
                Outcome::Aborted => self.aborted += 1,
                // A load proposes placements only.
                Outcome::Stopping { .. } | Outcome::Resized { .. } => {}
            }
        }
        debug_assert!(failed.is_none(), "a load asserts nothing");
    }
}

/// Times in microseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new_with_bounds(1, LOAD_TIME_MAX_US, 3).expect("the bounds are in order"))
    }
}

impl Times {
    /// Adds one; what is longer than the bound counts as the bound.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of all of them, in percent, doesn't exceed; 0 without any.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }
}

/// Where a load stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Running, not yet counted.
    WarmUp,
    /// Running and counted.
    Measured,
    /// Proposing nothing more.
    Over,
}

/// What has been counted, all in all and while it was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) whole: Counts,
    pub(super) measured: Counts,
    pub(super) latency: Times,
}

/// Where everybody who takes part writes down what happened.
#[derive(Debug, Default)]
pub(super) struct Board {
    phase: AtomicU8,
    record: Mutex<Record>,
    lags: Mutex<Lags>,
    /// How far the first copy is: what a proposal may be based on.
    pub(super) copied: AtomicU64,
    /// Committed so far, for the progress bar.
    pub(super) placed: AtomicU64,
}

/// Acknowledged positions that the first copy hasn't applied yet, and how long it took with the others.
#[derive(Debug, Default)]
struct Lags {
    waiting: VecDeque<(Seq, Instant)>,
    times: Times,
}

impl Board {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Measured,
            _ => Phase::Over,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic while it is held")
    }

    /// Changes a count.
    pub(super) fn note(&self, change: impl Fn(&mut Counts)) {
        let mut record = self.record();
        change(&mut record.whole);
        if self.phase() == Phase::Measured {
            change(&mut record.measured);
        }
    }

    /// Takes the answer to a transaction that was sent at `sent`.
    pub(super) fn answered(&self, sent: Instant, outcomes: &[Outcome], failed: Option<&Conflict>) {
        let took = sent.elapsed();
        let mut record = self.record();
        record.whole.take(outcomes, failed);
        if self.phase() == Phase::Measured {
            record.measured.take(outcomes, failed);
            record.latency.add(took);
        }
        self.placed.store(record.whole.placed, Ordering::Relaxed);
    }

    fn lags(&self) -> MutexGuard<'_, Lags> {
        self.lags.lock().expect("no panic while it is held")
    }

    /// A position was acknowledged just now.
    pub(super) fn acknowledged(&self, at: Seq) {
        if self.phase() != Phase::Measured {
            return;
        }
        let mut lags = self.lags();
        // Looked at under the lock that the copy takes after it has moved on, so none is left waiting.
        if self.copied.load(Ordering::Acquire) >= at.0 {
            lags.times.add(Duration::ZERO);
        } else if lags.waiting.len() < LOAD_LAGS_MAX {
            lags.waiting.push_back((at, Instant::now()));
        }
    }

    /// The first copy has applied everything up to a position.
    pub(super) fn applied(&self, upto: Seq) {
        self.copied.store(upto.0, Ordering::Release);
        let mut lags = self.lags();
        let Lags { waiting, times } = &mut *lags;
        if waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        // Answers come nearly in the order of the log: what is out of order is a few places away.
        waiting.retain(|(at, acknowledged)| {
            let done = *at <= upto;
            if done {
                times.add(now.duration_since(*acknowledged));
            }
            !done
        });
    }

    /// How long the first copy took to apply what was acknowledged.
    pub(super) fn lag_times(&self) -> Times {
        self.lags().times.clone()
    }
}

#[cfg(test)]
mod tests {
    use cell_state::verdict::{ConflictKind, Placed};
    use cell_state::{JobId, MachineId, TaskId};

    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let task = TaskId { job: JobId(0), group: 0, index: 0 };
        let placed = Placed { task, machine: MachineId(0), epoch: 1, version: 1, extra: None };
        let lost = |kind, divergence| {
            Outcome::Conflict(Box::new(Conflict {
                task: Some(task),
                machine: Some(MachineId(0)),
                kind,
                winner: None,
                stale_entries: 0,
                spurious: false,
                divergence,
            }))
        };
        vec![
            Outcome::Placed(placed),
            lost(ConflictKind::NoMachine, true),
            lost(ConflictKind::Changed { version: Seq(3) }, false),
            lost(ConflictKind::NoMachine, false),
            Outcome::Aborted,
        ]
    }

    #[test]
    fn every_proposal_has_one_outcome() {
        let board = Board::default();
        let sent = Instant::now();
        board.answered(sent, &outcomes(), None);
        board.enter(Phase::Measured);
        board.answered(sent, &outcomes(), None);
        board.enter(Phase::Over);
        board.answered(sent, &outcomes(), None);
        let record = board.record().clone();
        assert_eq!((record.whole.transactions, record.measured.transactions), (3, 1));
        assert_eq!(record.latency.count(), 1);
        for counts in [record.whole, record.measured] {
            assert_eq!(counts.attempts, counts.placed + counts.lost() + counts.aborted);
            assert_eq!(counts.conflicts["no-machine"], 2 * counts.conflicts["changed"]);
            assert_eq!(counts.divergences, counts.transactions);
        }
    }

    #[test]
    fn times_keep_three_digits_and_their_bound() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50.0), 0);
        (1..=1_000).for_each(|us| times.add(Duration::from_micros(us)));
        for (percent, us) in [(50.0, 500), (99.0, 990), (99.9, 999)] {
            assert!(times.percentile(percent).abs_diff(us) <= 1, "{percent} %");
        }
        times.add(Duration::from_secs(1_000));
        assert!(times.percentile(100.0) >= LOAD_TIME_MAX_US);
        assert_eq!(times.count(), 1_001);
    }

    #[test]
    fn a_lag_counts_once_and_is_nothing_when_the_copy_came_first() {
        let board = Board::default();
        board.acknowledged(Seq(1));
        board.enter(Phase::Measured);
        board.acknowledged(Seq(5));
        board.acknowledged(Seq(4));
        board.applied(Seq(4));
        assert_eq!(board.lag_times().count(), 1);
        board.applied(Seq(6));
        board.acknowledged(Seq(6));
        assert_eq!(board.lag_times().count(), 3);
        assert_eq!(board.lag_times().percentile(1.0), 0);
    }
}
