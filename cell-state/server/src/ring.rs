//! The ring: the newest durable records, in memory, for subscribers that are close behind.
//!
//! It holds the chunks that publish pushed, each the very bytes one flush wrote, shared by all who send them. A
//! subscriber has a position in the ring and nothing else here, so a slow one costs nothing: it is overtaken by the
//! oldest end, and reads on from the log.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::Seq;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::bounds::RING_CHUNKS_MAX;

/// Records that became durable together, or one mark.
pub(crate) struct Chunk {
    /// The seq of the first record.
    pub(crate) first: Seq,
    /// The seq of the last record.
    pub(crate) last: Seq,
    /// The records.
    pub(crate) bytes: Bytes,
    /// Where each record ends; empty for a mark, which has no seq of its own.
    pub(crate) ends: Vec<u32>,
}

/// Where a subscriber is: the next chunk, and how much of it to leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The number of the chunk, counted from the start of the server.
    pub(crate) chunk: u64,
    /// Bytes of it that the subscriber already has.
    pub(crate) skip: usize,
}

/// What a subscriber finds at its place.
pub(crate) enum Found {
    /// The ring has moved past it.
    Behind,
    /// Chunks to send, none when it is up to date.
    Chunks(Vec<Arc<Chunk>>),
}

struct Inner {
    chunks: VecDeque<Arc<Chunk>>,
    /// The number of the front chunk.
    front: u64,
    bytes: usize,
    /// Records up to this one are no longer here.
    gone: Seq,
    last: Seq,
}

/// The ring.
pub(crate) struct Ring {
    inner: RwLock<Inner>,
    bytes_max: usize,
    /// The number of the chunk after the newest.
    end: watch::Sender<u64>,
}

impl Chunk {
    /// A mark at `seq`, given its record.
    pub(crate) fn mark(seq: Seq, record: Vec<u8>) -> Chunk {
        Chunk { first: seq, last: seq, bytes: record.into(), ends: Vec::new() }
    }

    /// True for a mark.
    pub(crate) fn is_mark(&self) -> bool {
        self.ends.is_empty()
    }

    /// True when a subscriber that has everything up to `seq` needs nothing of this chunk.
    fn is_before(&self, seq: Seq) -> bool {
        if self.is_mark() { self.last < seq } else { self.last <= seq }
    }
}

impl Ring {
    /// An empty ring of a log that ends at `last`.
    pub(crate) fn new(last: Seq, bytes_max: usize) -> Ring {
        let inner = Inner { chunks: VecDeque::new(), front: 0, bytes: 0, gone: last, last };
        Ring { inner: RwLock::new(inner), bytes_max, end: watch::Sender::new(0) }
    }

    /// Adds a chunk and drops the oldest ones beyond the bounds. Subscribers that wait learn of it from [`Ring::wake`].
    pub(crate) fn push(&self, chunk: Chunk) {
        let mut inner = self.inner.write();
        inner.bytes += chunk.bytes.len();
        inner.last = chunk.last;
        inner.chunks.push_back(Arc::new(chunk));
        while inner.chunks.len() > 1 && (inner.bytes > self.bytes_max || inner.chunks.len() > RING_CHUNKS_MAX)
        {
            let Some(oldest) = inner.chunks.pop_front() else { break };
            inner.front += 1;
            inner.bytes -= oldest.bytes.len();
            inner.gone = oldest.last;
        }
    }

    /// Wakes all subscribers that wait.
    pub(crate) fn wake(&self) {
        let inner = self.inner.read();
        let end = inner.front + inner.chunks.len() as u64;
        drop(inner);
        self.end.send_replace(end);
    }

    /// How many subscribers there are to wake.
    pub(crate) fn subscribers(&self) -> u32 {
        u32::try_from(self.end.receiver_count()).unwrap_or(u32::MAX)
    }

    /// The last durable seq.
    pub(crate) fn last(&self) -> Seq {
        self.inner.read().last
    }

    /// Changes at [`Ring::wake`], if a chunk was added.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// The place of a subscriber that has everything up to `after`, or `None` when the ring doesn't reach that far
    /// back, or not that far forward.
    pub(crate) fn locate(&self, after: Seq) -> Option<Place> {
        let inner = self.inner.read();
        if after < inner.gone || after > inner.last {
            return None;
        }
        let at = inner.chunks.partition_point(|chunk| chunk.is_before(after));
        let skip = match inner.chunks.get(at) {
            Some(chunk) if !chunk.is_mark() && chunk.first <= after => {
                chunk.ends[(after.0 - chunk.first.0) as usize] as usize
            }
            Some(_) | None => 0,
        };
        Some(Place { chunk: inner.front + at as u64, skip })
    }

    /// Chunks from a place on, about `bytes_max` bytes but at least one if there is one.
    pub(crate) fn read(&self, place: Place, bytes_max: usize) -> Found {
        let inner = self.inner.read();
        let Some(from) = place.chunk.checked_sub(inner.front) else { return Found::Behind };
        let mut found: Vec<Arc<Chunk>> = Vec::new();
        let mut bytes = 0;
        for chunk in inner.chunks.range((from as usize).min(inner.chunks.len())..) {
            if !found.is_empty() && bytes + chunk.bytes.len() > bytes_max {
                break;
            }
            bytes += chunk.bytes.len();
            found.push(Arc::clone(chunk));
        }
        Found::Chunks(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, last: u64) -> Chunk {
        let count = (last - first + 1) as u32;
        let ends = (1..=count).map(|i| i * 10).collect();
        Chunk { first: Seq(first), last: Seq(last), bytes: vec![0; 10 * count as usize].into(), ends }
    }

    fn ring() -> Ring {
        let ring = Ring::new(Seq(100), 100);
        ring.push(chunk(101, 103));
        ring.push(Chunk::mark(Seq(103), vec![0; 10]));
        ring.push(chunk(104, 105));
        ring
    }

    #[test]
    fn a_subscriber_finds_its_place_by_seq() {
        let ring = ring();
        let rows = [
            (99, None),
            (100, Some((0, 0))),
            (101, Some((0, 10))),
            // Everything up to the mark: the mark is of use.
            (103, Some((1, 0))),
            (104, Some((2, 10))),
            (105, Some((3, 0))),
            (106, None),
        ];
        for (after, expected) in rows {
            let place = ring.locate(Seq(after)).map(|p| (p.chunk, p.skip));
            assert_eq!(place, expected, "after {after}");
        }
    }

    #[test]
    fn the_oldest_end_overtakes_who_is_slow() {
        let ring = ring();
        let slow = ring.locate(Seq(100)).unwrap();
        ring.push(chunk(106, 110));
        assert!(matches!(ring.read(slow, 1_000), Found::Behind));
        assert_eq!(ring.locate(Seq(102)), None);
        let Found::Chunks(found) = ring.read(ring.locate(Seq(103)).unwrap(), 1_000) else { panic!("behind") };
        assert_eq!(found.iter().map(|c| c.last.0).collect::<Vec<_>>(), [103, 105, 110]);
    }

    #[test]
    fn one_read_is_bounded_but_never_stuck() {
        let ring = ring();
        let Found::Chunks(found) = ring.read(Place { chunk: 0, skip: 0 }, 1) else { panic!("behind") };
        assert_eq!(found.len(), 1);
        let Found::Chunks(found) = ring.read(Place { chunk: 3, skip: 0 }, 1) else { panic!("behind") };
        assert!(found.is_empty());
    }
}
