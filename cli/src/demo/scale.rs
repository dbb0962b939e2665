//! `ohm scale`: how much memory a large cell takes, and how long a first copy and a restart of its server take.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench::figures::per_second;
use bench::workload::{filler, tasks};
use cell_state::job::JobSpec;
use cell_state::machine::MachineState;
use cell_state::record::{self, Kind};
use cell_state::{Resources, Seq};
use serde::Serialize;
use study::live;
use transport::message::ServerStatus;
use transport::view::Query;
use transport::{Request, Scope};
use transport_quic::Client;

use super::checks::Checks;
use super::progress::Progress;
use super::{DemoError, Scratch, reads, until_interrupted};
use crate::bounds::{MONITOR_EVERY, POLL_EVERY, SCALE_WAIT};
use crate::copy::copy;
use crate::failure::{Ended, Failure};
use crate::local_cell::{LocalCell, SERVER};
use crate::show::table::facts;
use crate::show::{print, text};
use crate::typed::connect::Format;
use crate::typed::demo::ScaleArgs;

const PART: &str = "scale";

/// The one scheduler, and what the machines' names begin with.
const SCHEDULER: &str = "batch";
const PREFIX: &str = "sim-";

/// What each machine has.
const CORES: u64 = 32;
const MEMORY_GIB: u64 = 128;

/// How full the machines are made, in percent.
const FILL: u64 = 80;

/// What was asked for, checked.
pub(crate) struct Scale {
    machines: u32,
    tasks: u32,
    tasks_per_job: u32,
    keep: Option<PathBuf>,
    format: Format,
}

impl Scale {
    /// Checks what was typed.
    ///
    /// # Errors
    /// More tasks than the machines could hold at the smallest size.
    pub(crate) fn check(args: ScaleArgs) -> Result<Scale, Failure> {
        let each = u64::from(args.tasks).div_ceil(u64::from(args.machines));
        if each > CORES * 10 * FILL {
            let problem = format!("{each} per machine; at most {} fit", CORES * 10 * FILL);
            return Err(Failure::Input(format!("--tasks: {problem}")));
        }
        let (machines, tasks, tasks_per_job) = (args.machines, args.tasks, args.tasks_per_job);
        Ok(Scale { machines, tasks, tasks_per_job, keep: args.keep, format: args.output.output })
    }

    /// Equal tasks that fill every machine alike.
    fn jobs(&self) -> Vec<JobSpec> {
        let each = u64::from(self.tasks).div_ceil(u64::from(self.machines));
        let part = |whole: u64| whole * FILL / 100 / each;
        let size = Resources::cpu_memory(part(CORES * 1_000), part(MEMORY_GIB << 30));
        filler("filler", SCHEDULER, self.tasks, self.tasks_per_job, size)
    }
}

/// What was measured.
#[derive(Default, Serialize)]
struct Measured {
    machines: u32,
    tasks: u64,
    jobs: u64,
    placing_seconds: f64,
    placements_per_second: f64,
    server_bytes: u64,
    server_bytes_empty: u64,
    server_bytes_per_task: u64,
    scheduler_bytes: u64,
    scheduler_bytes_empty: u64,
    scheduler_bytes_per_task: u64,
    agent_bytes: u64,
    snapshot_bytes: u64,
    snapshot_seconds: f64,
    copy_seconds: f64,
    checkpoint_wait_seconds: f64,
    checkpoint_bytes: u64,
    log_bytes: u64,
    entries: u64,
    entries_after_checkpoint: u64,
    restart_seconds: f64,
}

/// Fills a cell and measures it.
///
/// # Errors
/// A part of the cell could not be started or reached, or nothing moves any more.
pub(crate) async fn run(scale: Scale) -> Result<Ended, Failure> {
    let mut scratch = Scratch::new(scale.keep.as_deref(), "ohm-scale-")?;
    let mut checks = Checks::default();
    let mut cell = LocalCell::create(std::env::current_exe()?, &scratch.part("scale")?, "scale")?;
    let measured = until_interrupted(measure(&mut cell, &scale, &mut checks)).await;
    cell.processes.stop_all().await;
    match &measured {
        Ok(_) | Err(Failure::Demo(DemoError::Interrupted)) => {}
        Err(_) => scratch.keep(),
    }
    let measured = measured?;
    if scale.format == Format::Json {
        let whole = serde_json::json!({"measured": measured, "checks": checks.json()});
        print(&serde_json::to_string_pretty(&whole).expect("measurements serialize"))?;
    } else {
        print(&format!("{}\n\n{}", table(&measured), checks.listing().table(false, crate::show::colours())))?;
    }
    Ok(if checks.all_passed() { Ended::Well } else { Ended::Unsound })
}

async fn measure(cell: &mut LocalCell, scale: &Scale, checks: &mut Checks) -> Result<Measured, Failure> {
    let mut measured = Measured { machines: scale.machines, ..Measured::default() };
    let client = start(cell, scale).await?;
    measured.server_bytes_empty = resident(cell, SERVER);
    measured.scheduler_bytes_empty = resident(cell, &scheduler_process());
    place(cell, &client, scale, &mut measured).await?;
    measured.server_bytes = resident(cell, SERVER);
    measured.scheduler_bytes = resident(cell, &scheduler_process());
    measured.agent_bytes = resident(cell, &format!("agent-{}", PREFIX.trim_end_matches('-')));
    let per_task = |after: u64, before: u64| after.saturating_sub(before) / measured.tasks.max(1);
    measured.server_bytes_per_task = per_task(measured.server_bytes, measured.server_bytes_empty);
    measured.scheduler_bytes_per_task = per_task(measured.scheduler_bytes, measured.scheduler_bytes_empty);
    first_copy(cell, &mut measured).await?;
    checkpoint(cell, &client, &mut measured).await?;
    restart(cell, &client, &mut measured, checks).await?;
    Ok(measured)
}

fn scheduler_process() -> String {
    format!("scheduler-{SCHEDULER}")
}

async fn start(cell: &mut LocalCell, scale: &Scale) -> Result<Client, Failure> {
    let progress = Progress::new("simulated machines", scale.machines.into());
    cell.start_server(([127, 0, 0, 1], 0).into(), &[]).await?;
    cell.start_scheduler(SCHEDULER, "batch", SCHEDULER, &["--seed", "1"])?;
    let (cores, memory) = (CORES.to_string(), format!("{MEMORY_GIB} GiB"));
    cell.start_simulated_agent(PREFIX, scale.machines, &["--cpu", &cores, "--memory", &memory])?;
    let client = cell.connect().await?;
    loop {
        let reply = client.call(Request::Read { at: None, query: Query::Cell }).await?;
        let ready = reads::machines(&reply, MachineState::Ready);
        progress.at(ready.into(), String::new());
        if ready >= scale.machines && !reads::schedulers(&client).await?.is_empty() {
            progress.done(&format!("{ready} machines"));
            return Ok(client);
        }
        wait(cell, &progress, "the machines to register").await?;
    }
}

async fn wait(cell: &mut LocalCell, progress: &Progress, what: &str) -> Result<(), Failure> {
    reads::all_alive(cell)?;
    if progress.elapsed() > SCALE_WAIT {
        let logs = cell.dir().join("log").display().to_string();
        return Err(DemoError::Late { what: what.to_owned(), seconds: SCALE_WAIT.as_secs(), logs }.into());
    }
    tokio::time::sleep(MONITOR_EVERY).await;
    Ok(())
}

/// Submits the tasks and waits until all of them run.
async fn place(
    cell: &mut LocalCell,
    client: &Client,
    scale: &Scale,
    measured: &mut Measured,
) -> Result<(), Failure> {
    let jobs = scale.jobs();
    (measured.tasks, measured.jobs) = (jobs.iter().map(tasks).sum(), jobs.len() as u64);
    let progress = Progress::new("tasks", measured.tasks);
    let submitting =
        async { live::submit(client, jobs).await.map_err(|e| Failure::from(DemoError::from(e))) };
    let running = async {
        let mut placed_after = None;
        loop {
            let counts = reads::cell(client).await?.tasks;
            let placed = counts.placed + counts.running;
            if u64::from(placed) == measured.tasks {
                placed_after.get_or_insert(progress.elapsed());
            }
            progress.at(placed.into(), format!("{} running", counts.running));
            if u64::from(counts.running) == measured.tasks {
                return Ok(placed_after.unwrap_or_else(|| progress.elapsed()));
            }
            wait(cell, &progress, "the tasks to run").await?;
        }
    };
    let (_, took) = tokio::try_join!(submitting, running)?;
    measured.placing_seconds = took.as_secs_f64();
    measured.placements_per_second = per_second(measured.tasks, took.as_micros() as u64);
    progress.done(&format!("all placed after {:.1} s", took.as_secs_f64()));
    Ok(())
}

/// Takes two first copies: one that is only received, one that is made into a cell and compared.
async fn first_copy(cell: &LocalCell, measured: &mut Measured) -> Result<(), Failure> {
    let client = cell.connect().await?;
    let started = Instant::now();
    let mut subscription = client.subscribe(Scope::Full, None).await?;
    'copy: while let Some(bytes) = subscription.next().await? {
        let mut rest = &bytes[..];
        while let Some((record, length)) = record::read(rest).map_err(crate::copy::CopyError::from)? {
            measured.snapshot_bytes += length as u64;
            rest = &rest[length..];
            if record.kind == Kind::SnapshotEnd {
                break 'copy;
            }
        }
    }
    measured.snapshot_seconds = started.elapsed().as_secs_f64();
    drop(subscription);
    let started = Instant::now();
    copy(&client).await?;
    measured.copy_seconds = started.elapsed().as_secs_f64();
    Ok(())
}

/// Waits until a checkpoint holds everything, and looks at how large the data is.
async fn checkpoint(cell: &mut LocalCell, client: &Client, measured: &mut Measured) -> Result<(), Failure> {
    let filled = reads::status(client).await?.seq;
    let progress = Progress::new("checkpoint", 1);
    let status = loop {
        let status = reads::status(client).await?;
        if status.checkpoint >= filled {
            break status;
        }
        wait(cell, &progress, "a checkpoint").await?;
    };
    measured.checkpoint_wait_seconds = progress.elapsed().as_secs_f64();
    measured.entries = status.seq.0;
    measured.entries_after_checkpoint = status.seq.0 - status.checkpoint.0;
    let data = cell.dir().join("server");
    measured.log_bytes = bytes_in(&data.join("log"));
    measured.checkpoint_bytes = checkpoints(&data);
    progress.done(&format!("at seq {}", status.checkpoint));
    Ok(())
}

/// Kills the server and starts it again: it must come back with everything, and its agents and schedulers to it.
async fn restart(
    cell: &mut LocalCell,
    client: &Client,
    measured: &mut Measured,
    checks: &mut Checks,
) -> Result<(), Failure> {
    let before = reads::status(client).await?;
    let progress = Progress::new("killing the server", 1);
    cell.processes.kill(SERVER).map_err(crate::local_cell::LocalCellError::from)?;
    cell.processes.restart(SERVER).map_err(crate::local_cell::LocalCellError::from)?;
    let after = cell.wait_server().await?;
    measured.restart_seconds = progress.elapsed().as_secs_f64();
    progress.done("it answers again");
    note_restart(before.seq, &after, checks);
    let client = cell.connect().await?;
    let counts = reads::cell(&client).await?.tasks;
    let kept = u64::from(counts.running) == measured.tasks;
    checks.note(
        PART,
        "every task still runs after the restart",
        kept,
        format!("{} of {}", counts.running, measured.tasks),
    );
    checks.none(PART, "violated invariants after the restart", &reads::audit(&client).await?);
    let back = scheduler_back(&client).await?;
    checks.note(PART, "the scheduler came back", back, if back { "yes" } else { "not within 10 s" });
    Ok(())
}

fn note_restart(before: Seq, after: &ServerStatus, checks: &mut Checks) {
    let found = format!("{before} before, {} after", after.seq);
    checks.note(PART, "nothing acknowledged is lost", after.seq >= before, found);
}

async fn scheduler_back(client: &Client) -> Result<bool, Failure> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        if !reads::schedulers(client).await?.is_empty() {
            return Ok(true);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(false)
}

/// Resident memory of a process of the cell, as the system says.
fn resident(cell: &mut LocalCell, process: &str) -> u64 {
    let Some(pid) = cell.processes.pid(process) else { return 0 };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|kb| kb.trim().parse::<u64>().ok()).map_or(0, |kb| kb << 10)
}

/// Bytes of the checkpoints in a server's data: it keeps two, the older one until the newer is verified.
fn checkpoints(data: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(data) else { return 0 };
    let is_one = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("checkpoint");
    entries.flatten().filter(is_one).map(|entry| bytes_in(&entry.path())).sum()
}

/// Bytes that the files below a directory take on the disk.
fn bytes_in(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn table(m: &Measured) -> String {
    let memory = |bytes: u64, empty: u64, per_task: u64| {
        format!("{} ({} before the tasks, {per_task} bytes per task)", text::bytes(bytes), text::bytes(empty))
    };
    let seconds = |s: f64| format!("{s:.2} s");
    facts(&[
        ("cell", format!("{} machines, {} tasks in {} jobs", m.machines, m.tasks, m.jobs)),
        ("placing", format!("{}, {:.0} tasks/s", seconds(m.placing_seconds), m.placements_per_second)),
        ("server memory", memory(m.server_bytes, m.server_bytes_empty, m.server_bytes_per_task)),
        ("scheduler copy", memory(m.scheduler_bytes, m.scheduler_bytes_empty, m.scheduler_bytes_per_task)),
        ("agent memory", text::bytes(m.agent_bytes)),
        (
            "snapshot",
            format!("{} received in {}", text::bytes(m.snapshot_bytes), seconds(m.snapshot_seconds)),
        ),
        (
            "first full copy",
            format!("{} until it is restored and its hash compared", seconds(m.copy_seconds)),
        ),
        (
            "checkpoint",
            format!(
                "{} on disk, {} after the last task ran",
                text::bytes(m.checkpoint_bytes),
                seconds(m.checkpoint_wait_seconds)
            ),
        ),
        ("log", format!("{} on disk, {} entries", text::bytes(m.log_bytes), m.entries)),
        (
            "restart",
            format!(
                "{} from kill -9 to the first answer ({} entries replayed)",
                seconds(m.restart_seconds),
                m.entries_after_checkpoint
            ),
        ),
    ])
}
