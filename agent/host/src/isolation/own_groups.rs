//! The agent's own control groups, one per hierarchy, below which those of its tasks are. An agent holds a lock on each as
//! long as it lives: one that has no lock and nothing in it is needed by nobody, and the next agent of the machine
//! removes it, as an agent does itself when it stops without tasks.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::bounds::CGROUP_HOLDS_MAX;

/// The name of an agent's groups: those that share a machine's name have data in different places.
pub(super) fn name(machine: &str, data: &Path) -> String {
    format!("{machine}@{:08x}", short_hash(data))
}

fn short_hash(path: &Path) -> u32 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn is_name(name: &str) -> bool {
    let hash = name.rsplit_once('@').map_or("", |(_, hash)| hash);
    hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The groups of this agent, with the lock on each.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<(PathBuf, File)>);

impl Held {
    /// Makes a group, and holds it.
    pub(super) fn add(&mut self, group: &Path) -> io::Result<()> {
        for _ in 0..CGROUP_HOLDS_MAX {
            fs::create_dir_all(group)?;
            // Another agent may be removing it at this moment, for it was nobody's: then it is made again.
            let held = File::open(group).and_then(|file| {
                flock(&file, FlockOperation::LockShared)?;
                let (own, there) = (file.metadata()?, fs::metadata(group)?);
                Ok((own.ino() == there.ino()).then_some(file))
            });
            match held {
                Ok(Some(file)) => {
                    self.0.push((group.to_owned(), file));
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    /// Removes what agents that are gone have left beside them.
    pub(super) fn sweep(&self) {
        for (own, _) in &self.0 {
            let beside = own.parent().and_then(|parent| fs::read_dir(parent).ok());
            for entry in beside.into_iter().flatten().flatten() {
                let path = entry.path();
                if path != *own && entry.file_name().to_str().is_some_and(is_name) {
                    // One that can't be opened any more has just been removed.
                    let _ = File::open(&path).map(|file| remove_unless_held(&path, &file));
                }
            }
        }
    }

    /// Removes them, but for those in which something is.
    pub(super) fn release(&self) {
        self.0.iter().for_each(|(group, file)| remove_unless_held(group, file));
    }
}

/// Removes a group that nothing is in and that nobody else holds.
fn remove_unless_held(group: &Path, file: &File) {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // Fails when a task is in it.
        let _ = fs::remove_dir(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_nobody_holds_and_nothing_is_in_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["m1@0000000a", "m-2@0000000b/j1.0.0-1", "m3@0000000c", "m4", "m5@c", "m6@0000000g"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let mut other = Held::default();
        other.add(&at("m3@0000000c")).unwrap();
        let mut own = Held::default();
        own.add(&at(&name("m1", Path::new("/var/lib/ohm")))).unwrap();
        own.sweep();
        let left = || {
            let mut names: Vec<_> = fs::read_dir(root.path())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort_unstable();
            names
        };
        let own_name = name("m1", Path::new("/var/lib/ohm"));
        assert!(is_name(&own_name));
        assert_eq!(left(), ["m-2@0000000b", own_name.as_str(), "m3@0000000c", "m4", "m5@c", "m6@0000000g"]);
        let mut again = Held::default();
        again.add(&at(&own_name)).unwrap();
        own.release();
        assert_eq!(left().len(), 6, "the next agent of the same data is there already");
        drop(own);
        again.release();
        assert_eq!(left(), ["m-2@0000000b", "m3@0000000c", "m4", "m5@c", "m6@0000000g"]);
    }
}
