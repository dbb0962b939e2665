//! One cell of a given size: started, filled, measured, killed and started again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bench::figures::per_second;
use bench::workload::filler;
use study::load::fill::{Fill, Pace, Tasks};
use transport::Role;
use transport::message::ServerStatus;
use transport_quic::Client;
use transport_quic::pki::Credentials;

use super::measured::Measured;
use super::process::{bytes_in, checkpoint_bytes, resident};
use super::{Sizes, copies, pause, peers};
use crate::bounds::{MONITOR_EVERY, SCALE_PROBES, SCALE_SETTLE, SCALE_WAIT};
use crate::demo::checks::Checks;
use crate::demo::progress::Progress;
use crate::demo::{DemoError, reads};
use crate::failure::Failure;
use crate::local_cell::{LocalCell, LocalCellError, SERVER};
use crate::typed::demo::PeerKind;

const PART: &str = "scale";

/// Who owns and places the tasks, and what the machines' names begin with.
const PROPOSER: &str = "filler";
const MACHINES: &str = "sim-*";

/// Placements of a transaction and transactions in flight while the cell is filled.
pub(super) const BULK: Pace = Pace { ops: 1_000, in_flight: 8, placements: u64::MAX, within: SCALE_WAIT };

/// One placement, and so one entry, for each transaction.
const SINGLE: Pace = Pace { ops: 1, in_flight: 256, ..BULK };

/// What a server is started with. The machines have one connection that shows no heartbeats, and nothing here is about lost
/// machines.
fn server_args(checkpoint_every: &str) -> [&str; 4] {
    ["--down-after", "1d", "--checkpoint-every", checkpoint_every]
}

/// A cell in which everything is placed but what the restart's entries will be.
pub(super) struct Filled {
    pub(super) client: Client,
    pub(super) fill: Fill,
    pub(super) tasks: Tasks,
    pub(super) probes: Tasks,
}

/// Measures everything in a cell that has not been started yet.
///
/// # Errors
/// A part of the cell can't be started or reached, or nothing moves any more.
pub(super) async fn measure(
    cell: &mut LocalCell,
    sizes: &Sizes,
    checks: &mut Checks,
) -> Result<Measured, Failure> {
    let mut measured = Measured { machines: sizes.machines, ..Measured::default() };
    let mut filled = fill(cell, sizes, &mut measured).await?;
    if sizes.only_restart {
        restart(cell, filled, sizes, &mut measured, checks).await?;
        return Ok(measured);
    }
    let upto = reads::status(&filled.client).await?.seq;
    let Filled { client, fill, probes, .. } = &mut filled;
    pause::measure(cell, client, fill, probes, upto, &mut measured, sizes.watch).await?;
    settled(cell, sizes, &mut measured).await;
    copies::first(cell, &mut measured).await?;
    copies::scheduler_of_others(cell, &filled.client, &mut measured).await?;
    measured.subscribers =
        peers::measure(cell, PeerKind::Subscribers, sizes.subscribers, sizes.watch).await?;
    measured.agents = peers::measure(cell, PeerKind::Agents, sizes.agents, sizes.watch).await?;
    restart(cell, filled, sizes, &mut measured, checks).await?;
    Ok(measured)
}

/// Starts a server, registers the machines, submits the jobs, and places all tasks but those of the last entries.
pub(super) async fn fill(
    cell: &mut LocalCell,
    sizes: &Sizes,
    measured: &mut Measured,
) -> Result<Filled, Failure> {
    let checkpoints = format!("{}s", sizes.checkpoint_s);
    cell.start_server(([127, 0, 0, 1], 0).into(), &server_args(&checkpoints)).await?;
    let client = cell.connect().await?;
    if !sizes.only_restart {
        copies::scheduler_of_nothing(cell, &client, measured).await?;
    }
    measured.server_bytes_empty = resident(cell, SERVER);
    let (agent, proposer) = credentials(cell)?;
    let progress = Progress::new("machines", sizes.machines.into());
    let mut tell = |done| progress.at(done, String::new());
    let (server, prefix) = (cell.address(), MACHINES.trim_end_matches('*'));
    let mut fill =
        Fill::start(server, (&agent, &proposer), prefix, sizes.machines, instance(), &mut tell).await?;
    progress.done(&format!("{} registered", sizes.machines));
    tokio::time::sleep(SCALE_SETTLE).await;
    measured.server_bytes_machines = resident(cell, SERVER);
    let jobs = |prefix: &str, tasks| filler(prefix, PROPOSER, tasks, sizes.tasks_per_job, sizes.task());
    let fillers = jobs("filler", sizes.tasks);
    (measured.jobs, measured.tasks) = (fillers.len() as u64, sizes.tasks.into());
    let mut tasks = fill.submit(&client, fillers).await?;
    let probes = fill.submit(&client, jobs("probe", SCALE_PROBES)).await?;
    place(&mut fill, &mut tasks, u64::from(sizes.tasks - sizes.entries), measured).await?;
    Ok(Filled { client, fill, tasks, probes })
}

/// Places this many tasks as fast as the cell takes them, and reports them as started.
async fn place(
    fill: &mut Fill,
    tasks: &mut Tasks,
    count: u64,
    measured: &mut Measured,
) -> Result<(), Failure> {
    let progress = Progress::new("placing", count);
    let mut tell = |done| progress.at(done, String::new());
    let placing = fill.place(tasks, Pace { placements: count, ..BULK }, &mut tell).await?;
    measured.placing_seconds = placing.seconds;
    measured.placements_per_second = per_second(placing.placed, (placing.seconds * 1e6) as u64);
    progress.done(&format!("{} placed", placing.placed));
    let progress = Progress::new("reporting", count);
    fill.report_started(tasks, &mut |done| progress.at(done, String::new())).await?;
    measured.reporting_seconds = progress.elapsed().as_secs_f64();
    progress.done(&format!("{count} started"));
    Ok(())
}

fn credentials(cell: &LocalCell) -> Result<(Credentials, Credentials), LocalCellError> {
    Ok((cell.credentials(Role::Agent, MACHINES)?, cell.credentials(Role::Scheduler, PROPOSER)?))
}

/// A number that no other run has: the time, in nanoseconds.
fn instance() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Memory and disk once a checkpoint holds everything.
async fn settled(cell: &mut LocalCell, sizes: &Sizes, measured: &mut Measured) {
    tokio::time::sleep(SCALE_SETTLE).await;
    measured.server_bytes = resident(cell, SERVER);
    let [empty, machines, all] =
        [measured.server_bytes_empty, measured.server_bytes_machines, measured.server_bytes]
            .map(|b| b as f64);
    measured.server_bytes_per_machine = (machines - empty) / f64::from(sizes.machines);
    measured.server_bytes_per_task = (all - machines) / f64::from(sizes.tasks);
    let data = cell.dir().join("server");
    measured.checkpoint_bytes = checkpoint_bytes(&data);
}

/// Stops the server, so that a checkpoint holds everything; starts it with checkpoints switched off, places the rest of
/// the tasks one by one, kills it, and starts it again: it must come back with everything.
async fn restart(
    cell: &mut LocalCell,
    filled: Filled,
    sizes: &Sizes,
    measured: &mut Measured,
    checks: &mut Checks,
) -> Result<(), Failure> {
    let Filled { mut fill, mut tasks, probes, .. } = filled;
    let progress = Progress::new("stopping and starting the server", 1);
    cell.processes.ask_to_stop(SERVER).map_err(LocalCellError::from)?;
    while cell.processes.is_running(SERVER) {
        wait(cell, &progress, "the server to stop").await?;
    }
    cell.restart_server(&server_args("1d"))?;
    answers(cell, &progress).await?;
    progress.done("it answers again");
    let (agent, proposer) = credentials(cell)?;
    fill.reconnect(cell.address(), (&agent, &proposer)).await?;
    let progress = Progress::new("entries", sizes.entries.into());
    let mut tell = |done| progress.at(done, String::new());
    let rest = Pace { placements: sizes.entries.into(), ..SINGLE };
    let placing = fill.place(&mut tasks, rest, &mut tell).await?;
    measured.entries_per_second = per_second(placing.placed, (placing.seconds * 1e6) as u64);
    progress.done(&format!("{} committed one by one", placing.placed));
    let before = reads::status(&cell.connect().await?).await?;
    (measured.log_entries, measured.entries) = (before.seq.0, before.seq.0 - before.checkpoint.0);
    measured.log_bytes = bytes_in(&cell.dir().join("server").join("log"));
    let progress = Progress::new("killing the server", 1);
    let killed = Instant::now();
    cell.processes.restart(SERVER).map_err(LocalCellError::from)?;
    let after = answers(cell, &progress).await?;
    measured.restart_seconds = killed.elapsed().as_secs_f64();
    progress.done("it answers again");
    tokio::time::sleep(SCALE_SETTLE).await;
    measured.server_bytes_restarted = resident(cell, SERVER);
    let machines = measured.server_bytes_machines as f64;
    measured.server_bytes_per_task_restarted =
        (measured.server_bytes_restarted as f64 - machines).max(0.0) / f64::from(sizes.tasks);
    measured.recovery = recovery(cell);
    measured.loading_seconds = seconds_after(&measured.recovery, "loaded in ");
    measured.replaying_seconds = seconds_after(&measured.recovery, "replayed in ");
    let found = format!("{} before, {} after", before.seq, after.seq);
    checks.note(PART, "nothing acknowledged is lost", after.seq >= before.seq, found);
    verify(cell, tasks.taken() + probes.taken(), checks).await
}

/// Every task must still be where it was, and no invariant may be violated.
async fn verify(cell: &LocalCell, placed: u64, checks: &mut Checks) -> Result<(), Failure> {
    let progress = Progress::new("audit", 1);
    let client = cell.connect().await?;
    let counts = reads::cell(&client).await?.tasks;
    let found = u64::from(counts.running) + u64::from(counts.placed);
    checks.note(PART, "every task is still placed", found == placed, format!("{found} of {placed}"));
    checks.none(PART, "violated invariants after the restart", &reads::audit(&client).await?);
    progress.done("done");
    Ok(())
}

/// Waits until the server answers, however long it takes to recover.
async fn answers(cell: &mut LocalCell, progress: &Progress) -> Result<ServerStatus, Failure> {
    loop {
        match cell.wait_server().await {
            Err(LocalCellError::Late { .. }) => wait(cell, progress, "the server to recover").await?,
            answer => return Ok(answer?),
        }
    }
}

/// What the server's log says of its last recovery.
fn recovery(cell: &LocalCell) -> String {
    const LABEL: &str = "report=";
    let tail = cell.processes.log_tail(SERVER);
    let line = tail.lines().rfind(|line| line.contains(LABEL));
    line.and_then(|line| line.split_once(LABEL)).map_or_else(String::new, |(_, report)| report.to_owned())
}

/// The seconds that a report gives after a label; 0 when it doesn't.
fn seconds_after(report: &str, label: &str) -> f64 {
    let number = report.split_once(label).and_then(|(_, rest)| rest.split_once(" s"));
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or(0.0)
}

/// Waits a little, unless a process has died or it has taken too long already.
pub(super) async fn wait(cell: &mut LocalCell, progress: &Progress, what: &str) -> Result<(), Failure> {
    reads::all_alive(cell)?;
    if progress.elapsed() > SCALE_WAIT {
        let logs = cell.dir().join("log").display().to_string();
        return Err(DemoError::Late { what: what.to_owned(), seconds: SCALE_WAIT.as_secs(), logs }.into());
    }
    tokio::time::sleep(MONITOR_EVERY.min(Duration::from_millis(20))).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::seconds_after;

    #[test]
    fn a_servers_report_says_how_long_it_took() {
        let report = "checkpoint at seq 7 loaded in 0.25 s, 12 entries replayed in 1.50 s, now at seq 19";
        assert_eq!(seconds_after(report, "loaded in "), 0.25);
        assert_eq!(seconds_after(report, "replayed in "), 1.5);
        assert_eq!(seconds_after("new data directory", "loaded in "), 0.0);
    }
}
