//! Signals to the shim, as bytes in pipes.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

pub(super) struct Signals {
    pub(super) child: UnixStream,
    pub(super) term: UnixStream,
    pub(super) kill: UnixStream,
}

impl Signals {
    pub(super) fn register() -> io::Result<Signals> {
        let pipe = |signals: &[i32]| -> io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        Ok(Signals {
            child: pipe(&[SIGCHLD])?,
            term: pipe(&[SIGTERM, SIGINT, SIGHUP])?,
            kill: pipe(&[SIGUSR1])?,
        })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        [&self.child, &self.term, &self.kill].into_iter().map(AsFd::as_fd)
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
