//! Figures of what a cell did, each defined once: every table, page and study that shows one takes it from here.

use std::collections::BTreeMap;

use cell_state::job::Band;
use cell_state::{Dimension, Resources, resources::Schema};
use serde::Serialize;

/// The part of judged ops that was lost: `conflicts / (accepted + conflicts)`, 0 when there were none.
///
/// Ops aborted because another op of their transaction lost count as neither. The Omega paper's conflict fraction is
/// conflicts per successful transaction; counted per op, as here, it doesn't depend on how many ops a scheduler puts
/// into one transaction.
pub fn conflict_fraction(accepted: u64, conflicts: u64) -> f64 {
    fraction(conflicts, accepted + conflicts)
}

/// The part of its time a scheduler spent deciding.
pub fn busyness(busy_us: u64, uptime_us: u64) -> f64 {
    fraction(busy_us, uptime_us)
}

/// Events per second; 0 when no time passed.
pub fn per_second(count: u64, us: u64) -> f64 {
    fraction(count, us) * 1e6
}

/// A part of a whole; 0 of nothing.
pub fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What happened in a stretch of a cell's log.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Figures {
    /// Entries of the log.
    pub entries: u64,
    /// Transactions judged.
    pub transactions: u64,
    /// Tasks placed.
    pub placed: u64,
    /// Tasks that placements asked to leave.
    pub preempted: u64,
    /// Tasks reported started.
    pub started: u64,
    /// Tasks reported ended with exit code 0.
    pub ended_well: u64,
    /// Tasks reported ended in another way.
    pub ended_badly: u64,
    /// Ops lost.
    pub conflicts: u64,
    /// Conflicts of the coarse detection that the fine one would not have found.
    pub spurious: u64,
    /// Plans that were wrong when they were made: a bug when not zero.
    pub divergences: u64,
    /// Microseconds from the first placement to the last.
    pub placing_us: u64,
    /// Placements in the busiest second.
    pub busiest_second: u64,
    /// By the scheduler's name.
    pub schedulers: BTreeMap<String, SchedulerFigures>,
    /// Conflicts by loser, winner and kind, most frequent first.
    pub pairs: Vec<PairFigures>,
    /// How long tasks waited for their first placement, by band, for bands that had any.
    pub waits: BTreeMap<String, Percentiles>,
}

impl Figures {
    /// Placements per second, from the first to the last.
    pub fn placements_per_second(&self) -> f64 {
        per_second(self.placed, self.placing_us)
    }

    /// Conflicts by kind.
    pub fn kinds(&self) -> BTreeMap<&str, u64> {
        let mut kinds = BTreeMap::new();
        for pair in &self.pairs {
            *kinds.entry(pair.kind.as_str()).or_default() += pair.count;
        }
        kinds
    }
}

/// What one scheduler did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SchedulerFigures {
    /// Transactions judged.
    pub transactions: u64,
    /// Ops that took effect.
    pub accepted: u64,
    /// Ops that were lost.
    pub conflicts: u64,
    /// Transactions in which any was lost.
    pub conflicted: u64,
}

/// Conflicts of one kind that one scheduler lost against another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PairFigures {
    /// Who lost.
    pub loser: String,
    /// Who won; empty when what stood in the way was no transaction.
    pub winner: String,
    /// The kind, a word of `ConflictKind::word`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Of these, spurious ones.
    pub spurious: u64,
}

/// A spread of durations, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Half of them are not longer.
    pub p50_us: u64,
    /// 95 % of them are not longer.
    pub p95_us: u64,
    /// 99 % of them are not longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// How much of one dimension of a cell is promised, and to which band.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Allocation {
    /// The dimension's name.
    pub dimension: String,
    /// What the machines have.
    pub capacity: u64,
    /// The part of capacity that may be promised; above 1 with over-commit.
    pub limit: f64,
    /// The part of capacity that is promised.
    pub used: f64,
    /// The same by band.
    pub bands: BTreeMap<String, f64>,
}

/// The allocation of every dimension that the machines have any of.
pub fn allocations(
    schema: &Schema,
    capacity: &Resources,
    limit: &Resources,
    used_by_band: &[Resources; 4],
) -> Vec<Allocation> {
    let used = used_by_band.iter().fold(Resources::ZERO, |sum, used| sum.plus(used));
    let one = |d: Dimension| {
        let part = |amounts: &Resources| fraction(amounts.get(d), capacity.get(d));
        let bands = Band::ALL.into_iter().zip(used_by_band);
        Allocation {
            dimension: schema.name(d),
            capacity: capacity.get(d),
            limit: part(limit),
            used: part(&used),
            bands: bands.map(|(band, used)| (band.to_string(), part(used))).collect(),
        }
    };
    schema.named().filter(|d| capacity.get(*d) > 0).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_nothing_are_zero() {
        assert_eq!((conflict_fraction(0, 0), busyness(5, 0), per_second(7, 0)), (0.0, 0.0, 0.0));
        assert_eq!((conflict_fraction(3, 1), busyness(1, 4), per_second(3, 1_500_000)), (0.25, 0.25, 2.0));
    }

    #[test]
    fn allocation_is_a_part_of_capacity_in_each_dimension_the_cell_has() {
        let r = |cpu, memory| Resources::cpu_memory(cpu, memory);
        let bands = [r(10, 0), r(20, 50), r(0, 0), r(70, 0)];
        let lines = allocations(&Schema::default(), &r(100, 200), &r(150, 200), &bands);
        let seen: Vec<_> =
            lines.iter().map(|l| (l.dimension.as_str(), l.limit, l.used, l.bands["monitoring"])).collect();
        assert_eq!(seen, [("cpu", 1.5, 1.0, 0.7), ("memory", 1.0, 0.25, 0.0)]);
    }
}
