//! One point of a study on a real cell: a server, scheduler processes that take as long for a decision as the study says,
//! and an agent that plays the machines.

use std::path::Path;
use std::time::Instant;

use bench::figures::{SchedulerFigures, fraction};
use bench::{Division, Figures, Workload, synthetic};
use cell_state::machine::MachineState;
use study::experiment::{Point, Ran};
use study::{Witness, live};
use transport::view::{Query, SchedulerView};
use transport::{Reply, Request};
use transport_quic::Client;

use crate::bounds::{DEMO_WAIT, MONITOR_EVERY, STUDY_LIVE_FILL_WAIT, STUDY_LIVE_SETTLED_AFTER};
use crate::demo::{DemoError, reads, shapes};
use crate::failure::Failure;
use crate::local_cell::LocalCell;

/// What was measured of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    schedulers: SchedulerFigures,
    busy_us: u64,
    uptime_us: u64,
}

/// What a real cell did.
#[derive(Clone, Debug, Default)]
pub(super) struct Lived {
    batch: Measured,
    service: Measured,
}

impl Lived {
    /// The metrics it has, defined as those of virtual time.
    pub(super) const METRICS: [&str; 3] = ["busy", "conflict_fraction", "conflicts_per_attempt"];

    /// As the results of a study.
    pub(super) fn ran(&self) -> Ran {
        let mut ran = Ran::default();
        for (class, of) in [("batch", &self.batch), ("service", &self.service)] {
            let SchedulerFigures { transactions, conflicted, .. } = of.schedulers;
            ran.measured(class, "busy", fraction(of.busy_us, of.uptime_us));
            ran.measured(class, "conflict_fraction", fraction(conflicted, transactions - conflicted));
            ran.measured(class, "conflicts_per_attempt", fraction(conflicted, transactions));
        }
        ran
    }
}

/// Runs a point in so many seconds.
///
/// # Errors
/// A part of the cell can't be started or reached, or a job is refused.
pub(super) async fn run(point: &Point, seconds: u64, out: &Path) -> Result<Lived, Failure> {
    let speed = ((point.hours * 3_600.0 / seconds as f64).round() as u64).max(1);
    let division = Division::new("service", "batch", point.batch_schedulers as usize);
    let mut workload = synthetic::workload(0, division.clone()).reduced(point.percent).compressed(speed);
    for arrival in &mut workload.arrivals {
        arrival.at_us = (arrival.at_us as f64 / point.batch_rate) as u64;
    }
    workload.arrivals.retain(|arrival| arrival.at_us < seconds * 1_000_000);
    let dir = tempfile::Builder::new().prefix("live-").tempdir_in(out).map_err(|e| Failure::write(out, e))?;
    let mut cell = LocalCell::create(std::env::current_exe()?, dir.path(), "study")?;
    let lived = in_cell(&mut cell, point, workload, &division, speed).await;
    cell.processes.stop_all().await;
    lived
}

async fn in_cell(
    cell: &mut LocalCell,
    point: &Point,
    workload: Workload,
    division: &Division,
    speed: u64,
) -> Result<Lived, Failure> {
    let client = start(cell, point, &workload, division, speed).await?;
    let witness = Witness::start(&client).await?;
    live::submit(&client, workload.initial).await.map_err(DemoError::from)?;
    filled(cell, &witness).await?;
    witness.take_figures();
    let before = reads::schedulers(&client).await?;
    live::play(&client, workload.arrivals).await.map_err(DemoError::from)?;
    // What was proposed last is judged, and schedulers tell how they fared, within this.
    tokio::time::sleep(STUDY_LIVE_SETTLED_AFTER).await;
    let after = reads::schedulers(&client).await?;
    Ok(measured(&witness.take_figures(), &before, &after, division))
}

async fn start(
    cell: &mut LocalCell,
    point: &Point,
    workload: &Workload,
    division: &Division,
    speed: u64,
) -> Result<Client, Failure> {
    let promise = point.promise_percent;
    let factors = [format!("cpu={promise}"), format!("memory={promise}")];
    let extra: Vec<&str> = factors.iter().flat_map(|f| ["--overcommit", f.as_str()]).collect();
    cell.start_server(([127, 0, 0, 1], 0).into(), &extra).await?;
    let micros = |s: f64| format!("{}us", (s * 1e6 / speed as f64).round() as u64);
    let detection = if point.detection == "version" { "version" } else { "fit" };
    let atomicity = if point.atomicity == "incremental" { "incremental" } else { "all-or-nothing" };
    let terms = ["--detection", detection, "--atomicity", atomicity, "--steady"];
    for (number, name) in division.batch().enumerate() {
        let (job, task, seed) = (micros(point.batch_job_s), micros(point.batch_task_s), number.to_string());
        let think = ["--think-job", &job, "--think-task", &task, "--seed", &seed, "--in-flight", "1"];
        cell.start_scheduler(name, "batch", name, &[&terms[..], &think[..]].concat())?;
    }
    let (job, task) = (micros(point.service_job_s), micros(point.service_task_s));
    let think = ["--think-job", &job, "--think-task", &task, "--seed", "99", "--in-flight", "1"];
    cell.start_scheduler(
        division.service(),
        "batch",
        division.service(),
        &[&terms[..], &think[..]].concat(),
    )?;
    shapes::start_agent(cell, &workload.machines)?;
    let client = cell.connect().await?;
    let (began, wanted) = (Instant::now(), workload.machines.len());
    loop {
        let reply = client.call(Request::Read { at: None, query: Query::Cell }).await?;
        let ready = reads::machines(&reply, MachineState::Ready) as usize;
        if matches!(reply, Reply::View(_))
            && ready >= wanted
            && reads::schedulers(&client).await?.len() > division.batch().count()
        {
            return Ok(client);
        }
        pause(cell, began, "the machines to register").await?;
    }
}

/// Waits until what is there from the start has its place, or nothing more gets one.
async fn filled(cell: &mut LocalCell, witness: &Witness) -> Result<(), Failure> {
    let (began, mut last, mut changed) = (Instant::now(), 0, Instant::now());
    loop {
        let pending: u64 = witness.look(|cell| cell.jobs().map(|job| u64::from(job.counts().pending)).sum());
        let [placed, ..] = witness.progress();
        if placed != last {
            (last, changed) = (placed, Instant::now());
        }
        let quiet = changed.elapsed() > STUDY_LIVE_SETTLED_AFTER && placed > 0;
        if (pending == 0 && placed > 0) || quiet || began.elapsed() > STUDY_LIVE_FILL_WAIT {
            return Ok(());
        }
        pause(cell, began, "the first tasks to be placed").await?;
    }
}

async fn pause(cell: &mut LocalCell, began: Instant, what: &str) -> Result<(), Failure> {
    reads::all_alive(cell)?;
    if began.elapsed() > DEMO_WAIT {
        let logs = cell.dir().join("log").display().to_string();
        return Err(DemoError::Late { what: what.to_owned(), seconds: DEMO_WAIT.as_secs(), logs }.into());
    }
    tokio::time::sleep(MONITOR_EVERY).await;
    Ok(())
}

fn measured(
    figures: &Figures,
    before: &[SchedulerView],
    after: &[SchedulerView],
    division: &Division,
) -> Lived {
    let mut lived = Lived::default();
    for view in after {
        let of = if view.name == division.service() { &mut lived.service } else { &mut lived.batch };
        let told = |views: &[SchedulerView]| {
            let telemetry =
                views.iter().find(|v| v.session == view.session).and_then(|v| v.telemetry.clone());
            telemetry.map_or((0, 0), |t| (t.busy_us, t.uptime_us))
        };
        let ((busy_from, up_from), (busy_to, up_to)) = (told(before), told(after));
        of.busy_us += busy_to.saturating_sub(busy_from);
        of.uptime_us += up_to.saturating_sub(up_from);
        if let Some(found) = figures.schedulers.get(&view.name) {
            of.schedulers.transactions += found.transactions;
            of.schedulers.conflicted += found.conflicted;
        }
    }
    lived
}
