//! Everything that ends a command early, and the exit code of each way to end.

use std::io;
use std::process::ExitCode;

use transport::message::Refusal;
use transport_quic::CallError;
use transport_quic::pki::PkiError;

use crate::copy::CopyError;
use crate::job_file::JobFileError;
use crate::local_cell::LocalCellError;

/// How a command ended. The numbers are part of the interface: docs/cli.md lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// As wanted.
    Well,
    /// `job run`: not all tasks were placed in time.
    NotPlaced,
    /// `job plan`: submitting the file would change something.
    WouldChange,
    /// `job run --wait`: a task failed.
    TaskFailed,
    /// `task exec`: the command ended with this code.
    Exited(u8),
    /// By Ctrl-C, while something was followed.
    Interrupted,
    /// `audit`, `server verify`: something is wrong with the cell. `study golden`: a result differs. `study check`: the
    /// tables are wrong.
    Unsound,
}

impl Ended {
    /// The exit code.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Ended::Well => 0,
            Ended::Unsound => 1,
            Ended::NotPlaced | Ended::WouldChange => 2,
            Ended::TaskFailed => 3,
            Ended::Exited(code) => code,
            // As shells say it: 128 and the number of the signal.
            Ended::Interrupted => 130,
        })
    }
}

/// Why a command could not do its work. The exit code is 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was typed can't be meant.
    #[error("{0}")]
    Input(String),
    /// A job file is wrong.
    #[error("{file}: {error}")]
    JobFile {
        /// The file, `-` for standard input.
        file: String,
        /// What is wrong.
        error: JobFileError,
    },
    /// A file can't be read or written.
    #[error("{act} {path}")]
    File {
        /// What was tried ("can't read").
        act: &'static str,
        /// The path.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// Certificates can't be made, read or used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No connection to the server.
    #[error("can't reach the server at {server}: {reason}")]
    Unreachable {
        /// Its address.
        server: String,
        /// The reason.
        reason: String,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection broke and did not come back.
    #[error("the connection to the server broke and did not come back: {0}")]
    Lost(String),
    /// The server answered another question than was asked.
    #[error("the server's answer does not fit the question ({0}); are client and server of one version?")]
    Answer(&'static str),
    /// The task's agent couldn't do it.
    #[error("{0}")]
    Task(String),
    /// The copy of the cell can't be made.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A demo or a measurement could not go on.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// A load could not go on.
    #[error(transparent)]
    Load(#[from] study::load::LoadError),
    /// Golden results can't be read.
    #[error(transparent)]
    Golden(#[from] study::golden::GoldenError),
    /// A study can't be run.
    #[error(transparent)]
    Study(#[from] study::experiment::StudyError),
    /// A trace can't be read.
    #[error(transparent)]
    Trace(#[from] study::traces::ReadError),
    /// The local cell can't be started.
    #[error(transparent)]
    LocalCell(#[from] LocalCellError),
    /// The server can't start, or stopped because of an error.
    #[error(transparent)]
    Server(#[from] cell_server::ServerError),
    /// The scheduler can't start, or stopped because of an error.
    #[error(transparent)]
    Scheduler(#[from] scheduler_runtime::RuntimeError),
    /// The agent can't start, or stopped because of an error.
    #[error(transparent)]
    Agent(#[from] agent_host::AgentError),
    /// Results can't be written.
    #[error("can't write the result")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A file can't be read.
    pub(crate) fn read(path: &std::path::Path, source: io::Error) -> Failure {
        Failure::File { act: "can't read", path: path.display().to_string(), source }
    }

    /// A file can't be written.
    pub(crate) fn write(path: &std::path::Path, source: io::Error) -> Failure {
        Failure::File { act: "can't write", path: path.display().to_string(), source }
    }

    /// The exit code of the process. Only a server tells its errors apart, for those who restart it.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Failure::Server(error) => ExitCode::from(error.exit_code()),
            Failure::Input(_)
            | Failure::JobFile { .. }
            | Failure::File { .. }
            | Failure::Pki(_)
            | Failure::Unreachable { .. }
            | Failure::Refused(_)
            | Failure::Lost(_)
            | Failure::Answer(_)
            | Failure::Task(_)
            | Failure::Copy(_)
            | Failure::LocalCell(_)
            | Failure::Demo(_)
            | Failure::Load(_)
            | Failure::Golden(_)
            | Failure::Study(_)
            | Failure::Trace(_)
            | Failure::Scheduler(_)
            | Failure::Agent(_)
            | Failure::Output(_) => ExitCode::from(1),
        }
    }

    /// The act that failed and its causes, in one line.
    pub(crate) fn told(&self) -> String {
        told(self)
    }

    /// True when the reader of our output went away (`ohm job list | head`), which is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Refused(refusal) => Failure::Refused(refusal),
            CallError::Lost(reason) => Failure::Lost(reason),
        }
    }
}

/// An error and its causes, in one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
