//! Room kept free on the agent's disk, so that what is known of tasks can still be recorded when something fills it.
//!
//! ```text
//!   kept ──less than ROOM_BYTES_MIN is free, and records have none left──▶ given up: no task is started
//!     ▲                                                                        │
//!     └──────── as much as the reserve and ROOM_BYTES_MIN is free again ◀──────┘
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::bounds::{RESERVE_BYTES, ROOM_BYTES_MIN};

/// The reserve of one data directory: a file that is there or not.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    data: PathBuf,
    file: PathBuf,
}

impl Reserve {
    /// The reserve of a data directory, which is made if there is room, and given up if there is none.
    pub(crate) fn of(data: &Path) -> Reserve {
        let reserve = Reserve { data: data.to_owned(), file: data.join("reserve") };
        if !reserve.has_room() {
            reserve.give_up();
        }
        reserve
    }

    /// Whether a task may be started.
    pub(crate) fn has_room(&self) -> bool {
        // A file system that doesn't tell has as much as it takes.
        let Ok(free) = statvfs(&self.data).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)) else {
            return true;
        };
        let is_kept = self.file.exists();
        free >= if is_kept { ROOM_BYTES_MIN } else { RESERVE_BYTES + ROOM_BYTES_MIN }
            && (is_kept || self.make().is_ok())
    }

    /// Gives its room to whoever writes next. False when that has happened before.
    pub(crate) fn give_up(&self) -> bool {
        let given = fs::remove_file(&self.file).is_ok();
        if given {
            tracing::error!(
                data = %self.data.display(),
                "the disk is full: no task is started until there is room again, and records use the reserve"
            );
        }
        given
    }

    fn make(&self) -> io::Result<()> {
        let made = File::create(&self.file).and_then(|mut file| {
            match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
                Ok(()) => Ok(()),
                // A file system without that.
                Err(rustix::io::Errno::OPNOTSUPP) => {
                    (0..RESERVE_BYTES / 4_096).try_for_each(|_| file.write_all(&[0; 4_096]))
                }
                Err(error) => Err(error.into()),
            }
        });
        if made.is_err() {
            let _ = fs::remove_file(&self.file);
        }
        made
    }
}

/// Whether an error says that the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
