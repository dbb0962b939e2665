//! The load of a running cell, as heavy as it can bear: proposers, machines that report everything placed as ended after
//! a while, and copies that follow the log. All of it over real connections.
//!
//! ```text
//! schedulers ── Commit ──▶ ┌────────┐ ── the log ──▶ copies
//! machines   ── Report ──▶ │ server │
//!                          └────────┘
//! ```
//!
//! Proposals, answers and positions are counted while the load is measured, not while it warms up. The limits of the
//! machine are measured in the same run. Every phase has a bound, so a load ends whatever the server does.

mod board;
mod calls;
mod churn;
mod copies;
mod counts;
mod disk;
mod drive;
mod echo;
mod error;
mod field;
pub mod fill;
mod jobs;
mod machines;
mod measured;
mod pace;
mod policy;
mod schedulers;
mod server_cost;
pub mod settings;
pub mod skew;
mod spawn;
mod wires;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cell_state::transaction::Transaction;
use cell_state::{Seq, SessionId};
use tokio::task::JoinHandle;
use transport::{Reply, Request};
use transport_quic::{Client, Credentials};

use crate::bounds::{LOAD_BEGIN_WAIT, LOAD_END_WAIT, LOAD_LIMIT_FOR};
use board::Phase;
use calls::Opened;
pub(crate) use calls::patient;
use copies::Copies;
use drive::Stretch;
use field::Field;
use machines::Machines;

pub use counts::{Counts, Times};
pub use disk::DiskLimit;
pub use echo::EchoLimit;
pub use error::LoadError;
pub use jobs::stop_jobs;
pub use measured::Measured;
pub use server_cost::Used;
pub use settings::{Axis, Proposing, Settings};
pub use skew::Skew;
pub use spawn::{Spawned, spawn};
pub use wires::Party;

/// What each machine has, and what each task asks for: 320 tasks fill a machine.
pub const MACHINE_CPU_MILLI: u64 = 32_000;
/// See [`MACHINE_CPU_MILLI`].
pub const MACHINE_MEMORY: u64 = 128 << 30;
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
/// The cell can't be reached, refuses, is lost on the way, or doesn't answer in time.
pub async fn run(
    settings: &Settings,
    parties: &Parties,
    tell: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let operator = Client::connect(parties.server, &parties.operator).await?;
    let begin = Load::prepare(settings, parties, &operator, tell);
    let load = within("preparing the load", LOAD_BEGIN_WAIT, begin).await?;
    let stretch = load.drive(parties, tell).await?;
    let audit = within("auditing the cell", LOAD_END_WAIT, audit(&operator)).await?;
    load.copies.reach(audit.0).await?;
    within("stopping the jobs", LOAD_END_WAIT, jobs::stop(&operator, &load.jobs)).await?;
    let (copies_placed, compared) = (load.copies.placed(), load.copies.compared());
    let copy_lag = load.field.board.lag_times();
    let txn = schedulers::sample(&load.opened[0], &load.field);
    drop(load);
    tell(Progress::Limits);
    let limits = Limits::measure(settings, parties, &stretch, txn).await?;
    let Stretch { tally, seconds, used, by_stage, own_used, log_bytes, traffic } = stretch;
    Ok(Measured {
        counts: tally.measured,
        whole: tally.whole,
        seconds,
        latency: tally.latency,
        copy_lag,
        server_cpu_us: used.as_ref().map(|u| u.cpu_us),
        disk_bytes: used.as_ref().map(|u| u.disk_bytes),
        flushes: used.as_ref().map(|u| u.log_writes),
        own_cpu_us: own_used.map_or(0, |u| u.cpu_us),
        server_cpu_us_by_stage: by_stage,
        server_cpu_us_by_thread: used.map(|u| u.cpu_us_by_thread).unwrap_or_default(),
        log_bytes: log_bytes.map(|b| (b.transactions, b.others)),
        traffic,
        disk: limits.disk,
        echo: limits.echo,
        round_trip: limits.alone.round_trip,
        audit,
        compared,
        copies_placed,
    })
}

/// What may take so long and no longer.
async fn within<T>(
    what: &'static str,
    most: Duration,
    work: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    let late = LoadError::Late { what, seconds: most.as_secs() };
    tokio::time::timeout(most, work).await.unwrap_or(Err(late))
}

/// Everybody who takes part, connected and ready.
struct Load {
    field: Arc<Field>,
    opened: Vec<Opened>,
    machines: Machines,
    copies: Copies,
    jobs: Vec<String>,
    heartbeats: JoinHandle<()>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.heartbeats.abort();
        // Whoever still proposes, because the load was cut off, ends.
        self.field.board.enter(Phase::Over);
        self.field.wires.clear();
    }
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
        let heartbeats = tokio::spawn(Machines::beat(machines.client.clone()));
        let field = Arc::new(Field::new(settings.clone(), machines.ids.clone()));
        field.wires.add(Party::Machines, &machines.client);
        let mut opened = Vec::new();
        for credentials in &parties.schedulers {
            opened.push(calls::open(server, credentials, instance).await?);
        }
        let jobs = jobs::submit(&field, parties, operator).await?;
        let sessions: BTreeSet<SessionId> = opened.iter().map(|o| o.session).collect();
        let copies = Copies::start(server, &parties.reader, &field, &sessions).await?;
        Ok(Load { field, opened, machines, copies, jobs, heartbeats })
    }
}

async fn audit(operator: &Client) -> Result<(Seq, Vec<String>), LoadError> {
    match patient(operator, Request::Audit, "the audit").await? {
        Reply::Audit { at, violations } => Ok((at, violations)),
        _ => Err(LoadError::Answer("the audit")),
    }
}

/// What this machine could do at most; the server is idle while it is measured.
struct Limits {
    disk: Option<DiskLimit>,
    echo: EchoLimit,
    /// The echo with a single transaction under way.
    alone: EchoLimit,
}

impl Limits {
    async fn measure(
        settings: &Settings,
        parties: &Parties,
        stretch: &Stretch,
        txn: Transaction,
    ) -> Result<Limits, LoadError> {
        let disk = disk_limit(parties, stretch).await?;
        let server = &parties.echo;
        let schedulers = &parties.schedulers;
        let all = echo::Carry { server, schedulers, in_flight: settings.in_flight, txn: txn.clone() };
        let echo = echo::echo(all, LOAD_LIMIT_FOR).await?;
        let one = echo::Carry { server, schedulers: &schedulers[..1], in_flight: 1, txn };
        Ok(Limits { disk, echo, alone: echo::echo(one, LOAD_LIMIT_FOR / 2).await? })
    }
}

/// The disk's limit for groups of the mean size of this run.
async fn disk_limit(parties: &Parties, stretch: &Stretch) -> Result<Option<DiskLimit>, LoadError> {
    let (Some((_, dir)), Some(used)) = (parties.process.clone(), &stretch.used) else { return Ok(None) };
    let bytes = used.log_bytes / used.log_writes.max(1);
    let measured = tokio::task::spawn_blocking(move || disk::disk(&dir, bytes, LOAD_LIMIT_FOR)).await?;
    measured.map(Some).map_err(LoadError::system("can't measure how fast the disk flushes"))
}
