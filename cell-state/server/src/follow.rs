//! Full subscriptions: one task each, that pulls from the ring or the log.

use std::sync::Arc;

use cell_state::Seq;
use transport_quic::SubscriptionWriter;

use crate::catch_up::{self, Next, Position, SnapshotRecords};
use crate::error::FollowError;
use crate::server::Server;

/// Serves one subscription until its connection ends.
pub(crate) async fn follow(
    server: &Arc<Server>,
    writer: &mut SubscriptionWriter,
    after: Option<Seq>,
) -> Result<(), FollowError> {
    let mut watch = server.ring.watch();
    let mut position = after.map_or(Position::Nowhere, Position::After);
    loop {
        watch.borrow_and_update();
        let (next, moved) = catch_up::next(&server.ring, &server.log, position).await?;
        position = moved;
        match next {
            Next::Snapshot => {
                let snapshot = server.mirror.snapshot();
                position = Position::After(snapshot.seq);
                for records in SnapshotRecords::new(snapshot) {
                    writer.send(records?).await?;
                }
            }
            Next::Records(pieces) => {
                for piece in pieces {
                    writer.send(piece).await?;
                }
            }
            Next::Wait => tokio::select! {
                changed = watch.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = writer.closed() => return Ok(()),
            },
        }
    }
}
