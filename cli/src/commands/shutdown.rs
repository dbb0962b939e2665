//! When a long-running command is to stop: SIGTERM, Ctrl-C, or the end of standard input when its parent asked so.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// A future that ends when the process is asked to stop. Signals are caught from this call on.
///
/// # Errors
/// The signals can't be caught.
pub(crate) fn asked(with_stdin: bool) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    Ok(asked_or_orphaned(with_stdin)?.0)
}

/// The same, and a mark that is set when it ends because the parent process is gone.
///
/// # Errors
/// The signals can't be caught.
pub(crate) fn asked_or_orphaned(
    with_stdin: bool,
) -> Result<(impl Future<Output = ()> + Send + 'static, Arc<AtomicBool>), Failure> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let (ended, stdin) = oneshot::channel();
    // Held for ever without a parent to watch, so that it never fires.
    let mut ended = Some(ended);
    if let Some(ended) = ended.take_if(|_| with_stdin) {
        // A plain thread: a runtime would wait for its blocking read when it shuts down.
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while matches!(std::io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
            ended.send(()).ok();
        });
    }
    let orphaned = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&orphaned);
    let asked = async move {
        let _held = ended;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = stdin => mark.store(true, Ordering::Release),
        }
        tracing::info!("asked to stop");
    };
    Ok((asked, orphaned))
}
