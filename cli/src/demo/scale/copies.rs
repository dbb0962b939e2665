//! Copies of a large cell: a snapshot that is only received, a copy that is restored and compared, and a scheduler
//! process of its own.

use std::time::Instant;

use cell_state::record::{self, Kind};
use transport::Scope;
use transport_quic::Client;

use super::measured::Measured;
use super::process::resident;
use super::sized::wait;
use crate::copy::{CopyError, copy};
use crate::demo::progress::Progress;
use crate::demo::reads;
use crate::failure::Failure;
use crate::local_cell::LocalCell;

/// Schedulers that own nothing: one that follows everything, one that follows machines and its own jobs.
const OTHER: &str = "other";
const NARROW: &str = "narrow";

/// Receives a snapshot and drops it; its bytes.
pub(super) async fn receive(client: &Client) -> Result<u64, CopyError> {
    let mut received = 0;
    let mut subscription = client.subscribe(Scope::Full, None).await?;
    while let Some(bytes) = subscription.next().await? {
        let mut rest = &bytes[..];
        while let Some((record, length)) = record::read(rest)? {
            received += length as u64;
            rest = &rest[length..];
            if record.kind == Kind::SnapshotEnd {
                return Ok(received);
            }
        }
    }
    Err(CopyError::Ended)
}

/// Takes two first copies: one that is only received, one that is made into a cell and compared.
pub(super) async fn first(cell: &LocalCell, measured: &mut Measured) -> Result<(), Failure> {
    let progress = Progress::new("first copy", 1);
    let client = cell.connect().await?;
    let started = Instant::now();
    measured.snapshot_bytes = receive(&client).await?;
    measured.snapshot_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    copy(&client).await?;
    measured.copy_seconds = started.elapsed().as_secs_f64();
    progress.done(&format!("{} bytes", measured.snapshot_bytes));
    Ok(())
}

/// Memory of a scheduler process in a cell that is still empty.
pub(super) async fn scheduler_of_nothing(
    cell: &mut LocalCell,
    client: &Client,
    measured: &mut Measured,
) -> Result<(), Failure> {
    measured.scheduler_bytes_empty = scheduler(cell, client, OTHER, &[]).await?.0;
    Ok(())
}

/// Scheduler processes that own none of the tasks.
pub(super) async fn scheduler_of_others(
    cell: &mut LocalCell,
    client: &Client,
    measured: &mut Measured,
) -> Result<(), Failure> {
    (measured.scheduler_bytes, measured.scheduler_seconds) = scheduler(cell, client, OTHER, &[]).await?;
    (measured.scheduler_own_bytes, measured.scheduler_own_seconds) =
        scheduler(cell, client, NARROW, &["--view", "own"]).await?;
    Ok(())
}

/// Starts a scheduler process, waits until it has followed everything, and returns its memory and how long that took.
async fn scheduler(
    cell: &mut LocalCell,
    client: &Client,
    name: &str,
    extra: &[&str],
) -> Result<(u64, f64), Failure> {
    let progress = Progress::new("scheduler's copy", 1);
    let upto = reads::status(client).await?.seq;
    let process = cell.start_scheduler(name, "batch", name, extra)?;
    let started = Instant::now();
    loop {
        let schedulers = reads::schedulers(client).await?;
        let telemetry = schedulers.iter().filter(|s| s.name == name).find_map(|s| s.telemetry.as_ref());
        if telemetry.is_some_and(|t| t.at >= upto) {
            break;
        }
        wait(cell, &progress, "a scheduler's copy").await?;
    }
    let took = started.elapsed().as_secs_f64();
    let bytes = resident(cell, &process);
    cell.processes.ask_to_stop(&process).map_err(crate::local_cell::LocalCellError::from)?;
    cell.processes.wait(&process).await.map_err(crate::local_cell::LocalCellError::from)?;
    progress.done(&format!("{bytes} bytes resident"));
    Ok((bytes, took))
}
