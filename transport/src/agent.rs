//! The messages between the server and an agent: output of tasks, heartbeats, reports about several machines.

use cell_state::event::Report;
use cell_state::{Epoch, MachineId, Seq, TaskId};
use serde::{Deserialize, Serialize};

use crate::task::TaskRequest;

/// Which piece of a task's output is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRequest {
    /// The task.
    pub task: TaskId,
    /// The placement; 0 means the latest.
    pub epoch: Epoch,
    /// Which output.
    pub stream: LogStream,
    /// Where to start.
    pub from: LogFrom,
    /// How many bytes at most.
    pub limit: u32,
}

/// Where in a task's output to start. Offsets count from its first byte, rotated files included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFrom {
    /// At this offset.
    Offset(u64),
    /// This many bytes before the end.
    End(u64),
}

/// Which output of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a task's output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogPiece {
    /// The offset of its first byte: later than asked for when older files were rotated away.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the task has ended, so that nothing will follow once this is read to the end.
    pub ended: bool,
}

/// What the server can ask of an agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AgentRequest {
    /// Read a piece of a task's output.
    ReadLog {
        /// The name of the machine.
        machine: String,
        /// Which piece.
        request: LogRequest,
    },
    /// A conversation with a task: the rest of the stream, both ways, in [`Hop`](crate::task::Hop)s.
    Task {
        /// The name of the machine.
        machine: String,
        /// What is wanted.
        request: TaskRequest,
    },
}

/// What an agent answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AgentReply {
    /// To `ReadLog`.
    Log(LogPiece),
    /// Why there is none.
    Failed(String),
}

/// A heartbeat datagram: the sender and every machine it registered in this session are alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts up from 1 in each session.
    pub number: u64,
}

/// What was seen on one machine: see [`Request::Report`](crate::message::Request::Report).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineReports {
    /// The machine.
    pub machine: MachineId,
    /// Which life of the agent's records this is.
    pub incarnation: u64,
    /// The number of the first report.
    pub first: u64,
    /// What was seen.
    pub reports: Vec<Report>,
}

/// The answer to one machine's reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The position that holds them.
    pub at: Seq,
    /// The last report in the cell.
    pub upto: u64,
}
