//! Watching a shim until it is gone, signalling it, and making sure that nothing of its task is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent::Signal;
use cell_state::task::Exit;
use rustix::process::{Pid, PidfdFlags, Signal as Number, kill_process, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::launch::DIR_VARIABLE;
use crate::bounds::{ORPHANS_EVERY, WATCH_EVERY};
use crate::isolation::cgroup::Cgroup;
use crate::isolation::container::forget;
use crate::process::{self, Identity};
use crate::task_dir::TaskDir;

/// A placement whose shim is there, or about to be.
pub(super) struct Watched {
    dir: TaskDir,
    /// `None` until it has said that its task started.
    shim: Option<Identity>,
    /// The nursery that forked it; 0 for one that was found.
    nursery: u64,
    /// Held from the first time it is needed; never where the kernel has no such thing.
    pidfd: Option<Arc<OwnedFd>>,
    kills: u32,
}

impl Watched {
    /// One that an earlier agent started.
    pub(super) fn found(dir: TaskDir, shim: Identity) -> Watched {
        Watched { dir, shim: Some(shim), nursery: 0, pidfd: None, kills: 0 }
    }

    /// One that a nursery is about to fork.
    pub(super) fn starting(dir: TaskDir, nursery: u64) -> Watched {
        Watched { dir, shim: None, nursery, pidfd: None, kills: 0 }
    }

    /// The shim has said who it is; false if it had before.
    pub(super) fn started(&mut self, shim: Identity) -> bool {
        self.shim.replace(shim).is_none()
    }

    pub(super) fn is_starting(&self) -> bool {
        self.shim.is_none()
    }

    pub(super) fn nursery(&self) -> u64 {
        self.nursery
    }

    pub(super) fn place(&self) -> (TaskDir, Option<Identity>) {
        (self.dir.clone(), self.shim)
    }

    pub(super) fn pidfd(&mut self) -> Option<Arc<OwnedFd>> {
        if self.pidfd.is_none() {
            self.pidfd = self.shim.and_then(pidfd);
        }
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

    fn send(&mut self, number: Number) {
        let alive = self.shim.filter(Identity::is_alive).and_then(|shim| shim.pid());
        let sent = match (self.pidfd(), alive) {
            (Some(pidfd), _) => pidfd_send_signal(pidfd, number),
            (None, Some(pid)) => kill_process(pid, number),
            (None, None) => Ok(()),
        };
        // One that is gone needs no signal.
        if let Err(error) = sent.or_else(|e| if e == rustix::io::Errno::SRCH { Ok(()) } else { Err(e) }) {
            tracing::warn!(dir = %self.dir.path().display(), %error, "can't signal a shim");
        }
    }
}

/// Holds a process, if it is still the one that is meant.
pub(super) fn pidfd(process: Identity) -> Option<Arc<OwnedFd>> {
    let pidfd = process.pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // Only if the pid still means it now that it is held.
    pidfd.filter(|_| process.is_alive()).map(Arc::new)
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

/// Watches a descriptor. A pidfd is readable once its process is gone.
#[expect(
    deprecated,
    reason = "unsound only for types whose descriptor may change or close; an OwnedFd's doesn't, and the replacement is an unsafe fn"
)]
pub(super) fn readiness(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// How the task of a shim that is gone ended, once nothing of it is left; `None` while the agent is stopping.
pub(super) async fn exit(dir: TaskDir, shim: Option<Identity>) -> Option<Exit> {
    loop {
        let look = dir.clone();
        let looked = tokio::task::spawn_blocking(move || look_once(&look, shim)).await.ok()?;
        if looked.is_some() {
            return looked;
        }
        tokio::time::sleep(ORPHANS_EVERY).await;
    }
}

/// The exit status the shim left. A shim that was killed leaves none: then what it left of the task is killed, and
/// once that is gone nobody knows how the task ended.
fn look_once(dir: &TaskDir, shim: Option<Identity>) -> Option<Exit> {
    if let Ok(Some(exit)) = dir.exit() {
        return Some(exit);
    }
    let cgroup = dir.launch().ok().and_then(|launch| launch.confine.cgroup);
    let orphans = orphans(dir, shim, cgroup.as_ref());
    if orphans.is_empty() {
        forget(dir);
        if let Some(Err(error)) = cgroup.map(|cgroup| cgroup.remove()) {
            tracing::warn!(dir = %dir.path().display(), %error, "can't remove the control groups of a task");
        }
        // So that readers of its output know that nothing will follow.
        if let Err(error) = dir.write_exit(Exit::Unseen).and_then(|()| dir.sync()) {
            tracing::warn!(dir = %dir.path().display(), %error, "can't note the end of a task");
        }
        return Some(Exit::Unseen);
    }
    for orphan in orphans {
        let _ = kill_process(orphan, Number::KILL);
    }
    if let Some(cgroup) = cgroup {
        cgroup.kill();
    }
    None
}

/// What is left of a task: processes in its control groups, of the shim's session, and those that left it but still
/// carry the task's variable.
fn orphans(dir: &TaskDir, shim: Option<Identity>, cgroup: Option<&Cgroup>) -> Vec<Pid> {
    let variable = format!("{DIR_VARIABLE}={}", dir.path().display());
    let left = process::all().into_iter().filter(|pid| {
        let Some(stat) = process::stat(*pid).filter(|stat| !stat.is_dead()) else { return false };
        let in_session = shim.is_some_and(|shim| stat.session == shim.pid && stat.start >= shim.start);
        in_session || has_variable(*pid, &variable)
    });
    let grouped = cgroup.map(Cgroup::processes).unwrap_or_default();
    left.filter_map(Pid::from_raw).chain(grouped).collect()
}

fn has_variable(pid: i32, variable: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}
