//! What shims and their nursery tell the agent: one datagram each, on one socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent::PlacementId;
use cell_state::codec;
use cell_state::task::Exit;
use rustix::net::{SendFlags, send};
use serde::{Deserialize, Serialize};

use crate::process::Identity;

/// Something that happened to a placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Word {
    pub(crate) id: PlacementId,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// The command has taken over; this is its shim.
    Started(Identity),
    /// It is gone with all that it started, and the directory says so too.
    Ended(Exit),
    /// Its shim is gone and has not said how it ended.
    ShimGone,
}

impl Word {
    pub(crate) fn read(bytes: &[u8]) -> Option<Word> {
        codec::decode(bytes).ok()
    }
}

/// The socket to the agent. Once the agent is gone, every word fails.
#[derive(Clone)]
pub(super) struct Words(pub(super) Arc<OwnedFd>);

impl Words {
    /// Says it, and waits while the agent has too much to hear.
    pub(super) fn say(&self, word: Word) -> io::Result<()> {
        loop {
            match self.send(word, SendFlags::NOSIGNAL) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                said => return said,
            }
        }
    }

    /// Says it if the agent can take it now.
    pub(super) fn try_say(&self, word: Word) -> io::Result<()> {
        self.send(word, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send(&self, word: Word, flags: SendFlags) -> io::Result<()> {
        send(self.0.as_fd(), &codec::encode(&word), flags)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::{JobId, TaskId};

    #[test]
    fn words_read_back_and_noise_does_not() {
        let id = PlacementId { task: TaskId { job: JobId(1), group: 2, index: 3 }, epoch: 4 };
        let identity = Identity { pid: 5, start: 6 };
        for what in [What::Started(identity), What::Ended(Exit::Code(7)), What::ShimGone] {
            assert_eq!(Word::read(&codec::encode(&Word { id, what })), Some(Word { id, what }));
        }
        assert_eq!(Word::read(b"noise that is long enough"), None);
    }
}
