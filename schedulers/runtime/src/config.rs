//! What a scheduler process is started with, and what it leaves behind.

use std::net::SocketAddr;

use schedulers::plan::Terms;
use schedulers::settings::Settings;
use schedulers::stats::Stats;
use transport::message::Refusal;
use transport_quic::ConnectError;
use transport_quic::pki::Credentials;

/// What a scheduler process keeps a copy of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum View {
    /// The whole cell: tasks of other schedulers may be preempted, and the copy's hash is compared with the server's.
    #[default]
    Full,
    /// The machines with what is used of them, and the scheduler's own jobs: a fraction of the memory and of the stream in
    /// a large cell. Only its own tasks may be preempted, and there is no hash to compare.
    Own,
}

/// How a scheduler process works. [`Config::new`] fills in the usual values.
#[derive(Clone)]
pub struct Config {
    /// The server.
    pub server: SocketAddr,
    /// The process's certificate and key; the name in it is the scheduler's name.
    pub credentials: Credentials,
    /// Decides everything that is left to chance. Two processes of one name should have different seeds, lest they
    /// try the same machines.
    pub seed: u64,
    /// What it keeps a copy of.
    pub view: View,
    /// How transactions are judged: atomicity and detection.
    pub terms: Terms,
    /// Transactions in flight at most.
    pub in_flight: usize,
    /// Tasks per transaction at most.
    pub tasks_per_txn: usize,
    /// Whether both shrink when many ops are lost.
    pub adaptive: bool,
    /// Entries the copy may be behind the server while deciding.
    pub lag_max: u64,
    /// Microseconds each decision is made to take, for studies; 0 in production.
    pub think_job_us: u64,
    /// Microseconds each decision is made to take for each of its tasks, for studies; 0 in production.
    pub think_task_us: u64,
}

impl Config {
    /// The usual values.
    pub fn new(server: SocketAddr, credentials: Credentials, seed: u64) -> Config {
        let usual = Settings::new("", 0, seed);
        Config {
            server,
            credentials,
            seed,
            view: View::default(),
            terms: usual.terms,
            in_flight: usual.in_flight,
            tasks_per_txn: usual.tasks_per_txn,
            adaptive: usual.adaptive,
            lag_max: usual.lag_max,
            think_job_us: usual.think_job_us,
            think_task_us: usual.think_task_us,
        }
    }

    pub(crate) fn settings(&self, instance: u64) -> Settings {
        Settings {
            name: self.credentials.identity().name.clone(),
            instance,
            seed: self.seed,
            terms: self.terms,
            in_flight: self.in_flight,
            tasks_per_txn: self.tasks_per_txn,
            adaptive: self.adaptive,
            lag_max: self.lag_max,
            think_job_us: self.think_job_us,
            think_task_us: self.think_task_us,
        }
    }
}

/// What a scheduler process did in its life.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Its decisions and what became of them.
    pub stats: Stats,
    /// Times it connected.
    pub connections: u64,
    /// Marks whose hash differed from its copy's: a bug when not zero.
    pub hash_mismatches: u64,
}

/// Why a scheduler process can't run. A lost server is no reason: it is connected to again, for ever.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The server can't be reached in a way that trying again won't change.
    #[error("can't connect to the server")]
    Connect(#[from] ConnectError),
    /// The server doesn't let this process be a scheduler.
    #[error("the server opens no session for scheduler {name}")]
    Session {
        /// The scheduler's name.
        name: String,
        /// Its reason.
        source: Refusal,
    },
}
