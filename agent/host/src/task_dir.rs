//! The directory of one placement, which shim and agent share:
//!
//! ```text
//! <data>/tasks/<task>-<epoch>/
//!   spec.json             what to run; written by the agent before the shim starts
//!   live.json             the claim to this start: made once, by the shim that runs it or by an agent that rules it out
//!   exit.json             how it ended; the last thing the shim makes
//!   work/                 the working directory, unless the spec names another
//!   tmp/                  what a task with a view of its own sees as /tmp
//!   bundle/ runtime/      what the runtime of a container reads, and what it keeps; runtime.log is its own
//!   stdout-<offset>.log   output from that byte on; the highest offset is being written
//!   stderr-<offset>.log
//! ```
//!
//! `live.json` and `exit.json` are symbolic links whose target is the text itself: one call of the system makes such a
//! link, whole and only if nobody else has (`readlink` shows it).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agent::{Intent, PlacementId};
use cell_state::job::care::Care;
use cell_state::task::Exit;
use cell_state::{JobId, TaskId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounds::OWN_FILE_BYTES_MAX;
use crate::isolation::Confine;
use crate::isolation::container::Container;
use crate::process::Identity;

/// The working directory's name.
pub(crate) const WORK: &str = "work";

/// The name of what a task with a view of its own sees as `/tmp`.
pub(crate) const TEMPORARY: &str = "tmp";

/// What a shim runs: `spec.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Which life of the agent's records it was started in.
    pub(crate) incarnation: u64,
    pub(crate) intent: Intent,
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The working directory; `None` is `work/`.
    pub(crate) directory: Option<String>,
    pub(crate) log_bytes_max: u64,
    pub(crate) log_files_max: u16,
    #[serde(default)]
    pub(crate) log_age_us: Option<u64>,
    #[serde(default)]
    pub(crate) confine: Confine,
    /// Its ports, by label.
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, u16>,
    #[serde(default)]
    pub(crate) care: Care,
    /// Its container; `None` is a process of the machine.
    #[serde(default)]
    pub(crate) container: Option<Container>,
}

/// Who has this start: `live.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Live {
    /// The boot it happened in.
    pub(crate) boot: String,
    /// The shim; `None` when an agent ruled the start out before any shim took it.
    pub(crate) shim: Option<Identity>,
}

/// How it ended: `exit.json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Ended {
    exit: Exit,
}

/// The directory of one placement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TaskDir {
    path: PathBuf,
}

impl TaskDir {
    /// The directory of a placement below `root`, which need not be there.
    pub(crate) fn of(root: &Path, id: PlacementId) -> TaskDir {
        TaskDir { path: root.join(id.to_string()) }
    }

    /// A directory by its path.
    pub(crate) fn at(path: PathBuf) -> TaskDir {
        TaskDir { path }
    }

    /// All directories of placements below `root`.
    pub(crate) fn list(root: &Path) -> io::Result<Vec<(PlacementId, TaskDir)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(parse_id) {
                found.push((id, TaskDir { path: entry.path() }));
            }
        }
        found.sort_by_key(|(id, _)| *id);
        Ok(found)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, with what is to be run.
    pub(crate) fn create(&self, launch: &Launch) -> io::Result<()> {
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        private.create(&self.path)?;
        private.create(self.work())?;
        if let Some(user) = &launch.confine.user {
            std::os::unix::fs::chown(self.work(), Some(user.uid), Some(user.gid))?;
        }
        if launch.confine.view.is_some() {
            let temporary = self.path.join(TEMPORARY);
            private.create(&temporary)?;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))?;
        }
        // One that is cut short can't be read, and then nothing was started.
        write_new(&self.path.join("spec.json"), &to_json(launch)?)
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path.join(WORK)
    }

    pub(crate) fn launch(&self) -> io::Result<Launch> {
        let mut bytes = Vec::new();
        File::open(self.path.join("spec.json"))?.take(OWN_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The placement it belongs to.
    pub(crate) fn id(&self) -> Option<PlacementId> {
        parse_id(self.path.file_name()?.to_str()?)
    }

    pub(crate) fn live(&self) -> io::Result<Option<Live>> {
        self.read_link("live.json")
    }

    pub(crate) fn exit(&self) -> io::Result<Option<Exit>> {
        Ok(self.read_link::<Ended>("exit.json")?.map(|ended| ended.exit))
    }

    /// When it ended, as far as the file system knows.
    pub(crate) fn ended_at(&self) -> Option<std::time::SystemTime> {
        fs::symlink_metadata(self.path.join("exit.json")).ok()?.modified().ok()
    }

    /// Takes the start for `live`, if nobody has it: exactly one taker wins.
    pub(crate) fn claim(&self, live: &Live) -> io::Result<bool> {
        self.make_link("live.json", live)
    }

    /// Says how it ended. What was said first stays.
    pub(crate) fn write_exit(&self, exit: Exit) -> io::Result<()> {
        self.make_link("exit.json", &Ended { exit }).map(drop)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// False when it is there already.
    fn make_link<T: Serialize>(&self, name: &str, value: &T) -> io::Result<bool> {
        match symlink(OsString::from_vec(to_json(value)?), self.path.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_link<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read_link(self.path.join(name)) {
            Ok(text) => Ok(Some(serde_json::from_slice(text.as_os_str().as_bytes())?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn to_json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// The placement a directory is named after: `j1.0.2-3`.
fn parse_id(name: &str) -> Option<PlacementId> {
    let (task, epoch) = name.strip_prefix('j')?.split_once('-')?;
    let mut parts = task.split('.');
    let job = JobId(parts.next()?.parse().ok()?);
    let group = parts.next()?.parse().ok()?;
    let index = parts.next()?.parse().ok()?;
    let id = PlacementId { task: TaskId { job, group, index }, epoch: epoch.parse().ok()? };
    // Only the one way of writing it, so that a directory has one name.
    (parts.next().is_none() && id.to_string() == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_read_back_and_others_are_left_alone() {
        let id = PlacementId { task: TaskId { job: JobId(7), group: 1, index: 20 }, epoch: 3 };
        assert_eq!(parse_id(&id.to_string()), Some(id));
        for odd in [
            "",
            "j7",
            "j7.1.20",
            "j7.1-3",
            "j7.1.20-",
            "j07.1.20-3",
            "j7.1.20.1-3",
            "x7.1.20-3",
            "j7.1.20-+3",
        ] {
            assert_eq!(parse_id(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_start_is_claimed_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = TaskDir::at(root.path().to_owned());
        let live = |start| Live { boot: "b".into(), shim: Some(Identity { pid: 1, start }) };
        assert!(dir.claim(&live(1)).unwrap());
        assert!(!dir.claim(&live(2)).unwrap());
        assert_eq!(dir.live().unwrap(), Some(live(1)));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn an_exit_is_there_or_not_and_said_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = TaskDir::at(root.path().to_owned());
        assert_eq!(dir.exit().unwrap(), None);
        for exit in [Exit::Code(3), Exit::Signal(9), Exit::Unseen] {
            dir.write_exit(exit).unwrap();
            dir.sync().unwrap();
            assert_eq!(dir.exit().unwrap(), Some(Exit::Code(3)));
        }
        fs::remove_file(root.path().join("exit.json")).unwrap();
        symlink("{", root.path().join("exit.json")).unwrap();
        assert!(dir.exit().is_err());
    }
}
