//! Watching a shim until it is gone, signalling it, and making sure that nothing of its task is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;

use agent::Signal;
use cell_state::task::Exit;
use rustix::process::{Pid, PidfdFlags, Signal as Number, kill_process, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::launch::DIR_VARIABLE;
use crate::bounds::{ORPHANS_EVERY, WATCH_EVERY};
use crate::process::{self, Identity};
use crate::task_dir::TaskDir;

/// A placement whose shim is there.
pub(super) struct Watched {
    dir: TaskDir,
    shim: Identity,
    /// `None` where the kernel has no such thing, or the shim is gone.
    pidfd: Option<Arc<OwnedFd>>,
    kills: u32,
}

impl Watched {
    pub(super) fn new(dir: TaskDir, shim: Identity) -> Watched {
        let pidfd = shim.pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Only if the pid still means the shim now that it is held.
        let pidfd = pidfd.filter(|_| shim.is_alive()).map(Arc::new);
        Watched { dir, shim, pidfd, kills: 0 }
    }

    pub(super) fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        self.pidfd.clone()
    }

    /// Asks the shim to end its task, or when a kill had no effect ends shim and task itself.
    pub(super) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Term => self.send(Number::TERM),
            Signal::Kill => {
                self.kills += 1;
                if self.kills > 1 {
                    tracing::warn!(dir = %self.dir.path().display(), "a shim doesn't obey and is killed");
                    self.send(Number::KILL);
                } else {
                    self.send(Number::USR1);
                }
            }
        }
    }

    fn send(&self, number: Number) {
        let sent = match (&self.pidfd, self.shim.pid()) {
            (Some(pidfd), _) => pidfd_send_signal(pidfd, number),
            (None, Some(pid)) if self.shim.is_alive() => kill_process(pid, number),
            (None, _) => Ok(()),
        };
        // One that is gone needs no signal.
        if let Err(error) = sent.or_else(|e| if e == rustix::io::Errno::SRCH { Ok(()) } else { Err(e) }) {
            tracing::warn!(dir = %self.dir.path().display(), %error, "can't signal a shim");
        }
    }
}

/// Waits until the shim is gone.
pub(super) async fn gone(shim: Identity, pidfd: Option<Arc<OwnedFd>>) {
    if let Some(pidfd) = pidfd
        && let Ok(own) = pidfd.try_clone()
        && let Ok(watch) = readiness(own)
        && watch.readable().await.is_ok()
    {
        return;
    }
    while shim.is_alive() {
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// A pidfd is readable once its process is gone.
#[expect(
    deprecated,
    reason = "unsound only for types whose descriptor may change or close; an OwnedFd's doesn't, and the replacement is an unsafe fn"
)]
fn readiness(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// How the task of a shim that is gone ended, once nothing of it is left; `None` while the agent is stopping.
pub(super) async fn exit(dir: TaskDir, shim: Identity, mut child: Option<Child>) -> Option<Exit> {
    loop {
        if let Some(child) = &mut child {
            // Reaps the shim, which is gone.
            drop(child.try_wait());
        }
        let (look, at) = (dir.clone(), shim);
        let looked = tokio::task::spawn_blocking(move || look_once(&look, at)).await.ok()?;
        if looked.is_some() {
            return looked;
        }
        tokio::time::sleep(ORPHANS_EVERY).await;
    }
}

/// The exit status the shim left. A shim that was killed leaves none: then what it left of the task is killed, and
/// once that is gone nobody knows how the task ended.
fn look_once(dir: &TaskDir, shim: Identity) -> Option<Exit> {
    if let Ok(Some(exit)) = dir.exit() {
        return Some(exit);
    }
    let orphans = orphans(dir, shim);
    if orphans.is_empty() {
        // So that readers of its output know that nothing will follow.
        if let Err(error) = dir.write_exit(Exit::Unseen) {
            tracing::warn!(dir = %dir.path().display(), %error, "can't note the end of a task");
        }
        return Some(Exit::Unseen);
    }
    for orphan in orphans {
        let _ = kill_process(orphan, Number::KILL);
    }
    None
}

/// What is left of a task: processes of the shim's session, and those that left it but still carry the task's variable.
fn orphans(dir: &TaskDir, shim: Identity) -> Vec<Pid> {
    let variable = format!("{DIR_VARIABLE}={}", dir.path().display());
    let left = process::all().into_iter().filter(|pid| {
        let Some(stat) = process::stat(*pid).filter(|stat| !stat.is_dead()) else { return false };
        let in_session = stat.session == shim.pid && stat.start >= shim.start;
        in_session || has_variable(*pid, &variable)
    });
    left.filter_map(Pid::from_raw).collect()
}

fn has_variable(pid: i32, variable: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}
