//! Opening records: those that are there, or new ones.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Instant;

use agent::{Kept, Record};
use cell_state::codec::DecodeError;
use cell_state::event::Report;

use super::{decode, get, sync, value};
use crate::bounds::{LOCK_AGAIN, LOCK_WAIT, RECORDS_CACHE_BYTES};

pub(super) type Loaded = (sled::Db, Option<(String, Kept)>);

/// Why records can't be read.
pub(super) enum Unreadable {
    /// The disk said no: another time it may not.
    Disk(io::Error),
    /// They are no records.
    Damaged(String),
}

impl Unreadable {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Unreadable::Disk(error) => error,
            Unreadable::Damaged(problem) => io::Error::other(problem),
        }
    }
}

impl From<sled::Error> for Unreadable {
    fn from(error: sled::Error) -> Unreadable {
        match error {
            sled::Error::Io(error) => Unreadable::Disk(error),
            error => Unreadable::Damaged(error.to_string()),
        }
    }
}

impl From<DecodeError> for Unreadable {
    fn from(error: DecodeError) -> Unreadable {
        Unreadable::Damaged(error.to_string())
    }
}

/// Opens the database. sled lets go of its lock a moment after the last handle is dropped.
pub(super) fn open(dir: &Path) -> Result<sled::Db, Unreadable> {
    let config = sled::Config::default().path(dir).cache_capacity(RECORDS_CACHE_BYTES).flush_every_ms(None);
    let patience = Instant::now() + LOCK_WAIT;
    loop {
        match config.open() {
            Err(error)
                if Instant::now() < patience && error.to_string().contains("could not acquire lock") =>
            {
                thread::sleep(LOCK_AGAIN);
            }
            opened => return Ok(opened?),
        }
    }
}

/// Opens and reads the database.
pub(super) fn load(dir: &Path) -> Result<Loaded, Unreadable> {
    let db = open(dir)?;
    let Some(incarnation) = get(&db, b"i")? else { return Ok((db, None)) };
    let cell: String = get(&db, b"c")?.unwrap_or_default();
    let mut kept = Kept { incarnation, reported: get(&db, b"n")?.unwrap_or(0), ..Kept::default() };
    for entry in db.scan_prefix(b"r") {
        let (_, bytes) = entry?;
        let record: Record = decode(&bytes)?;
        kept.records.insert(record.intent.id, record);
    }
    for entry in db.scan_prefix(b"o") {
        let (key, bytes) = entry?;
        let number =
            key[1..].try_into().map_err(|_| Unreadable::Damaged("a report without a number".to_owned()))?;
        kept.reports.insert(u64::from_be_bytes(number), decode::<Report>(&bytes)?);
    }
    Ok((db, Some((cell, kept))))
}

/// Sets aside what can't be read.
pub(super) fn renew(dir: &Path, problem: &str) -> io::Result<Loaded> {
    let mut aside = dir.with_extension("damaged");
    let mut n = 1;
    while aside.exists() {
        n += 1;
        aside = dir.with_extension(format!("damaged-{n}"));
    }
    tracing::error!(%problem, aside = %aside.display(), "the task records can't be read and are set aside; what ran is stopped");
    fs::rename(dir, &aside)?;
    load(dir).map_err(Unreadable::into_io)
}

/// Makes new records.
pub(super) fn begin(
    dir: &Path,
    db: &sled::Db,
    cell: &str,
    draw: impl Fn() -> io::Result<u64>,
) -> io::Result<Kept> {
    let kept = Kept::new(draw()?);
    db.insert(b"c", value(cell))?;
    db.insert(b"i", value(&kept.incarnation))?;
    sync(db, dir, None)?;
    // The directory's own entry, too.
    dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
    Ok(kept)
}
