//! The mirror: the cell as far as it is durable, and the only one that anybody reads.
//!
//! The commit thread's own cell runs ahead of the disk, so it is nobody's to see. Publish applies each entry here once
//! it is durable. The mirror also keeps an *archive*: the encoded pages of the state at the last mark. Snapshots and
//! checkpoints are made from the archive, which costs a reference count, so neither a new subscriber nor a checkpoint
//! ever holds up the mirror, however large the cell is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cell_state::page::{PageKey, StateHash};
use cell_state::{Cell, MachineId, Seq};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

use crate::feeds::Feeds;
use crate::group::Entry;
use crate::touches;

/// Entries that are read ahead of being applied: their reads wait for memory together, and still fit its nearest cache.
const READ_AHEAD: usize = 4;

/// All pages of the state at one position.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// The position.
    pub(crate) seq: Seq,
    /// The hash of the state there.
    pub(crate) hash: StateHash,
    /// The pages, in order.
    pub(crate) pages: Arc<BTreeMap<PageKey, Bytes>>,
}

struct Archive {
    snapshot: Snapshot,
    /// Pages that changed since the last checkpoint.
    unsaved: BTreeSet<PageKey>,
}

/// What a checkpoint has to write: the pages that changed since the last one, `None` where a page is gone.
pub(crate) struct Unsaved {
    /// The state they make up.
    pub(crate) snapshot: Snapshot,
    /// The pages.
    pub(crate) pages: Vec<(PageKey, Option<Bytes>)>,
}

/// The durable state.
pub(crate) struct Mirror {
    cell: RwLock<Cell>,
    archive: Mutex<Archive>,
    applied: watch::Sender<Seq>,
}

impl Mirror {
    /// A mirror that starts from this state.
    pub(crate) fn new(cell: Cell) -> Mirror {
        let seq = cell.seq();
        let snapshot = Snapshot { seq, hash: StateHash::default(), pages: Arc::default() };
        let mirror = Mirror {
            cell: RwLock::new(cell),
            archive: Mutex::new(Archive { snapshot, unsaved: BTreeSet::new() }),
            applied: watch::Sender::new(seq),
        };
        mirror.mark();
        mirror
    }

    /// The state, for as long as the guard lives; publish waits meanwhile, so reads are kept short.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Cell> {
        self.cell.read()
    }

    /// Applies durable entries, and gives their records to the agents they concern. Only publish calls this.
    pub(crate) fn apply(&self, entries: &[Entry], bytes: &Bytes, feeds: &Feeds) {
        let Some(last) = entries.last() else { return };
        let followed = !feeds.is_empty();
        let mut touched: Vec<MachineId> = Vec::new();
        let mut start = 0;
        let mut cell = self.cell.write();
        for (i, entry) in entries.iter().enumerate() {
            if i.is_multiple_of(READ_AHEAD) {
                let next = &entries[(i + READ_AHEAD).min(entries.len())..];
                cell.read_ahead(next.iter().take(READ_AHEAD).map(|entry| &entry.event));
            }
            let end = entry.end as usize;
            if followed {
                touched.clear();
                touches::machines(&cell, &entry.event, &mut touched);
                feeds.push(&touched, entry.seq, &bytes[start..end]);
            }
            start = end;
            cell.apply(entry.seq, &entry.event);
        }
        drop(cell);
        self.applied.send_replace(last.seq);
    }

    /// The last entry applied.
    pub(crate) fn seq(&self) -> Seq {
        *self.applied.borrow()
    }

    /// Waits until the mirror has this entry.
    pub(crate) async fn reached(&self, seq: Seq) {
        // An error means that the mirror is gone, and with it the server.
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= seq).await;
    }

    /// Hashes the state and brings the archive up to date. Costs what changed since the last time. Only publish calls
    /// this.
    pub(crate) fn mark(&self) -> (Seq, StateHash) {
        let (seq, (hash, pages)) = {
            let mut cell = self.cell.write();
            (cell.seq(), cell.take_pages())
        };
        let mut archive = self.archive.lock();
        // Copied only while somebody still sends the older one, and then a page is a reference.
        let kept = Arc::make_mut(&mut archive.snapshot.pages);
        let changed: Vec<PageKey> = pages.iter().map(|(key, _)| *key).collect();
        for (key, bytes) in pages {
            match bytes {
                Some(bytes) => kept.insert(key, bytes.into()),
                None => kept.remove(&key),
            };
        }
        archive.snapshot.seq = seq;
        archive.snapshot.hash = hash;
        archive.unsaved.extend(changed);
        (seq, hash)
    }

    /// The state together with its hash.
    pub(crate) fn read_hashed(&self) -> (RwLockReadGuard<'_, Cell>, StateHash) {
        let mut cell = self.cell.write();
        let hash = cell.hash();
        (RwLockWriteGuard::downgrade(cell), hash)
    }

    /// All pages at the last mark.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.archive.lock().snapshot.clone()
    }

    /// What the next checkpoint has to write, or `all` pages. It must be put back if the checkpoint fails.
    pub(crate) fn take_unsaved(&self, all: bool) -> Unsaved {
        let mut archive = self.archive.lock();
        let mut keys = std::mem::take(&mut archive.unsaved);
        if all {
            keys.extend(archive.snapshot.pages.keys());
        }
        let snapshot = archive.snapshot.clone();
        drop(archive);
        let pages = keys.into_iter().map(|key| (key, snapshot.pages.get(&key).cloned())).collect();
        Unsaved { snapshot, pages }
    }

    /// Notes that these pages are still to be saved.
    pub(crate) fn put_back(&self, unsaved: &Unsaved) {
        self.archive.lock().unsaved.extend(unsaved.pages.iter().map(|(key, _)| *key));
    }
}

#[cfg(test)]
mod tests {
    use cell_state::event::Event;
    use cell_state::ids::{SessionId, Time};
    use cell_state::page::Restore;

    use super::*;

    fn restore(snapshot: &Snapshot) -> Cell {
        let mut restore = Restore::new(snapshot.seq);
        for (key, bytes) in &*snapshot.pages {
            restore.add(*key, bytes).unwrap();
        }
        restore.finish().unwrap()
    }

    fn opened(n: u32) -> Entry {
        let event = Event::SessionOpened {
            session: SessionId(n),
            scheduler: "batch".into(),
            instance: u64::from(n),
            time: Time(1),
        };
        Entry { seq: Seq(u64::from(n) + 1), event, end: 0 }
    }

    #[test]
    fn the_archive_is_the_state_at_the_last_mark() {
        let mirror = Mirror::new(Cell::new());
        mirror.apply(&[opened(0), opened(1)], &Bytes::new(), &Feeds::default());
        assert_eq!(mirror.snapshot().seq, Seq(0));
        let (seq, hash) = mirror.mark();
        mirror.apply(&[opened(2)], &Bytes::new(), &Feeds::default());
        let mut restored = restore(&mirror.snapshot());
        assert_eq!((restored.seq(), restored.hash()), (seq, hash));
        assert_eq!((mirror.seq(), mirror.snapshot().seq), (Seq(3), Seq(2)));
    }

    #[test]
    fn a_checkpoint_gets_each_change_once_and_again_after_a_failure() {
        let mirror = Mirror::new(Cell::new());
        assert!(!mirror.take_unsaved(false).pages.is_empty());
        assert!(mirror.take_unsaved(false).pages.is_empty());
        mirror.apply(&[opened(0)], &Bytes::new(), &Feeds::default());
        mirror.mark();
        let unsaved = mirror.take_unsaved(false);
        assert!(
            unsaved
                .pages
                .iter()
                .any(|(key, bytes)| *key == PageKey::Session(SessionId(0)) && bytes.is_some())
        );
        mirror.put_back(&unsaved);
        assert_eq!(mirror.take_unsaved(false).pages.len(), unsaved.pages.len());
    }
}
