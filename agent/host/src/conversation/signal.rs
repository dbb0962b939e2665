//! Signals to a task's main process.

use agent::PlacementId;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Problem;
use crate::process::Identity;

/// Sends a signal by its number. The process is held first, so that no other can be meant.
pub(super) fn send(id: PlacementId, process: Identity, number: i32) -> Result<(), Problem> {
    let signal = Signal::from_named_raw(number).ok_or_else(|| format!("signal: {number} is no signal"))?;
    let ended = || format!("task {id} has ended");
    let pid = process.pid().ok_or_else(ended)?;
    let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|held| match process.is_alive() {
        true => pidfd_send_signal(&held, signal),
        false => Err(Errno::SRCH),
    });
    sent.map_err(|error| match error {
        Errno::SRCH => ended(),
        error => format!("can't signal task {id}: {error}"),
    })?;
    tracing::info!(placement = %id, number, "signal on request");
    Ok(())
}
