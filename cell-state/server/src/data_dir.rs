//! The data directory of a server: what is where, and the lock that keeps two servers out of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::log::LogId;

/// A data directory that nobody else uses while this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _lock: Option<File>,
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("can't {act} {}: {source}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A server runs on it.
    #[error("{} is in use by a running server (process {holder}); stop it first, or work on a copy", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The number of the process, as it says itself.
        holder: String,
    },
    /// There is no server's data in it.
    #[error("{} is not the data directory of a server: it has no {missing}", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
}

impl DataDir {
    /// Makes the directory if it isn't there, and locks it.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn lock(path: &Path) -> Result<DataDir, DataDirError> {
        let io = |act, path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { act, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make", path))?;
        let name = path.join("lock");
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
        let mut file = open.map_err(io("open", &name))?;
        take(path, &mut file)?;
        // The number is only for the message that another server prints.
        let written =
            file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        written.map_err(io("write", &name))?;
        Ok(DataDir { path: path.to_owned(), _lock: Some(file) })
    }

    /// Locks an existing directory without writing to it, for an audit.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn lock_to_read(path: &Path) -> Result<DataDir, DataDirError> {
        let data = DataDir { path: path.to_owned(), _lock: None };
        if !data.log().is_dir() {
            return Err(DataDirError::NoData { path: data.path, missing: "log" });
        }
        let name = path.join("lock");
        match File::open(&name) {
            Ok(mut file) => {
                take(path, &mut file)?;
                Ok(DataDir { path: data.path, _lock: Some(file) })
            }
            // A copy needs none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(data),
            Err(source) => Err(DataDirError::Io { act: "open", path: name, source }),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log is.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the side log of attempts is.
    pub fn attempts(&self) -> PathBuf {
        self.path.join("attempts")
    }
}

fn take(path: &Path, file: &mut File) -> Result<(), DataDirError> {
    match rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Without the number the message is less helpful, no more.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
            Err(DataDirError::InUse { path: path.to_owned(), holder })
        }
        Err(error) => Err(DataDirError::Io { act: "lock", path: path.join("lock"), source: error.into() }),
    }
}

impl LogId {
    /// A random id for a new log.
    ///
    /// # Errors
    /// The operating system has no random bytes to give.
    pub fn random() -> Result<LogId, DataDirError> {
        let path = Path::new("/dev/urandom");
        let mut bytes = [0; 8];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
        read.map_err(|source| DataDirError::Io { act: "read", path: path.to_owned(), source })?;
        Ok(LogId(u64::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_cannot_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(matches!(DataDir::lock_to_read(&data), Err(DataDirError::NoData { .. })));
        let first = DataDir::lock(&data).unwrap();
        std::fs::create_dir(first.log()).unwrap();
        let pid = std::process::id().to_string();
        for refused in [DataDir::lock(&data), DataDir::lock_to_read(&data)] {
            assert!(matches!(refused, Err(DataDirError::InUse { holder, .. }) if holder == pid));
        }
        drop(first);
        drop(DataDir::lock_to_read(&data).unwrap());
        DataDir::lock(&data).unwrap();
    }
}
