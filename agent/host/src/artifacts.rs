//! Artifacts: what tasks need is fetched and checked before they start, kept by its hash, and copied or unpacked into
//! their working directories.
//!
//! ```text
//!  prepare (before the intent to start is recorded; takes as long as the network does)
//!     source ──fetch──▶ <data>/artifacts/<sha256>     checked, durable, fetched once however many tasks wait for it
//!  supply (when the task's directory is there; local work only)
//!     kept file, or a file of the machine without a hash ──copy, unpack──▶ work/<destination>
//! ```
//! The files kept are bounded: the longest unused go first. What is in use while it goes stays readable for its reader,
//! and is fetched again for the next.

mod fetch;
mod inside;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use cell_state::job::data::{self, Artifact, Unpack};
use cell_state::task::{ArtifactProblem, Lack, NotStarted};
use tokio::sync::Semaphore;

use crate::bounds::{ARTIFACT_BYTES, FETCHES_AT_ONCE};
use inside::Inside;

pub(crate) use fetch::Fetcher;

/// Who a file is given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What an operator says about artifacts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArtifactSettings {
    /// Directories of the machine whose files tasks may have.
    pub offered: Vec<PathBuf>,
    /// The most bytes that are kept, and the most that one artifact may have.
    pub bytes_max: u64,
}

impl Default for ArtifactSettings {
    fn default() -> ArtifactSettings {
        ArtifactSettings { offered: Vec::new(), bytes_max: ARTIFACT_BYTES }
    }
}

type Digest = [u8; 32];

/// The artifacts of one machine.
pub(crate) struct Artifacts {
    dir: PathBuf,
    settings: ArtifactSettings,
    fetcher: Fetcher,
    slots: Semaphore,
    /// Who fetches a hash has its lock; the others wait for it.
    fetching: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Artifacts {
    /// Opens the directory of kept artifacts, and removes what was being fetched when the last agent stopped.
    ///
    /// # Errors
    /// It can't be made or read, or a directory that is offered isn't there.
    pub(crate) fn open(dir: PathBuf, settings: ArtifactSettings) -> io::Result<Artifacts> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == fetch::PART) {
                fs::remove_file(path)?;
            }
        }
        let offered = settings.offered.iter().map(fs::canonicalize).collect::<Result<_, _>>()?;
        let settings = ArtifactSettings { offered, ..settings };
        let fetcher = Fetcher::new(settings.bytes_max);
        let slots = Semaphore::new(FETCHES_AT_ONCE);
        Ok(Artifacts { dir, settings, fetcher, slots, fetching: Mutex::default() })
    }

    /// What tasks may have of this machine, as attributes of it.
    pub(crate) fn attributes(&self) -> Option<(String, String)> {
        (!self.settings.offered.is_empty()).then(|| (data::PATHS.to_owned(), "yes".to_owned()))
    }

    /// Has everything at hand that these artifacts are made of.
    ///
    /// # Errors
    /// The first that can't be had.
    pub(crate) async fn prepare(self: &Arc<Artifacts>, artifacts: &[Artifact]) -> Result<(), NotStarted> {
        for (i, artifact) in artifacts.iter().enumerate() {
            let had = match artifact.sha256 {
                Some(digest) => self.keep(artifact, digest).await,
                None => self.offered(artifact).map(drop),
            };
            had.map_err(|problem| lack(i, artifact, problem))?;
        }
        Ok(())
    }

    /// Puts the artifacts where the task expects them. Does IO and takes as long.
    ///
    /// # Errors
    /// The first that can't be put there.
    pub(crate) fn supply(
        &self,
        artifacts: &[Artifact],
        work: &Path,
        owner: Option<Owner>,
    ) -> Result<(), NotStarted> {
        for (i, artifact) in artifacts.iter().enumerate() {
            self.supply_one(artifact, work, owner).map_err(|problem| lack(i, artifact, problem))?;
        }
        Ok(())
    }

    fn supply_one(
        &self,
        artifact: &Artifact,
        work: &Path,
        owner: Option<Owner>,
    ) -> Result<(), ArtifactProblem> {
        let file = match artifact.sha256 {
            // Fetched again should it have had to make room since.
            Some(digest) => match File::open(self.path(&digest)) {
                Ok(file) => file,
                Err(_) => {
                    self.fetch(artifact, digest)?;
                    File::open(self.path(&digest)).map_err(|error| os(&error))?
                }
            },
            None => self.offered(artifact)?,
        };
        let inside = Inside::open(work, owner).map_err(|error| os(&error))?;
        match artifact.unpack {
            Unpack::No => {
                let mode = u32::from(artifact.mode);
                let written =
                    inside.file(Path::new(&artifact.destination), mode, file, self.settings.bytes_max);
                written.map_err(|error| error.problem())
            }
            Unpack::Tar | Unpack::TarGz => unpack::unpack(artifact, file, &inside, self.settings.bytes_max),
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(hex(digest))
    }

    /// Has the bytes of this hash kept.
    async fn keep(self: &Arc<Artifacts>, artifact: &Artifact, digest: Digest) -> Result<(), ArtifactProblem> {
        let lock = Arc::clone(self.fetching().entry(digest).or_default());
        let held = lock.lock().await;
        let had = if touch(&self.path(&digest)) {
            Ok(())
        } else {
            let Ok(_slot) = self.slots.acquire().await else { return Err(ArtifactProblem::Unreachable) };
            let (own, artifact) = (Arc::clone(self), artifact.clone());
            let fetched = tokio::task::spawn_blocking(move || own.fetch(&artifact, digest)).await;
            // Cut off: the agent is stopping.
            fetched.unwrap_or(Err(ArtifactProblem::Unreachable))
        };
        drop(held);
        let mut fetching = self.fetching();
        // This one and the table's: nobody else waits.
        if Arc::strong_count(&lock) == 2 {
            fetching.remove(&digest);
        }
        had
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
        self.fetching.lock().expect("nothing panics while it holds this lock")
    }

    /// Fetches, checks and keeps.
    fn fetch(&self, artifact: &Artifact, digest: Digest) -> Result<(), ArtifactProblem> {
        tracing::info!(source = artifact.source, "fetching an artifact");
        let kept = self.path(&digest);
        if artifact.is_remote() {
            self.fetcher.remote(&artifact.source, &digest, &kept)?;
        } else {
            self.fetcher.local(self.offered(artifact)?, &digest, &kept)?;
        }
        self.make_room(&kept);
        Ok(())
    }

    /// Opens a file of the machine that tasks may have.
    fn offered(&self, artifact: &Artifact) -> Result<File, ArtifactProblem> {
        let path = fs::canonicalize(&artifact.source).map_err(|error| os(&error))?;
        if !self.settings.offered.iter().any(|offered| path.starts_with(offered)) {
            return Err(ArtifactProblem::NotOffered);
        }
        let file = File::open(path).map_err(|error| os(&error))?;
        let found = file.metadata().map_err(|error| os(&error))?;
        match found.is_file() {
            true if found.len() > self.settings.bytes_max => Err(ArtifactProblem::TooLarge),
            true => Ok(file),
            false => Err(ArtifactProblem::NotFound),
        }
    }

    /// Removes the longest unused of those that are too much together, but for the one just fetched.
    fn make_room(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let kept = entries.flatten().filter(|entry| entry.path().extension().is_none());
        let mut kept: Vec<_> =
            kept.filter_map(|entry| Some((entry.metadata().ok()?, entry.path()))).collect();
        kept.sort_by_key(|(found, path)| (found.mtime(), found.mtime_nsec(), path.clone()));
        let mut bytes: u64 = kept.iter().map(|(found, _)| found.len()).sum();
        for (found, path) in kept.iter().filter(|(_, path)| path != newest) {
            if bytes <= self.settings.bytes_max {
                return;
            }
            match fs::remove_file(path) {
                Ok(()) => bytes -= found.len(),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "can't remove an artifact that is kept");
                }
            }
        }
    }
}

/// Notes that a kept file is used; false when it isn't there.
fn touch(path: &Path) -> bool {
    // Read and write: what can't be touched is still there.
    let Ok(file) = File::options().read(true).write(true).open(path) else { return path.exists() };
    drop(file.set_modified(SystemTime::now()));
    true
}

fn lack(index: usize, artifact: &Artifact, problem: ArtifactProblem) -> NotStarted {
    let index = u8::try_from(index).expect("a group has at most 32 artifacts");
    tracing::warn!(source = artifact.source, ?problem, "an artifact can't be had");
    NotStarted::Lacks(Lack::Artifact(index, problem))
}

/// What an error of the operating system means for an artifact.
fn os(error: &io::Error) -> ArtifactProblem {
    match error.kind() {
        io::ErrorKind::NotFound => ArtifactProblem::NotFound,
        _ => ArtifactProblem::Os(error.raw_os_error().and_then(|code| u16::try_from(code).ok()).unwrap_or(0)),
    }
}

fn hex(digest: &Digest) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written");
        text
    })
}
