//! The pipe from the first process of a task to its shim: what came of the start, and of the command.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cell_state::task::{Exit, NotStarted};
use rustix::io::ioctl_fionbio;
use serde::{Deserialize, Serialize};

/// What the task's side says: lines of JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// The command runs.
    Started,
    /// It can't be started; why, and in more words.
    NotStarted(NotStarted, String),
    /// It ended so; told by the first of process numbers of its own, which can't die of a signal itself.
    Ended(Exit),
}

/// The shim's end.
pub(super) struct Control {
    /// `None` once the other end is closed.
    pipe: Option<File>,
    heard: Vec<u8>,
}

impl Control {
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Control> {
        ioctl_fionbio(&pipe, true)?;
        Ok(Control { pipe: Some(File::from(pipe)), heard: Vec::new() })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// What was said since the last time, and whether that was all there will ever be.
    pub(super) fn hear(&mut self) -> (Vec<Told>, bool) {
        let mut buffer = [0; 512];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(n) if n > 0 => self.heard.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
        let whole = self.heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.heard.split_off(whole);
        let lines = std::mem::replace(&mut self.heard, rest);
        let words = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        (words.collect(), self.pipe.is_none())
    }
}

/// Says a word; the shim may be gone, which is no reason to stop.
pub(super) fn say(mut pipe: &File, word: Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(&word).expect("a word encodes");
    line.push(b'\n');
    pipe.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_heard_whole_and_once() {
        let (ours, theirs) = rustix::pipe::pipe().unwrap();
        let theirs = File::from(theirs);
        let mut control = Control::new(ours).unwrap();
        assert_eq!(control.hear(), (vec![], false));
        say(&theirs, Told::Started).unwrap();
        (&theirs).write_all(b"{\"Ended\":").unwrap();
        assert_eq!(control.hear(), (vec![Told::Started], false));
        (&theirs).write_all(b"{\"Code\":3}}\n").unwrap();
        drop(theirs);
        assert_eq!(control.hear(), (vec![Told::Ended(Exit::Code(3))], true));
        assert_eq!(control.hear(), (vec![], true));
    }
}
