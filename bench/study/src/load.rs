//! The load of a running cell, as heavy as it can bear: schedulers that propose without searching, machines that report
//! everything placed as ended after a while, and copies that follow the log. All of it over real connections.
//!
//! ```text
//! schedulers ── Commit ──▶ ┌────────┐ ── the log ──▶ copies
//! machines   ── Report ──▶ │ server │
//!                          └────────┘
//! ```
//!
//! Proposals, answers and positions are counted while the load is measured, not while it warms up. The limits of the
//! machine are measured in the same run.

mod copies;
mod counts;
mod error;
mod limits;
mod machines;
mod measured;
mod schedulers;
mod server_cost;
pub mod settings;
pub mod skew;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::transaction::Op;
use cell_state::{Resources, Seq, SessionId, TaskId};
use tokio::task::{JoinHandle, JoinSet};
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use crate::bounds::{LOAD_LIMIT_FOR, LOAD_TASKS_PER_JOB, LOAD_TELL_EVERY};
use copies::{Copies, LogBytes};
use counts::{Board, Phase, Record};
use machines::{Held, Machines, patient};
use schedulers::{Field, Scheduler};
use server_cost::Used;
use skew::Chooser;

pub use counts::{Counts, Times};
pub use error::LoadError;
pub use limits::{DiskLimit, EchoLimit};
pub use measured::Measured;
pub use settings::{Axis, Settings};
pub use skew::Skew;

/// What each machine has, and what each task asks for: 320 tasks fill a machine.
const MACHINE_CPU_MILLI: u64 = 32_000;
const MACHINE_MEMORY: u64 = 128 << 30;
const TASK_CPU_MILLI: u64 = 100;
const TASK_MEMORY: u64 = 64 << 20;

/// The cell that is loaded, and the certificates of everybody who takes part.
#[derive(Clone)]
pub struct Parties {
    /// The address of its server.
    pub server: SocketAddr,
    /// Submits the jobs and asks for the audit.
    pub operator: Credentials,
    /// Follows the log.
    pub reader: Credentials,
    /// Plays the machines, whose names begin with `prefix`.
    pub agent: Credentials,
    /// What the names of machines and jobs begin with.
    pub prefix: String,
    /// One per scheduler.
    pub schedulers: Vec<Credentials>,
    /// A server's, for the echo that QUIC's limit is measured with.
    pub echo: Credentials,
    /// The server's process and a directory on its disk, when it runs on this machine and is ours.
    pub process: Option<(u32, PathBuf)>,
    /// Different in each run: processes and machines of an earlier one must not be mistaken for these.
    pub instance: u64,
}

/// What a load is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// So many machines are registered.
    Registered(u64),
    /// So many placements are committed, and it has run for so long, warm-up included.
    Running(u64, Duration),
    /// Measuring the limits of this machine.
    Limits,
}

/// Loads a cell and measures it.
///
/// # Errors
/// The cell can't be reached, refuses, or is lost on the way.
pub async fn run(
    settings: &Settings,
    parties: &Parties,
    tell: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let operator = Client::connect(parties.server, &parties.operator).await?;
    let load = Load::prepare(settings, parties, &operator, tell).await?;
    let stretch = load.drive(parties, tell).await?;
    load.machines.clone().clear(&load.field, &load.schedulers).await?;
    let audit = audit(&operator).await?;
    load.copies.reach(audit.0).await?;
    for job in &load.jobs {
        patient(&operator, Request::StopJob { name: job.clone() }, "stopping a job").await?;
    }
    let (copies_placed, compared) = (load.copies.placed(), load.copies.compared());
    let copy_lag = load.field.board.lag_times();
    let sample = load.sample();
    drop(load);
    tell(Progress::Limits);
    let disk = disk_limit(parties, &stretch).await?;
    let echo =
        limits::echo(&parties.echo, &parties.schedulers, settings.in_flight, sample, LOAD_LIMIT_FOR).await?;
    let Stretch { record, seconds, used, own_used, log_bytes } = stretch;
    Ok(Measured {
        counts: record.measured,
        whole: record.whole,
        seconds,
        latency: record.latency,
        copy_lag,
        server_cpu_us: used.as_ref().map(|u| u.cpu_us),
        disk_bytes: used.as_ref().map(|u| u.disk_bytes),
        flushes: used.as_ref().map(|u| u.log_writes),
        own_cpu_us: own_used.map_or(0, |u| u.cpu_us),
        server_cpu_us_by_thread: used.map(|u| u.cpu_us_by_thread).unwrap_or_default(),
        log_bytes: log_bytes.map(|b| (b.transactions, b.others)),
        disk,
        echo,
        audit,
        compared,
        copies_placed,
    })
}

/// Stops the jobs of a load that was cut off.
///
/// # Errors
/// The cell can't be reached.
pub async fn stop_jobs(parties: &Parties) -> Result<(), LoadError> {
    let operator = Client::connect(parties.server, &parties.operator).await?;
    for number in 0.. {
        let request = Request::StopJob { name: job_name(parties, number) };
        match patient(&operator, request, "stopping a job").await {
            Ok(_) => {}
            // They were numbered without gaps, so there are no more.
            Err(LoadError::Call { source: CallError::Refused(_), .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Everybody who takes part, connected and ready.
struct Load {
    field: Arc<Field>,
    schedulers: Arc<[Arc<Scheduler>]>,
    machines: Arc<Machines>,
    copies: Copies,
    jobs: Vec<String>,
    heartbeats: JoinHandle<()>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.heartbeats.abort();
    }
}

/// What was counted between the two ends of the measured time.
struct Stretch {
    record: Record,
    seconds: f64,
    used: Option<Used>,
    own_used: Option<Used>,
    log_bytes: Option<LogBytes>,
}

impl Load {
    async fn prepare(
        settings: &Settings,
        parties: &Parties,
        operator: &Client,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Load, LoadError> {
        let (server, instance) = (parties.server, parties.instance);
        let mut registered = |count| tell(Progress::Registered(count));
        let count = settings.machines;
        let machines =
            Machines::register(server, &parties.agent, &parties.prefix, count, instance, &mut registered)
                .await?;
        let machines = Arc::new(machines);
        let heartbeats = tokio::spawn(Arc::clone(&machines).beat());
        let mut schedulers = Vec::new();
        for credentials in &parties.schedulers {
            schedulers.push(Arc::new(Scheduler::open(server, credentials, instance).await?));
        }
        let schedulers: Arc<[Arc<Scheduler>]> = schedulers.into();
        let jobs = submit(settings, parties, operator, &schedulers).await?;
        let field = Arc::new(Field {
            settings: settings.clone(),
            machines: machines.ids.clone(),
            chooser: Chooser::new(settings.skew, machines.ids.len()),
            board: Board::default(),
            held: Held::new(machines.ids.len()),
        });
        let sessions: BTreeSet<SessionId> = schedulers.iter().map(|s| s.session()).collect();
        let copies = Copies::start(server, &parties.reader, &field, &sessions).await?;
        Ok(Load { field, schedulers, machines, copies, jobs, heartbeats })
    }

    /// Runs the load: warm-up, the measured time, and the answers that are then still under way.
    async fn drive(&self, parties: &Parties, tell: &mut dyn FnMut(Progress)) -> Result<Stretch, LoadError> {
        let Field { settings, board, .. } = &*self.field;
        let mut working = JoinSet::new();
        for (owner, scheduler) in self.schedulers.iter().enumerate() {
            for number in 0..u64::from(settings.in_flight) {
                let seed = settings.seed ^ ((owner as u64) << 40) ^ (number << 20);
                working.spawn(Arc::clone(scheduler).propose(owner, Arc::clone(&self.field), seed));
            }
        }
        if let Some(hold) = settings.hold {
            let (field, schedulers) = (Arc::clone(&self.field), Arc::clone(&self.schedulers));
            working.spawn(Arc::clone(&self.machines).churn(field, schedulers, hold));
        }
        let started = Instant::now();
        self.pass(started, settings.warm_up, &mut working, tell).await?;
        let look = || parties.process.as_ref().and_then(|(pid, _)| Used::of(*pid));
        let own = || Used::of(std::process::id());
        let (used, own_used) = (look(), own());
        let (bytes, began) = (self.copies.log_bytes(), Instant::now());
        board.enter(Phase::Measured);
        self.pass(started, settings.warm_up + settings.duration, &mut working, tell).await?;
        board.enter(Phase::Over);
        let seconds = began.elapsed().as_secs_f64();
        let used = look().zip(used).map(|(now, then)| now.since(&then));
        let own_used = own().zip(own_used).map(|(now, then)| now.since(&then));
        let log_bytes = self.copies.log_bytes().zip(bytes).map(|(now, then)| LogBytes {
            transactions: now.transactions - then.transactions,
            others: now.others - then.others,
        });
        while let Some(ended) = working.join_next().await {
            ended??;
        }
        Ok(Stretch { record: board.record().clone(), seconds, used, own_used, log_bytes })
    }

    /// Lets the load run until so long after its start, or until there is nothing left to place.
    async fn pass(
        &self,
        started: Instant,
        until: Duration,
        working: &mut JoinSet<Result<(), LoadError>>,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), LoadError> {
        while started.elapsed() < until {
            tell(Progress::Running(self.field.board.placed.load(Ordering::Relaxed), started.elapsed()));
            let rest = until.saturating_sub(started.elapsed());
            tokio::select! {
                ended = working.join_next() => match ended {
                    Some(ended) => ended??,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(rest.min(LOAD_TELL_EVERY)) => {}
            }
        }
        Ok(())
    }

    /// A transaction as this load sends them.
    fn sample(&self) -> cell_state::transaction::Transaction {
        let ops = self.field.settings.ops;
        let machine = |index: u32| self.field.machines[index as usize * 97 % self.field.machines.len()];
        let place = |index: u32| Op::Place {
            task: TaskId { job: cell_state::JobId(1), group: 0, index: index * 89 % LOAD_TASKS_PER_JOB },
            machines: vec![machine(index)],
            preempt: Vec::new(),
        };
        self.schedulers[0].transaction(&self.field, (0..ops).map(place).collect())
    }
}

/// Submits the jobs, and gives each scheduler the tasks of its own.
async fn submit(
    settings: &Settings,
    parties: &Parties,
    operator: &Client,
    schedulers: &[Arc<Scheduler>],
) -> Result<Vec<String>, LoadError> {
    const WHAT: &str = "submitting a job";
    let mut jobs = Vec::new();
    let count = schedulers.len() as u32;
    for (owner, scheduler) in schedulers.iter().enumerate() {
        let mut left = settings.tasks / count + u32::from((owner as u32) < settings.tasks % count);
        while left > 0 {
            let tasks = left.min(LOAD_TASKS_PER_JOB);
            left -= tasks;
            let name = job_name(parties, jobs.len());
            let request = Request::SubmitJob(job(&name, scheduler.name(), tasks));
            let answer = patient(operator, request, WHAT).await?;
            let Reply::Done { answer: cell_state::admit::Answer::Job { job, .. }, .. } = answer else {
                return Err(LoadError::Answer(WHAT));
            };
            scheduler.give((0..tasks).map(|index| TaskId { job, group: 0, index }));
            jobs.push(name);
        }
    }
    Ok(jobs)
}

fn job_name(parties: &Parties, number: usize) -> String {
    format!("{}{number}-{:x}", parties.prefix, parties.instance)
}

/// A job of simulated tasks that are pending again whenever they end.
fn job(name: &str, scheduler: &str, count: u32) -> JobSpec {
    let restart = Restart { on: RestartOn::Always, attempts: cell_state::bounds::RESTARTS_MAX, delay_us: 0 };
    let group = GroupSpec {
        name: "main".to_owned(),
        count,
        resources: Resources::cpu_memory(TASK_CPU_MILLI, TASK_MEMORY),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart,
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: name.to_owned(),
        kind: JobKind::Batch,
        priority: 100,
        team: "load".to_owned(),
        scheduler: scheduler.to_owned(),
        groups: vec![group],
    }
}

async fn audit(operator: &Client) -> Result<(Seq, Vec<String>), LoadError> {
    match patient(operator, Request::Audit, "the audit").await? {
        Reply::Audit { at, violations } => Ok((at, violations)),
        _ => Err(LoadError::Answer("the audit")),
    }
}

/// The disk's limit for groups of the mean size of this run; the server is idle meanwhile.
async fn disk_limit(parties: &Parties, stretch: &Stretch) -> Result<Option<DiskLimit>, LoadError> {
    let (Some((_, dir)), Some(used)) = (parties.process.clone(), &stretch.used) else { return Ok(None) };
    let bytes = used.log_bytes / used.log_writes.max(1);
    let measured = tokio::task::spawn_blocking(move || limits::disk(&dir, bytes, LOAD_LIMIT_FOR)).await?;
    measured.map(Some).map_err(LoadError::system("can't measure how fast the disk flushes"))
}
