//! Fail-stop: what the server can't go on from, told once and to the one who stops it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::ServerError;

/// Where the stages report that they can't go on. The first report counts.
#[derive(Default)]
pub(crate) struct Fatal {
    first: Mutex<Option<ServerError>>,
    told: Notify,
}

impl Fatal {
    /// Reports an error that ends the server.
    pub(crate) fn report(&self, error: ServerError) {
        tracing::error!(%error, "the server stops");
        self.first.lock().get_or_insert(error);
        self.told.notify_one();
    }

    /// Waits for a report.
    pub(crate) async fn reported(&self) {
        self.told.notified().await;
    }

    /// Whether something was reported.
    pub(crate) fn is_reported(&self) -> bool {
        self.first.lock().is_some()
    }

    /// The first report, if there was one.
    pub(crate) fn take(&self) -> Option<ServerError> {
        self.first.lock().take()
    }
}

/// Starts a stage of the server as a thread. A stage that panics stops the server: the others must not go on with
/// half of it.
pub(crate) fn stage(
    name: &'static str,
    fatal: &Arc<Fatal>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, ServerError> {
    let fatal = Arc::clone(fatal);
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            fatal.report(ServerError::Panicked { stage: name });
        }
    };
    let thread = thread::Builder::new().name(format!("ohm-{name}"));
    thread.spawn(guarded).map_err(|source| ServerError::Thread { stage: name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_panics_is_reported() {
        let fatal = Arc::new(Fatal::default());
        let thread = stage("commit", &fatal, || panic!("on purpose")).unwrap();
        thread.join().unwrap();
        assert!(matches!(fatal.take(), Some(ServerError::Panicked { stage: "commit" })));
    }
}
