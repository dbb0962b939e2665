//! The server of a cell: the one process that owns the shared state.
//!
//! [`run`] is all there is to call. Inside, a request that changes the cell passes four stages, each on a thread of
//! its own with a bounded queue in front: the commit thread judges, the log thread makes durable, publish tells; the
//! mirror is what everybody reads. See [`ServerConfig`] for the settings, `docs/operating.md` for how to run one.

pub mod attempts;
pub mod bounds;
pub mod checkpoint;
pub mod data_dir;
pub mod log;
pub mod recovery;
pub mod verify;

mod answers;
mod attempts_thread;
mod care;
mod catch_up;
mod checkpoint_thread;
mod clock;
mod commit_thread;
mod config;
mod connection;
mod conversations;
mod error;
mod fatal;
mod feeds;
mod follow;
mod follow_jobs;
mod follow_machines;
mod forgetting;
mod group;
mod intake;
mod liveness;
mod log_thread;
mod memory;
mod mirror;
mod publish;
mod reads;
mod requests;
mod ring;
mod server;
mod sessions;
mod stages;
mod stats;
mod touches;
mod usage;
mod verdicts;

pub use config::ServerConfig;
pub use error::ServerError;
pub use server::run;
pub use verify::VerifyReport;

/// Audits the data directory of a server that isn't running, without changing it.
///
/// # Errors
/// The directory can't be read at all; what is wrong inside it is in the report.
pub fn verify(dir: &std::path::Path) -> Result<VerifyReport, ServerError> {
    Ok(verify::verify(dir)?)
}
