//! What people read of a cell: rows and pages for tables and `-o json`.

use std::sync::Arc;

use cell_state::endpoint::Endpoint;
use cell_state::job::{Counts, Desired, JobKind, JobSpec};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::page::StateHash;
use cell_state::task::Task;
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};
use serde::{Deserialize, Serialize};

/// What to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Query {
    /// The cell as a whole.
    Cell,
    /// Jobs, by id, from this one on.
    Jobs {
        /// The first id.
        from: JobId,
        /// How many at most.
        limit: u32,
    },
    /// One job with a page of its tasks. The name may be any unique prefix, or `j<number>`.
    Job {
        /// The name.
        name: String,
        /// How many tasks to skip.
        skip: u32,
        /// How many tasks at most.
        limit: u32,
    },
    /// Machines, by id, from this one on.
    Machines {
        /// The first id.
        from: MachineId,
        /// How many at most.
        limit: u32,
    },
    /// One machine with its tasks. The name may be any unique prefix.
    Machine {
        /// The name.
        name: String,
    },
    /// The services with running tasks.
    Services {
        /// How many at most.
        limit: u32,
    },
    /// Where the tasks are that a name means: see `cell_state::endpoint`.
    Endpoints {
        /// The name.
        name: String,
    },
}

/// What was read, and where the cell stood.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct View {
    /// The position.
    pub at: Seq,
    /// What was read.
    pub body: Body,
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// To [`Query::Cell`].
    Cell(Box<CellView>),
    /// To [`Query::Jobs`].
    Jobs(Vec<JobRow>),
    /// To [`Query::Job`].
    Job(Box<JobView>),
    /// To [`Query::Machines`].
    Machines(Vec<MachineRow>),
    /// To [`Query::Machine`].
    Machine(Box<MachineView>),
    /// To [`Query::Services`].
    Services(Vec<ServiceRow>),
    /// To [`Query::Endpoints`].
    Endpoints(Vec<Endpoint>),
}

/// A port of a group, by which its running tasks can be reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceRow {
    /// The name of the port.
    pub port: String,
    /// The name of the group.
    pub group: String,
    /// The name of the job.
    pub job: String,
    /// Its running tasks.
    pub running: u32,
}

/// A cell as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CellView {
    /// Its name.
    pub name: String,
    /// The hash of the whole state.
    pub hash: StateHash,
    /// The time of the last entry.
    pub time: Time,
    /// Machines: ready, draining, down.
    pub machines: [u32; 3],
    /// Jobs in the state.
    pub jobs: u32,
    /// Tasks by state.
    pub tasks: Counts,
    /// Capacity of the machines that are not down.
    pub capacity: Resources,
    /// What may be committed to them.
    pub limit: Resources,
    /// What is committed to them.
    pub used: Resources,
    /// What is committed, by band.
    pub used_by_band: [Resources; 4],
}

/// One line of a list of jobs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Service or batch.
    pub kind: JobKind,
    /// 0..=399.
    pub priority: u16,
    /// Its team.
    pub team: String,
    /// Its scheduler.
    pub scheduler: String,
    /// Whether it is meant to run.
    pub desired: Desired,
    /// Its current version.
    pub version: u32,
    /// When it was first submitted.
    pub submitted: Time,
    /// Tasks wanted by the current version.
    pub wanted: u32,
    /// Tasks by state.
    pub counts: Counts,
}

/// One job with a page of its tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// Its line.
    pub row: JobRow,
    /// Its current spec.
    pub spec: JobSpec,
    /// Tasks by state, per group.
    pub groups: Vec<Counts>,
    /// All its tasks.
    pub tasks_total: u32,
    /// A page of them.
    pub tasks: Vec<TaskRow>,
}

/// One task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its record.
    pub task: Task,
    /// The name of its machine.
    pub machine: Option<String>,
    /// The name of its job.
    pub job: String,
    /// Its ports, in the order its group asks for them.
    pub ports: Vec<u16>,
    /// Bytes of memory beyond which it is killed, by the current version of its job.
    pub memory_limit: Option<u64>,
}

/// One line of a list of machines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineRow {
    /// Its number.
    pub id: MachineId,
    /// Its name.
    pub name: String,
    /// Whether it takes tasks.
    pub state: MachineState,
    /// Its live tasks.
    pub tasks: u32,
    /// What it has.
    pub capacity: Resources,
    /// What may be committed to it.
    pub limit: Resources,
    /// What is committed to it.
    pub used: Resources,
    /// The last entry that changed it.
    pub version: Seq,
    /// Microseconds since it was last heard of; `None` when read at an earlier position, or never heard of.
    pub silent_us: Option<u64>,
}

/// One machine with its tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineView {
    /// Its line.
    pub row: MachineRow,
    /// Its description.
    pub spec: MachineSpec,
    /// Its live tasks.
    pub tasks: Vec<TaskRow>,
}

/// Ends the name of a policy whose copy of the cell has no tasks of other schedulers: it preempts only its own.
pub const OWN_VIEW: &str = ", own view";

/// How a scheduler process fares, as it says itself, since it started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Telemetry {
    /// Where its copy is.
    pub at: Seq,
    /// The policy it runs, followed by [`OWN_VIEW`] when its copy has no tasks of others.
    pub policy: String,
    /// Jobs waiting in its queue.
    pub queued: u64,
    /// Microseconds spent deciding.
    pub busy_us: u64,
    /// Microseconds since it started.
    pub uptime_us: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// The hash of its copy at the last mark, when it compared one, and where that was.
    pub checked: Option<(Seq, StateHash)>,
    /// Marks whose hash differed from its own: a bug when not zero.
    pub hash_mismatches: u64,
}

impl Telemetry {
    /// Whether its copy has no tasks of other schedulers.
    pub fn sees_only_its_own(&self) -> bool {
        self.policy.ends_with(OWN_VIEW)
    }
}

/// One scheduler process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SchedulerView {
    /// Its name.
    pub name: String,
    /// Its session.
    pub session: SessionId,
    /// Whether it is connected.
    pub live: bool,
    /// What it last said of itself.
    pub telemetry: Option<Telemetry>,
    /// Entries its copy is behind the log.
    pub lag_entries: Option<u64>,
    /// Transactions judged since the server started.
    pub transactions: u64,
    /// Ops that took effect.
    pub accepted: u64,
    /// Ops that were lost.
    pub conflicts: u64,
}

/// A transaction as the side log keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub txn: TxnId,
    /// Its author's scheduler.
    pub scheduler: String,
    /// Where it was committed.
    pub at: Seq,
    /// When.
    pub time: Time,
    /// Where its author stood.
    pub basis: Seq,
    /// As proposed.
    pub atomicity: Atomicity,
    /// As proposed.
    pub detection: Detection,
    /// One per op.
    pub outcomes: Arc<[Outcome]>,
    /// The assertion that failed, if one did.
    pub failed_assertion: Option<Box<Conflict>>,
    /// The names of the machines that the outcomes mention.
    pub machines: Vec<(MachineId, String)>,
    /// The names of the jobs that the outcomes mention.
    pub jobs: Vec<(JobId, String)>,
}

/// Conflicts counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ConflictCount {
    /// Who lost.
    pub loser: String,
    /// Who won; empty when it was no transaction.
    pub winner: String,
    /// The kind, a word of `ConflictKind::word`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Of these, how many the fine detection would not have called a conflict.
    pub spurious: u64,
}

/// Processor time that the stages of a server have used since its start, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StageTimes {
    /// QUIC, decoding requests and writing replies, on the thread that serves the sessions.
    pub sessions_us: u64,
    /// Judging, admitting and applying.
    pub judge_us: u64,
    /// Writing records.
    pub encode_us: u64,
    /// Appending to the log and flushing it.
    pub log_us: u64,
    /// Handing records to the subscribers.
    pub stream_us: u64,
    /// Answering authors.
    pub answer_us: u64,
    /// Applying entries to the durable state, and filling the agents' feeds.
    pub mirror_us: u64,
    /// The side log of attempts.
    pub side_log_us: u64,
    /// Hashing the state and archiving its pages.
    pub mark_us: u64,
    /// Checkpoints.
    pub checkpoint_us: u64,
}

impl StageTimes {
    /// All of them with their names.
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("sessions", self.sessions_us),
            ("judge", self.judge_us),
            ("encode", self.encode_us),
            ("log", self.log_us),
            ("stream", self.stream_us),
            ("answer", self.answer_us),
            ("mirror", self.mirror_us),
            ("side_log", self.side_log_us),
            ("mark", self.mark_us),
            ("checkpoint", self.checkpoint_us),
        ]
    }
}
