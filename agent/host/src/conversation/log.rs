//! A task's output, as it is written.

use transport::bounds::CONVERSATION_PIECE_BYTES;
use transport::message::LogStream;
use transport::task::{FromTask, LogStart};

use super::{Problem, Reader, Writer, gone};
use crate::bounds::FOLLOW_LOG_EVERY;
use crate::clock;
use crate::log_tail::Tail;
use crate::task_dir::TaskDir;

/// Sends what is there and, if it is to be followed, what comes until the task has ended.
pub(super) async fn follow(
    dir: TaskDir,
    stream: LogStream,
    from: LogStart,
    follow: bool,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    tokio::select! {
        sent = send(dir, stream, from, follow, writer) => sent,
        () = gone(reader) => Ok(None),
    }
}

async fn send(
    dir: TaskDir,
    stream: LogStream,
    from: LogStart,
    follow: bool,
    writer: &Writer,
) -> Result<Option<FromTask>, Problem> {
    let path = dir.path().to_owned();
    let failed = |error| format!("can't read the output in {}: {error}", path.display());
    let (at, looked) = (path.clone(), clock::wall());
    let mut tail = blocking(move || Tail::open(at, stream, from, looked)).await?.map_err(failed)?;
    loop {
        // Asked before the files are read: what was written before the end is in them by now.
        let look = dir.clone();
        let ended = blocking(move || look.exit()).await?.map_err(failed)?.is_some();
        loop {
            let (next, piece) = blocking(move || {
                let piece = tail.next(4 * CONVERSATION_PIECE_BYTES);
                (tail, piece)
            })
            .await?;
            tail = next;
            let Some((mut offset, bytes)) = piece.map_err(failed)? else { break };
            for bytes in bytes.chunks(CONVERSATION_PIECE_BYTES) {
                if writer.send(FromTask::Log { offset, bytes: bytes.to_vec() }).await.is_err() {
                    return Ok(None);
                }
                offset += bytes.len() as u64;
            }
        }
        if ended || !follow {
            return Ok(Some(FromTask::Done));
        }
        tokio::time::sleep(FOLLOW_LOG_EVERY).await;
    }
}

/// Does what may wait for the disk on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "the agent is stopping".to_owned())
}
