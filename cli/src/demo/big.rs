//! The second part of the demo: a cell of simulated machines, filled by competing schedulers with the load of Google's
//! cell C, recorded or synthetic, and then given the arrivals of the next 83 minutes in fast motion.

use std::time::Instant;

use bench::figures::{Allocation, allocations};
use bench::workload::Arrival;
use bench::{Division, Figures, Workload};
use cell_state::Cell;
use cell_state::job::{Counts, JobSpec};
use cell_state::machine::MachineState;
use serde::Serialize;
use study::{Witness, live};
use transport::Request;
use transport::view::{Query, SchedulerView};
use transport_quic::Client;

use super::DemoError;
use super::audits;
use super::checks::Checks;
use super::progress::Progress;
use super::reads;
use super::shapes;
use super::unplaced::{self, Unplaced};
use crate::bounds::{DEMO_SETTLED_AFTER, DEMO_WAIT, MONITOR_EVERY};
use crate::failure::Failure;
use crate::local_cell::LocalCell;

pub(super) const PART: &str = "big";

/// How far the cell may be promised beyond capacity, in percent: with these everything that ran in Google's cell fits.
pub(super) const OVERCOMMIT: [(&str, u64); 2] = [("cpu", 150), ("memory", 125)];

/// What the cell is given to do.
pub(super) struct Load<'a> {
    /// What it is called.
    pub(super) title: String,
    /// Machines, jobs, arrivals; at recorded speed.
    pub(super) workload: Workload,
    /// How many times faster than recorded time runs.
    pub(super) speed: u64,
    /// The schedulers it was made for.
    pub(super) division: &'a Division,
}

/// What the second part showed.
#[derive(Serialize)]
pub(super) struct Big {
    /// Where the load is from.
    pub(super) load: String,
    /// Machines.
    pub(super) machines: u32,
    /// Entries of the log at the end.
    pub(super) entries: u64,
    /// The two phases: what was there from the start, what arrived.
    pub(super) phases: Vec<Phase>,
    /// The schedulers at the end.
    pub(super) schedulers: Vec<SchedulerLine>,
    /// What was promised at the end.
    pub(super) allocation: Vec<Allocation>,
    /// Tasks by state at the end.
    pub(super) running: u32,
    /// Completed or failed.
    pub(super) ended: u32,
    /// Tasks that had no place at the end, and why.
    pub(super) unplaced: Vec<Unplaced>,
}

/// One phase.
#[derive(Serialize)]
pub(super) struct Phase {
    /// Its name.
    pub(super) name: String,
    /// Jobs submitted.
    pub(super) jobs: u64,
    /// Their tasks.
    pub(super) tasks: u64,
    /// From the first submission until everything was decided.
    pub(super) seconds: f64,
    /// Tasks without a place at its end.
    pub(super) pending: u32,
    /// The most that a job was submitted late.
    pub(super) late_max_seconds: f64,
    /// What happened.
    pub(super) figures: Figures,
    /// Placements per second, from the first to the last.
    pub(super) placements_per_second: f64,
}

/// One scheduler at the end.
#[derive(Serialize)]
pub(super) struct SchedulerLine {
    /// Its name.
    pub(super) name: String,
    /// Its policy.
    pub(super) policy: String,
    /// Transactions judged.
    pub(super) transactions: u64,
    /// Ops that took effect.
    pub(super) accepted: u64,
    /// Ops lost.
    pub(super) conflicts: u64,
    /// Lost by judged ops.
    pub(super) conflict_fraction: f64,
    /// Deciding by living.
    pub(super) busyness: f64,
    /// Resident memory.
    pub(super) memory_bytes: u64,
}

/// Runs the second part in a cell that has not been started yet.
///
/// # Errors
/// A part of the cell can't be started or reached, or nothing moves any more. What is wrong with the outcome are failed
/// checks.
pub(super) async fn run(
    cell: &mut LocalCell,
    load: Load<'_>,
    seed: u64,
    checks: &mut Checks,
) -> Result<Big, Failure> {
    let workload = load.workload.compressed(load.speed);
    let machines = workload.machines.len() as u32;
    let client = start(cell, &workload, load.division, seed).await?;
    let witness = Witness::start(&client).await?;
    let initial = initial_phase(cell, &client, &witness, workload.initial).await?;
    let arrivals = arrivals_phase(cell, &client, &witness, workload.arrivals, load.speed).await?;
    let schedulers = audits::all(&client, &witness, checks).await?;
    let view = reads::cell(&client).await?;
    let status = reads::status(&client).await?;
    let phases = vec![initial, arrivals];
    let unplaced = witness.look(unplaced::all);
    let forgotten: Vec<String> = unplaced.iter().filter(|u| u.forgotten).map(|u| u.example.clone()).collect();
    checks.none(PART, "pending tasks that would fit", &forgotten);
    note_losses(&phases, &witness, status.divergences, checks);
    Ok(Big {
        load: load.title,
        machines,
        entries: witness.at().0,
        phases,
        schedulers: schedulers.iter().map(SchedulerLine::of).collect(),
        allocation: allocations(&status.config.schema, &view.capacity, &view.limit, &view.used_by_band),
        running: view.tasks.running,
        ended: view.tasks.completed + view.tasks.failed,
        unplaced,
    })
}

/// Starts everything and waits until every machine and every scheduler is there.
async fn start(
    cell: &mut LocalCell,
    workload: &Workload,
    division: &Division,
    seed: u64,
) -> Result<Client, Failure> {
    let progress = Progress::new("simulated machines", workload.machines.len() as u64);
    let factors = OVERCOMMIT.map(|(name, percent)| format!("{name}={percent}"));
    let extra: Vec<&str> = factors.iter().flat_map(|f| ["--overcommit", f.as_str()]).collect();
    cell.start_server(([127, 0, 0, 1], 0).into(), &extra).await?;
    let seed = seed.to_string();
    for (number, name) in division.batch().enumerate() {
        // Schedulers with one seed would try the same machines in the same order.
        cell.start_scheduler(name, "batch", name, &["--seed", &format!("{seed}{number}")])?;
    }
    cell.start_scheduler(division.service(), "service", division.service(), &["--seed", &seed])?;
    shapes::start_agent(cell, &workload.machines)?;
    let client = cell.connect().await?;
    loop {
        let reply = client.call(Request::Read { at: None, query: Query::Cell }).await?;
        let ready = reads::machines(&reply, MachineState::Ready);
        let schedulers = reads::schedulers(&client).await?.len();
        progress.at(ready.into(), format!("{schedulers} schedulers"));
        if ready as usize >= workload.machines.len() && schedulers > division.batch().count() {
            progress.done(&format!("{ready} machines, {schedulers} schedulers, connected by QUIC"));
            return Ok(client);
        }
        wait(cell, &progress, "the machines to register").await?;
    }
}

async fn wait(cell: &mut LocalCell, progress: &Progress, what: &str) -> Result<(), Failure> {
    reads::all_alive(cell)?;
    if progress.elapsed() > DEMO_WAIT {
        let logs = cell.dir().join("log").display().to_string();
        return Err(DemoError::Late { what: what.to_owned(), seconds: DEMO_WAIT.as_secs(), logs }.into());
    }
    tokio::time::sleep(MONITOR_EVERY).await;
    Ok(())
}

async fn initial_phase(
    cell: &mut LocalCell,
    client: &Client,
    witness: &Witness,
    jobs: Vec<JobSpec>,
) -> Result<Phase, Failure> {
    witness.take_figures();
    let started = Instant::now();
    let progress = Progress::new("tasks there from the start", tasks(&jobs));
    let expected = jobs.len();
    let submitting = async { Ok(live::submit(client, jobs).await.map_err(DemoError::from)?) };
    let deciding = decided(cell, witness, &progress, expected, 0);
    let (submitted, counts) = tokio::try_join!(submitting, deciding)?;
    let phase = Phase::of("at the start".to_owned(), submitted, started, counts, witness);
    progress.done(&phase.summary());
    Ok(phase)
}

async fn arrivals_phase(
    cell: &mut LocalCell,
    client: &Client,
    witness: &Witness,
    arrivals: Vec<Arrival>,
    speed: u64,
) -> Result<Phase, Failure> {
    let started = Instant::now();
    let before = witness.look(counts_of);
    let known = witness.look(|cell| cell.jobs().count());
    let total = arrivals.iter().map(|a| bench::workload::tasks(&a.job)).sum();
    let progress = Progress::new("83 minutes of arrivals", total);
    let expected = known + arrivals.len();
    let submitting = async { Ok(live::play(client, arrivals).await.map_err(DemoError::from)?) };
    let done_before = u64::from(before.total() - before.pending);
    let deciding = decided(cell, witness, &progress, expected, done_before);
    let (submitted, counts) = tokio::try_join!(submitting, deciding)?;
    let phase = Phase::of(format!("83 minutes, ×{speed}"), submitted, started, counts, witness);
    progress.done(&phase.summary());
    Ok(phase)
}

fn tasks(jobs: &[JobSpec]) -> u64 {
    jobs.iter().map(bench::workload::tasks).sum()
}

/// Waits until that many jobs are there and everything is decided: every task has a place and was started, or nothing
/// has been placed for a while. `done_before` tasks had a place when the phase began.
async fn decided(
    cell: &mut LocalCell,
    witness: &Witness,
    progress: &Progress,
    jobs: usize,
    done_before: u64,
) -> Result<Counts, Failure> {
    let (mut placed_last, mut changed) = (0, Instant::now());
    let started = Instant::now();
    loop {
        if let Some(failure) = witness.failure() {
            return Err(DemoError::Witness(failure).into());
        }
        let (known, counts) = witness.look(|cell| (cell.jobs().count(), counts_of(cell)));
        let [placed, ..] = witness.progress();
        if placed != placed_last {
            (placed_last, changed) = (placed, Instant::now());
        }
        let done = u64::from(counts.total() - counts.pending).saturating_sub(done_before);
        let rate = placed as f64 / started.elapsed().as_secs_f64().max(0.1);
        progress.at(done, format!("{} pending, {rate:.0} placements/s", counts.pending));
        let quiet = changed.elapsed() > DEMO_SETTLED_AFTER;
        if known >= jobs && counts.placed == 0 && (counts.pending == 0 || quiet) {
            return Ok(counts);
        }
        wait(cell, progress, "the tasks to be placed").await?;
    }
}

/// Tasks by state.
pub(super) fn counts_of(cell: &Cell) -> Counts {
    cell.jobs().fold(Counts::default(), |sum, job| sum.plus(&job.counts()))
}

fn note_losses(phases: &[Phase], witness: &Witness, divergences: u64, checks: &mut Checks) {
    let seen: u64 = phases.iter().map(|p| p.figures.divergences).sum();
    let found = format!("{} by the server's count, {seen} in the log", divergences);
    checks.note(PART, "plans wrong when made: none", divergences == 0 && seen == 0, found);
    let snapshots = witness.snapshots();
    let found =
        if snapshots == 0 { "none".to_owned() } else { format!("{snapshots} snapshots instead of entries") };
    checks.note(PART, "entries this process missed: none", snapshots == 0, found);
}

impl Phase {
    fn of(
        name: String,
        submitted: live::Submitted,
        started: Instant,
        counts: Counts,
        witness: &Witness,
    ) -> Phase {
        let figures = witness.take_figures();
        Phase {
            name,
            jobs: submitted.jobs,
            tasks: submitted.tasks,
            seconds: started.elapsed().as_secs_f64(),
            pending: counts.pending,
            late_max_seconds: submitted.late_max.as_secs_f64(),
            placements_per_second: figures.placements_per_second(),
            figures,
        }
    }

    fn summary(&self) -> String {
        let figures = &self.figures;
        format!("{} placements, {} conflicts, {} pending", figures.placed, figures.conflicts, self.pending)
    }
}

impl SchedulerLine {
    fn of(view: &SchedulerView) -> SchedulerLine {
        let telemetry = view.telemetry.clone().unwrap_or_default();
        SchedulerLine {
            name: view.name.clone(),
            policy: telemetry.policy,
            transactions: view.transactions,
            accepted: view.accepted,
            conflicts: view.conflicts,
            conflict_fraction: bench::figures::conflict_fraction(view.accepted, view.conflicts),
            busyness: bench::figures::busyness(telemetry.busy_us, telemetry.uptime_us),
            memory_bytes: telemetry.memory_bytes,
        }
    }
}
