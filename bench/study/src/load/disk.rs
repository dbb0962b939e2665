//! The disk's limit: how often it flushes groups of the size of this run, measured on the same disk in the same run.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::counts::Times;

/// Bytes of the file that is flushed: written anew from its start when it is full, as the log's files are.
const FILE_BYTES: u64 = 64 << 20;

/// How fast the disk takes groups.
#[derive(Clone, Debug)]
pub struct DiskLimit {
    /// Bytes of each group.
    pub group_bytes: u64,
    /// Groups written and flushed per second.
    pub flushes_per_s: f64,
    /// How long one took.
    pub flush: Times,
}

/// Writes and flushes groups of this size, one after the other, into a file in `dir`.
pub(super) fn disk(dir: &Path, group_bytes: u64, during: Duration) -> io::Result<DiskLimit> {
    let path = dir.join("limit");
    let measured = flush(&path, group_bytes.clamp(1, FILE_BYTES), during);
    let removed = fs::remove_file(&path);
    let limit = measured?;
    removed?;
    Ok(limit)
}

fn flush(path: &Path, group_bytes: u64, during: Duration) -> io::Result<DiskLimit> {
    let file = File::create(path)?;
    let group = vec![0xa5; group_bytes as usize];
    // Written before, so that no flush has to make room.
    let blank = vec![0; 1 << 20];
    for offset in (0..FILE_BYTES).step_by(blank.len()) {
        file.write_all_at(&blank, offset)?;
    }
    file.sync_all()?;
    let (mut offset, mut times, started) = (0, Times::default(), Instant::now());
    while started.elapsed() < during {
        if offset + group_bytes > FILE_BYTES {
            offset = 0;
        }
        let before = Instant::now();
        file.write_all_at(&group, offset)?;
        file.sync_data()?;
        times.add(before.elapsed());
        offset += group_bytes;
    }
    let flushes_per_s = times.count() as f64 / started.elapsed().as_secs_f64();
    Ok(DiskLimit { group_bytes, flushes_per_s, flush: times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_counted_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let limit = disk(dir.path(), 4_096, Duration::from_millis(20)).unwrap();
        assert!(limit.flush.count() > 0 && limit.flushes_per_s > 0.0);
        assert_eq!(limit.group_bytes, 4_096);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
