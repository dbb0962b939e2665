//! Writing below one directory and nowhere else: every step of a path is taken from the directory before it, and none
//! through a symbolic link. Whatever an archive says, and whatever earlier artifacts left there, nothing is written
//! outside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use cell_state::task::ArtifactProblem;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, linkat, mkdirat, openat, symlinkat,
};
use rustix::io::Errno;

use super::{Owner, os};
use crate::bounds::COPY_BYTES;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why something could not be written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The path leads outside, through a link, or over something that is there.
    Path,
    /// There is more of it than there may be.
    TooLarge,
    /// What it is made of ends too early or is broken.
    Source,
    /// The operating system refuses.
    Os(io::Error),
}

impl Unwritten {
    pub(super) fn problem(&self) -> ArtifactProblem {
        match self {
            Unwritten::Path | Unwritten::Source => ArtifactProblem::BadArchive,
            Unwritten::TooLarge => ArtifactProblem::TooLarge,
            Unwritten::Os(error) => os(error),
        }
    }
}

impl From<Errno> for Unwritten {
    fn from(error: Errno) -> Unwritten {
        match error {
            // A step of the path is a link or no directory, or what is to be made is there.
            Errno::LOOP | Errno::NOTDIR | Errno::EXIST => Unwritten::Path,
            _ => Unwritten::Os(error.into()),
        }
    }
}

/// A directory that is written in.
pub(super) struct Inside {
    root: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Inside {
    pub(super) fn open(root: &Path, owner: Option<Owner>) -> io::Result<Inside> {
        let owner = owner.map(|owner| (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid)));
        Ok(Inside { root: openat(CWD, root, DIRECTORY, Mode::empty())?, owner })
    }

    /// The same rules below a directory of this one, which is made if it isn't there.
    pub(super) fn below(&self, path: &Path) -> Result<Inside, Unwritten> {
        Ok(Inside { root: self.directory(path)?, owner: self.owner })
    }

    /// Makes a directory with all those above it; returns it opened.
    pub(super) fn directory(&self, path: &Path) -> Result<OwnedFd, Unwritten> {
        let mut at = self.root.try_clone().map_err(Unwritten::Os)?;
        for step in path.components() {
            let name = match step {
                Component::Normal(name) => name,
                Component::CurDir => continue,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Unwritten::Path);
                }
            };
            let made = match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            at = openat(&at, name, DIRECTORY, Mode::empty())?;
            if made {
                self.give(&at)?;
            }
        }
        Ok(at)
    }

    /// Makes a file of these bytes, at most `bytes_max` of them.
    pub(super) fn file(
        &self,
        path: &Path,
        mode: u32,
        mut from: impl Read,
        bytes_max: u64,
    ) -> Result<(), Unwritten> {
        let (above, name) = self.above(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&above, name, flags, Mode::from_raw_mode(0o600))?;
        let mut to = File::from(file);
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = bytes_max;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Unwritten::Source),
            };
            left = left.checked_sub(read as u64).ok_or(Unwritten::TooLarge)?;
            to.write_all(&buffer[..read]).map_err(Unwritten::Os)?;
        }
        // Its owner first: giving it away takes some permissions with it.
        self.give(&to)?;
        Ok(fchmod(&to, Mode::from_raw_mode(mode & 0o777))?)
    }

    /// Makes a second name of a file that is here.
    pub(super) fn link(&self, path: &Path, to: &Path) -> Result<(), Unwritten> {
        let (from_above, from_name) = self.above(to)?;
        let (above, name) = self.above(path)?;
        // Without a flag a link itself would get the second name, not what it leads to.
        Ok(linkat(&from_above, from_name, &above, name, AtFlags::empty())?)
    }

    /// Makes a symbolic link that leads to something here.
    pub(super) fn symlink(&self, path: &Path, to: &Path) -> Result<(), Unwritten> {
        if !stays_inside(path, to) {
            return Err(Unwritten::Path);
        }
        let (above, name) = self.above(path)?;
        symlinkat(to, &above, name)?;
        match self.owner {
            Some((uid, gid)) => Ok(chownat(&above, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?),
            None => Ok(()),
        }
    }

    fn above<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a std::ffi::OsStr), Unwritten> {
        let name = path.file_name().ok_or(Unwritten::Path)?;
        let above = self.directory(path.parent().unwrap_or(Path::new("")))?;
        Ok((above, name))
    }

    fn give(&self, made: impl std::os::fd::AsFd) -> Result<(), Unwritten> {
        match self.owner {
            Some((uid, gid)) => Ok(fchown(made, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }
}

/// Whether a symbolic link at `path` that says `to` leads to something below the same directory, by its words alone.
fn stays_inside(path: &Path, to: &Path) -> bool {
    let mut depth =
        path.components().filter(|step| matches!(step, Component::Normal(_))).count() as isize - 1;
    for step in to.components() {
        match step {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_judged_by_where_they_lead() {
        let table = [
            ("a", "b", true),
            ("bin/java", "../jre/bin/java", true),
            ("a", "..", false),
            ("a", "/etc/passwd", false),
            ("d/a", "../..", false),
            ("d/a", "../x/../../y", false),
            ("d/e/a", "./../..", true),
        ];
        for (path, to, expected) in table {
            assert_eq!(stays_inside(Path::new(path), Path::new(to)), expected, "{path} -> {to}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_or_over_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        std::fs::write(root.path().join("there"), "old").unwrap();
        let inside = Inside::open(root.path(), None).unwrap();
        let write = |path: &str| inside.file(Path::new(path), 0o644, &b"new"[..], 10);
        for path in ["out/x", "out", "there", "there/x", "../x", "/x", "a/../../x", ""] {
            assert!(matches!(write(path), Err(Unwritten::Path)), "{path}");
        }
        assert!(matches!(
            inside.file(Path::new("large"), 0o644, &b"eleven byte"[..], 10),
            Err(Unwritten::TooLarge)
        ));
        assert!(matches!(inside.link(Path::new("l"), Path::new("out/x")), Err(Unwritten::Path)));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        write("deep/down/x").unwrap();
        assert_eq!(std::fs::read(root.path().join("deep/down/x")).unwrap(), b"new");
    }
}
