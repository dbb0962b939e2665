//! When a long-running command is to stop: SIGTERM, Ctrl-C, or the end of standard input when its parent asked so.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// A future that ends when the process is asked to stop. Signals are caught from this call on.
///
/// # Errors
/// The signals can't be caught.
pub(crate) fn asked(with_stdin: bool) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let (ended, stdin) = oneshot::channel();
    if with_stdin {
        // A plain thread: a runtime would wait for its blocking read when it shuts down.
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while matches!(std::io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
            ended.send(()).ok();
        });
    } else {
        // Never fires, and must not count as fired.
        std::mem::forget(ended);
    }
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = stdin => {}
        }
        tracing::info!("asked to stop");
    })
}
