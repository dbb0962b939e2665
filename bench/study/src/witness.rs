//! A witness: a full copy of a cell that follows its log like a scheduler's copy does, counts what happens, and can
//! be asked afterwards whether everybody saw the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bench::{Figures, Tally};
use cell_state::audit::audit;
use cell_state::codec::DecodeError;
use cell_state::page::{RestoreError, StateHash};
use cell_state::record::{self, RecordError};
use cell_state::{Cell, Seq};
use tokio::task::JoinHandle;
use transport::Scope;
use transport_quic::{CallError, Client, Subscription};

use crate::bounds::MARKS_MAX;
use crate::replica::{Replica, Taken};

/// What ends a witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The stream holds something that is no record.
    #[error("the log's stream is damaged: {0}")]
    Record(#[from] RecordError),
    /// A record's body doesn't decode.
    #[error("the log's stream is damaged: {0}")]
    Body(#[from] DecodeError),
    /// The pages of a snapshot don't make a cell.
    #[error("the snapshot can't be restored: {0}")]
    Restore(#[from] RestoreError),
    /// A record that doesn't follow the one before it.
    #[error("the log's stream has a gap: {found} came after {at}")]
    Gap {
        /// Where the copy stands.
        at: Seq,
        /// What came.
        found: Seq,
    },
    /// The copy isn't the server's state.
    #[error("the copy's hash at seq {at} is {ours}, the server's is {theirs}")]
    Differs {
        /// Where.
        at: Seq,
        /// The copy's hash.
        ours: StateHash,
        /// The server's.
        theirs: StateHash,
    },
    /// The connection broke, or the server refused.
    #[error("the log's stream broke: {0}")]
    Call(#[from] CallError),
    /// The server ended the stream.
    #[error("the server ended the log's stream after seq {0}")]
    Ended(Seq),
}

/// A copy that follows the log in the background until it is dropped.
#[derive(Debug)]
pub struct Witness {
    watched: Arc<Mutex<Watched>>,
    following: JoinHandle<()>,
}

/// What a witness has seen.
#[derive(Debug, Default)]
struct Watched {
    replica: Replica,
    tally: Tally,
    marks: BTreeMap<Seq, StateHash>,
    failed: Option<String>,
}

impl Witness {
    /// Follows the log of a cell from its first entry on.
    ///
    /// # Errors
    /// The server refuses the subscription.
    pub async fn start(client: &Client) -> Result<Witness, CallError> {
        let subscription = client.subscribe(Scope::Full, Some(Seq(0))).await?;
        let watched = Arc::new(Mutex::new(Watched::default()));
        let following = tokio::spawn(follow(subscription, Arc::clone(&watched)));
        Ok(Witness { watched, following })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().expect("following doesn't panic while it holds the lock")
    }

    /// Where the copy stands.
    pub fn at(&self) -> Seq {
        self.watched().replica.cell().seq()
    }

    /// What ended it, if something did.
    pub fn failure(&self) -> Option<String> {
        self.watched().failed.clone()
    }

    /// Snapshots it was given instead of the entries they stand for: these are missing in the figures.
    pub fn snapshots(&self) -> u64 {
        self.watched().replica.snapshots()
    }

    /// Tasks placed, started and ended in the current stretch.
    pub fn progress(&self) -> [u64; 3] {
        self.watched().tally.progress()
    }

    /// What happened since the last call, or since the start.
    pub fn take_figures(&self) -> Figures {
        self.watched().tally.take()
    }

    /// The server's hash at a position, as it told it in the stream.
    pub fn mark(&self, at: Seq) -> Option<StateHash> {
        self.watched().marks.get(&at).copied()
    }

    /// The last position at which the copy was compared with the server's hash, and that hash.
    pub fn last_mark(&self) -> Option<(Seq, StateHash)> {
        self.watched().marks.last_key_value().map(|(at, hash)| (*at, *hash))
    }

    /// How many times the copy was compared with the server's hash. It ends at the first that differs.
    pub fn marks_compared(&self) -> u64 {
        self.watched().replica.compared()
    }

    /// Looks at the copy. The log isn't followed meanwhile, so this should be short.
    pub fn look<T>(&self, look: impl FnOnce(&Cell) -> T) -> T {
        look(self.watched().replica.cell())
    }

    /// Checks every invariant on the copy; the result is empty when all hold.
    pub fn audit(&self) -> Vec<String> {
        self.look(|cell| audit(cell).iter().map(ToString::to_string).collect())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn follow(mut subscription: Subscription, watched: Arc<Mutex<Watched>>) {
    let failed = loop {
        let bytes = match subscription.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break None,
            Err(error) => break Some(WitnessError::from(error)),
        };
        let mut watched = watched.lock().expect("nobody panics while holding the lock");
        if let Err(error) = watched.take_all(&bytes) {
            break Some(error);
        }
    };
    let mut watched = watched.lock().expect("nobody panics while holding the lock");
    let ended = WitnessError::Ended(watched.replica.cell().seq());
    watched.failed = Some(failed.unwrap_or(ended).to_string());
}

impl Watched {
    fn take_all(&mut self, mut bytes: &[u8]) -> Result<(), WitnessError> {
        while let Some((record, length)) = record::read(bytes)? {
            bytes = &bytes[length..];
            match self.replica.take(&record)? {
                Taken::Entry(event) => self.tally.observe(&event),
                Taken::Compared(hash) => {
                    self.marks.insert(record.seq, hash);
                    if self.marks.len() > MARKS_MAX {
                        self.marks.pop_first();
                    }
                }
                Taken::Part => {}
            }
        }
        Ok(())
    }
}
