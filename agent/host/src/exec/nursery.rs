//! The agent's end of the nursery: asking for shims, and hearing what they say.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agent::PlacementId;
use cell_state::task::{Exit, NotStarted};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use tokio::io::unix::AsyncFd;

use super::watch::{self, Watched, readiness};
use super::{Happened, Shared, ShimProgram};
use crate::bounds::WORD_BYTES_MAX;
use crate::process::Identity;
use crate::shim::{What, Word};
use crate::task_dir::{Live, TaskDir};

/// A nursery that is there, as far as is known.
pub(super) struct Nursery {
    /// Counts nurseries of this agent, from 1.
    number: u64,
    socket: Arc<OwnedFd>,
}

impl Shared {
    /// Has a shim forked for a directory. It is known from then on, whatever becomes of the nursery.
    pub(super) fn fork_shim(self: &Arc<Shared>, id: PlacementId, dir: &TaskDir) -> io::Result<()> {
        // Held until the request is on its way: a nursery that dies meanwhile is noticed after it.
        let mut nursery = self.nursery.lock().expect("nothing panics while it holds this lock");
        let (number, socket) = match &*nursery {
            Some(there) => (there.number, Arc::clone(&there.socket)),
            None => {
                let number = self.starts.count_nursery();
                let socket = self.open_nursery(number)?;
                *nursery = Some(Nursery { number, socket: Arc::clone(&socket) });
                (number, socket)
            }
        };
        self.live().insert(id, Watched::starting(dir.clone(), number));
        send(socket.as_fd(), dir.path().as_os_str().as_bytes(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn open_nursery(self: &Arc<Shared>, number: u64) -> io::Result<Arc<OwnedFd>> {
        let flags = SocketFlags::CLOEXEC;
        let (own, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let child = spawn(&self.shim, its, &self.root)?;
        tracing::info!(pid = child.id(), number, "a nursery of shims");
        let own = Arc::new(own);
        self.runtime.spawn(Arc::clone(self).listen(Arc::clone(&own)));
        self.runtime.spawn(Arc::clone(self).guard(number, child));
        Ok(own)
    }

    /// Hears words until nobody is left to say one: shims outlive their nursery.
    async fn listen(self: Arc<Shared>, socket: Arc<OwnedFd>) {
        let Ok(watched) = socket.try_clone().and_then(readiness) else {
            return tracing::error!(
                "can't listen to shims; ends of tasks are noticed when the agent starts again"
            );
        };
        loop {
            let words = tokio::select! {
                words = hear(&watched) => words,
                () = self.news.closed() => return self.let_go(),
            };
            match words {
                Some(words) => self.take(words).await,
                None => return,
            }
        }
    }

    /// Nobody listens any more: shims are told so by the end of the socket.
    fn let_go(&self) {
        *self.nursery.lock().expect("nothing panics while it holds this lock") = None;
    }

    async fn take(self: &Arc<Shared>, words: Vec<Word>) {
        for Word { id, what } in words {
            match what {
                What::Started(shim) => self.started(id, shim).await,
                What::Ended(exit) => self.over(id, exit).await,
                What::ShimGone => {
                    let Some((dir, shim)) = self.live().get(&id).map(Watched::place) else { continue };
                    let shim = shim.or_else(|| dir.live().ok().flatten()?.shim);
                    let shared = Arc::clone(self);
                    self.runtime.spawn(async move { shared.look_at_end(id, dir, shim).await });
                }
            }
        }
    }

    async fn started(&self, id: PlacementId, shim: Identity) {
        let known = self.live().get_mut(&id).is_some_and(|watched| watched.started(shim));
        if known {
            self.starts.settled();
            tracing::info!(placement = %id, "started");
            self.tell(Happened::Started(id)).await;
        }
    }

    /// Waits until a nursery is gone, which it isn't by itself, and has its shims watched in another way.
    async fn guard(self: Arc<Shared>, number: u64, mut child: Child) {
        let Some(identity) = i32::try_from(child.id()).ok().and_then(Identity::of) else { return };
        tokio::select! {
            () = watch::gone(identity, watch::pidfd(identity)) => {}
            () = self.news.closed() => return,
        }
        // It is gone, so this doesn't wait.
        let status = child.wait();
        tracing::error!(?status, "the nursery of shims is gone; the next start makes another");
        let orphans: Vec<_> = {
            let mut nursery = self.nursery.lock().expect("nothing panics while it holds this lock");
            nursery.take_if(|there| there.number == number);
            let live = self.live();
            let its = live.iter().filter(|(_, watched)| watched.nursery() == number);
            its.map(|(id, watched)| (*id, watched.place())).collect()
        };
        for (id, (dir, shim)) in orphans {
            self.adopt(id, dir, shim).await;
        }
    }

    /// Takes care of a placement whose nursery is gone.
    async fn adopt(self: &Arc<Shared>, id: PlacementId, dir: TaskDir, shim: Option<Identity>) {
        let live = || dir.live().ok().flatten().and_then(|live| live.shim);
        let shim = shim.or_else(live).or_else(|| {
            // Perhaps it was never forked, perhaps it is about to take the start: then that is taken first.
            let ruled_out = Live { boot: crate::process::boot_id(), shim: None };
            if dir.claim(&ruled_out).is_ok_and(|claimed| claimed) { None } else { live() }
        });
        match shim {
            Some(shim) => drop(self.runtime.spawn(Arc::clone(self).watch(id, dir, shim))),
            None => {
                let why = NotStarted::Os(Errno::PIPE.raw_os_error());
                self.over(id, Exit::NotStarted(why)).await;
            }
        }
    }
}

/// All words that are there; waits for the first. `None` when there will be none.
async fn hear(socket: &AsyncFd<OwnedFd>) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut buffer = [0; WORD_BYTES_MAX];
    loop {
        let mut ready = socket.readable().await.ok()?;
        loop {
            match recv(socket.get_ref().as_fd(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return (!words.is_empty()).then_some(words),
                Ok((length, _)) => match Word::read(&buffer[..length]) {
                    Some(word) => words.push(word),
                    None => tracing::error!(length, "a shim said something that is no word"),
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return (!words.is_empty()).then_some(words),
            }
            if words.len() >= crate::bounds::PROCESS_NEWS_MAX {
                return Some(words);
            }
        }
        if !words.is_empty() {
            return Some(words);
        }
        ready.clear_ready();
    }
}

fn spawn(shim: &ShimProgram, socket: OwnedFd, root: &Path) -> io::Result<Child> {
    let complaints = OpenOptions::new().append(true).create(true).open(root.join("shims.log"))?;
    let mut command = Command::new(&shim.path);
    command.arg0("ohm").args(&shim.args).arg("serve").arg(root);
    // A group of its own: a Ctrl-C for the agent is none for tasks.
    command.process_group(0).current_dir(root).stdin(socket).stdout(Stdio::null()).stderr(complaints);
    command.spawn()
}
