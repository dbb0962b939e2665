//! Reading a task's output from a place on, as it is written: across rotations, and without missing what is rotated away
//! while it is being read.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use cell_state::Time;
use transport::message::LogStream;
use transport::task::LogStart;

use crate::bounds::OUTPUT_READ_BYTES;
use crate::log_files as name;
use crate::log_times;

/// A reader's place in a task's output.
#[derive(Debug)]
pub(crate) struct Tail {
    dir: PathBuf,
    stream: &'static str,
    /// The offset of the next byte to read.
    at: u64,
    /// The file that is being read, and the offset it begins at. It stays readable when it is rotated away.
    file: Option<(u64, File)>,
}

/// The word of a stream in the names of its files.
pub(crate) fn word(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

impl Tail {
    /// A place in the output of a placement's directory.
    pub(crate) fn open(dir: PathBuf, stream: LogStream, from: LogStart, now: Time) -> io::Result<Tail> {
        let mut tail = Tail { dir, stream: word(stream), at: 0, file: None };
        let files = tail.files()?;
        let (first, end) = match files.first().zip(files.last()) {
            Some((first, last)) => (*first, *last + tail.length(*last)?),
            None => (0, 0),
        };
        tail.at = match from {
            LogStart::Offset(offset) => offset.clamp(first, end),
            LogStart::Bytes(before) => end.saturating_sub(before).max(first),
            LogStart::Lines(lines) => tail.lines_before(&files, end, lines)?,
            LogStart::Last(us) => {
                let since = Time(now.0.saturating_sub(us));
                match log_times::written_since(&tail.dir, tail.stream, since)? {
                    log_times::Written::From(offset) => offset.clamp(first, end),
                    log_times::Written::Nothing => end,
                    log_times::Written::Unknown => tail.changed_since(&files, since, end)?,
                }
            }
        };
        Ok(tail)
    }

    /// The next bytes and the offset of the first, which is later than the end of the last ones when what was between
    /// is gone; `None` when nothing more is there now.
    pub(crate) fn next(&mut self, bytes_max: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            if self.file.is_none() && !self.choose()? {
                return Ok(None);
            }
            if let Some(read) = self.read(bytes_max)? {
                return Ok(Some(read));
            }
            let start = self.file.as_ref().map_or(0, |(start, _)| *start);
            // The next file is named after the byte behind the last of this one.
            let Some(next) = self.files()?.into_iter().find(|next| *next > start && *next >= self.at) else {
                return Ok(None);
            };
            // What was written before the rotation is here by now.
            if let Some(read) = self.read(bytes_max)? {
                return Ok(Some(read));
            }
            match File::open(self.dir.join(name::of(self.stream, next))) {
                Ok(file) => (self.at, self.file) = (next, Some((next, file))),
                // Rotated away meanwhile: there is a later one.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the file that holds the next byte, or the first one after it; false when there is none.
    fn choose(&mut self) -> io::Result<bool> {
        loop {
            let files = self.files()?;
            let holding = files.iter().rev().find(|start| **start <= self.at).or(files.first());
            let Some(start) = holding.copied() else { return Ok(false) };
            match File::open(self.dir.join(name::of(self.stream, start))) {
                Ok(file) => {
                    (self.at, self.file) = (self.at.max(start), Some((start, file)));
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, bytes_max: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
        let Some((start, file)) = &mut self.file else { return Ok(None) };
        file.seek(SeekFrom::Start(self.at - *start))?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64).read_to_end(&mut bytes)?;
        let offset = self.at;
        self.at += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some((offset, bytes)))
    }

    /// The offsets that files of the stream begin at, lowest first.
    fn files(&self) -> io::Result<Vec<u64>> {
        name::starts(&self.dir, self.stream)
    }

    fn length(&self, start: u64) -> io::Result<u64> {
        Ok(fs::metadata(self.dir.join(name::of(self.stream, start)))?.len())
    }

    /// Where the last so many lines begin. An unfinished last line counts.
    fn lines_before(&self, files: &[u64], end: u64, lines: u64) -> io::Result<u64> {
        let mut wanted = lines;
        let mut at = end;
        if wanted == 0 {
            return Ok(end);
        }
        for start in files.iter().rev() {
            let mut file = match File::open(self.dir.join(name::of(self.stream, *start))) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(at),
                Err(error) => return Err(error),
            };
            while at > *start {
                let from = at.saturating_sub(OUTPUT_READ_BYTES as u64).max(*start);
                file.seek(SeekFrom::Start(from - start))?;
                let mut bytes = vec![0; (at - from) as usize];
                file.read_exact(&mut bytes)?;
                for (i, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                    let after = from + i as u64 + 1;
                    // The end of the last line is not the end of one before it.
                    if after < end {
                        wanted -= 1;
                        if wanted == 0 {
                            return Ok(after);
                        }
                    }
                }
                at = from;
            }
        }
        Ok(at)
    }

    /// The beginning of the first file that was changed since: the best there is to say of output whose times weren't
    /// noted.
    fn changed_since(&self, files: &[u64], since: Time, end: u64) -> io::Result<u64> {
        for start in files {
            let changed = fs::metadata(self.dir.join(name::of(self.stream, *start)))?.modified()?;
            if crate::clock::time_of(changed) >= since {
                return Ok(*start);
            }
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines "00\n", "01\n", … cut into files of 10 bytes: bytes from `first` on are kept.
    fn dir(first: u64, lines: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..lines).flat_map(|n| format!("{n:02}\n").into_bytes()).collect();
        for (i, piece) in text.chunks(10).enumerate().filter(|(i, _)| *i as u64 * 10 >= first) {
            fs::write(dir.path().join(name::of("stdout", i as u64 * 10)), piece).unwrap();
        }
        dir
    }

    fn rest(tail: &mut Tail) -> (u64, String) {
        let mut first = None;
        let mut all = Vec::new();
        while let Some((offset, bytes)) = tail.next(7).unwrap() {
            first.get_or_insert(offset);
            all.extend(bytes);
        }
        (first.unwrap_or(tail.at), String::from_utf8(all).unwrap())
    }

    #[test]
    fn every_way_to_start_is_found_across_files() {
        let dir = dir(20, 15);
        let table = [
            (LogStart::Offset(0), 20, 25),
            (LogStart::Offset(44), 44, 1),
            (LogStart::Offset(99), 45, 0),
            (LogStart::Bytes(5), 40, 5),
            (LogStart::Bytes(500), 20, 25),
            (LogStart::Lines(0), 45, 0),
            (LogStart::Lines(1), 42, 3),
            (LogStart::Lines(3), 36, 9),
            (LogStart::Lines(8), 21, 24),
            (LogStart::Lines(99), 20, 25),
        ];
        for (from, offset, length) in table {
            let mut tail = Tail::open(dir.path().into(), LogStream::Stdout, from, Time(0)).unwrap();
            let (first, text) = rest(&mut tail);
            assert_eq!((first, text.len()), (offset, length), "{from:?}");
        }
        fs::write(dir.path().join(name::of("stdout", 45)), b"un").unwrap();
        let mut tail = Tail::open(dir.path().into(), LogStream::Stdout, LogStart::Lines(2), Time(0)).unwrap();
        assert_eq!(rest(&mut tail), (42, "14\nun".to_owned()));
    }

    #[test]
    fn rotation_loses_nothing_that_was_being_read_and_a_gap_is_shown_by_its_offset() {
        let dir = dir(0, 10);
        let path = |start| dir.path().join(name::of("stdout", start));
        let mut tail =
            Tail::open(dir.path().into(), LogStream::Stdout, LogStart::Offset(0), Time(0)).unwrap();
        assert_eq!(tail.next(4).unwrap(), Some((0, b"00\n0".to_vec())));
        // The file that is being read is rotated away, and the next one stays.
        fs::remove_file(path(0)).unwrap();
        assert_eq!(tail.next(100).unwrap(), Some((4, b"1\n02\n0".to_vec())));
        assert_eq!(tail.next(4).unwrap(), Some((10, b"3\n04".to_vec())));
        // This one and the next go.
        fs::remove_file(path(10)).unwrap();
        fs::remove_file(path(20)).unwrap();
        fs::write(path(30), b"0a\n").unwrap();
        assert_eq!(tail.next(100).unwrap(), Some((14, b"\n05\n06".to_vec())));
        assert_eq!(tail.next(100).unwrap(), Some((30, b"0a\n".to_vec())));
        assert_eq!(tail.next(100).unwrap(), None);
        fs::write(path(30), b"0a\n0b\n").unwrap();
        assert_eq!(tail.next(100).unwrap(), Some((33, b"0b\n".to_vec())));
    }

    #[test]
    fn output_that_is_not_there_yet_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = Tail::open(dir.path().into(), LogStream::Stderr, LogStart::Lines(5), Time(0)).unwrap();
        assert_eq!(tail.next(100).unwrap(), None);
        fs::write(dir.path().join(name::of("stderr", 0)), b"x").unwrap();
        assert_eq!(tail.next(100).unwrap(), Some((0, b"x".to_vec())));
    }
}
