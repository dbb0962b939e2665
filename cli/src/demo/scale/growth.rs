//! How each cost grows: the same measurements at an eighth, a quarter, half and all of a size, the other sizes at an
//! eighth, and the exponent of the power law that fits best.

use std::time::Duration;

use bench::growth::exponent;
use serde::Serialize;

use super::measured::Measured;
use super::process::{Watch, resident};
use super::sized::{self, BULK, Filled};
use super::{Sizes, peers};
use crate::bounds::SCALE_SETTLE;
use crate::demo::Scratch;
use crate::demo::checks::Checks;
use crate::failure::Failure;
use crate::local_cell::{LocalCell, SERVER};
use crate::show::say;
use crate::typed::demo::PeerKind;
use study::load::fill::Pace;

/// One cost along one axis.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// What was made larger.
    pub(super) axis: &'static str,
    /// What it cost, with its unit.
    pub(super) cost: &'static str,
    /// The sizes, and what each cost.
    pub(super) points: Vec<(f64, f64)>,
    /// Of the power law; `None` when a cost was not above zero.
    pub(super) exponent: Option<f64>,
}

/// How long commits and idle peers are looked at in each cell, at most.
const WATCH_MOST: Duration = Duration::from_secs(1);

/// The parts of the whole size.
const PARTS: [u32; 4] = [8, 4, 2, 1];

/// Placements in a transaction, along the last axis.
const OPS: [u32; 4] = [1, 10, 100, 1_000];

type Figure = (&'static str, fn(&Measured) -> f64);

/// What is shown of cells of several sizes.
const OF_CELLS: [Figure; 12] = [
    ("server memory beyond an empty one, MB", |m| {
        m.server_bytes.saturating_sub(m.server_bytes_empty) as f64 / 1e6
    }),
    ("scheduler memory beyond an empty one, MB", |m| {
        m.scheduler_bytes.saturating_sub(m.scheduler_bytes_empty) as f64 / 1e6
    }),
    ("the same following its own jobs, MB", |m| {
        m.scheduler_own_bytes.saturating_sub(m.scheduler_bytes_empty) as f64 / 1e6
    }),
    ("snapshot, MB", |m| m.snapshot_bytes as f64 / 1e6),
    ("snapshot received, s", |m| m.snapshot_seconds),
    ("copy restored and compared, s", |m| m.copy_seconds),
    ("checkpoint on disk, MB", |m| m.checkpoint_bytes as f64 / 1e6),
    ("restart: checkpoint loaded, s", |m| m.loading_seconds),
    ("restart: entries replayed, s", |m| m.replaying_seconds),
    ("restart, s", |m| m.restart_seconds),
    ("commit p50, µs", |m| m.commit_alone.p50 as f64),
    ("commit p99, µs", |m| m.commit_alone.p99 as f64),
];

/// Measures along every axis.
///
/// # Errors
/// A part of a cell can't be started or reached.
pub(super) async fn measure(
    scratch: &Scratch,
    whole: &Sizes,
    checks: &mut Checks,
) -> Result<Vec<Row>, Failure> {
    let eighth = Sizes {
        machines: whole.machines / 8,
        tasks: whole.tasks / 8,
        entries: whole.entries / 8,
        subscribers: 0,
        agents: 0,
        // Many cells are made: what is only waited for is kept short.
        watch: whole.watch.min(WATCH_MOST),
        checkpoint_s: 1,
        ..*whole
    };
    let entries = Sizes { tasks: eighth.tasks.max(2 * whole.entries), only_restart: true, ..eighth };
    let axes: [(&'static str, Vec<(u32, Sizes)>); 3] = [
        (
            "machines",
            PARTS.map(|p| (whole.machines / p, Sizes { machines: whole.machines / p, ..eighth })).into(),
        ),
        ("tasks", PARTS.map(|p| (whole.tasks / p, Sizes { tasks: whole.tasks / p, ..eighth })).into()),
        (
            "entries",
            PARTS.map(|p| (whole.entries / p, Sizes { entries: whole.entries / p, ..entries })).into(),
        ),
    ];
    let mut rows = Vec::new();
    // The smallest cell stands on two axes.
    let mut known: Vec<(Sizes, Measured)> = Vec::new();
    for (axis, cells) in axes {
        let mut found = Vec::new();
        for (size, sizes) in cells {
            let measured = match known.iter().find(|(same, _)| *same == sizes) {
                Some((_, measured)) => measured.clone(),
                None => {
                    say(&format!("{axis} = {size}"));
                    let name = format!("{axis}-{size}");
                    let measured = super::measure(scratch, &name, &sizes, checks).await?;
                    // A cell is large, and only its figures are wanted.
                    scratch.remove(&name);
                    measured
                }
            };
            known.push((sizes, measured.clone()));
            found.push((f64::from(size), measured));
        }
        for (cost, figure) in OF_CELLS {
            let about_restarts = cost.starts_with("restart");
            if axis != "entries" || about_restarts {
                rows.push(row(axis, cost, found.iter().map(|(size, m)| (*size, figure(m))).collect()));
            }
        }
    }
    rows.extend(along_peers_and_ops(scratch, whole, &eighth).await?);
    Ok(rows)
}

fn row(axis: &'static str, cost: &'static str, points: Vec<(f64, f64)>) -> Row {
    let exponent = exponent(&points);
    Row { axis, cost, points, exponent }
}

/// In one small cell: more subscribers, then larger transactions.
async fn along_peers_and_ops(scratch: &Scratch, whole: &Sizes, small: &Sizes) -> Result<Vec<Row>, Failure> {
    let dir = scratch.part("peers")?;
    let mut cell = LocalCell::create(std::env::current_exe()?, &dir, "scale")?;
    // Nothing is placed yet: the tasks are placed here.
    let sizes = Sizes { entries: whole.tasks, tasks: whole.tasks, ..*small };
    let rows = in_one_cell(&mut cell, whole, &sizes).await;
    cell.processes.stop_all().await;
    rows
}

async fn in_one_cell(cell: &mut LocalCell, whole: &Sizes, sizes: &Sizes) -> Result<Vec<Row>, Failure> {
    let mut filled = sized::fill(cell, sizes, &mut Measured::default()).await?;
    let mut rows = Vec::new();
    let mut idle = [const { Vec::new() }; 3];
    for count in PARTS.map(|part| whole.subscribers / part).into_iter().filter(|count| *count > 0) {
        say(&format!("subscribers = {count}"));
        let before = resident(cell, SERVER);
        peers::start(cell, PeerKind::Subscribers, count, "followers").await?;
        tokio::time::sleep(SCALE_SETTLE).await;
        let memory = resident(cell, SERVER).saturating_sub(before);
        let watch = Watch::start(cell, SERVER);
        tokio::time::sleep(sizes.watch).await;
        let at_rest = watch.done().cpu_ms_per_s;
        let (per_placement, _) = place(cell, &mut filled, Pace { within: sizes.watch, ..FANNED_OUT }).await?;
        peers::stop(cell, "followers").await?;
        let costs = [memory as f64 / 1e6, at_rest, per_placement];
        idle.iter_mut().zip(costs).for_each(|(points, cost)| points.push((f64::from(count), cost)));
    }
    let labels = ["server memory, MB", "server CPU at rest, ms/s", "server CPU, µs/placement, all following"];
    for (cost, points) in labels.into_iter().zip(idle).filter(|(_, points)| points.len() == PARTS.len()) {
        rows.push(row("subscribers", cost, points));
    }
    let mut ops = [const { Vec::new() }; 2];
    for count in OPS {
        say(&format!("ops = {count}"));
        let pace = Pace { ops: count, in_flight: 8, placements: OPS_PLACEMENTS, within: sizes.watch };
        let (per_placement, p50) = place(cell, &mut filled, pace).await?;
        let costs = [per_placement * f64::from(count), p50];
        ops.iter_mut().zip(costs).for_each(|(points, cost)| points.push((f64::from(count), cost)));
    }
    for (cost, points) in ["server CPU, µs/transaction", "commit p50 of 8 in flight, µs"].into_iter().zip(ops)
    {
        rows.push(row("ops", cost, points));
    }
    Ok(rows)
}

/// A pace that subscribers can follow for a moment.
const FANNED_OUT: Pace = Pace { ops: 10, in_flight: 4, placements: 10_000, within: Duration::ZERO };

/// The most that one point of the last axis places.
const OPS_PLACEMENTS: u64 = 100_000;

/// Places, and returns the server's processor time per placement and the median time of a transaction, in microseconds.
async fn place(cell: &mut LocalCell, filled: &mut Filled, pace: Pace) -> Result<(f64, f64), Failure> {
    let watch = Watch::start(cell, SERVER);
    let placing = filled
        .fill
        .place(&mut filled.tasks, Pace { ops: pace.ops.min(BULK.ops), ..pace }, &mut |_| {})
        .await?;
    // What the placements still cause, such as sending them on, is theirs.
    tokio::time::sleep(SCALE_SETTLE).await;
    let cpu_us = watch.done().cpu_us as f64;
    Ok((cpu_us / (placing.placed as f64).max(1.0), placing.latency.percentile(50.0) as f64))
}
