//! Publish: tells everyone who follows, once entries are durable. Step 9 (stream) of a placement's life.
//!
//! The order matters: first the records go into the ring, which wakes the subscribers; then the mirror applies the
//! entries; and only then are commands answered, for what they change is also looked at without waiting. Transactions
//! and reports were answered by the log thread already. Reads wait until the mirror has what the log had when they came,
//! so who was answered and then reads finds what it wrote. At intervals the state is hashed, and the mark that says so
//! goes into the ring right behind the record it is about; nobody who commits waits for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::Seq;
use cell_state::record::{self, Kind};
use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::attempts::Attempts;
use crate::bounds::{MARK_REST, MARK_STRETCH_MAX, WAKE_AT_ONCE, WAKE_REST, WAKE_REST_MAX};
use crate::feeds::Feeds;
use crate::group::{Durable, Entry};
use crate::mirror::Mirror;
use crate::ring::{Chunk, Ring};
use crate::stages::{Clock, Stage, Stages};
use crate::verdicts::tell;

/// The thread's own state.
pub(crate) struct Publish {
    /// Durable groups.
    pub(crate) groups: Receiver<Durable>,
    /// The newest records.
    pub(crate) ring: Arc<Ring>,
    /// The durable state.
    pub(crate) mirror: Arc<Mirror>,
    /// What waits for agents.
    pub(crate) feeds: Arc<Feeds>,
    /// The side log of attempts; best effort.
    pub(crate) attempts: Attempts,
    /// Processor time by stage.
    pub(crate) stages: Arc<Stages>,
    /// How often the state is hashed.
    pub(crate) mark_every: Duration,
}

impl Publish {
    /// Publishes until the log thread is gone, and leaves a mark at the end.
    pub(crate) fn run(self) {
        let mut clock = self.stages.clock();
        let mut marks = Marks::new(self.mirror.seq(), self.mark_every);
        let mut wakes = Wakes::default();
        loop {
            match self.groups.recv_timeout(wakes.due_in().unwrap_or(self.mark_every)) {
                Ok(group) => self.publish(group, &mut wakes, &mut clock),
                Err(RecvTimeoutError::Timeout) => wakes.wake_if_due(&self.ring),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if marks.is_due(self.mirror.seq()) {
                let began = Instant::now();
                marks.marked(self.mark(), began.elapsed());
                wakes.pushed(&self.ring);
                clock.lap(Stage::Mark);
            }
        }
        if self.mirror.seq() > marks.at {
            self.mark();
        }
        self.ring.wake();
    }

    fn publish(&self, group: Durable, wakes: &mut Wakes, clock: &mut Clock<'_>) {
        let Durable { bytes, entries, answers } = group;
        self.stream(&bytes, &entries);
        wakes.pushed(&self.ring);
        clock.lap(Stage::Stream);
        self.mirror.apply(&entries, &bytes, &self.feeds);
        clock.lap(Stage::Mirror);
        let span = tracing::debug_span!("answer", late = answers.len());
        span.in_scope(|| answers.into_iter().for_each(|pending| tell(pending, &entries, &bytes)));
        clock.lap(Stage::Answer);
        self.attempts.note(entries.iter().map(|entry| (entry.seq, &entry.event)));
        drop(entries);
        clock.lap(Stage::SideLog);
    }

    fn stream(&self, bytes: &bytes::Bytes, entries: &[Entry]) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let _span = tracing::debug_span!("stream", first = first.seq.0, last = last.seq.0).entered();
            let ends = entries.iter().map(|entry| entry.end).collect();
            self.ring.push(Chunk { first: first.seq, last: last.seq, bytes: bytes.clone(), ends });
        }
    }

    fn mark(&self) -> Seq {
        let (seq, hash) = self.mirror.mark();
        let mut bytes = Vec::new();
        record::append_hash(&mut bytes, seq, Kind::Mark, Some(hash));
        self.ring.push(Chunk::mark(seq, bytes));
        tracing::debug!(%seq, %hash, "marked");
        seq
    }
}

/// When to wake subscribers. To wake one and send it a frame costs the same whether the frame holds one record or a
/// hundred; so the more there are, the longer records wait for others to go with.
#[derive(Default)]
struct Wakes {
    last: Option<Instant>,
    /// Not before this long after the last time.
    rest: Duration,
    /// Something was pushed since.
    owed: bool,
}

impl Wakes {
    fn pushed(&mut self, ring: &Ring) {
        self.owed = true;
        self.wake_if_due(ring);
    }

    fn wake_if_due(&mut self, ring: &Ring) {
        if !self.owed || self.due_in().is_some_and(|rest| !rest.is_zero()) {
            return;
        }
        ring.wake();
        let crowd = ring.subscribers().saturating_sub(WAKE_AT_ONCE);
        self.rest = (WAKE_REST * crowd).min(WAKE_REST_MAX);
        (self.last, self.owed) = (Some(Instant::now()), false);
    }

    /// How long until subscribers are to be woken, if they are.
    fn due_in(&self) -> Option<Duration> {
        let since = self.last.map_or(Duration::MAX, |last| last.elapsed());
        self.owed.then(|| self.rest.saturating_sub(since))
    }
}

/// When to mark. A mark costs what changed since the last one, in the stages behind the log as in every full copy, and
/// nothing is answered or applied meanwhile; so the dearer marks are, the rarer they get.
struct Marks {
    at: Seq,
    then: Instant,
    every: Duration,
    /// Not before this long after the last one.
    rest: Duration,
}

impl Marks {
    fn new(at: Seq, every: Duration) -> Marks {
        Marks { at, then: Instant::now(), every, rest: every }
    }

    fn is_due(&self, last: Seq) -> bool {
        last > self.at && self.then.elapsed() >= self.rest
    }

    fn marked(&mut self, at: Seq, took: Duration) {
        (self.at, self.then) = (at, Instant::now());
        self.rest = (took * MARK_REST).clamp(self.every, self.every * MARK_STRETCH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_subscribers_is_woken_for_several_pushes_at_once() {
        let ring = Ring::new(Seq(0), 1 << 20);
        let mut wakes = Wakes::default();
        let few: Vec<_> = (0..WAKE_AT_ONCE).map(|_| ring.watch()).collect();
        wakes.pushed(&ring);
        assert!(few.iter().all(|watch| watch.has_changed().unwrap()) && wakes.due_in().is_none());
        let _crowd: Vec<_> = (0..1_000).map(|_| ring.watch()).collect();
        wakes.pushed(&ring);
        assert_eq!(wakes.rest, WAKE_REST_MAX);
        let mut one = ring.watch();
        one.borrow_and_update();
        wakes.last = Some(Instant::now() + Duration::from_secs(3_600));
        wakes.pushed(&ring);
        assert!(!one.has_changed().unwrap() && wakes.due_in().is_some());
        wakes.last = None;
        wakes.wake_if_due(&ring);
        assert!(one.has_changed().unwrap() && wakes.due_in().is_none());
    }

    #[test]
    fn dear_marks_are_rare_and_none_is_made_of_nothing() {
        let mut marks = Marks::new(Seq(5), Duration::ZERO);
        assert!(!marks.is_due(Seq(5)) && marks.is_due(Seq(6)));
        marks.every = Duration::from_secs(60);
        marks.marked(Seq(6), Duration::ZERO);
        assert_eq!(marks.rest, marks.every);
        marks.marked(Seq(7), Duration::from_secs(1));
        assert_eq!(marks.rest, Duration::from_secs(200));
        marks.marked(Seq(8), Duration::from_secs(3_600));
        assert_eq!(marks.rest, marks.every * MARK_STRETCH_MAX);
        assert!(!marks.is_due(Seq(9)));
    }
}
