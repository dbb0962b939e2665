//! The checkpoint thread: keeps the cell at rest up to date, and lets go of the log that is no longer needed.
//!
//! It writes the pages that changed since the last time, which the mirror's archive hands out without a lock on the
//! state, so its pace is nobody's concern. Only a checkpoint that is durable and verified lets the log be trimmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::checkpoint::Checkpoints;
use crate::fatal::Fatal;
use crate::log::LogReader;
use crate::log_thread::Trim;
use crate::mirror::Mirror;
use crate::stages::{Stage, Stages};

/// The thread's own state.
pub(crate) struct CheckpointThread {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) log: LogReader,
    pub(crate) trim: Arc<Trim>,
    pub(crate) saved: Arc<AtomicU64>,
    pub(crate) fatal: Arc<Fatal>,
    pub(crate) stages: Arc<Stages>,
    pub(crate) every: Duration,
    pub(crate) retain_log_bytes: u64,
    pub(crate) stop: Receiver<()>,
}

impl CheckpointThread {
    /// Saves at intervals and, unless the server failed, once more at the end.
    pub(crate) fn run(mut self) {
        let stages = Arc::clone(&self.stages);
        let mut clock = stages.clock();
        while let Err(RecvTimeoutError::Timeout) = self.stop.recv_timeout(self.every) {
            self.save();
            clock.lap(Stage::Checkpoint);
        }
        if !self.fatal.is_reported() {
            self.save();
        }
    }

    fn save(&mut self) {
        let unsaved = self.mirror.take_unsaved(self.checkpoints.needs_all());
        let (seq, hash) = (unsaved.snapshot.seq, unsaved.snapshot.hash);
        if seq.0 <= self.saved.load(Ordering::Acquire) && !self.checkpoints.needs_all() {
            return self.mirror.put_back(&unsaved);
        }
        let span = tracing::debug_span!("checkpoint", seq = seq.0, pages = unsaved.pages.len());
        let _entered = span.enter();
        match self.checkpoints.save(seq, hash, &unsaved.pages) {
            Ok(()) => {
                self.saved.store(seq.0, Ordering::Release);
                self.trim();
            }
            Err(error) => {
                // Nothing is lost: the log is kept, and the next save writes the same pages again.
                tracing::error!(%error, "the checkpoint can't be saved; the log is kept");
                self.mirror.put_back(&unsaved);
            }
        }
    }

    fn trim(&self) {
        let needless = self.checkpoints.trim_to();
        let retained = self.log.oldest_within(self.retain_log_bytes);
        self.trim.allow(needless.min(cell_state::Seq(retained.0.saturating_sub(1))));
    }
}
