//! A map for a handful of entries that sometimes has thousands: a plan or a transaction is mostly small.
//!
//! Up to [`FEW`] entries it is a list that is looked through; beyond that a table finds the place in the list. Either
//! way its order is the order of the calls that made it, the same on every run, and clearing it keeps its memory.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// Entries that are looked through one by one: their tags lie in two cache lines.
const FEW: usize = 24;

/// A small map in the order of insertion, but for what was removed.
#[derive(Clone, Debug)]
pub(super) struct Few<K, V> {
    /// The lower half of each key's hash.
    tags: Vec<u32>,
    entries: Vec<(K, V)>,
    /// Positions by hash, once there are more than a few.
    index: HashTable<u32>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Few<K, V> {
        Few { tags: Vec::new(), entries: Vec::new(), index: HashTable::new() }
    }
}

#[inline]
fn hash<K: Hash>(key: &K) -> u64 {
    FxBuildHasher.hash_one(key)
}

impl<K: Hash + Eq + Copy, V> Few<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        if self.entries.len() > FEW {
            self.index.clear();
        }
        self.tags.clear();
        self.entries.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    #[inline]
    pub(super) fn contains(&self, key: &K) -> bool {
        self.position(key).is_some()
    }

    #[inline]
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.position(key).map(|at| &mut self.entries[at].1)
    }

    /// The value of the key, which is made if there is none.
    #[inline]
    pub(super) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = match self.position(&key) {
            Some(at) => at,
            None => self.push(key, V::default()),
        };
        &mut self.entries[at].1
    }

    /// Adds an entry unless the key has one; false if it has.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        let new = !self.contains(&key);
        if new {
            self.push(key, value);
        }
        new
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.position(key)?;
        let indexed = self.entries.len() > FEW;
        let last = self.entries.len() - 1;
        if indexed {
            self.unindex(at);
            if at != last {
                self.unindex(last);
                let moved = hash(&self.entries[last].0);
                let Few { index, entries, .. } = self;
                // The last entry takes the place of the removed one.
                index.insert_unique(moved, at as u32, |i| {
                    hash(&entries[if *i == at as u32 { last } else { *i as usize }].0)
                });
            }
        }
        self.tags.swap_remove(at);
        let (_, value) = self.entries.swap_remove(at);
        if indexed && self.entries.len() <= FEW {
            self.index.clear();
        }
        Some(value)
    }

    fn unindex(&mut self, at: usize) {
        if let Ok(found) = self.index.find_entry(hash(&self.entries[at].0), |i| *i == at as u32) {
            found.remove();
        }
    }

    #[inline]
    fn position(&self, key: &K) -> Option<usize> {
        let hash = hash(key);
        if self.entries.len() <= FEW {
            let tag = hash as u32;
            let tags = self.tags.iter().enumerate().filter(|(_, found)| **found == tag);
            return tags.map(|(at, _)| at).find(|at| self.entries[*at].0 == *key);
        }
        self.index.find(hash, |at| self.entries[*at as usize].0 == *key).map(|at| *at as usize)
    }

    fn push(&mut self, key: K, value: V) -> usize {
        let at = self.entries.len();
        self.tags.push(hash(&key) as u32);
        self.entries.push((key, value));
        let Few { index, entries, .. } = self;
        let place = |i: &u32| hash(&entries[*i as usize].0);
        if at == FEW {
            for (i, (key, _)) in entries.iter().enumerate() {
                index.insert_unique(hash(key), i as u32, place);
            }
        } else if at > FEW {
            index.insert_unique(hash(&key), at as u32, place);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_does_what_a_map_does_small_and_large() {
        let mut few: Few<u32, u32> = Few::default();
        let mut map: BTreeMap<u32, u32> = BTreeMap::new();
        let mut state = 7u32;
        for round in 0..20_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The size swings around the bound, and far beyond it.
            let keys = if round % 4_000 < 2_000 { 40 } else { 400 };
            let key = (state >> 8) % keys;
            match (state >> 4) % 3 {
                0 => assert_eq!(few.remove(&key), map.remove(&key)),
                1 => assert_eq!(
                    few.insert(key, round),
                    map.insert(key, round).is_none_or(|old| {
                        map.insert(key, old);
                        false
                    })
                ),
                _ => {
                    *few.entry(key) += 1;
                    *map.entry(key).or_default() += 1;
                }
            }
            assert_eq!(few.get(&key), map.get(&key));
            if round % 997 == 0 {
                let mut all: Vec<_> = few.iter().map(|(k, v)| (*k, *v)).collect();
                all.sort_unstable();
                assert_eq!(all, map.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            }
            if round == 10_000 {
                few.clear();
                map.clear();
            }
        }
        assert!(!few.is_empty());
    }
}
