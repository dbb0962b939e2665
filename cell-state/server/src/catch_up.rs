//! Where a subscriber stands, and what it is sent next. Step 9 (stream) of a placement's life.
//!
//! ```text
//!   no position, too old ──▶ Snapshot ──▶ After(seq) ──▶ Ring(place) ──▶ …
//!                               ▲            │  ▲            │
//!            the log is trimmed └────────────┘  └────────────┘ overtaken by the ring's oldest end
//! ```
//!
//! A subscriber pulls: it costs the server one position and one task, whatever its speed.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cell_state::Seq;
use cell_state::codec::DecodeError;
use cell_state::page::{Narrow, PageKey};
use cell_state::record::{self, Kind, PageRecord};

use crate::bounds::{CATCH_UP_BYTES, COALESCE_BELOW_BYTES, COALESCE_BYTES, SNAPSHOT_SEND_BYTES};
use crate::error::FollowError;
use crate::log::{LogReader, ReadError};
use crate::mirror::Snapshot;
use crate::ring::{Chunk, Found, Place, Ring};

/// Where a subscriber stands.
pub(crate) enum Position {
    /// It has nothing.
    Nowhere,
    /// It has everything up to this entry.
    After(Seq),
    /// The same, and the next record is in the ring.
    InRing(Place, Seq),
}

/// What to send next.
pub(crate) enum Next {
    /// A snapshot, since the log no longer reaches back that far.
    Snapshot,
    /// Records.
    Records(Vec<Bytes>),
    /// Nothing for now: wait for the ring.
    Wait,
}

/// The next step of a subscriber, and its new position.
pub(crate) async fn next(
    ring: &Arc<Ring>,
    log: &LogReader,
    position: Position,
) -> Result<(Next, Position), FollowError> {
    match position {
        Position::Nowhere => Ok((Next::Snapshot, Position::Nowhere)),
        Position::InRing(place, last) => match ring.read(place, COALESCE_BYTES) {
            Found::Behind => Ok((Next::Records(Vec::new()), Position::After(last))),
            Found::Chunks(chunks) => Ok(in_ring(place, last, &chunks)),
        },
        Position::After(seq) => {
            if let Some(place) = ring.locate(seq) {
                return Ok((Next::Records(Vec::new()), Position::InRing(place, seq)));
            }
            if seq > ring.last() && seq <= log.last() {
                // Durable, and about to be published.
                return Ok((Next::Wait, Position::After(seq)));
            }
            if seq > ring.last() {
                tracing::error!(%seq, last = %ring.last(), "a subscriber is ahead of the log; it gets a snapshot");
                return Ok((Next::Snapshot, Position::Nowhere));
            }
            from_log(log.clone(), seq).await
        }
    }
}

fn in_ring(place: Place, last: Seq, chunks: &[Arc<Chunk>]) -> (Next, Position) {
    let Some(newest) = chunks.last() else { return (Next::Wait, Position::InRing(place, last)) };
    let after = Place { chunk: place.chunk + chunks.len() as u64, skip: 0 };
    let pieces = chunks.iter().enumerate().map(|(i, chunk)| {
        if i == 0 { chunk.bytes.slice(place.skip.min(chunk.bytes.len())..) } else { chunk.bytes.clone() }
    });
    let records = coalesce(pieces.filter(|piece| !piece.is_empty()));
    (Next::Records(records), Position::InRing(after, newest.last))
}

async fn from_log(log: LogReader, seq: Seq) -> Result<(Next, Position), FollowError> {
    let read = tokio::task::spawn_blocking(move || log.read(seq.next(), CATCH_UP_BYTES));
    match read.await.map_err(|_| FollowError::Panicked)? {
        Ok(piece) => Ok((Next::Records(vec![piece.bytes]), Position::After(piece.last))),
        Err(ReadError::TooOld { wanted, oldest }) => {
            tracing::info!(%wanted, %oldest, "a subscriber is behind the log; it gets a snapshot");
            Ok((Next::Snapshot, Position::Nowhere))
        }
        Err(error) => Err(FollowError::Log(error)),
    }
}

/// Copies small neighbours together; large pieces stay as they are.
pub(crate) fn coalesce(pieces: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut small: Vec<Bytes> = Vec::new();
    let mut size = 0;
    let flush = |small: &mut Vec<Bytes>, out: &mut Vec<Bytes>| match small.len() {
        0 => {}
        1 => out.extend(small.pop()),
        _ => {
            let mut joined = BytesMut::with_capacity(small.iter().map(Bytes::len).sum());
            small.drain(..).for_each(|piece| joined.extend_from_slice(&piece));
            out.push(joined.freeze());
        }
    };
    for piece in pieces {
        let large = piece.len() >= COALESCE_BELOW_BYTES;
        if large || size + piece.len() > COALESCE_BYTES {
            flush(&mut small, &mut out);
            size = 0;
        }
        if large {
            out.push(piece);
        } else {
            size += piece.len();
            small.push(piece);
        }
    }
    flush(&mut small, &mut out);
    out
}

/// The records of a snapshot, cut into sends of bounded size as they are asked for.
pub(crate) struct SnapshotRecords {
    snapshot: Snapshot,
    /// What of it is for the follower of one scheduler's jobs.
    narrow: Option<Narrow>,
    next: Stage,
}

enum Stage {
    Start,
    /// Pages after this one.
    After(Option<PageKey>),
    Done,
}

impl SnapshotRecords {
    /// All of it.
    pub(crate) fn new(snapshot: Snapshot) -> SnapshotRecords {
        SnapshotRecords { snapshot, narrow: None, next: Stage::Start }
    }

    /// What the follower of one scheduler's jobs gets of it.
    pub(crate) fn narrowed(snapshot: Snapshot, scheduler: &str) -> Result<SnapshotRecords, DecodeError> {
        let narrow = Narrow::new(scheduler, snapshot.pages.iter().map(|(key, bytes)| (key, &bytes[..])))?;
        Ok(SnapshotRecords { snapshot, narrow: Some(narrow), next: Stage::Start })
    }

    /// The position of the state.
    pub(crate) fn seq(&self) -> Seq {
        self.snapshot.seq
    }

    fn send(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let seq = self.snapshot.seq;
        let mut out = Vec::new();
        let mut last = match std::mem::replace(&mut self.next, Stage::Done) {
            Stage::Start => {
                record::append(&mut out, seq, Kind::SnapshotStart, &());
                None
            }
            Stage::After(key) => key,
            Stage::Done => return Ok(None),
        };
        let from = last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        for (key, bytes) in self.snapshot.pages.range((from, std::ops::Bound::Unbounded)) {
            let kept = match &self.narrow {
                None => Some(Cow::Borrowed(&bytes[..])),
                Some(narrow) => narrow.page(key, bytes)?,
            };
            if let Some(bytes) = kept {
                let page = PageRecord { key: *key, bytes: bytes.into_owned() };
                record::append(&mut out, seq, Kind::Page, &page);
            }
            last = Some(*key);
            if out.len() >= SNAPSHOT_SEND_BYTES {
                self.next = Stage::After(last);
                return Ok(Some(out.into()));
            }
        }
        // A part of the state has no hash.
        let hash = self.narrow.is_none().then_some(self.snapshot.hash);
        record::append_hash(&mut out, seq, Kind::SnapshotEnd, hash);
        Ok(Some(out.into()))
    }
}

impl Iterator for SnapshotRecords {
    type Item = Result<Bytes, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.send().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_large_ones_kept() {
        let small = || Bytes::from(vec![1; 1_000]);
        let large = || Bytes::from(vec![2; COALESCE_BELOW_BYTES]);
        let out = coalesce([small(), small(), large(), small()].into_iter());
        assert_eq!(out.iter().map(Bytes::len).collect::<Vec<_>>(), [2_000, COALESCE_BELOW_BYTES, 1_000]);
        let many = coalesce(std::iter::repeat_n(small(), 1_000));
        assert!(many.len() > 1 && many.iter().all(|piece| piece.len() <= COALESCE_BYTES));
    }
}
