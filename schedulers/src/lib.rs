//! Policies, plans, the queue of pending work and the digestion of verdicts, all pure: time, chance and the log are
//! inputs, so the same inputs give the same decisions, in production, in a simulator and in a test.
//!
//! Whoever writes a policy needs [`policy::Policy`] and [`plan::Plan`], and [`sandbox::Sandbox`] to try it; see
//! docs/writing-a-scheduler.md. [`scheduler::Scheduler`] is the deciding part of a scheduler process, which the runtime
//! drives; [`copy::Copy`] builds a copy of the cell from a subscription; [`explain`](mod@explain) and
//! [`preview`](mod@preview) answer people.

pub mod batch;
pub mod bounds;
pub mod choices;
pub mod class;
pub mod columns;
pub mod copy;
pub mod digest;
pub mod effects;
pub mod exclude;
pub mod explain;
mod flights;
pub mod gang;
pub mod mapreduce;
pub mod offer;
pub mod pace;
pub mod plan;
pub mod policy;
pub mod preempt;
pub mod preview;
pub mod queue;
pub mod rendezvous;
pub mod sandbox;
pub mod scheduler;
pub mod score;
pub mod service;
pub mod settings;
pub mod sight;
pub mod stats;

pub use plan::{Plan, Unfit};
pub use policy::{Policy, built_in};
pub use scheduler::Scheduler;
