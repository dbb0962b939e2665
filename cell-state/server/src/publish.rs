//! Publish: tells the authors and everyone who follows, once entries are durable. Steps 8 (answer) and 9 (stream) of
//! a placement's life.
//!
//! The order matters: first the records go into the ring, which wakes the subscribers; then the authors of
//! transactions are answered; then the mirror applies the entries, and only then are commands answered, so that what
//! their authors read next contains what they wrote. At intervals the state is hashed, and the mark that says so goes
//! into the ring right behind the record it is about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::event::{Committed, Event};
use cell_state::record::{self, Kind};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use transport::message::{Refusal, Reply};

use crate::bounds::MARK_ENTRIES_MAX;
use crate::feeds::Feeds;
use crate::group::{Durable, Entry, Pending};
use crate::intake::AnswerTo;
use crate::mirror::Mirror;
use crate::ring::{Chunk, Ring};
use crate::stats::Stats;

/// A judged transaction on its way to the side log, with its position.
pub(crate) type Judged = (cell_state::Seq, Committed);

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
    /// Counters.
    pub(crate) stats: Arc<Stats>,
    /// The side log of attempts; best effort.
    pub(crate) attempts: Sender<Vec<Judged>>,
    /// How often the state is hashed.
    pub(crate) mark_every: Duration,
}

impl Publish {
    /// Publishes until the log thread is gone, and leaves a mark at the end.
    pub(crate) fn run(self) {
        let mut marked = (self.mirror.seq(), Instant::now());
        loop {
            match self.groups.recv_timeout(self.mark_every) {
                Ok(group) => self.publish(group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let behind = self.mirror.seq().0 - marked.0.0;
            let due = marked.1.elapsed() >= self.mark_every || behind >= MARK_ENTRIES_MAX;
            if behind > 0 && due {
                self.mark();
                marked = (self.mirror.seq(), Instant::now());
            }
        }
        if self.mirror.seq() > marked.0 {
            self.mark();
        }
    }

    fn publish(&self, group: Durable) {
        let Durable { bytes, entries, answers } = group;
        self.stream(&bytes, &entries);
        self.count(&entries);
        let (verdicts, rest): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.what.is_verdict());
        let span = tracing::debug_span!("answer", verdicts = verdicts.len(), others = rest.len());
        span.in_scope(|| verdicts.into_iter().for_each(|pending| answer(pending, &entries)));
        self.mirror.apply(&entries, &bytes, &self.feeds);
        span.in_scope(|| rest.into_iter().for_each(|pending| answer(pending, &entries)));
        self.record_attempts(entries);
    }

    fn stream(&self, bytes: &bytes::Bytes, entries: &[Entry]) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let _span = tracing::debug_span!("stream", first = first.seq.0, last = last.seq.0).entered();
            let ends = entries.iter().map(|entry| entry.end).collect();
            self.ring.push(Chunk { first: first.seq, last: last.seq, bytes: bytes.clone(), ends });
        }
    }

    /// Before the answers, so that who has one finds it counted.
    fn count(&self, entries: &[Entry]) {
        for entry in entries {
            if let Event::Committed(committed) = &entry.event {
                self.stats.count(committed);
            }
        }
    }

    fn record_attempts(&self, entries: Vec<Entry>) {
        let mut judged: Vec<Judged> = Vec::new();
        for entry in entries {
            if let Event::Committed(committed) = entry.event {
                judged.push((entry.seq, committed));
            }
        }
        if judged.is_empty() {
            return;
        }
        match self.attempts.try_send(judged) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(judged)) => self.stats.drop_attempts(judged.len()),
        }
    }

    fn mark(&self) {
        let (seq, hash) = self.mirror.mark();
        let mut bytes = Vec::new();
        record::append_hash(&mut bytes, seq, Kind::Mark, Some(hash));
        self.ring.push(Chunk::mark(seq, bytes));
        tracing::debug!(%seq, %hash, "marked");
    }
}

fn answer(pending: Pending, entries: &[Entry]) {
    let AnswerTo::Party { responder, connection } = pending.to else {
        return report_own(pending.what.reply(entries));
    };
    let reply = pending.what.reply(entries);
    if let Ok(Reply::Done { answer, .. }) = &reply {
        // Before the reply leaves: the party's next request may already rest on it.
        connection.remember(answer);
    }
    responder.reply(reply);
}

/// The server's own requests have nobody to answer; one that is refused is worth a line.
fn report_own(reply: Result<Reply, Refusal>) {
    if let Err(refusal) = reply {
        tracing::warn!(%refusal, "a request of the server itself was refused");
    }
}
