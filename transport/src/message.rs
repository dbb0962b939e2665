//! The messages between a party and the server. A party opens long-lived bidirectional streams and writes framed
//! [`RequestFrame`]s; the server answers each on the same stream with a [`ReplyFrame`] of the same id, in any order. A
//! subscription is one unidirectional stream of records (`cell_state::record`), preceded by its number as four little-endian
//! bytes. The server may open bidirectional streams to an agent and write framed [`AgentRequest`]s. Heartbeats are datagrams.

use std::sync::Arc;

use cell_state::admit::{Answer, Rejection};
use cell_state::codec;
use cell_state::event::{CellConfig, Report};
use cell_state::job::{Band, JobSpec};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::transaction::Transaction;
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{JobId, MachineId, Resources, Seq, Time, TxnId};
use serde::{Deserialize, Serialize};

pub use crate::agent::{
    Acknowledged, AgentReply, AgentRequest, Heartbeat, LogFrom, LogPiece, LogRequest, LogStream,
    MachineReports,
};
pub use crate::kind::RequestKind;
use crate::task::TaskRequest;
use crate::usage::{MachineUsage, UsageView};
use crate::view::{Attempt, ConflictCount, Query, SchedulerView, StageTimes, Telemetry, View};

/// A request with its number on this stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the sender, from 1 on; the reply carries it back.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// A [`RequestFrame`] around a request that its sender keeps: the same bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RequestFrameRef<'a> {
    /// See [`RequestFrame::id`].
    pub id: u64,
    /// The request.
    pub request: &'a Request,
}

impl RequestFrame {
    /// The number of a request whose frame doesn't decode as a whole, so that its sender can be told which it was.
    pub fn id_of(message: &[u8]) -> Option<u64> {
        // The number comes first; a varint takes one, three, five or nine bytes.
        [1, 3, 5, 9].into_iter().find_map(|n| codec::decode(message.get(..n)?).ok())
    }
}

/// A reply with the number of its request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// The number of the request; 0 is for bytes from which no number could be read.
    pub id: u64,
    /// The reply, or why there is none.
    pub reply: Result<Reply, Refusal>,
}

/// Which entries a subscription carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// All of them: the copy equals the server's state, and its hash proves it.
    Full,
    /// Those about machines, sessions and settings, and those that touch jobs owned by this scheduler.
    Jobs {
        /// The scheduler's name.
        scheduler: String,
    },
    /// Those that touch the machines this agent has registered in this session.
    Machines,
}

/// What a party can ask of the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Who is there and how far it is.
    Status,
    /// Read the state, now or at an earlier position.
    Read {
        /// The position; `None` is now.
        at: Option<Seq>,
        /// What to read.
        query: Query,
    },
    /// The schedulers and how they fare.
    ListSchedulers,
    /// The latest transactions, newest first.
    ListAttempts {
        /// How many at most.
        limit: u32,
        /// Only those of this scheduler.
        scheduler: Option<String>,
        /// Only those about this job.
        job: Option<JobId>,
        /// Only those with a conflict.
        conflicts_only: bool,
    },
    /// One transaction.
    GetAttempt {
        /// Its id.
        txn: TxnId,
    },
    /// Conflicts counted by kind and by pair of schedulers.
    TopConflicts,
    /// Check every invariant of the state.
    Audit,
    /// Read a piece of a task's output from its agent.
    ReadLog(LogRequest),
    /// Introduce this scheduler process; its name is the certificate's.
    OpenSession {
        /// A number drawn at random when the process started.
        instance: u64,
    },
    /// Propose a transaction.
    Commit(Transaction),
    /// How this scheduler process fares.
    Telemetry(Telemetry),
    /// Introduce a machine.
    RegisterMachine {
        /// Its description.
        spec: MachineSpec,
        /// Which life of the agent's records this is.
        incarnation: u64,
    },
    /// Report what was seen of tasks.
    Report {
        /// The machine.
        machine: MachineId,
        /// Which life of the agent's records this is.
        incarnation: u64,
        /// The number of the first report.
        first: u64,
        /// What was seen.
        reports: Vec<Report>,
    },
    /// The spec of a job version that a placement names.
    GetSpec {
        /// The job.
        job: JobId,
        /// Its version.
        version: u32,
    },
    /// Submit a job.
    SubmitJob(JobSpec),
    /// Stop a job.
    StopJob {
        /// Its name.
        name: String,
    },
    /// Drain or undrain a machine.
    SetMachineState {
        /// Its name.
        machine: String,
        /// Its new state.
        state: MachineState,
        /// Microseconds that tasks have at most to end, when it is drained; `None` is what their jobs say.
        grace_us: Option<u64>,
    },
    /// Set or lift a quota.
    SetQuota {
        /// The team.
        team: String,
        /// The band.
        band: Band,
        /// The limit, or none.
        limit: Option<Resources>,
    },
    /// Change the cell's settings.
    Configure(CellConfig),
    /// Follow the log.
    Subscribe {
        /// Which entries.
        scope: Scope,
        /// The last position the subscriber has; `None` asks for a snapshot first.
        after: Option<Seq>,
    },
    /// Report what was seen on several machines: as many `Report`s, each of which takes effect or is refused alone.
    /// Together they may hold as many reports as one.
    Reports(Vec<MachineReports>),
    /// What processor time the stages of the server have used.
    Stages,
    /// A conversation with a task. It must be the only request of its stream.
    Task(TaskRequest),
    /// What the tasks of a machine use: kept by the server until the next time, and nowhere else.
    Usage(MachineUsage),
    /// What tasks use.
    ReadUsage {
        /// Only those of this machine; the name may be any unique prefix.
        machine: Option<String>,
        /// How many tasks at most: those that use most of a processor come first.
        limit: u32,
    },
}

impl Request {
    /// Its kind, for permissions and metrics.
    pub fn kind(&self) -> RequestKind {
        match self {
            Request::Status | Request::Stages => RequestKind::Status,
            Request::Read { .. } => RequestKind::Read,
            Request::ListSchedulers => RequestKind::ListSchedulers,
            Request::ListAttempts { .. } => RequestKind::ListAttempts,
            Request::GetAttempt { .. } => RequestKind::GetAttempt,
            Request::TopConflicts => RequestKind::TopConflicts,
            Request::Audit => RequestKind::Audit,
            Request::ReadLog(_) => RequestKind::ReadLog,
            Request::OpenSession { .. } => RequestKind::OpenSession,
            Request::Commit(_) => RequestKind::Commit,
            Request::Telemetry(_) => RequestKind::Telemetry,
            Request::RegisterMachine { .. } => RequestKind::RegisterMachine,
            Request::Report { .. } | Request::Reports(_) => RequestKind::Report,
            Request::GetSpec { .. } => RequestKind::GetSpec,
            Request::SubmitJob(_) => RequestKind::SubmitJob,
            Request::StopJob { .. } => RequestKind::StopJob,
            Request::SetMachineState { .. } => RequestKind::SetMachineState,
            Request::SetQuota { .. } => RequestKind::SetQuota,
            Request::Configure(_) => RequestKind::Configure,
            Request::Task(request) => request.act.kind(),
            Request::Usage(_) => RequestKind::Report,
            Request::ReadUsage { .. } => RequestKind::Read,
            Request::Subscribe { scope: Scope::Full, .. } => RequestKind::SubscribeFull,
            Request::Subscribe { scope: Scope::Jobs { .. }, .. } => RequestKind::SubscribeJobs,
            Request::Subscribe { scope: Scope::Machines, .. } => RequestKind::SubscribeMachines,
        }
    }
}

/// What the server answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Status`.
    Status(ServerStatus),
    /// To `Read`.
    View(Box<View>),
    /// To `ListSchedulers`.
    Schedulers(Vec<SchedulerView>),
    /// To `ListAttempts`.
    Attempts(Vec<Attempt>),
    /// To `GetAttempt`.
    Attempt(Box<Attempt>),
    /// To `TopConflicts`.
    Conflicts(Vec<ConflictCount>),
    /// To `Audit`: the position, and every violated invariant in words.
    Audit {
        /// The position.
        at: Seq,
        /// Empty when all is well.
        violations: Vec<String>,
    },
    /// To `ReadLog`.
    Log(LogPiece),
    /// To every request that changes the cell, but `Commit`: durable at this position.
    Done {
        /// The position of its entry, or of the state it found when nothing had to change.
        at: Seq,
        /// The answer.
        answer: Answer,
    },
    /// To `Commit`: durable at this position.
    Verdicts {
        /// The position of its entry: once a copy is there, it has seen the outcome.
        at: Seq,
        /// One per op.
        outcomes: Arc<[Outcome]>,
        /// The assertion that failed, if one did.
        failed_assertion: Option<Box<Conflict>>,
    },
    /// To `GetSpec`.
    Spec(Box<JobSpec>),
    /// To `Subscribe`: the number at the head of its stream.
    Subscribed {
        /// The number.
        subscription: u32,
    },
    /// To `Telemetry` and `Usage`.
    Noted,
    /// To `Reports`: an answer for each machine, in the order of the request; those that aren't refused are durable.
    Reported(Vec<Result<Acknowledged, Refusal>>),
    /// To `Stages`.
    Stages(StageTimes),
    /// To `Task`: the agent has been asked, and the rest of the stream is the conversation.
    Opened,
    /// To `ReadUsage`.
    Usage(Box<UsageView>),
}

/// Why there is no reply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The server has more to do than its bound allows: try again after a pause.
    #[error("the server is busy; try again")]
    Busy,
    /// The role may not do this.
    #[error("role {role} may not {what}; see docs/protocol.md for the permission table")]
    NotPermitted {
        /// The sender's role.
        role: String,
        /// The request's kind.
        what: String,
    },
    /// The request is wrong.
    #[error("{0}")]
    Rejected(Rejection),
    /// The request itself couldn't be read.
    #[error("unreadable request: {0}")]
    Malformed(String),
    /// The position asked for is no longer kept.
    #[error("seq {wanted} is no longer kept; the oldest is {oldest}")]
    TooOld {
        /// What was asked for.
        wanted: Seq,
        /// The oldest there is.
        oldest: Seq,
    },
    /// Another party that is needed for the answer can't be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Who is there and how far it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The cell's settings.
    pub config: CellConfig,
    /// The server's version.
    pub version: String,
    /// The last durable position.
    pub seq: Seq,
    /// The oldest position in the log.
    pub oldest: Seq,
    /// The position of the last verified checkpoint.
    pub checkpoint: Seq,
    /// When the server started.
    pub started: Time,
    /// Sessions by role, in the order of [`crate::Role::ALL`].
    pub sessions: Vec<u32>,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Plans that were wrong when they were made, since the start: an alarm when not zero.
    pub divergences: u64,
}
