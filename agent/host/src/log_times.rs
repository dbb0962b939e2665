//! When a task's output was written: beside its files, `stdout.times` and `stderr.times` hold rows of 16 bytes, an
//! offset and the time (microseconds since 1970, little-endian both) at which the bytes from there on began to be written.
//!
//! The shim adds a row when a second has passed since the last, so what follows a row was written within a second of it.
//! When there are too many, those of removed files go, and then every second one; the ones before a row that went have
//! the highest bit of their time set. The older the output, the coarser its times, and the file stays small for ever.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cell_state::Time;

use crate::bounds::{LOG_TIME_EVERY_US, LOG_TIMES_MAX};

const ROW_BYTES: usize = 16;

/// Where the output since a time begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// At this offset.
    From(u64),
    /// Nothing was written since.
    Nothing,
    /// No times were noted.
    Unknown,
}

fn path(dir: &Path, stream: &str) -> PathBuf {
    dir.join(format!("{stream}.times"))
}

/// In a time: rows after this one are gone.
const COARSE: u64 = 1 << 63;

#[derive(Clone, Copy)]
struct Row {
    offset: u64,
    time: Time,
    /// What follows may have been written at any time until the next row.
    coarse: bool,
}

impl Row {
    fn bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        let time = self.time.0 | if self.coarse { COARSE } else { 0 };
        bytes[8..].copy_from_slice(&time.to_le_bytes());
        bytes
    }
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    // A row that was cut off by a full disk is none.
    let rows = bytes.chunks_exact(ROW_BYTES).map(|row| {
        let number = |at: usize| u64::from_le_bytes(row[at..at + 8].try_into().expect("eight bytes"));
        Row { offset: number(0), time: Time(number(8) & !COARSE), coarse: number(8) & COARSE != 0 }
    });
    rows.collect()
}

/// Where the output of a placement's directory since a time begins.
pub(crate) fn written_since(dir: &Path, stream: &str, since: Time) -> io::Result<Written> {
    let bytes = match fs::read(path(dir, stream)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Written::Unknown),
        Err(error) => return Err(error),
    };
    let rows = rows(&bytes);
    let until = |n: usize| match rows.get(n + 1) {
        Some(next) if rows[n].coarse => next.time,
        Some(_) | None => rows[n].time.plus(LOG_TIME_EVERY_US),
    };
    let first = (0..rows.len()).find(|n| rows[*n].time >= since || until(*n) > since);
    Ok(first.map_or(Written::Nothing, |n| Written::From(rows[n].offset)))
}

/// What the shim notes.
#[derive(Debug)]
pub(crate) struct Times {
    path: PathBuf,
    file: File,
    rows: usize,
    last: Option<Time>,
}

impl Times {
    /// An empty file of times.
    pub(crate) fn create(dir: &Path, stream: &str) -> io::Result<Times> {
        let path = path(dir, stream);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        Ok(Times { path, file, rows: 0, last: None })
    }

    /// Notes that bytes from this offset on are written now; what was before `first` is no longer kept. A disk that is
    /// full loses the times, never the output.
    pub(crate) fn note(&mut self, offset: u64, first: u64, now: Time) {
        // A clock that was set back starts over.
        let due = |last: Time| now.0 < last.0 || now.0 - last.0 >= LOG_TIME_EVERY_US;
        if !self.last.is_none_or(due) {
            return;
        }
        self.last = Some(now);
        if self.rows >= LOG_TIMES_MAX && self.thin(first).is_err() {
            return;
        }
        if self.file.write_all(&Row { offset, time: now, coarse: false }.bytes()).is_ok() {
            self.rows += 1;
        }
    }

    fn thin(&mut self, first: u64) -> io::Result<()> {
        let bytes = fs::read(&self.path)?;
        let mut kept = rows(&bytes);
        kept.retain(|row| row.offset >= first);
        if kept.len() > LOG_TIMES_MAX / 2 {
            kept = kept.chunks(2).map(|pair| Row { coarse: true, ..pair[0] }).collect();
        }
        let draft = self.path.with_extension("times.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let bytes: Vec<u8> = kept.iter().flat_map(|row| row.bytes()).collect();
        file.write_all(&bytes)?;
        fs::rename(&draft, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.rows = kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn output_since_a_time_begins_where_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(written_since(dir.path(), "stdout", Time(0)).unwrap(), Written::Unknown);
        let mut times = Times::create(dir.path(), "stdout").unwrap();
        for (offset, time) in [(0, 100), (7, 100), (10, 200), (20, 300)] {
            times.note(offset, 0, Time(time * SECOND));
        }
        let since = |seconds: u64| written_since(dir.path(), "stdout", Time(seconds * SECOND)).unwrap();
        assert_eq!((since(0), since(100)), (Written::From(0), Written::From(0)));
        // Nothing was written for long before the later row.
        assert_eq!(
            (since(150), since(200), since(300)),
            (Written::From(10), Written::From(10), Written::From(20))
        );
        assert_eq!(since(302), Written::Nothing);
    }

    #[test]
    fn the_file_of_times_stays_small_and_its_end_exact() {
        let dir = tempfile::tempdir().unwrap();
        let mut times = Times::create(dir.path(), "stdout").unwrap();
        let last = 3 * LOG_TIMES_MAX as u64;
        for n in 0..=last {
            times.note(n * 10, 0, Time(n * SECOND));
        }
        let kept = fs::metadata(dir.path().join("stdout.times")).unwrap().len() as usize / ROW_BYTES;
        assert!(kept <= LOG_TIMES_MAX, "{kept} rows");
        let since = |n: u64| written_since(dir.path(), "stdout", Time(n * SECOND)).unwrap();
        assert_eq!(since(last), Written::From(last * 10));
        // Older ones are found a little early, never late.
        let Written::From(offset) = since(last / 2) else { panic!("something was written") };
        assert!(offset <= last / 2 * 10, "{offset}");
    }
}
