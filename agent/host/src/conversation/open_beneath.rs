//! Opening what a path means below a directory, and nothing else: name by name, without following any symbolic link, so
//! that whatever the task does meanwhile the way never leads out.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, readlinkat, statat};
use rustix::io::Errno;

use super::Problem;
use crate::bounds::PATH_NAMES_MAX;

/// What a path means, held but not yet opened for reading.
pub(super) struct Held {
    descriptor: OwnedFd,
    pub(super) kind: FileType,
}

/// Holds what `path` means below `root`.
pub(super) fn hold(root: &Path, path: &str) -> Result<Held, Problem> {
    let wrong = |what: &str| format!("path: {path:?} {what}");
    let mut names = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => names.push(name),
            // "/" is the task's own.
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(wrong("may not contain \"..\": write the way from the task's directory"));
            }
        }
    }
    if names.len() > PATH_NAMES_MAX {
        return Err(wrong(&format!("has more than {PATH_NAMES_MAX} names")));
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut held = open(root, flags | OFlags::DIRECTORY, Mode::empty())
        .map_err(|error| format!("the task has no directory any more: {error}"))?;
    let mut kind = FileType::Directory;
    for name in names {
        let failed = |error: Errno| match error {
            Errno::NOENT => wrong("is not there; `ohm task fs ls` shows what is"),
            Errno::NOTDIR => wrong("leads through something that is no directory"),
            error => wrong(&format!("can't be opened: {error}")),
        };
        if kind != FileType::Directory {
            return Err(failed(Errno::NOTDIR));
        }
        let next = openat(&held, name, flags, Mode::empty()).map_err(failed)?;
        kind = FileType::from_raw_mode(statat(&next, "", AtFlags::EMPTY_PATH).map_err(failed)?.st_mode);
        if kind == FileType::Symlink {
            let target = readlinkat(&held, name, Vec::new()).map_err(failed)?;
            let target = target.to_string_lossy().into_owned();
            return Err(wrong(&format!(
                "leads through the symbolic link {name:?} to {target:?}, and links are not followed; name what it points to"
            )));
        }
        held = next;
    }
    Ok(Held { descriptor: held, kind })
}

impl Held {
    /// For questions about it.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Opens it for reading. Only for what opening does nothing to: files and directories.
    pub(super) fn open(&self) -> std::io::Result<File> {
        use std::os::fd::AsRawFd;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = format!("/proc/self/fd/{}", self.descriptor.as_fd().as_raw_fd());
        Ok(open(path, flags, Mode::empty())?.into())
    }
}
