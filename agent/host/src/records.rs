//! Records: what the agent keeps in sled, durable before anything relies on it.
//!
//! ```text
//! key                               value
//! "i"                               the incarnation
//! "c"                               the name of the cell
//! "n"                               the number of the last report
//! "r" + job, group, index, epoch    a Record
//! "o" + number                      a Report not yet acknowledged
//! ```
//! Numbers are big-endian, values encoded by `cell_state::codec` behind one byte of format version. A group of writes is
//! one batch, so all of it is there or nothing. Flushing is not enough for sled to survive a loss of power, so its files
//! are synced as well.

mod opening;

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use agent::{Kept, PlacementId, Write};
use cell_state::codec;
use cell_state::event::Seen;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use crate::bounds::{FULL_AGAIN, UNSYNCED_AGE, WRITES_MAX};
use crate::reserve::{Reserve, is_full};
use opening::{Unreadable, begin, load, open, renew};

/// The version of the encoding of values that this build writes and reads.
const FORMAT: u8 = 1;

/// Why records can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The disk said no.
    #[error("can't write the task records in {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// They belong to another cell.
    #[error(
        "{path} holds records of cell {found:?}, not of {wanted:?}; give the agent another data directory"
    )]
    OtherCell {
        /// Where.
        path: PathBuf,
        /// The cell they belong to.
        found: String,
        /// The cell of the agent's certificate.
        wanted: String,
    },
}

/// How far the writes are durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) upto: u64,
    /// Set once, when writing failed; nothing is durable from then on.
    pub(crate) failed: Option<String>,
}

/// The records, written by a thread of their own.
pub(crate) struct Records {
    writes: mpsc::Sender<(u64, Write)>,
    progress: watch::Receiver<Progress>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Records {
    /// Opens the records in `dir`, or makes new ones. Those that can't be read are set aside: then everything that
    /// ran is unknown, and the cell is told so by a new incarnation.
    pub(crate) fn open(
        dir: &Path,
        cell: &str,
        draw: impl Fn() -> io::Result<u64>,
    ) -> Result<(Records, Kept), RecordsError> {
        let failed = |source| RecordsError::Write { path: dir.to_owned(), source };
        let reserve = Reserve::of(dir.parent().unwrap_or(dir));
        let opened = catch_unwind(AssertUnwindSafe(|| load(dir)));
        let (db, kept) = match opened {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(Unreadable::Disk(error))) => return Err(failed(error)),
            Ok(Err(Unreadable::Damaged(problem))) => renew(dir, &problem).map_err(failed)?,
            Err(_) => renew(dir, "opening them panicked").map_err(failed)?,
        };
        let kept = match kept {
            Some((found, kept)) if found == cell => kept,
            Some((found, _)) => {
                return Err(RecordsError::OtherCell { path: dir.to_owned(), found, wanted: cell.to_owned() });
            }
            None => begin(dir, &db, cell, draw).map_err(failed)?,
        };
        let (writes, incoming) = mpsc::channel(WRITES_MAX);
        let (progress_of, progress) = watch::channel(Progress::default());
        let writer = Writer { db: Some(db), dir: dir.to_owned(), kept: kept.clone(), synced: None, reserve };
        let thread = thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || writer.run(incoming, &progress_of));
        let records = Records { writes, progress, thread: Some(thread.map_err(failed)?) };
        Ok((records, kept))
    }

    /// Hands over a write. False when writing has failed.
    pub(crate) async fn write(&self, number: u64, write: Write) -> bool {
        self.writes.send((number, write)).await.is_ok()
    }

    /// How far writing is; changes are seen through the receiver.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until everything handed over is written.
    pub(crate) fn close(mut self) {
        drop(self.writes);
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was told as progress that never came.
            let _ = thread.join();
        }
    }
}

struct Writer {
    /// `None` only between two attempts to open it.
    db: Option<sled::Db>,
    dir: PathBuf,
    /// What is durable, and what is about to be.
    kept: Kept,
    /// When the last sync began, by the clock that files are dated with.
    synced: Option<SystemTime>,
    reserve: Reserve,
}

impl Writer {
    fn run(mut self, mut incoming: mpsc::Receiver<(u64, Write)>, progress: &watch::Sender<Progress>) {
        let mut group = Vec::new();
        while let Some(first) = incoming.blocking_recv() {
            group.push(first);
            while group.len() < WRITES_MAX
                && let Ok(next) = incoming.try_recv()
            {
                group.push(next);
            }
            let upto = group.last().map_or(0, |(number, _)| *number);
            let (batch, relied_on) = self.batch(group.drain(..).map(|(_, write)| write));
            let result = self.write_while_full(&batch, relied_on, || incoming.is_closed());
            progress.send_modify(|progress| match &result {
                Ok(()) => progress.upto = upto,
                Err(error) => progress.failed = Some(error.to_string()),
            });
            if result.is_err() {
                return;
            }
        }
    }

    fn batch(&mut self, writes: impl Iterator<Item = Write>) -> (sled::Batch, bool) {
        let mut batch = sled::Batch::default();
        let mut relied_on = false;
        for write in writes {
            relied_on |= is_relied_on(&write);
            self.add(&mut batch, &write);
        }
        (batch, relied_on)
    }

    /// Writes until there is room: with the reserve's, and after that with whatever somebody makes. sled takes nothing more
    /// after an error, so it is opened anew.
    fn write_while_full(
        &mut self,
        batch: &sled::Batch,
        relied_on: bool,
        is_given_up: impl Fn() -> bool,
    ) -> io::Result<()> {
        loop {
            let error = match self.write(batch.clone(), relied_on) {
                Err(error) if is_full(&error) && !is_given_up() => error,
                result => return result,
            };
            tracing::error!(%error, "can't write the task records");
            self.db = None;
            self.synced = None;
            if !self.reserve.give_up() {
                thread::sleep(FULL_AGAIN);
            }
        }
    }

    fn write(&mut self, batch: sled::Batch, relied_on: bool) -> io::Result<()> {
        let db = match self.db.take() {
            Some(db) => db,
            None => open(&self.dir).map_err(Unreadable::into_io)?,
        };
        let db = self.db.insert(db);
        db.apply_batch(batch)?;
        if !relied_on {
            return Ok(());
        }
        let now = SystemTime::now();
        // After a clock that was set back nothing is known to be old.
        let last = self.synced.filter(|last| *last <= now);
        sync(db, &self.dir, last)?;
        self.synced = Some(now);
        Ok(())
    }

    fn add(&mut self, batch: &mut sled::Batch, write: &Write) {
        match write {
            Write::Intent(_) | Write::Report { .. } | Write::Forget(_) => {}
            Write::Acknowledged { upto } => {
                self.kept.reports.range(..=upto).for_each(|(number, _)| batch.remove(report_key(*number)));
            }
            Write::Reincarnate { incarnation: _ } => {
                let ended = self.kept.records.iter().filter(|(_, record)| record.ended.is_some());
                ended.for_each(|(id, _)| batch.remove(record_key(*id)));
                self.kept.reports.keys().for_each(|number| batch.remove(report_key(*number)));
            }
        }
        self.kept.apply(write);
        match write {
            Write::Intent(intent) => {
                batch.insert(record_key(intent.id), value(&self.kept.records[&intent.id]))
            }
            Write::Report { number, report } => {
                batch.insert(report_key(*number), value(report));
                batch.insert(b"n", value(number));
                let id = PlacementId::of(report);
                // A start changes nothing in the record.
                let ended = matches!(report.seen, Seen::Ended(_));
                if let Some(record) = self.kept.records.get(&id).filter(|_| ended) {
                    batch.insert(record_key(id), value(record));
                }
            }
            Write::Forget(id) => batch.remove(record_key(*id)),
            Write::Acknowledged { upto: _ } => {}
            Write::Reincarnate { incarnation } => {
                batch.insert(b"i", value(incarnation));
                batch.insert(b"n", value(&self.kept.reported));
            }
        }
    }
}

/// Whether anything waits for the write to be durable; the others only save room.
fn is_relied_on(write: &Write) -> bool {
    match write {
        Write::Intent(_) | Write::Report { .. } | Write::Reincarnate { .. } => true,
        Write::Acknowledged { .. } | Write::Forget(_) => false,
    }
}

/// Flushes, and syncs every file and their directory, but for what has not changed since well before the last time.
fn sync(db: &sled::Db, dir: &Path, last: Option<SystemTime>) -> io::Result<()> {
    db.flush()?;
    // Clocks of file systems are coarse, and may be set: only what is clearly older is left out.
    let is_old = |file: &File| -> io::Result<bool> {
        let changed = file.metadata()?.modified()?;
        Ok(last.and_then(|last| last.duration_since(changed).ok()).is_some_and(|age| age > UNSYNCED_AGE))
    };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match File::open(&path) {
            Ok(file) if is_old(&file)? => {}
            Ok(file) => file.sync_data()?,
            // sled replaces its small files as it goes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let dir = File::open(dir)?;
    if is_old(&dir)? { Ok(()) } else { dir.sync_all() }
}

/// A number nobody can guess twice, for a new incarnation.
pub(crate) fn draw() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn record_key(id: PlacementId) -> Vec<u8> {
    let mut key = vec![b'r'];
    key.extend(id.task.job.0.to_be_bytes());
    key.extend(id.task.group.to_be_bytes());
    key.extend(id.task.index.to_be_bytes());
    key.extend(id.epoch.to_be_bytes());
    key
}

fn report_key(number: u64) -> Vec<u8> {
    let mut key = vec![b'o'];
    key.extend(number.to_be_bytes());
    key
}

fn value<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    codec::encode_into(value, &mut bytes);
    bytes
}

fn get<T: DeserializeOwned>(db: &sled::Db, key: &[u8]) -> Result<Option<T>, Unreadable> {
    db.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => Ok(codec::decode(body)?),
        Some((format, _)) => {
            let problem = format!("a value in format {format}; this build reads format {FORMAT}");
            Err(Unreadable::Damaged(problem))
        }
        None => Err(Unreadable::Damaged("an empty value".to_owned())),
    }
}

#[cfg(test)]
mod tests;
