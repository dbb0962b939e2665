//! Entering a task's confinement: namespaces, then files, then rights, each for good.

use std::fs;
use std::io;
use std::path::Path;

use rustix::system::sethostname;
use rustix::thread::{
    CapabilitySets, UnshareFlags, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

use super::{Confine, filter, mounts, privileges};
use crate::secrets;

/// Gives this process the right to make namespaces, where it hasn't got it: it is passed on to its children.
pub(crate) fn may_split(confine: &Confine) -> io::Result<()> {
    if confine.user_namespace && is_split(confine) { own_users() } else { Ok(()) }
}

/// Makes the next child of this process the first of process numbers of its own. The kernel grants that once.
pub(crate) fn split_processes(confine: &Confine) -> io::Result<()> {
    if confine.processes { split(UnshareFlags::NEWPID) } else { Ok(()) }
}

fn is_split(confine: &Confine) -> bool {
    confine.processes || confine.ipc || confine.hostname.is_some() || confine.view.is_some()
}

/// A user namespace in which this user is nobody else, but may make the other namespaces.
fn own_users() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    split(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    // All rights in there, which a user other than root keeps across the start of a program only in this way.
    let all = capabilities(None)?.permitted;
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: all })?;
    all.iter().try_for_each(|one| Ok(configure_capability_in_ambient_set(one, true)?))
}

/// Enters the control groups, the namespaces and the view of files of the task whose directory is `dir`, with these
/// values of its secrets.
pub(crate) fn enter(confine: &Confine, dir: &Path, secrets: &[Vec<u8>]) -> io::Result<()> {
    if let Some(cgroup) = &confine.cgroup {
        cgroup.join()?;
    }
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWNS, confine.view.is_some());
    flags.set(UnshareFlags::NEWIPC, confine.ipc);
    flags.set(UnshareFlags::NEWUTS, confine.hostname.is_some());
    if !flags.is_empty() {
        split(flags)?;
    }
    if let Some(hostname) = &confine.hostname {
        sethostname(hostname.as_bytes())?;
    }
    let put = || secrets::put(&confine.secrets, secrets, confine.user.as_ref());
    confine.view.as_ref().map_or(Ok(()), |view| mounts::enter(view, dir, confine.processes, put))
}

/// Gives up what the task isn't to have, for good.
pub(crate) fn give_up_rights(confine: &Confine) -> io::Result<()> {
    privileges::drop_all(confine)?;
    if confine.filter { filter::apply() } else { Ok(()) }
}

#[expect(
    deprecated,
    reason = "unsound only with the flag that splits descriptors between threads, which is never given; its replacement is an unsafe fn"
)]
fn split(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}
