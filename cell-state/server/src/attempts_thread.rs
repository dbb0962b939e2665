//! The attempts thread: writes the side log to the disk, behind everybody's back.
//!
//! Best effort: nobody waits for it, and when it can't write, the side log is shorter after the next start.

use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::attempts::Attempts;
use crate::bounds::ATTEMPTS_FLUSH_EVERY;
use crate::stages::{Stage, Stages};

/// Writes at intervals until `stop` is dropped, and then once more.
pub(crate) fn run(attempts: &Attempts, stages: &Stages, stop: &Receiver<()>) {
    let mut clock = stages.clock();
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(ATTEMPTS_FLUSH_EVERY) {
        save(attempts);
        clock.lap(Stage::SideLog);
    }
    save(attempts);
    if let Err(error) = attempts.flush() {
        tracing::warn!(%error, "the end of the side log of attempts may be missing");
    }
}

fn save(attempts: &Attempts) {
    if let Err(error) = attempts.save() {
        tracing::warn!(%error, "the side log of attempts can't be written");
    }
}
