//! Conflicts, counted by loser, winner and kind.

use std::collections::BTreeMap;

use cell_state::verdict::Conflict;
use transport::view::ConflictCount;

use crate::bounds::CONFLICT_PAIRS_MAX;

/// Loser, winner and kind of a conflict.
pub(super) type Pair = (String, String, String);

/// What stands for pairs beyond the bound.
const OTHERS: &str = "(others)";

#[derive(Clone, Copy, Default, Debug)]
struct Count {
    count: u64,
    spurious: u64,
    /// Changed since it was last written.
    unsaved: bool,
}

type ByKind = BTreeMap<String, Count>;
type ByWinner = BTreeMap<String, ByKind>;

/// All counts. Nested rather than keyed by a pair, so that counting a conflict looks names up and copies none.
#[derive(Default, Debug)]
pub(super) struct Counts {
    by_loser: BTreeMap<String, ByWinner>,
    pairs: usize,
}

impl Counts {
    /// Counts the conflicts that a transaction of this scheduler met.
    pub(super) fn add<'a>(&mut self, loser: &str, conflicts: impl Iterator<Item = &'a Conflict>) {
        for conflict in conflicts {
            let winner = conflict.winner.as_ref().map_or("", |winner| winner.scheduler.as_str());
            let count = self.at(loser, winner, conflict.kind.word());
            count.count += 1;
            count.spurious += u64::from(conflict.spurious);
            count.unsaved = true;
        }
    }

    fn at(&mut self, loser: &str, winner: &str, kind: &str) -> &mut Count {
        let known =
            self.by_loser.get(loser).and_then(|by| by.get(winner)).is_some_and(|by| by.contains_key(kind));
        if known {
            let by_kind = self.by_loser.get_mut(loser).and_then(|by| by.get_mut(winner));
            return by_kind.and_then(|by| by.get_mut(kind)).expect("it is known");
        }
        let (loser, winner) =
            if self.pairs < CONFLICT_PAIRS_MAX { (loser, winner) } else { (OTHERS, OTHERS) };
        self.insert((loser.to_owned(), winner.to_owned(), kind.to_owned()))
    }

    fn insert(&mut self, (loser, winner, kind): Pair) -> &mut Count {
        let by_kind = self.by_loser.entry(loser).or_default().entry(winner).or_default();
        self.pairs += usize::from(!by_kind.contains_key(&kind));
        by_kind.entry(kind).or_default()
    }

    /// Takes a count that was read from the disk.
    pub(super) fn restore(&mut self, pair: Pair, (count, spurious): (u64, u64)) {
        *self.insert(pair) = Count { count, spurious, unsaved: false };
    }

    /// The counts that have changed since the last call.
    pub(super) fn take_unsaved(&mut self) -> Vec<(Pair, (u64, u64))> {
        let mut unsaved = Vec::new();
        for (loser, by_winner) in &mut self.by_loser {
            for (winner, by_kind) in by_winner {
                for (kind, count) in by_kind.iter_mut().filter(|(_, count)| count.unsaved) {
                    count.unsaved = false;
                    let pair = (loser.clone(), winner.clone(), kind.clone());
                    unsaved.push((pair, (count.count, count.spurious)));
                }
            }
        }
        unsaved
    }

    /// Notes that these counts are still to be written.
    pub(super) fn put_back(&mut self, unsaved: Vec<(Pair, (u64, u64))>) {
        for (pair, _) in unsaved {
            self.insert(pair).unsaved = true;
        }
    }

    /// All counts, most frequent first.
    pub(super) fn list(&self) -> Vec<ConflictCount> {
        let mut all = Vec::with_capacity(self.pairs);
        for (loser, by_winner) in &self.by_loser {
            for (winner, by_kind) in by_winner {
                all.extend(by_kind.iter().map(|(kind, count)| ConflictCount {
                    loser: loser.clone(),
                    winner: winner.clone(),
                    kind: kind.clone(),
                    count: count.count,
                    spurious: count.spurious,
                }));
            }
        }
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
        all
    }
}
