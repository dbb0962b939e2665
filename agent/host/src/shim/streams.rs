//! The output of a task: taken from its pipes as it comes, and handed to the logs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::ioctl_fionbio;

use super::output::{Output, Rotation};
use crate::bounds::OUTPUT_READ_BYTES;
use crate::task_dir::{Launch, TaskDir};

/// One stream, until its last writer is gone.
struct Stream {
    pipe: Option<File>,
    output: Output,
}

/// Both streams, over all processes that the task is, one after the other.
pub(super) struct Streams {
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
}

impl Streams {
    pub(super) fn new(dir: &TaskDir, launch: &Launch) -> Streams {
        let stream =
            |name| Stream { pipe: None, output: Output::new(dir.path(), name, Rotation::of(launch)) };
        Streams { stdout: stream("stdout"), stderr: stream("stderr"), buffer: vec![0; OUTPUT_READ_BYTES] }
    }

    /// Takes from the pipes of the next process.
    pub(super) fn open(&mut self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        self.stdout.open(stdout)?;
        self.stderr.open(stderr)
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr].into_iter().filter_map(|s| s.pipe.as_ref()).map(AsFd::as_fd)
    }

    /// Takes what is there; with `all`, until nothing more is.
    pub(super) fn take(&mut self, all: bool) {
        let Streams { stdout, stderr, buffer } = self;
        stdout.take(buffer, all);
        stderr.take(buffer, all);
    }
}

impl Stream {
    fn open(&mut self, pipe: OwnedFd) -> io::Result<()> {
        ioctl_fionbio(&pipe, true)?;
        self.pipe = Some(File::from(pipe));
        Ok(())
    }

    fn take(&mut self, buffer: &mut [u8], all: bool) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.output.write(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
            if !all {
                return;
            }
        }
    }
}
