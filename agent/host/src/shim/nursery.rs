//! The nursery: a process of one thread that forks a shim for each directory its agent names, and tells the agent of
//! shims that died without a word.
//!
//! Its standard input is a socket to the agent: a datagram from it is the path of a task's directory, and what it and
//! its shims have to say goes back through it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use agent::PlacementId;
use fork::Fork;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{WaitOptions, wait};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;

use super::supervise::{self, Reporting};
use super::word::{What, Word, Words};
use crate::bounds::PATH_BYTES_MAX;
use crate::process;
use crate::task_dir::TaskDir;

/// Serves the agent on standard input until it is gone. Shims go on.
pub(super) fn serve() -> ExitCode {
    match Nursery::open().and_then(Nursery::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the nursery of shims: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Nursery {
    words: Words,
    /// Readable when a child has ended.
    ended: UnixStream,
    signal: SigId,
    boot: String,
    shims: BTreeMap<i32, PlacementId>,
}

impl Nursery {
    fn open() -> io::Result<Nursery> {
        // A copy that no child inherits beyond its own start of a program.
        let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let (ended, write) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        let signal = signal_hook::low_level::pipe::register(SIGCHLD, write)?;
        let boot = process::boot_id();
        Ok(Nursery { words: Words(Arc::new(socket)), ended, signal, boot, shims: BTreeMap::new() })
    }

    /// Returns when the agent is gone, and in a forked shim when its task is over.
    fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; PATH_BYTES_MAX];
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.words.0.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.ended.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.reap();
            match recv(self.words.0.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT) {
                // The agent has gone.
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(()),
                Ok((length, _)) => {
                    let path = PathBuf::from(OsStr::from_bytes(&buffer[..length]));
                    if let Some(shim) = self.fork(path) {
                        return shim.run();
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Forks a shim; it is returned in the new process only.
    fn fork(&mut self, path: PathBuf) -> Option<Shim> {
        let dir = TaskDir::at(path);
        let Some(id) = dir.id() else {
            eprintln!("{} is no directory of a placement", dir.path().display());
            return None;
        };
        match fork::fork() {
            Ok(Fork::Parent(pid)) => {
                self.shims.insert(pid, id);
                None
            }
            Ok(Fork::Child) => {
                // What the nursery hears of its children is nothing to a shim.
                signal_hook::low_level::unregister(self.signal);
                let reporting = Reporting { id, words: self.words.clone(), boot: self.boot.clone() };
                Some(Shim { dir, reporting })
            }
            Err(error) => {
                eprintln!("can't fork the shim of {id}: {error}");
                self.tell_gone(id);
                None
            }
        }
    }

    fn reap(&mut self) {
        while matches!(self.ended.read(&mut [0; 64]), Ok(n) if n > 0) {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let shim = self.shims.remove(&pid.as_raw_nonzero().get());
            // One that ended well has said how its task ended.
            if let Some(id) = shim.filter(|_| status.exit_status() != Some(0)) {
                self.tell_gone(id);
            }
        }
    }

    fn tell_gone(&self, id: PlacementId) {
        // Without an agent there is nobody to tell, and the next look at the socket says so.
        let _ = self.words.say(Word { id, what: What::ShimGone });
    }
}

/// A shim that has just been forked.
struct Shim {
    dir: TaskDir,
    reporting: Reporting,
}

impl Shim {
    fn run(self) -> io::Result<()> {
        // So that `ps` tells shims apart: the kernel keeps the first 15 bytes.
        if let Ok(name) = CString::new(self.reporting.id.to_string()) {
            let _ = rustix::thread::set_name(&name);
        }
        match supervise::run(&self.dir, Some(self.reporting)) {
            ExitCode::SUCCESS => Ok(()),
            _ => Err(io::Error::other(format!("the shim of {} gives up", self.dir.path().display()))),
        }
    }
}
