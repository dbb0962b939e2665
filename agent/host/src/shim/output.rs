//! A task's output as files: a new one when the current is full, the oldest removed when there are too many.
//!
//! Each file is named after the offset of its first byte, counted from the task's first, so that a reader needs no
//! other index and an offset stays right whatever was removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::log_times::Times;
use crate::task_dir::Launch;
use crate::{clock, log_files as name};

pub(super) struct Output {
    dir: PathBuf,
    stream: &'static str,
    /// None before the first byte: most tasks of a large batch say nothing.
    file: Option<File>,
    /// Offsets of the first bytes of the files kept, the current one last.
    starts: Vec<u64>,
    offset: u64,
    rotation: Rotation,
    /// When the current file was begun, on a clock that nobody sets.
    since: Instant,
    /// None before the first byte, and when the disk has no room for it.
    times: Option<Times>,
}

/// When a file is followed by the next, and how many are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rotation {
    bytes_max: u64,
    age_max: Option<Duration>,
    files_max: usize,
}

impl Rotation {
    pub(super) fn of(launch: &Launch) -> Rotation {
        Rotation {
            bytes_max: launch.log_bytes_max.max(1),
            age_max: launch.log_age_us.map(Duration::from_micros),
            files_max: usize::from(launch.log_files_max.max(1)),
        }
    }
}

impl Output {
    pub(super) fn new(dir: &Path, stream: &'static str, rotation: Rotation) -> Output {
        Output {
            dir: dir.to_owned(),
            stream,
            file: None,
            starts: Vec::new(),
            offset: 0,
            rotation,
            since: Instant::now(),
            times: None,
        }
    }

    /// Appends output. What the disk doesn't take is dropped and not counted: a full disk must not stop a task.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        if self.times.is_none() {
            self.times = Times::create(&self.dir, self.stream).ok();
        }
        if let Some(times) = &mut self.times {
            times.note(self.offset, self.starts.first().copied().unwrap_or(0), clock::wall());
        }
        while !bytes.is_empty() {
            let room = self.starts.last().map_or(0, |start| self.room(self.offset - start));
            if room == 0 && self.rotate().is_err() {
                return;
            }
            let Some(file) = self.file.as_mut().filter(|_| room > 0) else { continue };
            let piece = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            match file.write(piece) {
                Ok(written) if written > 0 => {
                    self.offset += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// What fits into the current file, which has so many bytes already.
    fn room(&self, written: u64) -> u64 {
        let too_old = self.rotation.age_max.is_some_and(|max| self.since.elapsed() >= max);
        if too_old && written > 0 { 0 } else { self.rotation.bytes_max - written }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = Some(create(&self.dir, self.stream, self.offset)?);
        self.starts.push(self.offset);
        self.since = Instant::now();
        while self.starts.len() > self.rotation.files_max {
            let oldest = self.starts.remove(0);
            // One that can't be removed is only a file too many.
            let _ = fs::remove_file(self.dir.join(name::of(self.stream, oldest)));
        }
        Ok(())
    }
}

fn create(dir: &Path, stream: &str, offset: u64) -> io::Result<File> {
    let path = dir.join(name::of(stream, offset));
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_files_named_by_offset_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut output =
            Output::new(dir.path(), "stdout", Rotation { bytes_max: 10, age_max: None, files_max: 3 });
        let text: Vec<u8> = (0..47u8).collect();
        for piece in text.chunks(7) {
            output.write(piece);
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "stdout.times")
            .collect();
        names.sort();
        assert_eq!(names, [20, 30, 40].map(|offset| name::of("stdout", offset)));
        let kept: Vec<u8> = names.iter().flat_map(|name| fs::read(dir.path().join(name)).unwrap()).collect();
        assert_eq!(kept, text[20..]);
        assert_eq!(name::offset(&names[0], "stdout"), Some(20));
        assert_eq!(name::offset(&names[0], "stderr"), None);
    }

    #[test]
    fn a_file_that_is_too_old_is_followed_by_the_next_though_it_is_not_full() {
        let dir = tempfile::tempdir().unwrap();
        let is_log = |e: &io::Result<fs::DirEntry>| {
            e.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".log")
        };
        let count = || fs::read_dir(dir.path()).unwrap().filter(is_log).count();
        let rotation = Rotation { bytes_max: 1_000, age_max: Some(Duration::ZERO), files_max: 3 };
        let mut output = Output::new(dir.path(), "stdout", rotation);
        output.write(b"1");
        assert_eq!(count(), 1, "an empty file is never too old");
        output.write(b"2");
        assert_eq!(count(), 2);
        output.rotation.age_max = Some(Duration::MAX);
        output.write(b"3");
        assert_eq!(count(), 2);
    }
}
