//! What a scheduler process counts of its own work.

use std::collections::BTreeMap;

use crate::digest::Digest;

/// Counters since the process started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Plans made, fruitless ones included.
    pub plans: u64,
    /// Plans in which nothing could be placed.
    pub fruitless: u64,
    /// Transactions proposed; sending one again doesn't count.
    pub transactions: u64,
    /// Ops proposed.
    pub proposed: u64,
    /// Placements that took effect.
    pub placed: u64,
    /// Other ops that took effect.
    pub changed: u64,
    /// Races lost, by the word of their kind.
    pub conflicts: BTreeMap<&'static str, u64>,
    /// Ops lost only because their transaction was.
    pub aborted: u64,
    /// Coarse conflicts that fine detection would not have called one.
    pub spurious: u64,
    /// Plans that were wrong when they were made: a bug when not zero.
    pub divergences: u64,
    /// Transactions the server was too busy to look at.
    pub busy: u64,
    /// Transactions whose answer the server no longer remembered.
    pub forgotten: u64,
    /// Transactions the server called wrong.
    pub rejected: u64,
    /// Microseconds of artificial decision time.
    pub think_us: u64,
}

impl Stats {
    /// Races lost, of all kinds.
    pub fn conflicts_total(&self) -> u64 {
        self.conflicts.values().sum()
    }

    /// Adds a verdict.
    pub fn add(&mut self, digest: &Digest) {
        self.placed += digest.placed;
        self.changed += digest.changed;
        self.aborted += digest.aborted;
        self.spurious += digest.spurious;
        self.divergences += digest.alarms.len() as u64;
        for word in &digest.conflicts {
            *self.conflicts.entry(word).or_default() += 1;
        }
    }
}
