//! A full copy of the cell in this process, for `job why`, `job plan` and `quota list`: the snapshot that a scheduler
//! gets, restored and checked by the same code.

use cell_state::Cell;
use cell_state::record::RecordError;
use schedulers::copy::{Copy, CopyError as Broken, Step};
use transport::{Reply, Request, Scope};
use transport_quic::{CallError, Client};

/// A copy that can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The server refused, or the connection broke.
    #[error("can't copy the cell")]
    Call(#[from] CallError),
    /// The stream holds something that is no record.
    #[error("can't copy the cell")]
    Record(#[from] RecordError),
    /// The stream doesn't make a cell, or another one than the server's.
    #[error("can't copy the cell")]
    Broken(#[from] Broken),
    /// The stream ended first.
    #[error("can't copy the cell: the server ended the stream")]
    Ended,
}

/// Copies the whole cell, at least as new as this question. The snapshot's hash equals the server's.
///
/// # Errors
/// The server refuses, the connection breaks, or the copy differs.
pub(crate) async fn copy(client: &Client) -> Result<Cell, CopyError> {
    let upto = match client.call(Request::Status).await? {
        Reply::Status(status) => status.seq,
        _ => return Err(CopyError::Ended),
    };
    let mut subscription = client.subscribe(Scope::Full, None).await?;
    let mut copy = Copy::new();
    while let Some(bytes) = subscription.next().await? {
        let mut rest = &bytes[..];
        while let Some(step) = copy.take(&mut rest)? {
            match step {
                // The snapshot may be a little older than the log's end; the entries since then follow it.
                Step::Event(seq, event) => {
                    if let Some(cell) = copy.cell_mut() {
                        cell.apply(seq, &event);
                    }
                }
                Step::Restored | Step::Loads(..) | Step::Checked(..) | Step::Nothing => {}
            }
        }
        if copy.seq().is_some_and(|seq| seq >= upto) {
            return copy.into_cell().ok_or(CopyError::Ended);
        }
    }
    Err(CopyError::Ended)
}
