//! Saving: what one database lacks is written into it, from the other one and from the caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::Seq;
use cell_state::page::{PageKey, StateHash};

use super::slot::{Slot, Stored, Write};
use super::{CheckpointError, Checkpoints, DatabaseError, Meta, NAMES, Observer, State};
use crate::log::LogId;

/// Why a save failed. The checkpoints are what they were before; the pages must be given again.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The database that was to be brought up to date failed.
    #[error("the checkpoint can't be saved: {0}")]
    Target(#[source] CheckpointError),
    /// The other one can't be read any more. The next save needs every page: see [`Checkpoints::needs_all`].
    #[error("the checkpoint can't be saved from the other one: {0}")]
    Source(#[source] DatabaseError),
    /// The position is before that of the newest checkpoint: a bug of the caller.
    #[error("a save at seq {seq}, before the checkpoint at {newest}")]
    Backwards {
        /// What was asked for.
        seq: Seq,
        /// What there is.
        newest: Seq,
    },
}

/// Where a page of the new state comes from.
enum Origin {
    Source(Stored),
    Caller(Bytes),
}

impl Checkpoints {
    /// Saves the state at `seq`, whose hash is `hash`. `changed` must hold every page that changed since the newest
    /// checkpoint (all pages when there is none, or when [`Checkpoints::needs_all`] says so) and may hold more; `None`
    /// is a page that no longer exists.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn save(
        &mut self,
        seq: Seq,
        hash: StateHash,
        changed: &[(PageKey, Option<Bytes>)],
    ) -> Result<(), SaveError> {
        self.save_observed(seq, hash, changed, &mut |_, _| {})
    }

    /// The same, step by step.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn save_observed(
        &mut self,
        seq: Seq,
        hash: StateHash,
        changed: &[(PageKey, Option<Bytes>)],
        observe: &mut Observer<'_>,
    ) -> Result<(), SaveError> {
        let (source, target) = loop {
            let source = self.shared.newest().unwrap_or(1);
            self.make_ready(1 - source).map_err(SaveError::Target)?;
            // A database that failed late in a save may turn out to be the newer one when it is opened again.
            if self.shared.newest().unwrap_or(1) == source {
                break (source, 1 - source);
            }
        };
        if let Some(Meta { seq: newest, .. }) = self.newest() {
            if newest == seq && !self.needs_all {
                return Ok(());
            }
            if seq < newest {
                return Err(SaveError::Backwards { seq, newest });
            }
        }
        let shared = Arc::clone(&self.shared);
        // Always in this order; readers hold only one at a time.
        let (mut target_state, source_state) = (shared.slots[target].lock(), shared.slots[source].lock());
        let State::Open(into) = &mut *target_state else {
            unreachable!("make_ready leaves the target open or fails");
        };
        let from = match &*source_state {
            State::Open(slot) if slot.meta.is_some() && !self.needs_all => Some(slot),
            State::Open(_) | State::Absent | State::Closed | State::Broken(_) => None,
        };
        match bring_up_to_date(into, from, self.log, (seq, hash), changed, observe) {
            Ok(()) => shared.metas.lock()[target] = into.meta,
            Err(error) => {
                *target_state = State::Closed;
                if error.path() == self.dir.join(NAMES[source]) {
                    tracing::warn!(%error, "the newest checkpoint can't be read; the next save writes every page");
                    self.needs_all = true;
                    return Err(SaveError::Source(error));
                }
                return Err(SaveError::Target(error.into()));
            }
        }
        drop((target_state, source_state));
        if std::mem::replace(&mut self.needs_all, false) {
            let broken = State::Broken("it couldn't be read any more".to_owned());
            self.install(source, broken).map_err(SaveError::Target)?;
        }
        Ok(())
    }

    /// Leaves the database open, whatever it takes.
    fn make_ready(&mut self, index: usize) -> Result<(), CheckpointError> {
        let path = self.dir.join(NAMES[index]);
        let why = match &*self.shared.slots[index].lock() {
            State::Open(_) => return Ok(()),
            State::Broken(why) => Some(why.clone()),
            State::Absent | State::Closed => None,
        };
        if let Some(why) = why {
            self.put_aside(index, why)?;
        }
        let slot = match Slot::open(&path) {
            Err(DatabaseError::Damaged { what, .. }) => {
                self.put_aside(index, what)?;
                Slot::open(&path)
            }
            result => result,
        };
        let state = self.own(slot?)?;
        self.install(index, state)
    }
}

/// Writes into one database what it lacks of the state at `seq`: the pages of the other one, overlaid with the
/// changed ones.
fn bring_up_to_date(
    into: &mut Slot,
    from: Option<&Slot>,
    log: LogId,
    (seq, hash): (Seq, StateHash),
    changed: &[(PageKey, Option<Bytes>)],
    observe: &mut Observer<'_>,
) -> Result<(), DatabaseError> {
    let mut wanted: BTreeMap<PageKey, Origin> = BTreeMap::new();
    if let Some(from) = from {
        wanted.extend(from.pages.iter().map(|(page, stored)| (*page, Origin::Source(*stored))));
    }
    for (page, bytes) in changed {
        let Some(bytes) = bytes else {
            wanted.remove(page);
            continue;
        };
        let unchanged = from.map_or(Ok(false), |from| from.has(page, bytes))?;
        if !unchanged {
            wanted.insert(*page, Origin::Caller(bytes.clone()));
        }
    }
    let pages = wanted.len() as u64;
    let gone: Vec<_> = into.pages.keys().filter(|page| !wanted.contains_key(page)).copied().collect();
    let held = into.meta.map_or(Seq(0), |meta| meta.seq);
    // What the database has already stays as it is.
    wanted.retain(|page, origin| match origin {
        Origin::Source(stored) => into.pages.get(page) != Some(stored),
        Origin::Caller(_) => true,
    });
    let kept = wanted.into_iter().map(|(page, origin)| match (origin, from) {
        (Origin::Caller(bytes), _) => Ok(Write { page, saved_at: seq, bytes: Some(bytes) }),
        (Origin::Source(stored), Some(from)) => {
            // Nothing may be written that looks like a part of the state the database still holds.
            let saved_at = if stored.saved_at > held { stored.saved_at } else { seq };
            from.read(&page).map(|bytes| Write { page, saved_at, bytes: Some(bytes) })
        }
        (Origin::Source(_), None) => unreachable!("without a source no page comes from it"),
    });
    let gone = gone.into_iter().map(|page| Ok(Write { page, saved_at: seq, bytes: None }));
    into.advance(log, (seq, hash, pages), kept.chain(gone), observe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: u32, content: &'static [u8]) -> Vec<(PageKey, Option<Bytes>)> {
        (0..count).map(|n| (PageKey::Machines(n), Some(Bytes::from_static(content)))).collect()
    }

    #[test]
    fn when_the_newer_one_can_no_longer_be_read_the_next_save_takes_every_page() {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::open(dir.path(), LogId(1)).unwrap();
        checkpoints.save(Seq(10), StateHash(1), &pages(5, b"one")).unwrap();
        checkpoints.save(Seq(20), StateHash(2), &pages(2, b"two")).unwrap();
        let newest = checkpoints.shared.newest().unwrap();
        match &*checkpoints.shared.slots[newest].lock() {
            State::Open(slot) => slot.spoil(&PageKey::Machines(1)),
            State::Absent | State::Closed | State::Broken(_) => panic!("the newest is open"),
        }
        // The older one lacks page 1, which only the newer one has.
        let changed = [(PageKey::Machines(4), None)];
        let failed = checkpoints.save(Seq(30), StateHash(3), &changed);
        assert!(matches!(failed, Err(SaveError::Source(_))) && checkpoints.needs_all());
        assert_eq!(checkpoints.trim_to(), Seq(10), "both are still there");
        checkpoints.save(Seq(31), StateHash(3), &pages(4, b"three")).unwrap();
        assert!(!checkpoints.needs_all());
        assert_eq!(checkpoints.set_aside().len(), 1);
        assert_eq!((checkpoints.newest().unwrap().seq, checkpoints.newest().unwrap().pages), (Seq(31), 4));
        assert_eq!(checkpoints.trim_to(), Seq(0));
        checkpoints.save(Seq(40), StateHash(4), &changed).unwrap();
        assert_eq!(checkpoints.trim_to(), Seq(31));
    }

    #[test]
    fn pages_larger_than_a_piece_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::open(dir.path(), LogId(1)).unwrap();
        let large: Vec<u8> = (0..4_000_000u32).map(|n| (n / 3) as u8).collect();
        let all: Vec<_> = (0..6).map(|n| (PageKey::Machines(n), Some(Bytes::from(large.clone())))).collect();
        for seq in [5, 6, 7] {
            checkpoints.save(Seq(seq), StateHash(seq), &all[..seq as usize - 1]).unwrap();
            let blobs = std::fs::read_dir(dir.path().join(NAMES[0]).join("blobs")).unwrap().count();
            assert_eq!(blobs, 0, "sled put no value into a file of its own");
        }
        drop(checkpoints);
        let checkpoints = Checkpoints::open(dir.path(), LogId(1)).unwrap();
        match &*checkpoints.shared.slots[checkpoints.shared.newest().unwrap()].lock() {
            State::Open(slot) => assert!(slot.has(&PageKey::Machines(3), &large).unwrap()),
            State::Absent | State::Closed | State::Broken(_) => panic!("the newest is open"),
        }
    }
}
