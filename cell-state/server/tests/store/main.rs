//! The log, the checkpoints and recovery on disks that fail, lose power and rot.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod checkpoints;
mod full_disk;
mod history;
mod log_damage;
mod log_faults;
mod recovering;
mod script;
mod server;
