//! What placements run on, where their records are, and how both are opened.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{Found, Input, Kept, Setup};
use cell_state::machine::MachineSpec;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::{mpsc, watch};

use crate::bounds::{LOCK_AGAIN, LOCK_WAIT};
use crate::config::{AgentConfig, AgentError};
use crate::exec::{self, Exec, Happened, ShimProgram};
use crate::records::{self, Progress, Records};
use crate::simulated::Simulated;

/// What placements run on, and where their records are.
pub(super) enum Driver {
    /// Processes, with records on disk.
    Exec {
        exec: Exec,
        happened: mpsc::Receiver<Happened>,
        records: Records,
        progress: watch::Receiver<Progress>,
        _lock: File,
    },
    /// Nothing, with no records: whatever is written is durable for as long as this process.
    Simulated(Simulated),
}

/// Something a real machine noticed.
pub(super) enum Noticed {
    Process(Happened),
    Recorded(Progress),
}

impl Driver {
    /// The next thing that happened on a real machine; `None` when the records' writer is gone.
    pub(super) async fn happened(&mut self) -> Option<Noticed> {
        match self {
            Driver::Exec { happened, progress, .. } => tokio::select! {
                Some(happened) = happened.recv() => Some(Noticed::Process(happened)),
                changed = progress.changed() => match changed {
                    Ok(()) => Some(Noticed::Recorded(progress.borrow_and_update().clone())),
                    Err(_) => None,
                },
            },
            Driver::Simulated(_) => std::future::pending().await,
        }
    }

    /// Something about a process that has happened already.
    pub(super) fn happened_too(&mut self) -> Option<Noticed> {
        match self {
            Driver::Exec { happened, .. } => happened.try_recv().ok().map(Noticed::Process),
            Driver::Simulated(_) => None,
        }
    }
}

/// What happened to a process, as the agent is told.
pub(super) fn input(happened: Happened) -> Input<'static> {
    match happened {
        Happened::Prepared(id) => Input::Prepared(id),
        Happened::Started(id) => Input::Started(id),
        Happened::NotStarted(id, why) => Input::NotStarted(id, why),
        Happened::Ended(id, exit) => Input::Ended(id, exit),
    }
}

pub(super) fn open_real(
    config: &AgentConfig,
    spec: &MachineSpec,
) -> Result<(Driver, Vec<Setup>), AgentError> {
    let data = |source| AgentError::Data { path: config.data.clone(), source };
    let lock = lock(&config.data, LOCK_WAIT).map_err(data)?;
    let lock = lock.ok_or_else(|| AgentError::InUse { path: config.data.clone() })?;
    let cell = &config.credentials.identity().cell;
    let (records, kept) = Records::open(&config.data.join("records"), cell, records::draw)?;
    let shim = ShimProgram { path: config.shim.clone(), args: config.shim_args.clone() };
    let (exec, found, happened) =
        Exec::open(exec::root(&config.data), shim, spec, &config.isolation, config.given.clone())?;
    let mut spec = spec.clone();
    spec.attributes.extend(exec.attributes());
    let spec = Arc::new(spec);
    let missing = exec.missing();
    if !missing.is_empty() {
        tracing::warn!(
            missing = missing.join(", "),
            "this machine can't enforce everything; jobs that ask for it go elsewhere"
        );
    }
    tell_found(&kept, &found);
    let progress = records.progress();
    let driver = Driver::Exec { exec, happened, records, progress, _lock: lock };
    Ok((driver, vec![Setup { spec, kept, found }]))
}

fn tell_found(kept: &Kept, found: &[Found]) {
    let running = found.iter().filter(|found| found.exit.is_none()).count();
    tracing::info!(incarnation = kept.incarnation, records = kept.records.len(), running, "records opened");
}

pub(super) fn open_simulated(
    config: &AgentConfig,
    specs: &[MachineSpec],
) -> Result<(Driver, Vec<Setup>), AgentError> {
    let incarnation =
        records::draw().map_err(|source| AgentError::Data { path: config.data.clone(), source })?;
    let setup = |spec: &MachineSpec| Setup {
        spec: Arc::new(spec.clone()),
        kept: Kept::new(incarnation),
        found: Vec::new(),
    };
    Ok((Driver::Simulated(Simulated::default()), specs.iter().map(setup).collect()))
}

/// Makes the data directory and locks it; `None` when another agent has it all that time.
fn lock(data: &Path, patience: Duration) -> io::Result<Option<File>> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let file = File::create(data.join("lock"))?;
    let until = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if Instant::now() >= until => return Ok(None),
            // Held, or interrupted while asking.
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_agent_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("new/data");
        let first = lock(&data, Duration::ZERO).unwrap();
        assert!(first.is_some());
        assert!(lock(&data, Duration::ZERO).unwrap().is_none());
        drop(first);
        assert!(lock(&data, LOCK_WAIT).unwrap().is_some());
    }
}
