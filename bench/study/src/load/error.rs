//! What ends a load early.

use std::io;

use tokio::task::JoinError;
use transport_quic::{BindError, CallError, ConnectError};

/// Why a load could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused, or the connection broke.
    #[error("{what}: {source}")]
    Call {
        /// What was asked for.
        what: &'static str,
        /// Why it was not had.
        source: CallError,
    },
    /// A job was refused.
    #[error(transparent)]
    Submit(#[from] crate::live::SubmitError),
    /// The server answered another question than was asked.
    #[error("{0}: the server's answer does not fit the question; are client and server of one version?")]
    Answer(&'static str),
    /// A placement that nothing can stand in the way of was not made.
    #[error("a placement was not made: {0}")]
    NotPlaced(String),
    /// A copy ended.
    #[error("a copy of the cell ended: {0}")]
    Copy(String),
    /// The echo of the limit's measurement can't be started.
    #[error(transparent)]
    Echo(#[from] BindError),
    /// The disk's limit can't be measured, or a thread can't be started.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// A phase took longer than it may.
    #[error("{what} took longer than {seconds} s")]
    Late {
        /// What it was.
        what: &'static str,
        /// How long it may take.
        seconds: u64,
    },
    /// A part of the load was cut off: this process is shutting down.
    #[error("a part of the load was cut off: {0}")]
    CutOff(#[from] JoinError),
}

impl LoadError {
    /// Names what a call was for.
    pub(crate) fn call(what: &'static str) -> impl Fn(CallError) -> LoadError {
        move |source| LoadError::Call { what, source }
    }

    /// Names what was asked of the operating system.
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> LoadError {
        move |source| LoadError::System { what, source }
    }
}
