//! Desired against running: what the agent of one machine does next. Steps 10 (run) and 11 (report) of a
//! placement's life.
//!
//! The cell is right about what should run; the agent is right about what did run. [`Agent`] is a state machine with
//! three doors: [`Agent::handle`] takes what happened, [`Agent::poll`] gives what to do, [`Agent::next_timeout`] says
//! when to call again though nothing happens. It has no clock, no disk and no process: a recorded list of inputs is a
//! replay. [`Fleet`] holds many of them and gives each the part of the log that concerns it.
//!
//! One placement (a task at an epoch) on its machine:
//!
//! ```text
//!      spec and data here, victims gone,      intent             process
//!             the fit rule passes             durable            there
//!   Waiting ────────────────────▶ Recording ─────────▶ Starting ────────▶ Running ◀── found again
//!      │                             │                    │                  │        at start
//!      │ asked to stop: never        │ the same           │ failed to start  │ gone, by itself
//!      │ started                     │                    │                  │ or stop ▶ grace ▶ kill
//!      ▼                             ▼                    ▼                  ▼
//!    Ended: exit recorded with its numbered report ── acknowledged ──▶ forgotten
//! ```
//!
//! What holds, whatever crashes when:
//! - A placement is started at most once. Its intent is durable before its start; after a restart of the agent an intent
//!   without a process and without a result is reported as [`Unseen`](cell_state::task::Exit::Unseen), never started.
//! - Reports are numbered from 1 without gaps per incarnation, durable before they are sent, and kept until acknowledged.
//! - `Ended` is reported when the process and all it started are gone, not before.
//! - A process whose placement isn't assigned to this machine is stopped, then killed.

mod admission;
mod agent;
pub mod bounds;
mod cut_off;
mod doors;
mod due;
mod fleet;
mod follow;
mod kept;
mod outbox;
mod placement;
mod processes;
mod reconcile;
mod spec;

pub use agent::Agent;
pub use doors::{Input, Output, Refused, Setup, Signal, Start};
pub use fleet::Fleet;
pub use follow::{Change, Target, changes};
pub use kept::{Found, Intent, Kept, Record, Write};
pub use placement::PlacementId;
pub use spec::Spec;
