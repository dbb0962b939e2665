//! Where a process is in the machine: its cgroups, namespaces, root, user and privileges, read from `/proc`, and joined by
//! a process that is going to start a command there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, move_into_link_name_space, remove_capability_from_bounding_set,
    set_no_new_privs,
};

use crate::cgroups;

/// Where a process is.
#[derive(Debug)]
pub(super) struct Context {
    /// Files to write a pid into, so that it joins the process's cgroups.
    cgroups: Vec<PathBuf>,
    /// Namespaces that differ from this process's own.
    namespaces: Vec<(OwnedFd, LinkNameSpaceType)>,
    /// `None` when it is this process's own.
    root: Option<OwnedFd>,
    directory: OwnedFd,
    environment: BTreeMap<String, String>,
    status: Status,
    own: Status,
}

/// What matters of `/proc/PID/status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Status {
    uid: u32,
    gid: u32,
    /// Capabilities that a command can have at most.
    bounding: u64,
    no_new_privileges: bool,
}

/// Namespaces in the order they are joined: that of processes takes effect for children only.
const NAMESPACES: [(&str, LinkNameSpaceType); 7] = [
    ("cgroup", LinkNameSpaceType::ControlGroup),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("time", LinkNameSpaceType::Time),
    ("pid", LinkNameSpaceType::ProcessID),
    ("mnt", LinkNameSpaceType::Mount),
];

impl Context {
    /// Where this process is. Everything that needs `/proc` is read and opened here, before anything is joined.
    pub(super) fn of(pid: i32) -> io::Result<Context> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let own = PathBuf::from("/proc/self");
        let mut namespaces = Vec::new();
        for (name, kind) in NAMESPACES {
            let (theirs, ours) = (proc.join("ns").join(name), own.join("ns").join(name));
            // A kernel without this kind has no such file.
            if theirs.exists() && fs::read_link(&theirs)? != fs::read_link(&ours)? {
                namespaces.push((File::open(&theirs)?.into(), kind));
            }
        }
        let is_mounted_apart = namespaces.iter().any(|(_, kind)| *kind == LinkNameSpaceType::Mount);
        let root = proc.join("root");
        let (theirs, ours) = (fs::metadata(&root)?, fs::metadata("/")?);
        let is_rooted_apart = is_mounted_apart || (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino());
        Ok(Context {
            cgroups: cgroups::apart(&proc, &own)?.into_values().map(|at| at.join("cgroup.procs")).collect(),
            namespaces,
            root: is_rooted_apart.then(|| directory(&root)).transpose()?,
            directory: directory(&proc.join("cwd"))?,
            environment: environment(&proc)?,
            status: status(&proc)?,
            own: status(&own)?,
        })
    }

    /// Goes there with this process, and has the command become what the process is.
    pub(super) fn join(self, command: &mut Command) -> io::Result<()> {
        let pid = std::process::id().to_string();
        for cgroup in &self.cgroups {
            OpenOptions::new().write(true).open(cgroup)?.write_all(pid.as_bytes())?;
        }
        for (namespace, kind) in &self.namespaces {
            move_into_link_name_space(namespace.as_fd(), Some(*kind))?;
        }
        if let Some(root) = &self.root {
            fchdir(root)?;
            chroot(".")?;
            chdir("/")?;
        }
        fchdir(&self.directory)?;
        command.envs(&self.environment);
        self.give_up_privileges(command)
    }

    fn give_up_privileges(&self, command: &mut Command) -> io::Result<()> {
        let (theirs, ours) = (self.status, self.own);
        for bit in (0..64).filter(|bit| ours.bounding & !theirs.bounding & (1 << bit) != 0) {
            remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit))?;
        }
        if theirs.gid != ours.gid || theirs.uid != ours.uid {
            command.gid(theirs.gid).uid(theirs.uid);
        }
        if theirs.no_new_privileges {
            set_no_new_privs(true)?;
        }
        Ok(())
    }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn environment(proc: &Path) -> io::Result<BTreeMap<String, String>> {
    let bytes = fs::read(proc.join("environ"))?;
    let entries = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let pairs = entries.filter_map(|entry| {
        let (name, value) = entry.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Ok(pairs.collect())
}

fn status(proc: &Path) -> io::Result<Status> {
    Ok(parse_status(&fs::read_to_string(proc.join("status"))?))
}

fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    for (name, values) in text.lines().filter_map(|line| line.split_once(':')) {
        let mut values = values.split_ascii_whitespace();
        // Of the four ids the second is the effective one.
        let mut effective = || values.nth(1).and_then(|id| id.parse().ok()).unwrap_or_default();
        match name {
            "Uid" => status.uid = effective(),
            "Gid" => status.gid = effective(),
            "CapBnd" => {
                let first = values.next().unwrap_or_default();
                status.bounding = u64::from_str_radix(first, 16).unwrap_or_default();
            }
            "NoNewPrivs" => status.no_new_privileges = values.next() == Some("1"),
            _ => {}
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let text =
            "Name:\tsh\nUid:\t0\t1000\t0\t0\nGid:\t0\t100\t0\t0\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\n";
        let expected = Status { uid: 1000, gid: 100, bounding: 0xa804_25fb, no_new_privileges: true };
        assert_eq!(parse_status(text), expected);
    }

    #[test]
    fn this_process_is_where_it_is() {
        let context = Context::of(std::process::id() as i32).unwrap();
        assert!(context.cgroups.is_empty() && context.namespaces.is_empty() && context.root.is_none());
        assert_eq!(context.status, context.own);
    }
}
