//! The side log on the disk: a sled database whose blocks of rows take turns in a fixed number of keys, so that it
//! stays small without deleting anything.
//!
//! | key | value |
//! |---|---|
//! | `layout` | version of this layout, id of the log |
//! | `upto` | the last entry of the log that is in here |
//! | `b` and a number, 2 bytes | a block of rows; blocks go round the numbers |
//! | `c` and a loser, a winner and a kind | how many conflicts, how many of them spurious |

use std::path::{Path, PathBuf};

use cell_state::{Seq, codec};
use serde::de::DeserializeOwned;

use super::counts::{Counts, Pair};
use super::rows::{Block, Rows};
use crate::bounds::{ATTEMPTS_CACHE_BYTES, ATTEMPTS_FLUSH_EVERY, ATTEMPTS_KEPT, ATTEMPTS_PER_BLOCK};
use crate::checkpoint::DatabaseError;
use crate::checkpoint::database::{self, guarded};
use crate::log::LogId;

const LAYOUT_KEY: &[u8] = b"layout";
const UPTO_KEY: &[u8] = b"upto";
const BLOCK: u8 = b'b';
const COUNT: u8 = b'c';

/// The version of this layout. Version 1 held whole transactions and had no such key.
const LAYOUT_VERSION: u32 = 2;

/// Blocks that can be kept at a time: one is being filled, and one is dropped only when it has a successor.
const BLOCK_KEYS: u64 = (ATTEMPTS_KEPT / ATTEMPTS_PER_BLOCK) as u64 + 2;

/// The database.
pub(super) struct Store {
    path: PathBuf,
    db: sled::Db,
}

/// What is written at once.
pub(super) struct Unsaved {
    pub(super) upto: Seq,
    pub(super) blocks: Vec<Block>,
    pub(super) counts: Vec<(Pair, (u64, u64))>,
}

/// What a store holds.
#[derive(Default)]
pub(super) struct Held {
    pub(super) upto: Seq,
    pub(super) rows: Rows,
    pub(super) names: Vec<(cell_state::SessionId, String)>,
    pub(super) counts: Counts,
}

impl Store {
    /// Opens the side log of this log, and makes it if it isn't there. One that is damaged, of another log or of
    /// another layout makes room for a new one: it holds nothing that the cell needs.
    pub(super) fn open(path: &Path, log: LogId) -> Result<(Store, Held), DatabaseError> {
        let opened = match Store::open_once(path, log) {
            Err(DatabaseError::Damaged { what, .. }) => {
                tracing::warn!(path = %path.display(), what, "the side log of attempts is damaged: starting a new one");
                None
            }
            result => result?,
        };
        if let Some(opened) = opened {
            return Ok(opened);
        }
        set_aside(path)?;
        let fresh = Store::open_once(path, log)?;
        fresh.ok_or_else(|| damaged(path, "a new one isn't empty".to_owned()))
    }

    /// `None` when what is there is of another log or layout.
    fn open_once(path: &Path, log: LogId) -> Result<Option<(Store, Held)>, DatabaseError> {
        let db = database::open(path, ATTEMPTS_CACHE_BYTES, Some(ATTEMPTS_FLUSH_EVERY))?;
        let layout = codec::encode(&(LAYOUT_VERSION, log.0));
        match guarded("read", path, || db.get(LAYOUT_KEY))? {
            Some(found) if found == layout => {}
            Some(_) => return Ok(None),
            None if db.was_recovered() && db.tree_names().len() > 1 => return Ok(None),
            None => drop(guarded("write", path, || db.insert(LAYOUT_KEY, layout))?),
        }
        let store = Store { path: path.to_owned(), db };
        let held = store.read()?;
        Ok(Some((store, held)))
    }

    fn read(&self) -> Result<Held, DatabaseError> {
        let (mut held, mut blocks) = (Held::default(), Vec::new());
        for entry in &*self.db {
            let (key, value) = guarded("read", &self.path, || entry)?;
            match key.first() {
                Some(&BLOCK) => blocks.push(self.decode(&value)?),
                Some(&COUNT) => held.counts.restore(self.decode(&key[1..])?, self.decode(&value)?),
                Some(_) if *key == *UPTO_KEY => held.upto = self.decode(&value)?,
                Some(_) | None => {}
            }
        }
        held.names = blocks.iter().flat_map(|block: &Block| block.names.clone()).collect();
        held.rows = Rows::restore(blocks);
        Ok(held)
    }

    /// Writes all of it or nothing.
    pub(super) fn write(&self, unsaved: &Unsaved) -> Result<(), DatabaseError> {
        let mut batch = sled::Batch::default();
        for block in &unsaved.blocks {
            let turn = (block.number % BLOCK_KEYS) as u16;
            let key = [&[BLOCK][..], &turn.to_be_bytes()].concat();
            batch.insert(key, codec::encode(block));
        }
        for (pair, count) in &unsaved.counts {
            let mut key = vec![COUNT];
            codec::encode_into(pair, &mut key);
            batch.insert(key, codec::encode(count));
        }
        batch.insert(UPTO_KEY, codec::encode(&unsaved.upto));
        guarded("write", &self.path, || self.db.apply_batch(batch))
    }

    /// Writes what is still in memory, for a clean end.
    pub(super) fn flush(&self) -> Result<(), DatabaseError> {
        database::sync(&self.db, &self.path)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DatabaseError> {
        codec::decode(bytes).map_err(|error| damaged(&self.path, error.to_string()))
    }
}

fn damaged(path: &Path, what: String) -> DatabaseError {
    DatabaseError::Damaged { path: path.to_owned(), what }
}

/// Renames a side log that can't be used, in place of one that was set aside before.
fn set_aside(path: &Path) -> Result<(), DatabaseError> {
    let io = |act| move |source| DatabaseError::Io { act, path: path.to_owned(), source };
    let aside = path.with_extension("old");
    tracing::info!(path = %path.display(), to = %aside.display(), "side log of attempts set aside");
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("delete")(error)),
        Ok(()) | Err(_) => {}
    }
    std::fs::rename(path, &aside).map_err(io("rename"))
}
