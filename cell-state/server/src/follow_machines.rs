//! Machine subscriptions: what an agent follows. Step 9 (stream) of a placement's life.
//!
//! A subscription covers the machines that its connection registered; one that registers later joins it, with a fresh
//! snapshot of all of them in mid-stream. The snapshot is small (what each machine is to run), so an agent that is too
//! far behind gets one rather than the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::event::Event;
use cell_state::page::{PageKey, encode_assigned};
use cell_state::record::{self, Kind, PageRecord};
use cell_state::{Cell, MachineId, Seq};
use transport_quic::SubscriptionWriter;

use crate::bounds::{COALESCE_BYTES, FEED_MARK_EVERY, RESUME_BYTES, SNAPSHOT_SEND_BYTES};
use crate::catch_up::coalesce;
use crate::connection::Connection;
use crate::error::FollowError;
use crate::feeds::{Feed, Taken};
use crate::ring::Found;
use crate::server::Server;
use crate::touches;

/// Serves an agent's subscription until its connection ends.
pub(crate) async fn follow(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    feed: &Arc<Feed>,
    writer: &mut SubscriptionWriter,
    after: Option<Seq>,
) -> Result<(), FollowError> {
    for records in start(server, connection, feed, after).await? {
        writer.send(records).await?;
    }
    let mut mark_due = false;
    loop {
        // Read before the feed: everything up to here is in the feed already, if it is for this agent.
        let applied = server.mirror.seq();
        match feed.take(COALESCE_BYTES) {
            Taken::Over => return Ok(()),
            Taken::Behind => {
                for records in start(server, connection, feed, None).await? {
                    writer.send(records).await?;
                }
            }
            Taken::Records(records) if records.is_empty() => {
                if mark_due {
                    writer.send(mark(applied)).await?;
                }
                tokio::select! {
                    woken = tokio::time::timeout(FEED_MARK_EVERY, feed.wait()) => mark_due = woken.is_err(),
                    () = writer.closed() => return Ok(()),
                }
            }
            Taken::Records(records) => {
                for piece in coalesce(records.into_iter()) {
                    writer.send(piece).await?;
                }
            }
        }
    }
}

/// Attaches the feed and returns what the agent needs to stand where the feed begins.
async fn start(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    feed: &Arc<Feed>,
    after: Option<Seq>,
) -> Result<Vec<Bytes>, FollowError> {
    // What was durable when the agent asked is part of what it gets first.
    server.mirror.reached(server.log.last()).await;
    let (server, connection, feed) = (Arc::clone(server), Arc::clone(connection), Arc::clone(feed));
    let work = move || {
        // Publish fills feeds under the write lock, so nothing can fall between this state and the feed.
        let cell = server.mirror.read();
        let machines = connection.machines();
        for machine in &machines {
            server.feeds.attach(*machine, &feed);
        }
        feed.restart();
        let resumed = after.and_then(|after| resume(&server, &cell, &machines, after));
        Ok(resumed.unwrap_or_else(|| snapshot(&cell, &machines)))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| FollowError::Panicked)?
}

/// The records after `after` that concern these machines, if the ring still has them all. Which they are is judged on
/// the state of now, which is enough: a task that has left the machine since did so by its own report, or with the
/// machine.
fn resume(server: &Server, cell: &Cell, machines: &[MachineId], after: Seq) -> Option<Vec<Bytes>> {
    if after > cell.seq() {
        return None;
    }
    let machines: BTreeSet<MachineId> = machines.iter().copied().collect();
    let place = server.ring.locate(after)?;
    let Found::Chunks(chunks) = server.ring.read(place, RESUME_BYTES) else { return None };
    let mut out = Vec::new();
    let mut reached = after;
    let mut touched = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_mark()) {
        let mut rest = &chunk.bytes[..];
        while let Ok(Some((record, length))) = record::read(rest) {
            let (whole, later) = rest.split_at(length);
            rest = later;
            if record.seq <= after || record.seq > cell.seq() {
                continue;
            }
            touched.clear();
            let event = record.event().ok()?;
            touches::machines(cell, &event, &mut touched);
            // Of jobs that are forgotten by now nobody knows where they ran.
            let unknown = matches!(event, Event::JobsForgotten { .. });
            if unknown || touched.iter().any(|machine| machines.contains(machine)) {
                out.extend_from_slice(whole);
            }
            reached = record.seq;
        }
    }
    if reached < cell.seq() {
        return None;
    }
    record::append_hash(&mut out, reached, Kind::Mark, None);
    Some(vec![out.into()])
}

/// What these machines are to run, as pages.
fn snapshot(cell: &Cell, machines: &[MachineId]) -> Vec<Bytes> {
    let mut sends = Vec::new();
    let mut out = Vec::new();
    record::append(&mut out, cell.seq(), Kind::SnapshotStart, &());
    for machine in machines {
        let page =
            PageRecord { key: PageKey::Assigned(*machine), bytes: encode_assigned(&cell.assigned(*machine)) };
        record::append(&mut out, cell.seq(), Kind::Page, &page);
        if out.len() >= SNAPSHOT_SEND_BYTES {
            sends.push(std::mem::take(&mut out).into());
        }
    }
    record::append_hash(&mut out, cell.seq(), Kind::SnapshotEnd, None);
    sends.push(out.into());
    sends
}

fn mark(seq: Seq) -> Bytes {
    let mut bytes = Vec::new();
    record::append_hash(&mut bytes, seq, Kind::Mark, None);
    bytes.into()
}

/// Ends an agent's subscription: its machines' records go nowhere until it subscribes again.
pub(crate) fn end(server: &Server, connection: &Connection, feed: &Arc<Feed>) {
    for machine in connection.machines() {
        server.feeds.detach(machine, feed);
    }
    connection.close_feed(feed);
}
