//! The scheduler SDK: give [`run`] a policy and it is a scheduler process of a cell.
//!
//! ```text
//!                ┌──────────── Process ────────────┐
//!  subscription ─┼─▶ Copy ──▶ Scheduler ──▶ policy │
//!                │    ▲            │               │
//!   transactions ◀────┼────────────┘               │
//!        answers ─┼───┘ (the copy shows the rest)  │
//!                └─────────────────────────────────┘
//! ```
//!
//! The process keeps a copy of the cell ([`View`]), decides on it alone, and proposes transactions; see
//! docs/writing-a-scheduler.md. It survives the loss of its server: it connects again for ever, resumes its session and
//! its place in the log, and sends again, unchanged, what has no answer. All deciding is in the pure package
//! `schedulers`; here are the connection, the clock and the waiting.

pub mod bounds;
mod calls;
mod clock;
mod config;
mod connect;
mod process;
mod serve;

use std::future::Future;

pub use config::{Config, RuntimeError, Summary, View};
use connect::Pauses;
use process::Process;
use schedulers::Policy;
use serve::Ended;

/// Runs a scheduler process with this policy until `shutdown` is ready. Works on any tokio runtime with IO and time; a
/// current-thread one is enough.
///
/// # Errors
/// It can't start: the server refuses its credentials or its role.
pub async fn run(
    policy: Box<dyn Policy>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RuntimeError> {
    let mut process = Process::new(policy, &config);
    let mut pauses = Pauses::new(process.instance);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let worked_before = process.summary().connections > 0;
        let connecting = connect::connect(&config, process.instance, &mut pauses, worked_before);
        let opened = tokio::select! {
            () = shutdown.as_mut() => return Ok(process.summary()),
            opened = connecting => opened?,
        };
        tracing::info!(server = %config.server, session = opened.session.0, "connected");
        pauses.reset();
        match serve::serve(&mut process, opened, &mut shutdown).await {
            Ended::Asked => return Ok(process.summary()),
            Ended::Lost(reason) => tracing::warn!(%reason, "lost the server; connecting again"),
        }
        pauses.pause().await;
    }
}
