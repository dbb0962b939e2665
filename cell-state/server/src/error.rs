//! What can go wrong with a server as a whole, and with one subscription.

use std::io;

use cell_state::admit::Rejection;
use cell_state::codec::DecodeError;
use cell_state::record::RecordError;
use transport_quic::{BindError, SendError};

use crate::checkpoint::DatabaseError;
use crate::log::{LogError, ReadError};
use crate::recovery::RecoveryError;
use crate::verify::VerifyError;

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory can't be opened, or is damaged.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The side log of attempts can't be opened.
    #[error(transparent)]
    Attempts(DatabaseError),
    /// The data directory can't be audited.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The address can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The cell's settings are wrong.
    #[error("the cell's settings: {0}")]
    Config(Rejection),
    /// The log failed: what was not durable was not acknowledged, and the server stops. The next start reads what is
    /// really on the disk.
    #[error("the log failed, so the server stopped: {0}")]
    Log(#[source] LogError),
    /// A stage of the server panicked.
    #[error("the {stage} thread panicked, so the server stopped; this is a bug")]
    Panicked {
        /// Which.
        stage: &'static str,
    },
    /// A thread can't be started.
    #[error("can't start the {stage} thread")]
    Thread {
        /// Which.
        stage: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl ServerError {
    /// The exit code of a process that ends with this error: 3 when the data directory has to be looked at before the
    /// next start, 4 when the log failed while running (start again: the log says what is durable), 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServerError::Recovery(_) => 3,
            ServerError::Log(_) => 4,
            ServerError::Attempts(_)
            | ServerError::Verify(_)
            | ServerError::Bind(_)
            | ServerError::Config(_)
            | ServerError::Panicked { .. }
            | ServerError::Thread { .. } => 1,
        }
    }
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The subscriber is gone.
    #[error(transparent)]
    Gone(#[from] SendError),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A record in memory is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The body of a record in memory is damaged.
    #[error(transparent)]
    Body(#[from] DecodeError),
    /// The work on it panicked.
    #[error("the work on it panicked; this is a bug")]
    Panicked,
}
