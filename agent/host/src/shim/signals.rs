//! Signals to the shim, as bytes in pipes.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

pub(super) struct Signals {
    pub(super) child: UnixStream,
    pub(super) term: UnixStream,
    pub(super) kill: UnixStream,
    registered: Vec<SigId>,
}

impl Signals {
    pub(super) fn register() -> io::Result<Signals> {
        let mut registered = Vec::new();
        let mut pipe = |signals: &[i32]| -> io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                registered.push(signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?);
            }
            Ok(read)
        };
        let child = pipe(&[SIGCHLD])?;
        let term = pipe(&[SIGTERM, SIGINT, SIGHUP])?;
        let kill = pipe(&[SIGUSR1])?;
        Ok(Signals { child, term, kill, registered })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        [&self.child, &self.term, &self.kill].into_iter().map(AsFd::as_fd)
    }

    /// In a forked child: what it is sent is no word to the shim, whose pipes it shares.
    pub(super) fn leave_to_parent(&self) {
        for id in &self.registered {
            signal_hook::low_level::unregister(*id);
        }
    }
}

/// Whether a signal came since the last look.
pub(super) fn came(mut pipe: &UnixStream) -> bool {
    let mut came = false;
    while matches!(pipe.read(&mut [0; 64]), Ok(n) if n > 0) {
        came = true;
    }
    came
}
