//! What follows from the attributes of machines, which hardly ever change: where the constraints of a group hold, and
//! which machines share a failure domain. Both are kept, and only machines that were registered anew are looked at again.

use std::collections::BTreeMap;
use std::sync::Arc;

use cell_state::fit::Demand;
use cell_state::machine::Machine;
use cell_state::{MachineId, codec};

use super::{BLOCK, set};
use crate::bounds::{ATTRIBUTES_KEPT, CHANGES_MAX, CONSTRAINTS_KEPT};

/// How far something kept has followed.
#[derive(Clone, Copy, Debug, Default)]
struct Follower {
    /// Machines looked at.
    machines: usize,
    /// Position among the machines registered anew.
    seen: u64,
    /// When it was last asked for.
    used: u64,
}

/// Where a set of constraints holds.
#[derive(Debug, Default)]
struct Matching {
    follower: Follower,
    words: Arc<Vec<u64>>,
}

/// The values of one attribute, numbered in the order they were met; 0 are the machines without it.
#[derive(Clone, Debug)]
pub(crate) struct DomainMap {
    /// The number of each machine's value.
    pub(crate) of: Vec<u32>,
    /// The machines of each number.
    pub(crate) members: Vec<Vec<u32>>,
    numbers: BTreeMap<String, u32>,
}

impl Default for DomainMap {
    fn default() -> DomainMap {
        DomainMap { of: Vec::new(), members: vec![Vec::new()], numbers: BTreeMap::new() }
    }
}

impl DomainMap {
    fn read(&mut self, attribute: &str, machine: &Machine) {
        let number = match machine.attribute(attribute) {
            None => 0,
            Some(value) => match self.numbers.get(value) {
                Some(number) => *number,
                None => {
                    let number = self.members.len() as u32;
                    self.numbers.insert(value.to_owned(), number);
                    self.members.push(Vec::new());
                    number
                }
            },
        };
        let (i, id) = (machine.id.index(), machine.id.0);
        if i < self.of.len() {
            if self.of[i] == number {
                return;
            }
            self.members[self.of[i] as usize].retain(|member| *member != id);
            self.of[i] = number;
        } else {
            self.of.push(number);
        }
        self.members[number as usize].push(id);
    }
}

/// Everything kept that follows from attributes.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// By the encoded constraints.
    matching: BTreeMap<Vec<u8>, Matching>,
    domains: BTreeMap<String, (Follower, Arc<DomainMap>)>,
    /// Machines registered anew, from a position on.
    registered: Vec<MachineId>,
    registered_from: u64,
    uses: u64,
}

impl Attributes {
    /// A machine was registered, and may have other attributes than before.
    pub(super) fn changed(&mut self, machine: MachineId) {
        self.registered.push(machine);
        if self.registered.len() > CHANGES_MAX {
            self.registered_from += self.registered.len() as u64;
            self.registered.clear();
            self.matching.clear();
            self.domains.clear();
        }
    }

    /// A bit for each machine that all constraints of a demand hold on.
    pub(super) fn matching(&mut self, demand: &Demand, machines: &[Machine]) -> Arc<Vec<u64>> {
        let constraints: Vec<_> = demand.matchers.iter().map(|matcher| matcher.constraint()).collect();
        let key = codec::encode(&constraints);
        drop_oldest(&mut self.matching, &key, CONSTRAINTS_KEPT, |kept| kept.follower.used);
        let kept = self.matching.entry(key).or_default();
        self.uses += 1;
        let news = news(&mut kept.follower, self.uses, self.registered_from, &self.registered, machines);
        if !news.is_empty() {
            let words = Arc::make_mut(&mut kept.words);
            words.resize(machines.len().div_ceil(BLOCK), 0);
            for machine in news {
                let spec = &machine.spec;
                let holds = demand.matchers.iter().all(|m| m.matches(&spec.name, &spec.attributes));
                set(words, machine.id.index(), holds);
            }
        }
        kept.words.clone()
    }

    /// The values of an attribute.
    pub(super) fn domains(&mut self, attribute: &str, machines: &[Machine]) -> Arc<DomainMap> {
        let key = attribute.to_owned();
        drop_oldest(&mut self.domains, &key, ATTRIBUTES_KEPT, |(follower, _)| follower.used);
        let (follower, map) = self.domains.entry(key).or_default();
        self.uses += 1;
        let news = news(follower, self.uses, self.registered_from, &self.registered, machines);
        if !news.is_empty() {
            let map = Arc::make_mut(map);
            news.iter().for_each(|machine| map.read(attribute, machine));
        }
        map.clone()
    }
}

/// The machines a follower has to look at (again), in their order; it counts as up to date from now on.
fn news<'m>(
    follower: &mut Follower,
    use_number: u64,
    from: u64,
    registered: &[MachineId],
    machines: &'m [Machine],
) -> Vec<&'m Machine> {
    let seen = follower.seen.saturating_sub(from) as usize;
    let again = registered[seen..].iter().filter_map(|id| machines.get(id.index()));
    let known = follower.machines;
    let news = again.filter(|m| m.id.index() < known).chain(&machines[known.min(machines.len())..]).collect();
    let seen = from + registered.len() as u64;
    *follower = Follower { machines: machines.len(), seen, used: use_number };
    news
}

/// Makes room for `key` by dropping what hasn't been asked for the longest.
fn drop_oldest<K: Ord + Clone, V>(kept: &mut BTreeMap<K, V>, key: &K, max: usize, used: impl Fn(&V) -> u64) {
    if kept.len() >= max && !kept.contains_key(key) {
        let oldest = kept.iter().min_by_key(|(_, value)| used(value)).map(|(key, _)| key.clone());
        oldest.and_then(|key| kept.remove(&key));
    }
}
