//! Subscriptions to one scheduler's jobs: what a scheduler follows that doesn't want to hold everybody's tasks. Step 9
//! (stream) of a placement's life.
//!
//! ```text
//!   snapshot (pages of the last mark, narrowed) ──▶ entries that concern the scheduler ──▶ loads ─┐
//!                                                   ▲                                             │
//!                                                   └──────── something new is durable ◀──────────┘
//! ```
//!
//! Entries are picked from the ring or the log when the subscriber is ready for more, however many have come meanwhile;
//! then the machines that any of them changed are read from the mirror, once each. So the slower a subscriber, the fewer
//! loads it gets, and nothing is kept for it. All of it is done on threads for blocking work, and the mirror is held for
//! no more than one record of loads at a time.

use std::sync::Arc;

use bytes::Bytes;
use cell_state::event::Event;
use cell_state::record::{self, Kind};
use cell_state::scope::Digest;
use cell_state::{Cell, Seq};
use transport_quic::SubscriptionWriter;

use crate::bounds::{CATCH_UP_BYTES, COALESCE_BYTES, SCOPED_PIECES_MAX, SCOPED_RESUME_ENTRIES_MAX};
use crate::catch_up::SnapshotRecords;
use crate::error::FollowError;
use crate::log::ReadError;
use crate::ring::{Found, Place};
use crate::server::Server;

/// Where a subscription stands.
struct Stream {
    server: Arc<Server>,
    scheduler: String,
    digest: Digest,
    /// The subscriber has everything up to here, or nothing at all.
    at: Option<Seq>,
    /// What the subscriber has isn't at rest before the next loads.
    owes_loads: bool,
}

/// An entry, and its record as it is in the log.
type Entry = (Seq, Bytes, Event);

/// Serves one subscription until its connection ends.
pub(crate) async fn follow(
    server: &Arc<Server>,
    writer: &mut SubscriptionWriter,
    scheduler: &str,
    after: Option<Seq>,
) -> Result<(), FollowError> {
    let mut watch = server.ring.watch();
    let mut stream = Stream::new(server, scheduler, after);
    loop {
        watch.borrow_and_update();
        let newest = server.ring.last();
        if stream.at.is_none() {
            stream = stream.snapshot(writer).await?;
        }
        if stream.owes_loads || stream.at < Some(newest) {
            server.mirror.reached(newest).await;
            let (moved, records) = on_thread(stream, Stream::turn).await?;
            stream = moved;
            for records in records? {
                writer.send(records).await?;
            }
            continue;
        }
        tokio::select! {
            changed = watch.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = writer.closed() => return Ok(()),
        }
    }
}

impl Stream {
    fn new(server: &Arc<Server>, scheduler: &str, after: Option<Seq>) -> Stream {
        // Far behind, a snapshot costs less than reading everything; ahead of the log, nothing else helps.
        let near = |seq: &Seq| {
            let newest = server.ring.last().max(server.log.last());
            *seq <= newest && newest.0 - seq.0 <= SCOPED_RESUME_ENTRIES_MAX
        };
        Stream {
            server: Arc::clone(server),
            scheduler: scheduler.to_owned(),
            digest: Digest::new(scheduler),
            at: after.filter(near),
            owes_loads: false,
        }
    }

    /// Sends the pages of the last mark, as far as they are the scheduler's.
    async fn snapshot(self, writer: &mut SubscriptionWriter) -> Result<Stream, FollowError> {
        let (mut stream, records) = on_thread(self, |stream| {
            let snapshot = stream.server.mirror.snapshot();
            SnapshotRecords::narrowed(snapshot, &stream.scheduler)
        })
        .await?;
        let mut records = records?;
        let at = records.seq();
        loop {
            let (rest, piece) = on_thread(records, Iterator::next).await?;
            records = rest;
            match piece {
                Some(piece) => writer.send(piece?).await?,
                None => break,
            }
        }
        stream.digest = Digest::new(&stream.scheduler);
        stream.digest.touch_all(&stream.server.mirror.read());
        (stream.at, stream.owes_loads) = (Some(at), true);
        Ok(stream)
    }

    /// Everything for the subscriber up to where the mirror is now. When the log no longer has it all, nothing, and the
    /// subscriber needs a snapshot.
    fn turn(&mut self) -> Result<Vec<Bytes>, FollowError> {
        let server = Arc::clone(&self.server);
        let (mut sends, mut out) = (Vec::new(), Vec::new());
        let Some(mut at) = self.at.take() else { return Ok(sends) };
        for _ in 0..SCOPED_PIECES_MAX {
            let Some((mut entries, more)) = entries(&server, at)? else { return Ok(Vec::new()) };
            let cell = server.mirror.read();
            self.pick(&cell, entries, &mut at, &mut out);
            if !more {
                // Little can have come meanwhile, and nothing more comes while the mirror is held.
                while at < cell.seq() {
                    match self::entries(&server, at)? {
                        Some((newer, _)) => entries = newer,
                        None => return Ok(Vec::new()),
                    }
                    self.pick(&cell, entries, &mut at, &mut out);
                }
                let loads = self.digest.loads(&cell);
                drop(cell);
                record::append(&mut out, at, Kind::Loads, &loads);
                if !loads.more {
                    sends.push(out.into());
                    (self.at, self.owes_loads) = (Some(at), false);
                    return Ok(sends);
                }
            }
            if out.len() >= COALESCE_BYTES {
                sends.push(std::mem::take(&mut out).into());
            }
        }
        tracing::info!(%at, "a subscriber can't catch up; it gets a snapshot");
        Ok(Vec::new())
    }

    /// Takes the records that concern the scheduler out of entries that the cell has applied.
    fn pick(&mut self, cell: &Cell, entries: Vec<Entry>, at: &mut Seq, out: &mut Vec<u8>) {
        for (seq, record, event) in entries {
            if seq > *at && seq <= cell.seq() {
                *at = seq;
                if self.digest.entry(cell, &event) {
                    out.extend_from_slice(&record);
                }
            }
        }
    }
}

/// The next entries after a position, about as many as are sent at once, and whether there are more; `None` when they
/// are no longer kept.
fn entries(server: &Server, after: Seq) -> Result<Option<(Vec<Entry>, bool)>, FollowError> {
    let mut found = Vec::new();
    let mut place = server.ring.locate(after);
    while let Some(from) = place
        && let Found::Chunks(chunks) = server.ring.read(from, COALESCE_BYTES)
    {
        for (i, chunk) in chunks.iter().enumerate() {
            let skip = if i == 0 { from.skip.min(chunk.bytes.len()) } else { 0 };
            decode(&chunk.bytes.slice(skip..), &mut found)?;
        }
        let more = chunks.last().is_some_and(|chunk| chunk.last < server.ring.last());
        if !found.is_empty() || !more {
            return Ok(Some((found, more)));
        }
        // Nothing but marks so far.
        place = Some(Place { chunk: from.chunk + chunks.len() as u64, skip: 0 });
    }
    match server.log.read(after.next(), CATCH_UP_BYTES) {
        Ok(piece) => {
            decode(&piece.bytes, &mut found)?;
            Ok(Some((found, piece.last < server.ring.last())))
        }
        Err(ReadError::TooOld { wanted, oldest }) => {
            tracing::info!(%wanted, %oldest, "a subscriber is behind the log; it gets a snapshot");
            Ok(None)
        }
        Err(error) => Err(FollowError::Log(error)),
    }
}

fn decode(bytes: &Bytes, out: &mut Vec<Entry>) -> Result<(), FollowError> {
    let mut from = 0;
    while let Some((record, length)) = record::read(&bytes[from..])? {
        if record.kind == Kind::Event {
            out.push((record.seq, bytes.slice(from..from + length), record.event()?));
        }
        from += length;
    }
    Ok(())
}

/// Works on something on a thread for that, and gives it back.
async fn on_thread<T: Send + 'static, R: Send + 'static>(
    mut what: T,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Result<(T, R), FollowError> {
    let work = move || {
        let result = work(&mut what);
        (what, result)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| FollowError::Panicked)
}
