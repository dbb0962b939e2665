//! The side log: every judged transaction, won or lost, and conflicts counted by pair of schedulers. For people who
//! ask who lost to whom, and for studies afterwards.
//!
//! Best effort: nothing rests on it, no commit waits for it, and what a crash takes of its last second is gone. It is
//! a sled database of its own. Attempts are kept in *blocks*, a pair of trees each, and the oldest block is dropped
//! whole when a new one begins: dropping a tree gives its space back, deleting keys one by one hardly does.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell_state::codec;
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{JobId, TxnId};
use parking_lot::Mutex;
use transport::view::{Attempt, ConflictCount};

use crate::bounds::{
    ATTEMPT_BLOCK_BYTES, ATTEMPT_BLOCK_ITEMS, ATTEMPT_BLOCKS, ATTEMPTS_CACHE_BYTES, ATTEMPTS_FLUSH_EVERY,
    CONFLICT_PAIRS_MAX, PIECE_BYTES,
};
use crate::checkpoint::DatabaseError;
use crate::checkpoint::database::{self, guarded};

const ATTEMPTS: &str = "attempts-";
const BY_TXN: &str = "by-txn-";
const CONFLICTS: &str = "conflicts";

/// The side log. A clone is the same one.
#[derive(Clone)]
pub struct Attempts(Arc<Inner>);

/// Which attempts are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// How many at most.
    pub limit: usize,
    /// Only those of this scheduler.
    pub scheduler: Option<String>,
    /// Only those about this job.
    pub job: Option<JobId>,
    /// Only those with a conflict.
    pub conflicts_only: bool,
}

struct Inner {
    path: PathBuf,
    db: sled::Db,
    state: Mutex<State>,
}

struct State {
    /// Oldest first; the last one is written to.
    blocks: VecDeque<Block>,
    /// Attempts in the last block, and their bytes.
    items: usize,
    bytes: usize,
    conflicts: sled::Tree,
    counts: BTreeMap<Pair, Count>,
}

#[derive(Clone)]
struct Block {
    number: u64,
    attempts: sled::Tree,
    by_txn: sled::Tree,
}

/// Loser, winner and kind of a conflict.
type Pair = (String, String, String);

/// Conflicts, and how many of them were spurious.
type Count = (u64, u64);

impl Attempts {
    /// Opens the side log, and makes it if it isn't there. A damaged one is deleted: it holds nothing that the cell
    /// needs.
    ///
    /// # Errors
    /// It is in use, or the operating system refused.
    pub fn open(path: &Path) -> Result<Attempts, DatabaseError> {
        match Attempts::open_sound(path) {
            Err(DatabaseError::Damaged { what, .. }) => {
                tracing::warn!(path = %path.display(), what, "the side log of attempts is damaged: starting a new one");
                std::fs::remove_dir_all(path).map_err(|source| DatabaseError::Io {
                    act: "delete",
                    path: path.to_owned(),
                    source,
                })?;
                Attempts::open_sound(path)
            }
            result => result,
        }
    }

    fn open_sound(path: &Path) -> Result<Attempts, DatabaseError> {
        let db = database::open(path, ATTEMPTS_CACHE_BYTES, Some(ATTEMPTS_FLUSH_EVERY))?;
        let mut numbers: Vec<u64> = db
            .tree_names()
            .iter()
            .filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix(ATTEMPTS)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let blocks: Result<VecDeque<_>, _> =
            numbers.iter().map(|number| Block::open(&db, path, *number)).collect();
        let mut blocks = blocks?;
        if blocks.is_empty() {
            blocks.push_back(Block::open(&db, path, 0)?);
        }
        let (mut items, mut bytes) = (0, 0);
        for entry in &blocks[blocks.len() - 1].attempts {
            let (_, value) = guarded("read", path, || entry)?;
            items += 1;
            bytes += value.len();
        }
        let conflicts = guarded("open", path, || db.open_tree(CONFLICTS))?;
        let mut counts = BTreeMap::new();
        for entry in &conflicts {
            let (key, value) = guarded("read", path, || entry)?;
            counts.insert(decode(path, &key)?, decode(path, &value)?);
        }
        let state = Mutex::new(State { blocks, items, bytes, conflicts, counts });
        Ok(Attempts(Arc::new(Inner { path: path.to_owned(), db, state })))
    }

    /// Adds attempts and counts their conflicts. Called by one thread, which no commit waits for.
    ///
    /// # Errors
    /// The database failed; these attempts may be missing.
    pub fn record(&self, attempts: &[Attempt]) -> Result<(), DatabaseError> {
        let Inner { path, db, state } = &*self.0;
        let mut state = state.lock();
        let mut touched: BTreeMap<Pair, Count> = BTreeMap::new();
        for attempt in attempts {
            if state.items >= ATTEMPT_BLOCK_ITEMS || state.bytes >= ATTEMPT_BLOCK_BYTES {
                state.next_block(db, path)?;
            }
            let encoded = codec::encode(attempt);
            state.items += 1;
            state.bytes += encoded.len();
            let block = state.blocks.back().expect("there is always a block");
            for (piece, bytes) in encoded.chunks(PIECE_BYTES).enumerate() {
                let mut key = attempt.at.0.to_be_bytes().to_vec();
                key.extend((piece as u16).to_be_bytes());
                guarded("write", path, || block.attempts.insert(key, bytes))?;
            }
            guarded("write", path, || {
                block.by_txn.insert(txn_key(attempt.txn), &attempt.at.0.to_be_bytes())
            })?;
            for (pair, spurious) in conflicts(attempt) {
                let count = touched.entry(pair).or_default();
                count.0 += 1;
                count.1 += u64::from(spurious);
            }
        }
        for (pair, added) in touched {
            let pair = state.bounded(pair);
            let count = state.counts.entry(pair.clone()).or_default();
            *count = (count.0 + added.0, count.1 + added.1);
            let value = codec::encode(count);
            guarded("write", path, || state.conflicts.insert(codec::encode(&pair), value))?;
        }
        Ok(())
    }

    /// The latest attempts that are wanted, newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn latest(&self, wanted: &Wanted) -> Result<Vec<Attempt>, DatabaseError> {
        let path = &self.0.path;
        let blocks: Vec<Block> = self.0.state.lock().blocks.iter().cloned().collect();
        let mut found = Vec::new();
        for block in blocks.iter().rev() {
            // Pieces arrive last first; the first piece completes its attempt.
            let mut pieces: Vec<sled::IVec> = Vec::new();
            let mut entries = block.attempts.iter().rev();
            while found.len() < wanted.limit {
                let Some((key, value)) = guarded("read", path, || entries.next().transpose())? else { break };
                pieces.push(value);
                if key.ends_with(&[0, 0]) {
                    let attempt: Attempt = join(path, pieces.drain(..).rev())?;
                    if wanted.includes(&attempt) {
                        found.push(attempt);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The attempt of this id, if it is still kept.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn get(&self, txn: TxnId) -> Result<Option<Attempt>, DatabaseError> {
        let path = &self.0.path;
        let blocks: Vec<Block> = self.0.state.lock().blocks.iter().cloned().collect();
        for block in blocks.iter().rev() {
            let Some(seq) = guarded("read", path, || block.by_txn.get(txn_key(txn)))? else { continue };
            let pieces = guarded("read", path, || {
                block.attempts.scan_prefix(&seq).values().collect::<sled::Result<Vec<_>>>()
            })?;
            if !pieces.is_empty() {
                return join(path, pieces.into_iter()).map(Some);
            }
        }
        Ok(None)
    }

    /// Conflicts counted since the side log was made, most frequent first.
    pub fn conflicts(&self) -> Vec<ConflictCount> {
        let state = self.0.state.lock();
        let all = state.counts.iter().map(|((loser, winner, kind), (count, spurious))| ConflictCount {
            loser: loser.clone(),
            winner: winner.clone(),
            kind: kind.clone(),
            count: *count,
            spurious: *spurious,
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
        all
    }

    /// Writes what is still in memory, for a clean end.
    ///
    /// # Errors
    /// The database failed.
    pub fn flush(&self) -> Result<(), DatabaseError> {
        database::sync(&self.0.db, &self.0.path)
    }
}

impl Block {
    fn open(db: &sled::Db, path: &Path, number: u64) -> Result<Block, DatabaseError> {
        let attempts = guarded("open", path, || db.open_tree(format!("{ATTEMPTS}{number}")))?;
        let by_txn = guarded("open", path, || db.open_tree(format!("{BY_TXN}{number}")))?;
        Ok(Block { number, attempts, by_txn })
    }
}

impl State {
    fn next_block(&mut self, db: &sled::Db, path: &Path) -> Result<(), DatabaseError> {
        let number = self.blocks.back().expect("there is always a block").number + 1;
        self.blocks.push_back(Block::open(db, path, number)?);
        (self.items, self.bytes) = (0, 0);
        while self.blocks.len() > ATTEMPT_BLOCKS {
            let oldest = self.blocks.pop_front().expect("there are several").number;
            guarded("drop", path, || db.drop_tree(format!("{ATTEMPTS}{oldest}")))?;
            guarded("drop", path, || db.drop_tree(format!("{BY_TXN}{oldest}")))?;
        }
        Ok(())
    }

    /// The pair itself, or when there are too many already, one that stands for the rest.
    fn bounded(&self, pair: Pair) -> Pair {
        if self.counts.len() < CONFLICT_PAIRS_MAX || self.counts.contains_key(&pair) {
            return pair;
        }
        ("(others)".to_owned(), "(others)".to_owned(), pair.2)
    }
}

impl Wanted {
    fn includes(&self, attempt: &Attempt) -> bool {
        self.scheduler.as_ref().is_none_or(|name| *name == attempt.scheduler)
            && self.job.is_none_or(|job| attempt.jobs.iter().any(|(id, _)| *id == job))
            && (!self.conflicts_only || conflicts(attempt).next().is_some())
    }
}

/// The conflicts of an attempt, and whether they were spurious.
fn conflicts(attempt: &Attempt) -> impl Iterator<Item = (Pair, bool)> {
    let lost = attempt.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Conflict(conflict) => Some(&**conflict),
        Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => None,
    });
    let all = lost.chain(attempt.failed_assertion.as_deref());
    all.map(|conflict: &Conflict| {
        let winner = conflict.winner.as_ref().map_or(String::new(), |winner| winner.scheduler.clone());
        ((attempt.scheduler.clone(), winner, conflict.kind.word().to_owned()), conflict.spurious)
    })
}

fn txn_key(txn: TxnId) -> Vec<u8> {
    let mut key = txn.session.0.to_be_bytes().to_vec();
    key.extend(txn.number.to_be_bytes());
    key
}

fn join<T: serde::de::DeserializeOwned>(
    path: &Path,
    pieces: impl Iterator<Item = sled::IVec>,
) -> Result<T, DatabaseError> {
    let bytes: Vec<u8> = pieces.flat_map(|piece| piece.to_vec()).collect();
    decode(path, &bytes)
}

fn decode<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, DatabaseError> {
    codec::decode(bytes)
        .map_err(|error| DatabaseError::Damaged { path: path.to_owned(), what: error.to_string() })
}

#[cfg(test)]
mod tests;
