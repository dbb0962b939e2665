//! sled 0.34, opened and synced so that it can be relied on.
//!
//! What was measured, and what is done about it:
//! - Its flush doesn't survive a power cut, for it uses `sync_file_range`: [`sync`] also syncs every file.
//! - Values that outgrow a segment go to files of their own that break it after a power cut: segments are 8 MiB, twice
//!   the largest page.
//! - It may panic on damaged files: [`guarded`] makes that an error.
//! - Its threads let go of the file lock a little after it is closed: [`open`] waits for it.
//! - It takes 1 GiB of cache unless told otherwise.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bounds::{DATABASE_LOCK_WITHIN, DATABASE_SEGMENT_BYTES};

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The operating system refused for a reason that is no fault of the database's own files.
    #[error("can't {act} {}: {source}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// Another process, or an earlier life of this one, holds it.
    #[error("{} is in use", path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Its files are damaged.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was noticed.
        what: String,
    },
}

impl DatabaseError {
    /// The directory of the database it is about.
    pub fn path(&self) -> &Path {
        match self {
            DatabaseError::Io { path, .. }
            | DatabaseError::InUse { path }
            | DatabaseError::Damaged { path, .. } => path,
        }
    }
}

/// Opens a database, and makes it if it isn't there. With `flush_every`, what is written survives the end of the
/// process after that time; only [`sync`] makes it survive a power cut.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) fn open(
    path: &Path,
    cache_bytes: u64,
    flush_every: Option<Duration>,
) -> Result<sled::Db, DatabaseError> {
    let deadline = Instant::now() + DATABASE_LOCK_WITHIN;
    loop {
        let config = sled::Config::new()
            .path(path)
            .segment_size(DATABASE_SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(flush_every.map(|every| every.as_millis() as u64));
        match guarded("open", path, || config.open()) {
            Err(DatabaseError::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Runs an operation of sled; what it reports or panics with becomes a [`DatabaseError`].
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) fn guarded<T>(
    act: &'static str,
    path: &Path,
    operation: impl FnOnce() -> sled::Result<T>,
) -> Result<T, DatabaseError> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) => Err(judge_io(act, path, source)),
        Ok(Err(error)) => {
            Err(DatabaseError::Damaged { path: path.to_owned(), what: format!("{act}: {error}") })
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            let what = format!("{act}: its code panicked ({words})");
            Err(DatabaseError::Damaged { path: path.to_owned(), what })
        }
    }
}

/// Tells a damaged database from one that can't be used just now: only the former may be set aside.
fn judge_io(act: &'static str, path: &Path, source: io::Error) -> DatabaseError {
    let path = path.to_owned();
    if source.to_string().contains("could not acquire lock") {
        return DatabaseError::InUse { path };
    }
    let outside = [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
    if outside.contains(&source.kind()) || source.raw_os_error() == Some(24) {
        return DatabaseError::Io { act, path, source };
    }
    DatabaseError::Damaged { path, what: format!("{act}: {source}") }
}

/// Makes everything written so far durable: sled's own flush, then a sync of each file and of the directories.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) fn sync(db: &sled::Db, path: &Path) -> Result<(), DatabaseError> {
    guarded("flush", path, || db.flush())?;
    let io = |source| judge_io("sync", path, source);
    for directory in [path.join("blobs"), path.to_owned()] {
        for entry in std::fs::read_dir(&directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            match File::open(entry.path()).and_then(|file| file.sync_all()) {
                Ok(()) => {}
                // sled replaces its small files by renaming.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        }
        sync_directory(&directory).map_err(io)?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// What the operating system says.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
