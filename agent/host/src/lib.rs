//! The agent process: it gives the pure [`agent`] a connection, a disk, a clock and processes. Steps 10 (run) and 11
//! (report) of a placement's life.
//!
//! ```text
//!   server ◀──requests── calls ◀──┐                     ┌──▶ exec driver ──▶ a shim per task
//!   server ──log────────▶ follow ─┼─▶ host: agent::Fleet ├──▶ simulated driver (no process)
//!   server ◀─heartbeats─ connector┘                     └──▶ records (sled, a thread of its own)
//! ```
//!
//! [`run`] plays one real machine or thousands of simulated ones, which differ in driver and records only. A real machine's
//! tasks outlive the agent: when it stops or crashes they go on, and the next one finds them again. Simulated machines keep
//! nothing: each start of their process is a new incarnation of them all.

mod artifacts;
pub mod bounds;
mod calls;
mod cgroups;
mod clock;
mod config;
mod connector;
mod conversation;
mod dns;
pub mod exec;
mod follow;
mod host;
mod isolation;
mod log_files;
pub mod log_read;
mod log_tail;
mod log_times;
mod process;
mod records;
mod reserve;
mod secrets;
pub mod shim;
mod simulated;
mod specs;
mod task_dir;
mod usage;

pub use artifacts::ArtifactSettings;
pub use config::{AgentConfig, AgentError, GivenSettings, Machines};
pub use host::run;
pub use isolation::Settings as IsolationSettings;
pub use records::RecordsError;
