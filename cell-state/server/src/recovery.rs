//! Recovery: from the files of a data directory to the cell as it was, and back to any earlier position.
//!
//! ```text
//!   open the log ──▶ open both checkpoints ──▶ load the newest ──▶ replay the log's tail ──▶ serve
//!    │ torn tail: cut    │ damaged: set aside      │ wrong hash: set aside, take the older
//!    │ damage: refuse    │ another log's: refuse   │ none left: replay from the first entry, if the log has it
//! ```
//!
//! Nothing is guessed: when the log does not reach from a sound checkpoint to its own end without a gap, recovery
//! refuses with one error that says what is missing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::codec::DecodeError;
use cell_state::event::Event;
use cell_state::record::RecordError;
use cell_state::{Cell, Seq};
use crossbeam::channel::{self, Sender};

use crate::bounds::{REPLAY_AHEAD, REPLAY_BYTES};
use crate::checkpoint::{CheckpointError, CheckpointReader, Checkpoints, DatabaseError, NAMES, SetAside};
use crate::data_dir::{DataDir, DataDirError};
use crate::log::disk::RealDisk;
use crate::log::{Cut, Log, LogError, LogId, LogReader, Options, ReadError, Segments};

/// A server's state, recovered and ready to go on.
#[derive(Debug)]
pub struct Recovered {
    /// The lock of the data directory: keep it as long as the server runs.
    pub data: DataDir,
    /// The cell at the last entry of the log.
    pub cell: Cell,
    /// The log.
    pub log: Segments,
    /// The checkpoints.
    pub checkpoints: Checkpoints,
    /// What was done.
    pub report: Report,
}

/// What a recovery did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The data directory was new.
    pub created: bool,
    /// The checkpoint that was loaded; `None` when the log was replayed from its first entry.
    pub checkpoint: Option<Seq>,
    /// Entries replayed on top of it.
    pub replayed: u64,
    /// The last entry.
    pub last: Seq,
    /// The torn tail that was cut off.
    pub cut: Option<Cut>,
    /// Damaged checkpoints that were renamed.
    pub set_aside: Vec<SetAside>,
    /// How long opening and loading took.
    pub loading: Duration,
    /// How long replaying took.
    pub replaying: Duration,
}

/// Why a data directory can't be recovered. Nothing was lost by trying.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoints can't be opened.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There are checkpoints, but no log.
    #[error(
        "{} holds checkpoints but no log: entries after the last checkpoint would be lost. Restore the log directory \
         from a copy",
        path.display()
    )]
    NoLog {
        /// The data directory.
        path: PathBuf,
    },
    /// The log ends before a verified checkpoint, so it has lost entries that were durable once.
    #[error(
        "the log of {} ends at seq {last}, but a checkpoint holds seq {checkpoint}: log files are missing. Restore the \
         log directory from a copy; `ohm server verify DIR` lists what is there",
        path.display()
    )]
    LogTooShort {
        /// The data directory.
        path: PathBuf,
        /// The last seq of the log.
        last: Seq,
        /// The seq of the checkpoint.
        checkpoint: Seq,
    },
    /// Neither a checkpoint nor the beginning of the log is left.
    #[error(
        "{}: no sound checkpoint reaches the log, which starts at seq {first} (best checkpoint: {best}). Restore a \
         checkpoint directory or older log files from a copy; `ohm server verify DIR` lists what is there",
        path.display()
    )]
    NoStart {
        /// The data directory.
        path: PathBuf,
        /// The first seq of the log.
        first: Seq,
        /// The best checkpoint, in words.
        best: String,
    },
    /// The log can't be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Why entries of the log can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// They can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes are no record.
    #[error("the log after seq {after} can't be replayed: {source}")]
    Record {
        /// The last entry that was applied.
        after: Seq,
        /// What is wrong.
        source: RecordError,
    },
    /// The record holds no event that this build knows.
    #[error("seq {seq} can't be replayed: {source}")]
    Event {
        /// The entry.
        seq: Seq,
        /// What is wrong.
        source: DecodeError,
    },
}

/// Recovers the server's state from its data directory, which is made if it isn't there.
///
/// # Errors
/// See [`RecoveryError`].
pub fn recover(dir: &Path, cell: &str) -> Result<Recovered, RecoveryError> {
    let data = DataDir::lock(dir)?;
    let options = Options::new(data.log(), cell, LogId::random()?);
    recover_with(data, options)
}

/// The same with other settings of the log.
///
/// # Errors
/// See [`RecoveryError`].
pub fn recover_with(data: DataDir, options: Options) -> Result<Recovered, RecoveryError> {
    let started = Instant::now();
    let disk = Arc::new(RealDisk::new());
    let dir = data.path().to_owned();
    let has_checkpoint = NAMES.iter().any(|name| dir.join(name).exists());
    if has_checkpoint && !Segments::exists(&*disk, &data.log())? {
        return Err(RecoveryError::NoLog { path: dir });
    }
    let opened = Segments::open(disk, options)?;
    let log = opened.log;
    let mut checkpoints = Checkpoints::open(&dir, log.id())?;
    let loaded = checkpoints.load_newest()?;
    let checkpoint = loaded.as_ref().map(Cell::seq);
    let (first, last) = (log.first(), log.last());
    let mut cell = match loaded {
        Some(cell) if cell.seq() > last => {
            return Err(RecoveryError::LogTooShort { path: dir, last, checkpoint: cell.seq() });
        }
        Some(cell) if cell.seq().next() >= first => cell,
        None if first == Seq(1) => Cell::new(),
        found => {
            let best = found.map_or("none".to_owned(), |cell| format!("seq {}", cell.seq()));
            return Err(RecoveryError::NoStart { path: dir, first, best });
        }
    };
    let loading = started.elapsed();
    let from = cell.seq();
    // The checkpoints hold pages that the log's tail may have made go.
    cell.list_changes();
    replay(&mut cell, &log.reader(), last)?;
    let report = Report {
        created: opened.created,
        checkpoint,
        replayed: last.0 - from.0,
        last,
        cut: opened.cut,
        set_aside: checkpoints.set_aside().to_vec(),
        loading,
        replaying: started.elapsed() - loading,
    };
    Ok(Recovered { data, cell, log, checkpoints, report })
}

/// Applies the entries after the cell's position, up to and including `upto`. Reading and decoding run ahead on a thread
/// of their own, for they take about as long as applying.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(cell: &mut Cell, log: &LogReader, upto: Seq) -> Result<(), ReplayError> {
    let from = cell.seq().next();
    std::thread::scope(|scope| {
        let (sender, batches) = channel::bounded(REPLAY_AHEAD);
        scope.spawn(move || read_ahead(log, from, upto, &sender));
        for batch in batches {
            for (seq, event) in batch? {
                cell.apply(seq, &event);
            }
        }
        Ok(())
    })
}

type Batch = Result<Vec<(Seq, Event)>, ReplayError>;

/// Sends entries until `upto`, the first error, or until nobody takes them.
fn read_ahead(log: &LogReader, from: Seq, upto: Seq, batches: &Sender<Batch>) {
    let mut next = from;
    while next <= upto {
        let batch = read_batch(log, next, upto);
        let last = batch.as_ref().ok().and_then(|entries| entries.last()).map(|(seq, _)| *seq);
        let taken = batches.send(batch);
        let (Ok(()), Some(last)) = (taken, last) else { return };
        next = last.next();
    }
}

fn read_batch(log: &LogReader, from: Seq, upto: Seq) -> Batch {
    let piece = log.read(from, REPLAY_BYTES)?;
    let mut entries: Vec<(Seq, Event)> = Vec::new();
    for record in piece.records() {
        let after = entries.last().map_or(Seq(from.0 - 1), |(seq, _)| *seq);
        let record = record.map_err(|source| ReplayError::Record { after, source })?;
        if record.seq > upto {
            break;
        }
        let event = record.event().map_err(|source| ReplayError::Event { seq: record.seq, source })?;
        entries.push((record.seq, event));
    }
    Ok(entries)
}

/// Reads the state as it was at earlier positions, while the server runs. Cheap to clone.
#[derive(Clone)]
pub struct History {
    log: LogReader,
    checkpoints: CheckpointReader,
}

/// Why an earlier state can't be had.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Neither a checkpoint nor the log reaches back that far.
    #[error("seq {wanted} is no longer kept; the oldest is {oldest}")]
    TooOld {
        /// What was asked for.
        wanted: Seq,
        /// The oldest position there is.
        oldest: Seq,
    },
    /// It isn't durable yet.
    #[error("seq {wanted} is not there yet; the last is {last}")]
    TooNew {
        /// What was asked for.
        wanted: Seq,
        /// The last there is.
        last: Seq,
    },
    /// The checkpoint before it can't be read.
    #[error(transparent)]
    Checkpoint(#[from] DatabaseError),
    /// The log can't be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl History {
    /// Of this log and these checkpoints.
    pub fn new(log: LogReader, checkpoints: CheckpointReader) -> History {
        History { log, checkpoints }
    }

    /// The oldest position that can be had.
    pub fn oldest(&self) -> Seq {
        match self.log.first() {
            Seq(1) => Seq(0),
            first => self.checkpoints.oldest_from(Seq(first.0 - 1)).unwrap_or(self.log.last()),
        }
    }

    /// The state at `seq`: the nearest checkpoint before it, and the log from there.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn state_at(&self, seq: Seq) -> Result<Cell, HistoryError> {
        let last = self.log.last();
        if seq > last {
            return Err(HistoryError::TooNew { wanted: seq, last });
        }
        // The log may be trimmed, and the checkpoint move on, while this one loads: then the next try finds the newer.
        for _ in 0..3 {
            let first = self.log.first();
            let near = self.checkpoints.load_at_or_before(seq)?.filter(|cell| cell.seq().next() >= first);
            let Some(mut cell) = near.or_else(|| (first == Seq(1)).then(Cell::new)) else { continue };
            match replay(&mut cell, &self.log, seq) {
                Err(ReplayError::Read(ReadError::TooOld { .. })) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(cell),
            }
        }
        Err(HistoryError::TooOld { wanted: seq, oldest: self.oldest() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return write!(f, "new data directory");
        }
        match self.checkpoint {
            Some(seq) => write!(f, "checkpoint at seq {seq}")?,
            None => write!(f, "no checkpoint")?,
        }
        let (loading, replaying) = (self.loading.as_secs_f64(), self.replaying.as_secs_f64());
        write!(f, " loaded in {loading:.2} s, {} entries replayed in {replaying:.2} s", self.replayed)?;
        write!(f, ", now at seq {}", self.last)?;
        if let Some(cut) = &self.cut {
            write!(f, "; cut off: {cut}")?;
        }
        for aside in &self.set_aside {
            write!(f, "; set aside as {}: {}", aside.path.display(), aside.why)?;
        }
        Ok(())
    }
}
