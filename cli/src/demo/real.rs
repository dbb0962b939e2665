//! The first part of the demo: a small cell whose three machines are this one, and a job of 200 real tasks. Each
//! checksums or compresses a real file; what it wrote is read back through the cell and compared with what this
//! process computes from the same file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cell_state::admit::Answer;
use cell_state::job::isolation::Isolation;
use cell_state::job::{Exec, GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::MachineState;
use cell_state::task::TaskState;
use cell_state::{Dimension, JobId, Resources, TaskId};
use flate2::read::GzDecoder;
use serde::Serialize;
use transport::bounds::LOG_BYTES_MAX;
use transport::message::{LogFrom, LogRequest, LogStream};
use transport::view::{JobView, Query};
use transport::{Reply, Request};
use transport_quic::Client;

use super::DemoError;
use super::checks::Checks;
use super::files;
use super::progress::Progress;
use super::reads;
use crate::bounds::{DEMO_FILE_BYTES, DEMO_FILES, DEMO_REAL_WAIT, MONITOR_EVERY};
use crate::failure::Failure;
use crate::local_cell::LocalCell;

const PART: &str = "real";

/// The job of real tasks, and the service that runs beside it.
const JOB: &str = "files";
const SERVICE: &str = "sleepers";

/// The machines, all of them this one.
const MACHINES: [&str; 3] = ["m1", "m2", "m3"];

/// What the first part showed.
#[derive(Serialize)]
pub(super) struct Real {
    /// Tasks whose result was compared.
    pub(super) tasks: usize,
    /// Of these, with the right result.
    pub(super) right: usize,
    /// Bytes of the files they read.
    pub(super) bytes: u64,
    /// What they ran, with how many did.
    pub(super) commands: BTreeMap<String, u32>,
    /// Where they ran.
    pub(super) machines: BTreeMap<String, u32>,
    /// From submission until every task had ended.
    pub(super) seconds: f64,
}

/// What a task does with its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Prints its SHA-256.
    Checksum,
    /// Writes it, compressed, to standard output.
    Compress,
}

/// Runs the first part in a cell that has not been started yet.
///
/// # Errors
/// A part of the cell can't be started or reached. Wrong results are failed checks.
pub(super) async fn run(cell: &mut LocalCell, seed: u64, checks: &mut Checks) -> Result<Real, Failure> {
    let client = start(cell, seed).await?;
    let files = files::choose(DEMO_FILES, seed);
    checks.note(PART, "200 readable files", files.len() == DEMO_FILES, format!("{} files", files.len()));
    let list = write_list(cell.dir(), &files)?;
    let job = job(&list, files.len());
    let commands = commands_of(&job);
    let id = submit(&client, job).await?;
    submit(&client, service()).await?;
    let started = Instant::now();
    wait_ended(cell, &client, files.len()).await?;
    let seconds = started.elapsed().as_secs_f64();
    let view = reads::job(&client, JOB).await?;
    let outcome = compare(&client, id, &files).await?;
    checks.none(PART, "wrong or missing results", &outcome.wrong);
    let sleeping = reads::job(&client, SERVICE).await?;
    let spread = machines_of(&sleeping, TaskState::Running);
    checks.note(PART, "a service on three machines", spread.len() == MACHINES.len(), format!("{spread:?}"));
    stop_service(cell, &client).await?;
    checks.none(PART, "violated invariants", &reads::audit(&client).await?);
    let machines = machines_of(&view, TaskState::Completed);
    let right = files.len() - outcome.wrong.len();
    Ok(Real { tasks: files.len(), right, bytes: outcome.bytes, commands, machines, seconds })
}

async fn start(cell: &mut LocalCell, seed: u64) -> Result<Client, Failure> {
    cell.start_server(([127, 0, 0, 1], 0).into(), &[]).await?;
    for policy in ["batch", "service"] {
        cell.start_scheduler(policy, policy, policy, &["--seed", &seed.to_string()])?;
    }
    for machine in MACHINES {
        let offer = ["--cpu", "4", "--memory", "4 GiB", "--disk", "4 GiB", "--attribute", "rack=r1"];
        cell.start_agent(machine, &offer)?;
    }
    let client = cell.connect().await?;
    let all_ready = |reply: &Reply| reads::machines(reply, MachineState::Ready) == MACHINES.len() as u32;
    let request = Request::Read { at: None, query: Query::Cell };
    cell.wait_for(&client, "the machines", request, all_ready).await?;
    Ok(client)
}

/// The list from which each task takes the line of its index.
fn write_list(dir: &Path, files: &[PathBuf]) -> Result<PathBuf, Failure> {
    let list = dir.join("files.txt");
    let lines: String = files.iter().map(|f| format!("{}\n", f.display())).collect();
    fs::write(&list, lines).map_err(|e| Failure::write(&list, e))?;
    Ok(list)
}

/// The first half of the files is checksummed, the second compressed.
fn job(list: &Path, count: usize) -> JobSpec {
    let half = count.div_ceil(2) as u32;
    let group = |work: Work, count: u32, first: u32| {
        let resources = Resources::cpu_memory(500, 64 << 20).with(Dimension::DISK, 16 << 20);
        group_of(word(work), count, resources, exec(work, list, first))
    };
    let groups = vec![group(Work::Checksum, half, 0), group(Work::Compress, count as u32 - half, half)];
    JobSpec {
        name: JOB.to_owned(),
        kind: JobKind::Batch,
        priority: 150,
        team: "demo".to_owned(),
        scheduler: "batch".to_owned(),
        groups,
    }
}

fn word(work: Work) -> &'static str {
    match work {
        Work::Checksum => "checksum",
        Work::Compress => "compress",
    }
}

fn group_of(name: &str, count: u32, resources: Resources, run: Exec) -> GroupSpec {
    GroupSpec {
        name: name.to_owned(),
        count,
        resources,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 1_000_000,
        run: Run::Exec(run),
    }
}

/// The command of a task: a tool of the system when it has it, else this program.
fn exec(work: Work, list: &Path, first: u32) -> Exec {
    let found = files::commands(&["sh", "sed", "sha256sum", "gzip"]);
    let (tool, act) = match work {
        Work::Checksum => ("sha256sum", "exec sha256sum -- \"$file\""),
        Work::Compress => ("gzip", "exec gzip -c -- \"$file\""),
    };
    let list = list.display().to_string();
    match found.get("sh").filter(|_| found.contains_key("sed") && found.contains_key(tool)) {
        Some(shell) => {
            let script = format!("file=$(sed -n \"$((OHM_INDEX + {first} + 1))p\" \"$0\") && {act}");
            command(shell, vec!["-c".to_owned(), script, list])
        }
        None => own_command(&[word(work), &list, &first.to_string()]),
    }
}

/// This program as a task.
fn own_command(args: &[&str]) -> Exec {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ohm"));
    let args = std::iter::once("demo-task").chain(args.iter().copied());
    command(&program, args.map(str::to_owned).collect())
}

fn command(program: &Path, args: Vec<String>) -> Exec {
    Exec {
        isolation: Box::new(Isolation::none()),
        log_bytes_max: 2 * DEMO_FILE_BYTES.end(),
        log_files_max: 2,
        ..Exec::new(program.display().to_string(), args)
    }
}

/// What the groups run, with how many tasks do.
fn commands_of(job: &JobSpec) -> BTreeMap<String, u32> {
    let named = job.groups.iter().map(|g| match &g.run {
        Run::Exec(exec) => {
            let tools =
                ["sha256sum", "gzip"].into_iter().find(|tool| exec.args.iter().any(|a| a.contains(tool)));
            (tools.map_or_else(|| format!("ohm {}", g.name), str::to_owned), g.count)
        }
        Run::Simulated { .. } => (g.name.clone(), g.count),
    });
    named.collect()
}

/// A service that must be on three machines at once and runs until it is stopped.
fn service() -> JobSpec {
    let seconds = super::task::SLEEP.as_secs().to_string();
    let sleep = match files::commands(&["sleep"]).get("sleep") {
        Some(sleep) => command(sleep, vec![seconds]),
        None => own_command(&["sleep", "/dev/null", "0"]),
    };
    let mut group = group_of("main", MACHINES.len() as u32, Resources::cpu_memory(100, 16 << 20), sleep);
    group.distinct_machines = true;
    JobSpec {
        name: SERVICE.to_owned(),
        kind: JobKind::Service,
        priority: 250,
        team: "demo".to_owned(),
        scheduler: "service".to_owned(),
        groups: vec![group],
    }
}

async fn submit(client: &Client, job: JobSpec) -> Result<JobId, Failure> {
    match client.call(Request::SubmitJob(job)).await? {
        Reply::Done { answer: Answer::Job { job, .. }, .. } => Ok(job),
        _ => Err(Failure::Answer("a job")),
    }
}

/// Waits until every task of the job has ended.
async fn wait_ended(cell: &mut LocalCell, client: &Client, count: usize) -> Result<(), Failure> {
    let progress = Progress::new("real tasks", count as u64);
    loop {
        let row = reads::job(client, JOB).await?.row;
        let counts = row.counts;
        let ended = counts.completed + counts.failed + counts.stopped;
        progress.at(ended.into(), format!("{} running", counts.running));
        if ended as usize == count {
            progress.done(&format!("{} completed, {} failed", counts.completed, counts.failed));
            return Ok(());
        }
        reads::all_alive(cell)?;
        if progress.elapsed() > DEMO_REAL_WAIT {
            return Err(late(cell, &format!("the tasks to end ({counts:?})"), DEMO_REAL_WAIT));
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
}

fn late(cell: &LocalCell, what: &str, waited: Duration) -> Failure {
    let logs = cell.dir().join("log").display().to_string();
    DemoError::Late { what: what.to_owned(), seconds: waited.as_secs(), logs }.into()
}

async fn stop_service(cell: &LocalCell, client: &Client) -> Result<(), Failure> {
    client.call(Request::StopJob { name: SERVICE.to_owned() }).await?;
    let started = Instant::now();
    while reads::job(client, SERVICE).await?.row.counts.live() > 0 {
        if started.elapsed() > DEMO_REAL_WAIT {
            return Err(late(cell, "the service to stop", DEMO_REAL_WAIT));
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
    Ok(())
}

/// The machines of the tasks in this state, with how many each had.
fn machines_of(view: &JobView, state: TaskState) -> BTreeMap<String, u32> {
    let mut machines = BTreeMap::new();
    for row in view.tasks.iter().filter(|t| t.task.state == state) {
        *machines.entry(row.machine.clone().unwrap_or_default()).or_default() += 1;
    }
    machines
}

/// What comparing found.
#[derive(Default)]
struct Outcome {
    wrong: Vec<String>,
    bytes: u64,
}

async fn compare(client: &Client, job: JobId, files: &[PathBuf]) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let half = files.len().div_ceil(2);
    let progress = Progress::new("reading results", files.len() as u64);
    for (number, file) in files.iter().enumerate() {
        let (group, index) = if number < half { (0, number) } else { (1, number - half) };
        let work = if group == 0 { Work::Checksum } else { Work::Compress };
        let written = output(client, TaskId { job, group, index: index as u32 }).await?;
        let (expected, length) = files::checksum(file).map_err(|e| Failure::read(file, e))?;
        outcome.bytes += length;
        if let Err(problem) = right(work, &written, &expected) {
            outcome.wrong.push(format!("{}.{index} on {}: {problem}", word(work), file.display()));
        }
        progress.at(number as u64 + 1, String::new());
    }
    progress.done(&format!("{} of {} right", files.len() - outcome.wrong.len(), files.len()));
    Ok(outcome)
}

/// Whether a task wrote what it should have.
fn right(work: Work, written: &[u8], expected: &str) -> Result<(), String> {
    let found = match work {
        Work::Checksum => {
            let text = String::from_utf8_lossy(written);
            // sha256sum marks names it had to escape with a leading backslash.
            text.trim_start_matches('\\').split_whitespace().next().unwrap_or_default().to_owned()
        }
        Work::Compress => {
            let mut unpacked = Vec::new();
            let unpacking =
                GzDecoder::new(written).take(DEMO_FILE_BYTES.end() + 1).read_to_end(&mut unpacked);
            unpacking.map_err(|e| format!("its {} bytes are no gzip stream: {e}", written.len()))?;
            files::checksum_of(&unpacked)
        }
    };
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected}")) }
}

/// All that a task wrote to standard output.
async fn output(client: &Client, task: TaskId) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    loop {
        let from = LogFrom::Offset(all.len() as u64);
        let request = LogRequest { task, epoch: 0, stream: LogStream::Stdout, from, limit: LOG_BYTES_MAX };
        let Reply::Log(piece) = client.call(Request::ReadLog(request)).await? else {
            return Err(Failure::Answer("a task's output"));
        };
        if piece.bytes.is_empty() || all.len() as u64 > 4 * DEMO_FILE_BYTES.end() {
            return Ok(all);
        }
        all.extend_from_slice(&piece.bytes);
    }
}
