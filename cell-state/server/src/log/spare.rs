//! The next segment file, made ahead of need: writing and syncing 64 MiB of zeros takes tens of milliseconds, which no
//! commit should wait for. Into zeroed space a sync is 1.5 to 2 times faster than at the end of a growing file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::disk::Disk;

/// The spare's name; never the name of a segment.
pub(super) const SPARE: &str = "spare";

static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// How far the next segment file is.
#[derive(Debug)]
pub(super) enum Spare {
    /// To be made when it is needed.
    None,
    /// A thread is at it.
    InTheMaking(JoinHandle<io::Result<()>>),
}

impl Spare {
    /// Starts making one, in a thread.
    pub(super) fn start(disk: Arc<dyn Disk>, dir: PathBuf, bytes: u64) -> Spare {
        let making = std::thread::Builder::new().name("ohm-log-spare".to_owned());
        match making.spawn(move || make(&*disk, &dir, bytes)) {
            Ok(thread) => Spare::InTheMaking(thread),
            Err(error) => {
                tracing::warn!(%error, "can't start a thread for the next log file; it will be made when needed");
                Spare::None
            }
        }
    }

    /// Waits until the spare is there, or makes it now, and returns its path.
    pub(super) fn take(&mut self, disk: &dyn Disk, dir: &Path, bytes: u64) -> io::Result<PathBuf> {
        let made = match std::mem::replace(self, Spare::None) {
            Spare::InTheMaking(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread died")))
            }
            Spare::None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        match made {
            Ok(()) => {}
            // It failed a while ago; since then there may be room again.
            Err(_) => make(disk, dir, bytes)?,
        }
        Ok(dir.join(SPARE))
    }

    /// Waits for the thread, if there is one.
    pub(super) fn settle(&mut self) {
        if let Spare::InTheMaking(thread) = std::mem::replace(self, Spare::None) {
            // Its result no longer matters: a spare that is left behind is removed by the next start.
            let _ = thread.join();
        }
    }
}

fn make(disk: &dyn Disk, dir: &Path, bytes: u64) -> io::Result<()> {
    let path = dir.join(SPARE);
    match disk.remove(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&path)?;
    let mut at = 0;
    while at < bytes {
        let piece = ZEROS.len().min((bytes - at) as usize);
        file.write_at(&ZEROS[..piece], at)?;
        at += piece as u64;
    }
    file.sync()
}
