//! Whether a commit ever waits for a snapshot or a checkpoint: one placement at a time, timed with nothing beside it, and
//! while the first checkpoint of everything is written and snapshots of everything are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cell_state::Seq;
use study::load::Times;
use study::load::fill::{Fill, Pace, Tasks};
use transport::Role;
use transport_quic::Client;

use super::copies::receive;
use super::measured::{Latency, Measured};
use super::sized::wait;
use crate::demo::progress::Progress;
use crate::demo::reads;
use crate::failure::Failure;
use crate::local_cell::{LocalCell, OPERATOR};

/// One placement at a time.
const PROBE: Pace = Pace { ops: 1, in_flight: 1, placements: u64::MAX, within: Duration::ZERO };

/// Times commits until a checkpoint holds everything up to `filled`, and then with nothing beside them.
pub(super) async fn measure(
    cell: &mut LocalCell,
    client: &Client,
    fill: &mut Fill,
    probes: &mut Tasks,
    filled: Seq,
    measured: &mut Measured,
    within: Duration,
) -> Result<(), Failure> {
    let probe = Pace { within, ..PROBE };
    let progress = Progress::new("commits beside a checkpoint and snapshots", 1);
    let snapshots = Snapshots::start(cell)?;
    let mut beside: Option<Times> = None;
    let started = Instant::now();
    loop {
        let probed = fill.place(probes, probe, &mut |_| {}).await?;
        let worst = Latency::of(&probed.latency);
        // The worst stretch counts: each is long enough for a checkpoint to begin or to end in it.
        if beside.as_ref().is_none_or(|times| Latency::of(times).max < worst.max) {
            beside = Some(probed.latency);
        }
        if reads::status(client).await?.checkpoint >= filled {
            break;
        }
        // With no task left to probe with, the checkpoint is only waited for.
        wait(cell, &progress, "a checkpoint").await?;
    }
    measured.checkpoint_seconds = started.elapsed().as_secs_f64();
    measured.snapshots_beside = snapshots.stop();
    measured.commit_beside = Latency::of(&beside.unwrap_or_default());
    let alone = fill.place(probes, probe, &mut |_| {}).await?;
    measured.commit_alone = Latency::of(&alone.latency);
    progress.done(&format!("{} snapshots", measured.snapshots_beside));
    Ok(())
}

/// Receives one snapshot after the other, on a thread of its own.
struct Snapshots {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    fn start(cell: &LocalCell) -> Result<Snapshots, Failure> {
        let (server, credentials) = (cell.address(), cell.credentials(Role::Operator, OPERATOR)?);
        let (stop, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (asked, count) = (Arc::clone(&stop), Arc::clone(&received));
        let work = async move {
            let Ok(client) = Client::connect(server, &credentials).await else { return };
            // Each snapshot is a subscription, and only so many fit one connection at a time; ended ones make room.
            while !asked.load(Ordering::Acquire) && receive(&client).await.is_ok() {
                count.fetch_add(1, Ordering::AcqRel);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("scale-snapshots".to_owned());
        let thread = thread.spawn(move || runtime.block_on(work))?;
        Ok(Snapshots { stop, received, thread: Some(thread) })
    }

    /// How many were received whole.
    fn stop(mut self) -> u64 {
        self.end();
        self.received.load(Ordering::Acquire)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.end();
    }
}
