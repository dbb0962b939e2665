//! Full subscriptions, and those to one scheduler's jobs: one task each, that pulls from the ring or the log.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cell_state::record::{self, Kind};
use cell_state::{Cell, Seq};
use transport_quic::SubscriptionWriter;

use crate::catch_up::{self, Next, Position, SnapshotRecords};
use crate::error::FollowError;
use crate::server::Server;
use crate::touches;

/// Which records a subscriber gets.
pub(crate) enum Filter {
    /// All of them, as they are in the log.
    Everything,
    /// Those that concern the jobs of this scheduler.
    Jobs(String),
}

/// Serves one subscription until its connection ends.
pub(crate) async fn follow(
    server: &Arc<Server>,
    writer: &mut SubscriptionWriter,
    filter: &Filter,
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
                    writer.send(records).await?;
                }
            }
            Next::Records(pieces) => {
                for piece in pieces {
                    send(server, writer, filter, piece).await?;
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

async fn send(
    server: &Arc<Server>,
    writer: &mut SubscriptionWriter,
    filter: &Filter,
    piece: Bytes,
) -> Result<(), FollowError> {
    let kept = match filter {
        Filter::Everything => piece,
        Filter::Jobs(scheduler) => concerning(&server.mirror.read(), scheduler, &piece)?,
    };
    if !kept.is_empty() {
        writer.send(kept).await?;
    }
    Ok(())
}

/// The records of `piece` that concern the jobs of `scheduler`. Marks stay, without their hash: this subscriber's copy
/// isn't the whole state.
fn concerning(cell: &Cell, scheduler: &str, piece: &[u8]) -> Result<Bytes, FollowError> {
    let mut kept = BytesMut::new();
    let mut rest = piece;
    while let Some((record, length)) = record::read(rest)? {
        let (whole, later) = rest.split_at(length);
        rest = later;
        match record.kind {
            Kind::Event => {
                if touches::concerns(cell, scheduler, &record.event()?) {
                    kept.extend_from_slice(whole);
                }
            }
            Kind::Mark => {
                let mut mark = Vec::new();
                record::append_hash(&mut mark, record.seq, Kind::Mark, None);
                kept.extend_from_slice(&mark);
            }
            Kind::SnapshotStart | Kind::Page | Kind::SnapshotEnd => kept.extend_from_slice(whole),
        }
    }
    Ok(kept.freeze())
}
