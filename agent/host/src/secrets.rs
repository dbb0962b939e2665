//! Secrets: files that the operator keeps on the machine, by team and name, and that tasks find in memory.
//!
//! ```text
//!  DIR/<team>/<name>       the operator's: root's alone, and hidden from every task with a view of files of its own
//!     │ read at each start by the first process of the task, before it gives up its rights
//!     ▼
//!  /run/secrets/<file>     in memory, in the task's own view of files and in no other: 0400, the task's user's
//! ```
//! The values are nowhere else: the cell knows their names, and so does the task's spec on disk. What is in memory goes with
//! the last process that sees it, whoever ends that and however: nobody has to clear it away.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use cell_state::job::data::{self, Secret};
use cell_state::task::{Lack, NotStarted, SecretProblem};
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::bounds::SECRET_BYTES_MAX;
use crate::isolation::User;

/// Where a task finds them.
pub(crate) const PLACE: &str = "/run/secrets";

/// A secret of one task: where it comes from, and what its file is called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SecretFile {
    from: PathBuf,
    file: String,
}

/// The secrets of one machine.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// The operator's directory.
    source: PathBuf,
}

impl Secrets {
    /// Opens the operator's directory.
    ///
    /// # Errors
    /// What is wrong with it, and the way out.
    pub(crate) fn open(source: &Path) -> io::Result<Secrets> {
        let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        if !rustix::process::geteuid().is_root() {
            let problem = "--secrets: only an agent that runs as root can keep tasks from each other's secrets; \
                           run it as root, or without --secrets";
            return wrong(problem.to_owned());
        }
        let shown = source.display();
        let found = fs::metadata(source).map_err(|error| {
            io::Error::new(error.kind(), format!("--secrets: can't read {shown}: {error}"))
        })?;
        if !found.is_dir() || found.uid() != 0 || found.mode() & 0o077 != 0 {
            let problem = format!(
                "--secrets: {shown} must be a directory that only root can enter; chown root: and chmod 700 it"
            );
            return wrong(problem);
        }
        Ok(Secrets { source: fs::canonicalize(source)? })
    }

    /// Where the operator keeps them.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// That there are some, as an attribute of the machine.
    pub(crate) fn attribute() -> (String, String) {
        (data::SECRETS.to_owned(), "yes".to_owned())
    }

    /// The secrets that a task of a team is to have.
    pub(crate) fn of(&self, team: &str, secrets: &[Secret]) -> Vec<SecretFile> {
        // Both are names as the cell takes them: no part of them leads anywhere else.
        let dir = self.source.join(team);
        let file = |secret: &Secret| SecretFile { from: dir.join(&secret.name), file: secret.file.clone() };
        secrets.iter().map(file).collect()
    }
}

/// Reads the values, while this process still has the machine's view of files and its rights.
///
/// # Errors
/// The first that can't be had.
pub(crate) fn read(secrets: &[SecretFile]) -> Result<Vec<Vec<u8>>, (NotStarted, String)> {
    let all = secrets.iter().enumerate();
    let value = |(i, secret): (usize, &SecretFile)| {
        read_one(&secret.from).map_err(|problem| {
            let index = u8::try_from(i).expect("a group has at most 32 secrets");
            let lack = Lack::Secret(index, problem);
            (NotStarted::Lacks(lack), lack.to_string())
        })
    };
    all.map(value).collect()
}

fn read_one(path: &Path) -> Result<Vec<u8>, SecretProblem> {
    let file = File::open(path).map_err(|error| os(&error))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(SecretProblem::NotFound);
    }
    let mut value = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut value).map_err(|error| os(&error))?;
    if value.len() as u64 > SECRET_BYTES_MAX { Err(SecretProblem::TooLarge) } else { Ok(value) }
}

/// Puts the values into memory, in the view of files that this process has made for its task.
pub(crate) fn put(secrets: &[SecretFile], values: &[Vec<u8>], user: Option<&User>) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    // Through a link it would not be the task's own.
    if !fs::symlink_metadata("/run")?.is_dir() {
        let problem =
            "this machine's /run is a link, so that a task can't have one of its own with secrets in it";
        return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
    }
    fs::create_dir(PLACE)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Older kernels can't be told to keep it from the swap.
    mount("tmpfs", PLACE, "tmpfs", flags, c"mode=0555,size=8m,noswap")
        .or_else(|_| mount("tmpfs", PLACE, "tmpfs", flags, c"mode=0555,size=8m"))?;
    for (secret, value) in secrets.iter().zip(values) {
        let path = Path::new(PLACE).join(&secret.file);
        let mut file = File::options().write(true).create_new(true).mode(0o400).open(&path)?;
        io::Write::write_all(&mut file, value)?;
        if let Some(user) = user {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

fn os(error: &io::Error) -> SecretProblem {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SecretProblem::NotFound,
        _ => SecretProblem::Os(error.raw_os_error().and_then(|code| u16::try_from(code).ok()).unwrap_or(0)),
    }
}
