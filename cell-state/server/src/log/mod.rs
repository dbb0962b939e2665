//! The log: every event of the cell in order, durable before anyone is told. Step 7 (log) of a placement's life.
//!
//! [`Log`] is what the log thread writes to and [`LogReader`] what catching-up subscribers, recovery and time travel
//! read from while it goes on being written. [`segments::Segments`] is the embedded implementation.
//!
//! **Fail-stop.** When [`Log::append`] fails nobody knows what reached the disk: the kernel may have dropped the
//! dirty pages and report the next sync as fine. So the log refuses every later append, and the caller stops the
//! process and says why. The next start reads what is really there.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::Seq;
use cell_state::record::{self, RecordError};

pub mod disk;
pub mod faulty;
pub mod format;
pub mod open;
mod reading;
pub mod scan;
pub mod segments;
mod spare;

pub use format::{LogHeader, LogId};
pub use open::{Cut, Opened};
pub use segments::{Options, Segments};

/// Whole records that are made durable together. Never empty, and never split between files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The seq of its first record.
    pub first: Seq,
    /// The seq of its last record.
    pub last: Seq,
    /// The records, as [`cell_state::record`] writes them.
    pub bytes: Bytes,
}

/// A piece of the log: whole records with consecutive seqs. Empty when there is nothing after the last.
pub type Piece = Group;

/// Where the writer puts events.
pub trait Log: Send {
    /// Appends the group and makes it durable. When this returns `Ok`, the group survives a power cut.
    ///
    /// # Errors
    /// The group doesn't follow the last one, or the disk failed. After a failed write the log takes no more.
    fn append(&mut self, group: &Group) -> Result<(), LogError>;

    /// The oldest seq that can be read; one past [`Log::last`] when there is none.
    fn first(&self) -> Seq;

    /// The last durable seq; 0 when nothing was ever written.
    fn last(&self) -> Seq;

    /// Which log this is, for checkpoints made from it.
    fn id(&self) -> LogId;

    /// Bytes it takes on disk, for the retention rule.
    fn bytes(&self) -> u64;

    /// A handle that reads while this one writes.
    fn reader(&self) -> LogReader;

    /// Lets go of entries up to and including `upto`, as far as that can be done by deleting whole files. The newest
    /// file always stays. Returns the oldest seq that is left.
    ///
    /// # Errors
    /// The disk failed; appending can go on.
    fn trim(&mut self, upto: Seq) -> Result<Seq, LogError>;
}

/// Reads the durable part of a log. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct LogReader(Arc<dyn ReadLog>);

/// What an implementation of [`Log`] gives its readers.
pub trait ReadLog: Send + Sync {
    /// See [`LogReader::read`].
    ///
    /// # Errors
    /// See [`LogReader::read`].
    fn read(&self, from: Seq, bytes_max: usize) -> Result<Piece, ReadError>;

    /// The oldest and the last seq that can be read.
    fn range(&self) -> (Seq, Seq);

    /// See [`LogReader::oldest_within`].
    fn oldest_within(&self, bytes: u64) -> Seq;
}

impl LogReader {
    /// A reader of this implementation.
    pub fn new(inner: Arc<dyn ReadLog>) -> LogReader {
        LogReader(inner)
    }

    /// Whole records from seq `from` on, about `bytes_max` bytes, but at least one record if there is one. When
    /// `from` is one past the last, the piece is empty.
    ///
    /// # Errors
    /// `from` is older than what is kept or later than the end, or the file can't be read or is damaged.
    pub fn read(&self, from: Seq, bytes_max: usize) -> Result<Piece, ReadError> {
        self.0.read(from, bytes_max)
    }

    /// The oldest seq that can be read; one past the last when there is none.
    pub fn first(&self) -> Seq {
        self.0.range().0
    }

    /// The last durable seq.
    pub fn last(&self) -> Seq {
        self.0.range().1
    }

    /// The oldest seq of the newest `bytes` bytes, rounded to files: what to give to [`Log::trim`] (minus one) so that
    /// about that much is retained.
    pub fn oldest_within(&self, bytes: u64) -> Seq {
        self.0.oldest_within(bytes)
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0.range();
        write!(f, "LogReader({first}..={last})")
    }
}

impl Group {
    /// A piece without records, standing before `next`.
    pub fn none(next: Seq) -> Group {
        Group { first: next, last: Seq(next.0.saturating_sub(1)), bytes: Bytes::new() }
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The records in it.
    ///
    /// # Errors
    /// An item is an error when the bytes there are no whole, sound record; nothing follows it.
    pub fn records(&self) -> Records<'_> {
        Records { rest: &self.bytes }
    }
}

/// Walks the records of a [`Group`].
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<record::Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        match record::read(self.rest) {
            Ok(Some((record, length))) => {
                self.rest = &self.rest[length..];
                Some(Ok(record))
            }
            Ok(None) => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Why the log couldn't be opened, appended to or trimmed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("can't {act} {}: {source}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// An earlier append failed, so what is on disk is not known.
    #[error("the log stopped after an earlier failure; restart the server")]
    Stopped,
    /// The group doesn't follow the last one: a bug of the caller.
    #[error("the group {first}..={last} doesn't follow seq {after}")]
    Gap {
        /// The first seq of the group.
        first: Seq,
        /// Its last.
        last: Seq,
        /// The last seq of the log.
        after: Seq,
    },
    /// A file was damaged after it had been made durable.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// The directory holds the log of another cell.
    #[error("{} is the log of cell {found:?}, not of {expected:?}", path.display())]
    OtherCell {
        /// The file.
        path: PathBuf,
        /// The cell it names.
        found: String,
        /// The cell that was expected.
        expected: String,
    },
}

/// Where and how a log file is damaged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "log damaged: {} at offset {offset}, after seq {after}: {what}. Nothing was changed. \
     Run `ohm server verify DIR` for a full report, then restore this file, or the whole data directory, from a copy",
    path.display()
)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first byte that isn't as written.
    pub offset: u64,
    /// The last seq before it that is sound.
    pub after: Seq,
    /// What is wrong there.
    pub what: String,
}

/// Why a piece of the log couldn't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was trimmed away.
    #[error("seq {wanted} is no longer kept; the oldest is {oldest}")]
    TooOld {
        /// What was asked for.
        wanted: Seq,
        /// The oldest there is.
        oldest: Seq,
    },
    /// It isn't there yet.
    #[error("seq {wanted} is not there yet; the last is {last}")]
    TooNew {
        /// What was asked for.
        wanted: Seq,
        /// The last there is.
        last: Seq,
    },
    /// The operating system refused, or the bytes aren't what was written.
    #[error(transparent)]
    Log(#[from] LogError),
}
