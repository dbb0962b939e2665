//! The server as a whole: what its parts share, how they are started, and in which order they stop.
//!
//! ```text
//! sessions ─▶ intake ─▶ commit thread ─▶ log thread ─▶ publish ─▶ ring ─▶ subscriptions
//! (tokio)    bounded    judge, apply     one flush     stream    feeds ─▶ agents
//!            = busy                      per group,    mirror  ─▶ reads, snapshots, checkpoint thread
//!                                        answer
//! ```
//!
//! A clean stop goes along the arrows: nothing new is taken, what is queued is judged, made durable and answered, the
//! last state is saved, and then the connections are closed. A failure stops everything without an answer.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use cell_state::admit::{self, Command};
use cell_state::event::CellConfig;
use cell_state::{Cell, Seq, Time};
use crossbeam::channel::{self, Sender};
use tokio::sync::Semaphore;
use transport_quic::Listener;

use crate::attempts::Attempts;
use crate::bounds;
use crate::checkpoint_thread::CheckpointThread;
use crate::config::ServerConfig;
use crate::connection::Parties;
use crate::data_dir::DataDir;
use crate::error::ServerError;
use crate::fatal::{self, Fatal};
use crate::feeds::Feeds;
use crate::intake::{self, Intake, Outlet};
use crate::log::{Log, LogReader};
use crate::log_thread::{LogThread, Trim};
use crate::mirror::Mirror;
use crate::publish::Publish;
use crate::recovery::{self, History, Recovered};
use crate::ring::Ring;
use crate::stages::Stages as StageTimer;
use crate::stats::Stats;
use crate::usage::Usages;
use crate::{attempts_thread, care, clock, commit_thread, sessions};

/// What the parts of a running server share.
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) started: Time,
    pub(crate) intake: Intake,
    pub(crate) ring: Arc<Ring>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) parties: Arc<Parties>,
    pub(crate) usage: Usages,
    pub(crate) stats: Arc<Stats>,
    pub(crate) stages: Arc<StageTimer>,
    pub(crate) log: LogReader,
    pub(crate) history: History,
    pub(crate) attempts: Attempts,
    pub(crate) checkpointed: Arc<AtomicU64>,
    /// Room for reads.
    pub(crate) reads: Arc<Semaphore>,
    /// Room for reads that need a whole copy of the cell.
    pub(crate) copies: Arc<Semaphore>,
}

/// What parties are told at the end.
const STOPPED: &str = "the server is shutting down";
const FAILED: &str = "the server failed and stops";

/// The stages, in the order in which they stop.
struct Stages {
    pipeline: Vec<JoinHandle<()>>,
    /// The checkpoint thread and that of the side log.
    savers: [JoinHandle<()>; 2],
    /// Dropping it ends them, after a last save.
    savers_stop: Sender<()>,
}

/// A server that is ready to listen.
struct Started {
    server: Arc<Server>,
    stages: Stages,
    /// The position that the first client is to find.
    first: Seq,
    /// The lock of the data directory.
    data: DataDir,
}

impl Server {
    /// The position of the last durable checkpoint.
    pub(crate) fn checkpointed(&self) -> Seq {
        Seq(self.checkpointed.load(Ordering::Acquire))
    }

    /// The cell's settings.
    pub(crate) fn cell_config(&self) -> CellConfig {
        self.mirror.read().config().clone()
    }
}

/// Runs a server until `shutdown` is ready, and then stops it cleanly. `ready` is told the address once the server
/// takes connections.
///
/// It runs on the caller's tokio runtime, beside threads of its own for the stages that work or wait for the disk; on
/// few cores a current-thread runtime is the fastest.
///
/// # Errors
/// The data directory is damaged, the address is taken, or the log failed: see [`ServerError`].
pub async fn run(
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    let fatal = Arc::new(Fatal::default());
    let Started { server, stages, first, data } = start(config, &fatal).await?;
    let served = match Listener::bind(server.config.listen, &server.config.credentials) {
        Ok(listener) => {
            let listener = Arc::new(listener);
            let reason = serve(&server, &listener, first, &fatal, shutdown, ready).await;
            tracing::info!(reason, "stopping");
            Ok((listener, reason))
        }
        Err(error) => Err(ServerError::Bind(error)),
    };
    let (listener, error) =
        served.map_or_else(|error| (None, Some(error)), |listening| (Some(listening), None));
    stop(server, stages, listener).await;
    drop(data);
    fatal.take().or(error).map_or(Ok(()), Err)
}

/// Recovers the state and starts the stages.
async fn start(config: ServerConfig, fatal: &Arc<Fatal>) -> Result<Started, ServerError> {
    let fatal = Arc::clone(fatal);
    let started = tokio::task::spawn_blocking(move || {
        let identity = config.credentials.identity().clone();
        let recovered = recovery::recover(&config.data, &identity.cell)?;
        tracing::info!(report = %recovered.report, "recovered");
        let settings = settings(&config, &identity.cell, &recovered.cell)?;
        let (server, stages, data) = assemble(config, recovered, &fatal)?;
        let mut first = server.mirror.seq();
        if let Some(settings) = settings {
            // Nobody else can ask yet, so there is room, and this is the next entry.
            server.intake.offer_own(Command::Configure(settings));
            first = first.next();
        }
        Ok::<_, ServerError>(Started { server, stages, first, data })
    });
    started.await.unwrap_or(Err(ServerError::Panicked { stage: "start" }))
}

/// The settings to put into the cell, if they differ from those it has.
fn settings(config: &ServerConfig, name: &str, cell: &Cell) -> Result<Option<CellConfig>, ServerError> {
    let mut settings = match (&config.cell, cell.config().name.is_empty()) {
        (Some(settings), _) => settings.clone(),
        (None, true) => CellConfig::default(),
        (None, false) => return Ok(None),
    };
    if settings.name.is_empty() {
        settings.name = name.to_owned();
    }
    let admitted = admit::admit(cell, clock::now(), Command::Configure(settings.clone()));
    let admitted = admitted.map_err(ServerError::Config)?;
    Ok(admitted.event.map(|_| settings))
}

/// Makes the parts and starts the threads.
fn assemble(
    config: ServerConfig,
    recovered: Recovered,
    fatal: &Arc<Fatal>,
) -> Result<(Arc<Server>, Stages, DataDir), ServerError> {
    let Recovered { data, cell, log, checkpoints, report: _ } = recovered;
    let names = cell.sessions().iter().map(|session| (session.id, session.scheduler.clone()));
    let attempts = Attempts::open(&data.attempts(), log.id(), log.reader(), names);
    let attempts = attempts.map_err(ServerError::Attempts)?;
    let newest = checkpoints.newest().map_or(Seq(0), |meta| meta.seq);
    let (intake, outlet) = intake::intake(config.intake_items);
    let server = Arc::new(Server {
        started: clock::now(),
        intake,
        ring: Arc::new(Ring::new(cell.seq(), config.ring_bytes)),
        mirror: Arc::new(Mirror::new(cell.clone())),
        feeds: Arc::default(),
        parties: Arc::new(Parties::new()),
        usage: Usages::default(),
        stats: Arc::default(),
        stages: Arc::default(),
        log: log.reader(),
        history: History::new(log.reader(), checkpoints.reader()),
        attempts,
        checkpointed: Arc::new(AtomicU64::new(newest.0)),
        reads: Arc::new(Semaphore::new(bounds::READS_MAX)),
        copies: Arc::new(Semaphore::new(bounds::COPIES_MAX)),
        config,
    });
    let trim = Arc::new(Trim::default());
    let (savers_stop, stop) = channel::bounded(0);
    let checkpoint = CheckpointThread {
        checkpoints,
        mirror: Arc::clone(&server.mirror),
        log: server.log.clone(),
        trim: Arc::clone(&trim),
        saved: Arc::clone(&server.checkpointed),
        fatal: Arc::clone(fatal),
        every: server.config.checkpoint_every,
        retain_log_bytes: server.config.retain_log_bytes,
        stages: Arc::clone(&server.stages),
        stop: stop.clone(),
    };
    let (attempts, stages) = (server.attempts.clone(), Arc::clone(&server.stages));
    let savers = [
        fatal::stage("checkpoint", fatal, move || checkpoint.run())?,
        fatal::stage("attempts", fatal, move || attempts_thread::run(&attempts, &stages, &stop))?,
    ];
    let pipeline = pipeline(&server, cell, Box::new(log), outlet, trim, fatal)?;
    Ok((server, Stages { pipeline, savers, savers_stop }, data))
}

fn pipeline(
    server: &Arc<Server>,
    cell: Cell,
    log: Box<dyn Log>,
    outlet: Outlet,
    trim: Arc<Trim>,
    fatal: &Arc<Fatal>,
) -> Result<Vec<JoinHandle<()>>, ServerError> {
    let (to_log, groups) = channel::bounded(bounds::GROUPS_TO_LOG_MAX);
    let (publish, durable) = channel::bounded(bounds::GROUPS_TO_PUBLISH_MAX);
    let stages = Arc::clone(&server.stages);
    let stats = Arc::clone(&server.stats);
    let log = LogThread { log, groups, publish, held: None, trim, stats, stages, fatal: Arc::clone(fatal) };
    let publish = Publish {
        groups: durable,
        ring: Arc::clone(&server.ring),
        mirror: Arc::clone(&server.mirror),
        feeds: Arc::clone(&server.feeds),
        attempts: server.attempts.clone(),
        stages: Arc::clone(&server.stages),
        mark_every: server.config.mark_every,
    };
    let stages = Arc::clone(&server.stages);
    Ok(vec![
        fatal::stage("commit", fatal, move || commit_thread::run(cell, &outlet, &to_log, &stages))?,
        fatal::stage("log", fatal, move || log.run())?,
        fatal::stage("publish", fatal, move || publish.run())?,
    ])
}

/// Takes connections until the shutdown or a failure, and returns which of the two it was.
async fn serve(
    server: &Arc<Server>,
    listener: &Arc<Listener>,
    first: Seq,
    fatal: &Fatal,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr),
) -> &'static str {
    tokio::select! {
        () = server.mirror.reached(first) => {}
        () = fatal.reported() => return FAILED,
    }
    let accepting = tokio::spawn(sessions::accept(Arc::clone(server), Arc::clone(listener)));
    let caring = tokio::spawn(care::run(Arc::clone(server)));
    tracing::info!(address = %listener.local_addr(), seq = %server.ring.last(), "ready");
    ready(listener.local_addr());
    let reason = tokio::select! {
        () = shutdown => STOPPED,
        () = fatal.reported() => FAILED,
    };
    accepting.abort();
    caring.abort();
    reason
}

/// Stops the stages in the order of the work, then the connections, and saves the last state.
async fn stop(server: Arc<Server>, stages: Stages, listening: Option<(Arc<Listener>, &'static str)>) {
    let Stages { pipeline, savers, savers_stop } = stages;
    let intake = Arc::clone(&server);
    on_thread(move || {
        intake.intake.stop();
        pipeline.into_iter().for_each(join);
    })
    .await;
    if let Some((listener, reason)) = listening {
        // The last answers are on their way.
        tokio::time::sleep(bounds::FAREWELL).await;
        listener.close(reason);
        listener.closed().await;
    }
    on_thread(move || {
        drop(savers_stop);
        savers.into_iter().for_each(join);
    })
    .await;
    // Tasks of connections that are closed by now hold on to the stores for a moment; the next server needs them.
    let parts = Arc::downgrade(&server);
    drop(server);
    for _ in 0..bounds::LET_GO_LOOKS {
        if parts.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(bounds::LET_GO_LOOK_EVERY).await;
    }
    tracing::warn!("some tasks are still running");
}

async fn on_thread(work: impl FnOnce() + Send + 'static) {
    // What panics on a stage's thread has been reported there.
    let _ = tokio::task::spawn_blocking(work).await;
}

fn join(thread: JoinHandle<()>) {
    // Stages catch their own panics and report them.
    let _ = thread.join();
}
