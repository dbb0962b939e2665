//! Conversations with a task, through the server: its output as it is written, a command beside it, its files, signals.
//!
//! A party opens a stream of its own for each: the first message is an ordinary request, and once it is granted the
//! stream carries [`ToTask`] one way and [`FromTask`] the other. The server passes them on between that stream and one
//! to the agent of the task's machine, where each message is in a [`Hop`], so that neither end can be given more than
//! `transport::bounds::CONVERSATION_WINDOW` bytes that it hasn't passed on.

use cell_state::task::Exit;
use cell_state::{Epoch, TaskId, Time};
use serde::{Deserialize, Serialize};

use crate::agent::LogStream;
use crate::message::RequestKind;

/// What is wanted of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskRequest {
    /// The task.
    pub task: TaskId,
    /// The placement; 0 means the latest.
    pub epoch: Epoch,
    /// What is wanted.
    pub act: TaskAct,
}

/// What can be wanted of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TaskAct {
    /// Its output.
    FollowLog {
        /// Which.
        stream: LogStream,
        /// Where to start.
        from: LogStart,
        /// Whether to go on until the task has ended; otherwise until what is there has been read.
        follow: bool,
    },
    /// A command where the task is: its namespaces, its limits, its user, its environment.
    Exec {
        /// The command and its arguments.
        command: Vec<String>,
        /// The terminal it gets, or none.
        terminal: Option<Terminal>,
        /// Whether it gets the input that is sent; otherwise it has none.
        input: bool,
    },
    /// What is in a directory.
    ListFiles {
        /// Its path, from the task's working directory.
        path: String,
    },
    /// What is in a file.
    ReadFile {
        /// Its path, from the task's working directory.
        path: String,
    },
    /// A signal to its main process.
    Signal {
        /// Its number.
        signal: i32,
    },
}

/// Where in a task's output to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogStart {
    /// At this offset from its first byte, or at the first byte that is still kept.
    Offset(u64),
    /// So many bytes before the end.
    Bytes(u64),
    /// So many lines before the end.
    Lines(u64),
    /// At what was written in the last so many microseconds.
    Last(u64),
}

/// A terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terminal {
    /// What it is, for the variable TERM.
    pub kind: String,
    /// Its size.
    pub window: Window,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

/// What a party sends once its request is granted. When it ends its stream it is gone, and what was started for it ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToTask {
    /// Input of a command.
    Input(Vec<u8>),
    /// There is no more input.
    InputEnd,
    /// Its terminal has another size now.
    Resize(Window),
}

/// What comes back. `Done`, `Exited`, `Failed` and `Lost` are the last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromTask {
    /// Output of the task. Where an offset is later than the end of the piece before, what was between was rotated away.
    Log {
        /// The offset of its first byte.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Output of a command.
    Output {
        /// Which.
        stream: LogStream,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Some of the entries of a directory.
    Files(Vec<FileRow>),
    /// A piece of a file.
    Piece(Vec<u8>),
    /// All was sent, or done.
    Done,
    /// The command has ended.
    Exited(Exit),
    /// It can't be done.
    Failed(String),
    /// The agent can't be reached any more: what was asked for may be asked for again.
    Lost(String),
}

impl FromTask {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        match self {
            FromTask::Done | FromTask::Exited(_) | FromTask::Failed(_) | FromTask::Lost(_) => true,
            FromTask::Log { .. } | FromTask::Output { .. } | FromTask::Files(_) | FromTask::Piece(_) => false,
        }
    }
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRow {
    /// Its name; what is no UTF-8 in it is replaced.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its length.
    pub bytes: u64,
    /// When it was last changed.
    pub modified: Time,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    Link,
    /// A device, a socket, a pipe.
    Other,
}

impl FileKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Link => "link",
            FileKind::Other => "other",
        }
    }
}

/// A message between the server and an agent, or the word that so many bytes of earlier ones have been passed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Hop<T> {
    /// A message.
    Message(T),
    /// Bytes of frames of messages, prefixes included, that have been passed on: the other end may send as many more.
    Credit(u32),
}

impl TaskAct {
    /// The kind of the request, for permissions.
    pub fn kind(&self) -> RequestKind {
        match self {
            TaskAct::FollowLog { .. } => RequestKind::FollowLog,
            TaskAct::Exec { .. } => RequestKind::TaskExec,
            TaskAct::ListFiles { .. } | TaskAct::ReadFile { .. } => RequestKind::TaskFiles,
            TaskAct::Signal { .. } => RequestKind::TaskSignal,
        }
    }
}
