//! What a load counts: proposals and their outcomes, and how long each answer took.

use std::collections::BTreeMap;
use std::time::Duration;

use cell_state::verdict::Outcome;
use hdrhistogram::Histogram;

use super::board::Phase;
use crate::bounds::LOAD_TIME_MAX_US;

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
    /// Of those, how many the proposer could have known: one without a policy looks at nothing before it proposes.
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
    fn take(&mut self, outcomes: &[Outcome]) {
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
    }

    fn add(&mut self, other: &Counts) {
        self.transactions += other.transactions;
        self.attempts += other.attempts;
        self.placed += other.placed;
        self.aborted += other.aborted;
        self.divergences += other.divergences;
        self.busy += other.busy;
        self.starved += other.starved;
        for (word, count) in &other.conflicts {
            *self.conflicts.entry(word).or_default() += count;
        }
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

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Times) {
        self.0.add(&other.0).expect("both have the same bounds");
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

/// What one proposer has counted, all in all and while it was measured; each keeps its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) whole: Counts,
    pub(super) measured: Counts,
    pub(super) latency: Times,
}

impl Tally {
    /// Changes a count.
    pub(super) fn note(&mut self, phase: Phase, change: impl Fn(&mut Counts)) {
        change(&mut self.whole);
        if phase == Phase::Measured {
            change(&mut self.measured);
        }
    }

    /// Takes the answer to a transaction.
    pub(super) fn answered(&mut self, phase: Phase, took: Duration, outcomes: &[Outcome]) {
        self.whole.take(outcomes);
        if phase == Phase::Measured {
            self.measured.take(outcomes);
            self.latency.add(took);
        }
    }

    /// Adds what another proposer has counted.
    pub(super) fn merge(&mut self, other: &Tally) {
        self.whole.add(&other.whole);
        self.measured.add(&other.measured);
        self.latency.merge(&other.latency);
    }
}

#[cfg(test)]
mod tests {
    use cell_state::verdict::{Conflict, ConflictKind, Placed};
    use cell_state::{JobId, MachineId, Seq, TaskId};

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
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.answered(Phase::WarmUp, Duration::ZERO, &outcomes());
        one.answered(Phase::Measured, Duration::ZERO, &outcomes());
        other.answered(Phase::Over, Duration::ZERO, &outcomes());
        other.note(Phase::Measured, |counts| counts.busy += 1);
        one.merge(&other);
        assert_eq!((one.whole.transactions, one.measured.transactions), (3, 1));
        assert_eq!((one.latency.count(), one.whole.busy, one.measured.busy), (1, 1, 1));
        for counts in [one.whole, one.measured] {
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
        let mut long = Times::default();
        long.add(Duration::from_secs(1_000));
        times.merge(&long);
        assert!(times.percentile(100.0) >= LOAD_TIME_MAX_US);
        assert_eq!(times.count(), 1_001);
    }
}
