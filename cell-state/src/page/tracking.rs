//! Which pages have changed: nothing for a state that nobody hashes, a bit per page for one that somebody does.

use std::collections::BTreeSet;

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::ids::{JobId, SessionId};

use super::PageKey;

/// Changed pages. What nobody has asked for yet isn't collected: the first hash covers every page anyway, and so does
/// the first list of changes. A state whose pages nobody takes therefore never grows here.
#[derive(Clone, Debug)]
pub(crate) struct Tracking {
    on: bool,
    /// Since the last hash; meaningless until the first.
    stale: PageSet,
    /// Since the last list of changes, but for the stale ones; meaningless until the first.
    changed: PageSet,
    never_hashed: bool,
    never_listed: bool,
    /// Whether what is hashed is kept for a list of changes.
    listing: bool,
}

impl Default for Tracking {
    fn default() -> Tracking {
        let (stale, changed) = (PageSet::default(), PageSet::default());
        Tracking { on: false, stale, changed, never_hashed: true, never_listed: true, listing: false }
    }
}

impl Tracking {
    /// Whether changes are collected at all.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// A page changed, or came, or went.
    #[inline]
    pub(crate) fn note(&mut self, key: PageKey) {
        if self.on {
            self.stale.insert(key);
        }
    }

    /// Notes several.
    pub(crate) fn note_all(&mut self, keys: impl IntoIterator<Item = PageKey>) {
        if self.on {
            keys.into_iter().for_each(|key| self.stale.insert(key));
        }
    }

    /// From here on changes are kept until somebody lists them.
    pub(super) fn start_listing(&mut self) {
        (self.on, self.listing) = (true, true);
    }

    /// The pages to hash, in order, given all there are; and whether those not among them have never been.
    pub(super) fn take_stale(&mut self, all: impl FnOnce() -> Vec<PageKey>) -> (Vec<PageKey>, bool) {
        self.on = true;
        let first = std::mem::take(&mut self.never_hashed);
        if first {
            self.note_all(all());
        }
        let keys = self.stale.drain();
        if self.listing {
            keys.iter().for_each(|key| self.changed.insert(*key));
        }
        (keys, first)
    }

    /// The pages to list, in order, given all there are.
    pub(super) fn take_changed(&mut self, all: impl FnOnce() -> Vec<PageKey>) -> Vec<PageKey> {
        self.start_listing();
        let mut changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.never_listed) {
            all().into_iter().for_each(|key| changed.insert(key));
        }
        self.stale.iter().for_each(|key| changed.insert(key));
        changed.drain()
    }
}

/// A set of pages.
#[derive(Clone, Debug, Default)]
struct PageSet {
    meta: bool,
    specs: Bits,
    machines: Bits,
    jobs: Bits,
    tasks: Bits,
    groups: HashSet<(JobId, u16, u32), FxBuildHasher>,
    /// The group page inserted last: most changes come in runs.
    last_group: Option<(JobId, u16, u32)>,
    sessions: BTreeSet<SessionId>,
}

impl PageSet {
    #[inline]
    fn insert(&mut self, key: PageKey) {
        match key {
            PageKey::Meta => self.meta = true,
            PageKey::Specs(n) => self.specs.insert(n),
            PageKey::Machines(n) => self.machines.insert(n),
            PageKey::Jobs(n) => self.jobs.insert(n),
            PageKey::Tasks(n) => self.tasks.insert(n),
            PageKey::Group(job, group, n) => {
                if self.last_group != Some((job, group, n)) {
                    self.last_group = Some((job, group, n));
                    self.groups.insert((job, group, n));
                }
            }
            PageKey::Session(id) => {
                self.sessions.insert(id);
            }
            PageKey::Assigned(_) => {}
        }
    }

    /// In no particular order.
    fn iter(&self) -> impl Iterator<Item = PageKey> {
        let meta = self.meta.then_some(PageKey::Meta).into_iter();
        let machines =
            self.specs.iter().map(PageKey::Specs).chain(self.machines.iter().map(PageKey::Machines));
        let jobs = self.jobs.iter().map(PageKey::Jobs).chain(self.tasks.iter().map(PageKey::Tasks));
        let groups = self.groups.iter().map(|(job, group, n)| PageKey::Group(*job, *group, *n));
        let sessions = self.sessions.iter().map(|id| PageKey::Session(*id));
        meta.chain(machines).chain(jobs).chain(groups).chain(sessions)
    }

    /// All keys in order; the set keeps its memory and is empty.
    fn drain(&mut self) -> Vec<PageKey> {
        let mut keys: Vec<PageKey> = self.iter().collect();
        keys.sort_unstable();
        self.meta = false;
        for bits in [&mut self.specs, &mut self.machines, &mut self.jobs, &mut self.tasks] {
            bits.words.fill(0);
        }
        self.groups.clear();
        self.last_group = None;
        self.sessions.clear();
        keys
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    #[inline]
    fn insert(&mut self, n: u32) {
        let word = n as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (n % 64);
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let set = self.words.iter().enumerate().filter(|(_, word)| **word != 0);
        set.flat_map(|(i, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |b| i as u32 * 64 + b)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_collected_before_somebody_asks() {
        let mut tracking = Tracking::default();
        let all = || vec![PageKey::Meta, PageKey::Machines(0), PageKey::Machines(70)];
        tracking.note(PageKey::Session(SessionId(9)));
        assert_eq!(tracking.take_stale(all), (all(), true));
        tracking.note(PageKey::Machines(70));
        assert_eq!(tracking.take_stale(all), (vec![PageKey::Machines(70)], false));
        assert_eq!(tracking.changed.drain(), []);
        assert_eq!(tracking.take_changed(all), all());
        tracking.note(PageKey::Jobs(1));
        assert_eq!(tracking.take_stale(all).0, [PageKey::Jobs(1)]);
        tracking.note(PageKey::Group(JobId(1), 2, 3));
        assert_eq!(tracking.take_changed(all), [PageKey::Jobs(1), PageKey::Group(JobId(1), 2, 3)]);
    }
}
