//! Where a process is in the machine: its cgroups, namespaces, root and directory, read from `/proc`, and joined by a
//! process that is going to start a command there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::launch::path_of;
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
        })
    }

    /// Where commands are looked up there.
    pub(super) fn path(&self) -> String {
        path_of(&self.environment).to_owned()
    }

    /// Goes there with this process, and gives the command the process's environment.
    pub(super) fn join(self, command: &mut Command) -> io::Result<()> {
        self.go()?;
        command.envs(&self.environment);
        Ok(())
    }

    /// Goes there with this process, which keeps its rights.
    pub(super) fn go(&self) -> io::Result<()> {
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
        Ok(fchdir(&self.directory)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_where_it_is() {
        let context = Context::of(std::process::id() as i32).unwrap();
        assert!(context.cgroups.is_empty() && context.namespaces.is_empty() && context.root.is_none());
    }
}
