//! Checkpoints: the cell at rest, in pages, in two sled databases that take turns.
//!
//! ```text
//!            save at 100        save at 200        save at 300
//! a   ──▶ 100 ─────────────────────────────────▶ 300            the log is kept from the
//! b   ──▶ …                  ▶ 200 ─────────────────────        older of the two on
//! ```
//!
//! A save brings the *older* database up to date: it gets the pages that changed since the newer one was saved, and
//! from the newer one those that changed between the two. So a save costs what changed, one verified checkpoint is
//! always left alone, and if one database is lost the other and the log still make up the whole state.
//!
//! **Why a save is atomic.** sled has batches, but a first save is as large as the cell, and a batch is held in memory
//! and in sled's log as a whole. So pages are written beside the old ones, under keys that name the save, and one
//! value, `meta`, says which save counts. It is written only when the pages are durable and have been read back.
//! Before it is durable the database holds the old state whole, afterwards the new one; superseded pages are removed
//! last, and again by the next save if that was interrupted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell_state::{Cell, Seq};
use parking_lot::Mutex;

pub(crate) mod database;
pub mod layout;
mod save;
mod slot;

pub use database::DatabaseError;
pub use layout::Meta;
pub use save::SaveError;

use crate::log::LogId;
use slot::{Slot, damaged};

/// The names of the two databases.
pub const NAMES: [&str; 2] = ["checkpoint-a", "checkpoint-b"];

/// Where a save is, for tests that cut the power there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// What earlier saves left behind is removed.
    Cleared,
    /// The pages are written.
    PagesWritten,
    /// And durable.
    PagesDurable,
    /// They read back well; the meta value is written.
    MetaWritten,
    /// And durable: the save counts.
    MetaDurable,
    /// Superseded pages are removed.
    Done,
}

/// Told of each step of a save, with the directory of the database.
pub type Observer<'a> = dyn FnMut(Step, &Path) + 'a;

/// The two databases. The checkpoint thread owns this.
pub struct Checkpoints {
    dir: PathBuf,
    log: LogId,
    shared: Arc<Shared>,
    set_aside: Vec<SetAside>,
    needs_all: bool,
}

/// Reads checkpoints while they are being saved. Cheap to clone.
#[derive(Clone)]
pub struct CheckpointReader(Arc<Shared>);

/// A damaged database that was renamed and is no longer used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    /// Its new path.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

/// Why the checkpoints can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A database can't be used, but is not damaged.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A database was made from another log.
    #[error("{} belongs to log {found}, this is log {expected}: the data directory is mixed up", path.display())]
    OtherLog {
        /// The database.
        path: PathBuf,
        /// The log it names.
        found: LogId,
        /// The log of this data directory.
        expected: LogId,
    },
    /// A damaged database can't be renamed.
    #[error("can't set the damaged {} aside: {source}", path.display())]
    SetAside {
        /// The database.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

struct Shared {
    slots: [Mutex<State>; 2],
    /// What each holds, readable while it is being saved.
    metas: Mutex<[Option<Meta>; 2]>,
}

enum State {
    /// There is no database; a save makes one.
    Absent,
    /// It failed in the middle of something and is to be opened anew.
    Closed,
    /// It is damaged and to be set aside.
    Broken(String),
    Open(Slot),
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoints({}, newest {:?})", self.dir.display(), self.newest())
    }
}

impl Checkpoints {
    /// Opens what is in the data directory and checks every page. Damaged databases are set aside.
    ///
    /// # Errors
    /// A database is in use, can't be read for a reason outside of it, or is another log's.
    pub fn open(dir: &Path, log: LogId) -> Result<Checkpoints, CheckpointError> {
        let shared =
            Shared { slots: [State::Absent, State::Absent].map(Mutex::new), metas: Mutex::new([None; 2]) };
        let (dir, shared) = (dir.to_owned(), Arc::new(shared));
        let mut checkpoints = Checkpoints { dir, log, shared, set_aside: Vec::new(), needs_all: false };
        let paths = NAMES.map(|name| checkpoints.dir.join(name));
        // Both at once: opening is most of a restart.
        let opened = std::thread::scope(|scope| {
            let threads =
                paths.each_ref().map(|path| scope.spawn(|| path.exists().then(|| Slot::open(path))));
            threads.map(|thread| thread.join().expect("opening a database doesn't panic outside of sled"))
        });
        for (index, opened) in opened.into_iter().enumerate() {
            let state = match opened {
                None => State::Absent,
                Some(Ok(slot)) => checkpoints.own(slot)?,
                Some(Err(DatabaseError::Damaged { what, .. })) => State::Broken(what),
                Some(Err(error @ (DatabaseError::Io { .. } | DatabaseError::InUse { .. }))) => {
                    return Err(error.into());
                }
            };
            checkpoints.install(index, state)?;
        }
        Ok(checkpoints)
    }

    fn own(&self, slot: Slot) -> Result<State, CheckpointError> {
        match slot.meta {
            Some(meta) if meta.log != self.log => {
                Err(CheckpointError::OtherLog { path: slot.dir, found: meta.log, expected: self.log })
            }
            Some(_) | None => Ok(State::Open(slot)),
        }
    }

    fn install(&mut self, index: usize, state: State) -> Result<(), CheckpointError> {
        self.shared.metas.lock()[index] = match &state {
            State::Open(slot) => slot.meta,
            State::Absent | State::Closed | State::Broken(_) => None,
        };
        let why = match &state {
            State::Broken(why) => Some(why.clone()),
            State::Absent | State::Closed | State::Open(_) => None,
        };
        *self.shared.slots[index].lock() = state;
        why.map_or(Ok(()), |why| self.put_aside(index, why))
    }

    /// Renames a database that is damaged.
    fn put_aside(&mut self, index: usize, why: String) -> Result<(), CheckpointError> {
        let path = self.dir.join(NAMES[index]);
        let seq = self.shared.metas.lock()[index].take().map_or(0, |meta| meta.seq.0);
        *self.shared.slots[index].lock() = State::Absent;
        let free = (seq..).map(|n| self.dir.join(format!("{}.damaged-{n}", NAMES[index])));
        let to = free.into_iter().find(|to| !to.exists()).expect("there is a free name");
        tracing::warn!(checkpoint = %path.display(), moved_to = %to.display(), why, "damaged checkpoint set aside");
        let renamed = std::fs::rename(&path, &to).and_then(|()| database::sync_directory(&self.dir));
        renamed.map_err(|source| CheckpointError::SetAside { path, source })?;
        self.set_aside.push(SetAside { path: to, why });
        Ok(())
    }

    /// The newest state that loads and whose hash is right; databases that don't are set aside.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn load_newest(&mut self) -> Result<Option<Cell>, CheckpointError> {
        loop {
            let Some(index) = self.shared.newest() else { return Ok(None) };
            let loaded = match &*self.shared.slots[index].lock() {
                State::Open(slot) => slot.load(),
                State::Absent | State::Closed | State::Broken(_) => return Ok(None),
            };
            match loaded {
                Ok(cell) => return Ok(Some(cell)),
                Err(DatabaseError::Damaged { what, .. }) => self.put_aside(index, what)?,
                Err(error @ (DatabaseError::Io { .. } | DatabaseError::InUse { .. })) => {
                    return Err(error.into());
                }
            }
        }
    }

    /// The newest verified checkpoint.
    pub fn newest(&self) -> Option<Meta> {
        self.shared.newest().and_then(|index| self.shared.metas.lock()[index])
    }

    /// Entries up to and including this one may be trimmed from the log: the older verified checkpoint has them. 0
    /// until there are two, for then the log is the second copy.
    pub fn trim_to(&self) -> Seq {
        let metas = *self.shared.metas.lock();
        metas.into_iter().map(|meta| meta.map_or(Seq(0), |meta| meta.seq)).min().unwrap_or_default()
    }

    /// What was set aside since this was opened.
    pub fn set_aside(&self) -> &[SetAside] {
        &self.set_aside
    }

    /// A handle for reading earlier states.
    pub fn reader(&self) -> CheckpointReader {
        CheckpointReader(Arc::clone(&self.shared))
    }

    /// Whether the next save must be given every page of the cell: the newest checkpoint can't be read any more.
    pub fn needs_all(&self) -> bool {
        self.needs_all
    }
}

impl Shared {
    fn newest(&self) -> Option<usize> {
        let metas = *self.metas.lock();
        let held = (0..metas.len()).filter_map(|index| Some((metas[index]?.seq, index)));
        held.max().map(|(_, index)| index)
    }
}

impl CheckpointReader {
    /// The newest checkpoint at or before `seq`, as a cell; `None` when both are later, or there is none.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn load_at_or_before(&self, seq: Seq) -> Result<Option<Cell>, DatabaseError> {
        loop {
            let metas = *self.0.metas.lock();
            let held = (0..metas.len()).filter_map(|index| Some((metas[index]?.seq, index)));
            let Some((_, index)) = held.filter(|(at, _)| *at <= seq).max() else { return Ok(None) };
            // Waits for a save that is under way there, and looks again if that moved it past `seq`.
            let state = self.0.slots[index].lock();
            match &*state {
                State::Open(slot) if slot.meta == metas[index] => return slot.load().map(Some),
                State::Open(_) => {}
                State::Absent | State::Closed | State::Broken(_) => {
                    let dir = PathBuf::from(NAMES[index]);
                    return Err(damaged(&dir, "it failed in a save and is not open".to_owned()));
                }
            }
        }
    }

    /// The position of the older checkpoint that is not before `seq`.
    pub fn oldest_from(&self, seq: Seq) -> Option<Seq> {
        let metas = *self.0.metas.lock();
        metas.into_iter().flatten().map(|meta| meta.seq).filter(|at| *at >= seq).min()
    }

    /// The position of the newest verified checkpoint; 0 when there is none.
    pub fn newest(&self) -> Seq {
        let metas = *self.0.metas.lock();
        metas.into_iter().flatten().map(|meta| meta.seq).max().unwrap_or_default()
    }
}

/// Opens one database for an audit, checks every page, and loads the state, if it holds one. sled writes when it
/// opens: give it a copy.
///
/// # Errors
/// It is damaged or can't be read.
pub(crate) fn audit(path: &Path) -> Result<Option<(Meta, Cell)>, DatabaseError> {
    let slot = Slot::open(path)?;
    slot.meta.map(|meta| Ok((meta, slot.load()?))).transpose()
}
