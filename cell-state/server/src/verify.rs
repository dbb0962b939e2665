//! The offline audit of a data directory: every file, every record, every page, and the whole history replayed.
//!
//! It changes nothing: log files are opened for reading only, and the checkpoints, which sled would write to on
//! opening, are copied to a temporary directory first.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cell_state::page::StateHash;
use cell_state::{Cell, Seq, audit, record};

use crate::checkpoint::{self, DatabaseError, NAMES};
use crate::data_dir::{DataDir, DataDirError};
use crate::log::LogError;
use crate::log::disk::{Disk, RealDisk};
use crate::log::format::LogId;
use crate::log::open::{segment_files, walk_file};
use crate::log::scan::{Item, WalkError};

/// What an audit found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// One row per thing looked at.
    pub rows: Vec<Row>,
    /// The last position that could be replayed, and the hash of the state there.
    pub state: Option<(Seq, StateHash)>,
}

/// One thing looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The file, or the check.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Why a data directory can't be audited.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It isn't one, or a server runs on it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log's files can't be listed or opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A checkpoint can't be copied or opened, for a reason outside of it.
    #[error("can't look at {}: {source}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.rows.iter().all(|row| row.problem.is_none())
    }

    fn row(&mut self, subject: impl Into<String>, found: impl Into<String>, problem: Option<String>) {
        self.rows.push(Row { subject: subject.into(), found: found.into(), problem });
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.subject.len()).max().unwrap_or(0);
        for Row { subject, found, problem } in &self.rows {
            match problem {
                None => writeln!(f, "ok       {subject:width$}  {found}")?,
                Some(problem) => writeln!(f, "DAMAGED  {subject:width$}  {found}: {problem}")?,
            }
        }
        match self.state {
            Some((seq, hash)) if self.is_sound() => {
                write!(f, "sound: the state at seq {seq} has hash {hash}")
            }
            _ => write!(f, "not sound: see the lines marked DAMAGED"),
        }
    }
}

/// A verified checkpoint.
struct Kept {
    name: &'static str,
    seq: Seq,
    hash: StateHash,
    log: LogId,
    cell: Cell,
}

/// Audits a data directory.
///
/// # Errors
/// It can't be looked at; what is wrong inside is in the report.
pub fn verify(dir: &Path) -> Result<VerifyReport, VerifyError> {
    let data = DataDir::lock_to_read(dir)?;
    let mut report = VerifyReport::default();
    let mut kept = Vec::new();
    for name in NAMES {
        kept.extend(look_at_checkpoint(dir, name, &mut report)?);
    }
    for name in set_aside(dir) {
        report.row(name, "set aside by an earlier start; not looked at", None);
    }
    let disk = RealDisk::read_only();
    let files = segment_files(&disk, &data.log())?;
    let mut replay = Replay::new(kept, files.first().map(|(first, _)| *first));
    let count = files.len();
    for (index, (first, path)) in files.into_iter().enumerate() {
        replay.file(&disk, first, &path, index + 1 == count, &mut report)?;
    }
    replay.finish(count, &mut report);
    Ok(report)
}

fn set_aside(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.contains(".damaged-")).collect();
    names.sort();
    names
}

fn look_at_checkpoint(
    dir: &Path,
    name: &'static str,
    report: &mut VerifyReport,
) -> Result<Option<Kept>, VerifyError> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let outside = |source| VerifyError::Checkpoint { path: path.clone(), source };
    let copy = tempfile::Builder::new().prefix("ohm-verify-").tempdir().map_err(outside)?;
    let to = copy.path().join(name);
    copy_directory(&path, &to).map_err(outside)?;
    match checkpoint::audit(&to) {
        Ok(Some((meta, cell))) => {
            let found = format!("seq {}, {} pages, hash {}", meta.seq, meta.pages, meta.hash);
            report.row(name, found, None);
            Ok(Some(Kept { name, seq: meta.seq, hash: meta.hash, log: meta.log, cell }))
        }
        Ok(None) => {
            report.row(name, "no state yet", None);
            Ok(None)
        }
        Err(DatabaseError::Damaged { what, .. }) => {
            report.row(name, "can't be used", Some(what));
            Ok(None)
        }
        Err(DatabaseError::Io { source, .. }) => Err(outside(source)),
        Err(DatabaseError::InUse { .. }) => Err(outside(io::Error::other("its copy is in use"))),
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The history, replayed from the oldest state there is.
struct Replay {
    kept: Vec<Kept>,
    cell: Option<Cell>,
    from: String,
    /// The seq the next file must start with.
    next: Option<Seq>,
    id: Option<LogId>,
    applied: u64,
    problem: Option<String>,
}

impl Replay {
    fn new(mut kept: Vec<Kept>, first: Option<Seq>) -> Replay {
        kept.sort_by_key(|kept| kept.seq);
        let start = first.unwrap_or(Seq(1));
        let (cell, from) = if start == Seq(1) {
            (Some(Cell::new()), "the first entry".to_owned())
        } else {
            let usable = kept.iter().find(|kept| kept.seq.next() >= start);
            let cell = usable.map(|kept| kept.cell.clone());
            (cell, usable.map_or("nowhere".to_owned(), |kept| format!("{} at seq {}", kept.name, kept.seq)))
        };
        Replay { kept, cell, from, next: first, id: None, applied: 0, problem: None }
    }

    fn file(
        &mut self,
        disk: &dyn Disk,
        first: Seq,
        path: &Path,
        is_last: bool,
        report: &mut VerifyReport,
    ) -> Result<(), VerifyError> {
        let name =
            path.file_name().map_or_else(String::new, |name| format!("log/{}", name.to_string_lossy()));
        let io = |source| LogError::Io { act: "read", path: path.to_owned(), source };
        let file = disk.open(path).map_err(io)?;
        let mut undecodable = None;
        let walked = walk_file(&*file, |item| match item {
            Item::Group { .. } => {}
            Item::Record { seq, bytes } => {
                if let Err(problem) = self.record(seq, bytes) {
                    undecodable.get_or_insert(problem);
                }
            }
        });
        let walked = match walked {
            Ok(walked) => walked,
            Err(WalkError::Io(source)) => return Err(io(source).into()),
            Err(WalkError::Bad(bad)) => {
                report.row(name, "no log file", Some(bad.what));
                self.next = None;
                return Ok(());
            }
        };
        let mut found = format!("seq {first}..={}", walked.last);
        let expected = self.next.unwrap_or(first);
        let id = *self.id.get_or_insert(walked.header.id);
        let mut problem = undecodable;
        if walked.header.first != first || first != expected {
            let header = walked.header.first;
            problem.get_or_insert(format!("it should start at seq {expected}, its header says {header}"));
        }
        if walked.header.id != id {
            problem.get_or_insert(format!("it belongs to log {}, the others to {id}", walked.header.id));
        }
        if let Some(bad) = walked.bad {
            let place = format!("offset {}, after seq {}: {}", bad.offset, bad.after, bad.what);
            if is_last && walked.proof.is_none() {
                found += &format!("; torn tail at {place} (never acknowledged; the next start cuts it off)");
            } else {
                problem.get_or_insert(format!("damaged at {place}"));
            }
        }
        report.row(name, found, problem);
        self.next = Some(walked.last.next());
        Ok(())
    }

    /// Decodes the event of a record, and applies it when the replay is there.
    fn record(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), String> {
        let parsed = record::read(bytes).map_err(|error| error.to_string())?;
        let (record, _) = parsed.ok_or("a record cut short")?;
        let event = record.event().map_err(|error| format!("seq {seq}: {error}"))?;
        let Some(cell) = &mut self.cell else { return Ok(()) };
        if seq != cell.seq().next() {
            return Ok(());
        }
        cell.apply(seq, &event);
        self.applied += 1;
        for kept in self.kept.iter().filter(|kept| kept.seq == seq) {
            let hash = cell.hash();
            if hash != kept.hash {
                let (name, stored) = (kept.name, kept.hash);
                self.problem.get_or_insert(format!(
                    "at seq {seq} the replayed state has hash {hash}, {name} has {stored}"
                ));
            }
        }
        Ok(())
    }

    fn finish(mut self, files: usize, report: &mut VerifyReport) {
        if files == 0 {
            report.row(
                "log",
                "no files",
                Some("a data directory always holds at least one log file".to_owned()),
            );
        }
        let last = Seq(self.next.map_or(0, |next| next.0 - 1));
        for kept in &self.kept {
            let foreign = self.id.is_some_and(|id| id != kept.log);
            let problem = if foreign {
                Some(format!("it was made from log {}", kept.log))
            } else if kept.seq > last {
                Some(format!("the log ends before it, at seq {last}: entries are missing"))
            } else {
                continue;
            };
            report.row(kept.name, format!("seq {}", kept.seq), problem);
        }
        let Some(mut cell) = self.cell.take() else {
            let problem =
                "no sound checkpoint reaches the log, which no longer has its first entries".to_owned();
            return report.row("replay", "impossible", Some(problem));
        };
        let (seq, hash) = (cell.seq(), cell.hash());
        let short = (seq < last).then(|| format!("it can't go beyond seq {seq} of {last}"));
        let found = format!("from {}, {} entries, to seq {seq}", self.from, self.applied);
        report.row("replay", found, self.problem.take().or(short));
        let violations: Vec<String> = audit::audit(&cell).iter().map(ToString::to_string).collect();
        let jobs = cell.jobs().count();
        let found = format!("{} machines, {jobs} jobs", cell.machines().len());
        let problem = (!violations.is_empty()).then(|| violations.join("; "));
        report.row("invariants", found, problem);
        report.state = Some((seq, hash));
    }
}
