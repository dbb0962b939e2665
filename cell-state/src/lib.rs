//! The truth of a cell, pure: types, the one fit rule, commit, apply, snapshots and the audit.
//!
//! No clock, no disk, no socket, no thread, no hidden randomness: time and bytes are inputs, so the same log gives
//! the same state everywhere. [`Cell::apply`] is total and deterministic; [`commit::judge`] only reads; a lost race is
//! a [`verdict::Conflict`] (a value), a bad request a [`admit::Rejection`] (an error).

pub mod admit;
pub mod audit;
pub mod bounds;
pub mod cell;
pub mod codec;
pub mod commit;
pub mod constraint;
pub mod endpoint;
pub mod event;
pub mod fit;
pub mod ids;
pub mod job;
pub mod lifecycle;
pub mod machine;
pub mod overlay;
pub mod page;
pub mod quota;
pub mod record;
pub mod resources;
pub mod scope;
pub mod session;
pub mod task;
pub mod transaction;
pub mod validate;
pub mod verdict;

pub use cell::Cell;
pub use ids::{Epoch, JobId, MachineId, Seq, SessionId, TaskId, Time, TxnId};
pub use resources::{Dimension, Resources};
