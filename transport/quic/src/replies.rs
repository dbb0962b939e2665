//! Replies of one request stream on their way out: given by any thread at any time, written in batches by one task.
//!
//! What a session can make the server hold is bounded: requests it has unanswered by
//! `transport::bounds::REQUESTS_IN_FLIGHT_MAX`, bytes of replies it doesn't read by
//! [`UNREAD_REPLY_BYTES`](crate::bounds::UNREAD_REPLY_BYTES) (its next requests wait) and
//! [`UNREAD_REPLY_BYTES_MAX`](crate::bounds::UNREAD_REPLY_BYTES_MAX) (it is closed).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use cell_state::Seq;
use quinn::{Connection, SendStream};
use tokio::sync::{Notify, oneshot};
use transport::bounds::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use transport::frame::{PREFIX_BYTES, frame, frame_verdicts};
use transport::message::{Refusal, Reply, ReplyFrame};

use crate::bounds::{UNREAD_REPLY_BYTES, UNREAD_REPLY_BYTES_MAX};
use crate::closing;

/// What one session makes the server hold, over all its streams.
#[derive(Default)]
pub(crate) struct Load {
    /// Requests taken whose replies aren't written yet.
    unanswered: AtomicUsize,
    /// Bytes of replies not written yet.
    unread: AtomicUsize,
    /// Told whenever `unread` shrinks.
    shrunk: Notify,
}

impl Load {
    /// Counts a request in, unless the session has as many as it may.
    pub(crate) fn begin(&self) -> bool {
        let begin = |n| (n < REQUESTS_IN_FLIGHT_MAX).then_some(n + 1);
        self.unanswered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin).is_ok()
    }

    /// Waits until the session has read enough of its replies to be given more.
    pub(crate) async fn room(&self) {
        loop {
            let shrunk = self.shrunk.notified();
            tokio::pin!(shrunk);
            // Listen first, then look: whatever shrinks in between is heard.
            shrunk.as_mut().enable();
            if self.unread.load(Ordering::Acquire) <= UNREAD_REPLY_BYTES {
                return;
            }
            shrunk.await;
        }
    }

    /// Counts out replies that were written, or never will be.
    fn release(&self, answered: usize, bytes: usize) {
        self.unanswered.fetch_sub(answered, Ordering::Relaxed);
        self.unread.fetch_sub(bytes, Ordering::AcqRel);
        self.shrunk.notify_waiters();
    }
}

/// The replies of one stream that wait to be written.
pub(crate) struct Replies {
    connection: Connection,
    load: Arc<Load>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// Requests of this stream that somebody still has to answer.
    open: usize,
    /// No request will follow.
    complete: bool,
    /// Nobody will read what is written.
    deaf: bool,
    /// Who gets the stream once all is written.
    heir: Option<oneshot::Sender<SendStream>>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How many of the replies free a place for a request.
    answered: usize,
}

impl Replies {
    pub(crate) fn new(connection: Connection, load: Arc<Load>) -> Arc<Replies> {
        Arc::new(Replies { connection, load, state: Mutex::default(), wake: Notify::new() })
    }

    /// A responder for a request that [`Load::begin`] has counted in.
    pub(crate) fn responder(self: &Arc<Replies>, id: u64) -> Responder {
        self.state().open += 1;
        Responder { replies: self.clone(), id, answered: false }
    }

    /// Refuses what never became a request.
    pub(crate) fn refuse(&self, id: u64, refusal: Refusal) {
        self.add(&mut self.state(), id, |out| frame(&ReplyFrame { id, reply: Err(refusal) }, out));
        self.wake.notify_one();
    }

    /// Says that no request will follow: the stream is finished once all are answered.
    pub(crate) fn complete(&self) {
        self.state().complete = true;
        self.wake.notify_one();
    }

    /// The stream itself, once all replies are written; no request will follow.
    pub(crate) fn hand_over(&self) -> oneshot::Receiver<SendStream> {
        let (heir, inherits) = oneshot::channel();
        let mut state = self.state();
        state.complete = true;
        state.heir = Some(heir);
        drop(state);
        self.wake.notify_one();
        inherits
    }

    fn answer(&self, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        state.open -= 1;
        state.batch.answered += 1;
        self.add(&mut state, id, write);
        drop(state);
        self.wake.notify_one();
    }

    fn add(&self, state: &mut State, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if state.deaf {
            self.drop_batch(state);
            return;
        }
        let bytes = &mut state.batch.bytes;
        let start = bytes.len();
        write(bytes);
        let length = bytes.len() - start - PREFIX_BYTES;
        if length > FRAME_BYTES_MAX {
            bytes.truncate(start);
            let problem =
                format!("the reply is {length} bytes, over the bound of {FRAME_BYTES_MAX}; ask for less");
            frame(&ReplyFrame { id, reply: Err(Refusal::Unavailable(problem)) }, bytes);
        }
        let added = bytes.len() - start;
        let unread = self.load.unread.fetch_add(added, Ordering::AcqRel) + added;
        if unread > UNREAD_REPLY_BYTES_MAX {
            let reason =
                format!("closed by the server: {unread} bytes of replies are unread, over the bound");
            closing::close(&self.connection, closing::UNREAD, &reason);
        }
    }

    /// Nobody reads any more: drops what waits, and what will come.
    fn deafen(&self) {
        let mut state = self.state();
        state.deaf = true;
        self.drop_batch(&mut state);
    }

    fn drop_batch(&self, state: &mut State) {
        let batch = std::mem::take(&mut state.batch);
        self.load.release(batch.answered, batch.bytes.len());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

/// Writes replies as they come, all that wait at once, until the stream's last one.
pub(crate) async fn write(replies: Arc<Replies>, mut stream: SendStream) {
    let stopped = stream.stopped();
    tokio::pin!(stopped);
    loop {
        let (Batch { bytes, answered }, last) = {
            let mut state = replies.state();
            (std::mem::take(&mut state.batch), state.complete && state.open == 0)
        };
        if bytes.is_empty() {
            if last {
                let heir = replies.state().heir.take();
                if let Some(heir) = heir {
                    // Fails when nobody wants it any more; dropping it ends it.
                    drop(heir.send(stream));
                    return;
                }
                // Fails only when the stream has ended already.
                let _ = stream.finish();
                return;
            }
            tokio::select! {
                () = replies.wake.notified() => continue,
                _ = &mut stopped => return replies.deafen(),
            }
        }
        let length = bytes.len();
        let written = stream.write_chunk(Bytes::from(bytes)).await;
        replies.load.release(answered, length);
        if written.is_err() {
            return replies.deafen();
        }
    }
}

/// Answers one request, from any thread, without waiting. A request whose responder is dropped is refused.
pub struct Responder {
    replies: Arc<Replies>,
    id: u64,
    answered: bool,
}

impl Responder {
    /// Answers.
    pub fn reply(mut self, reply: Result<Reply, Refusal>) {
        self.answered = true;
        let id = self.id;
        self.replies.answer(id, |out| frame(&ReplyFrame { id, reply }, out));
    }

    /// Answers a transaction, given the encoded outcomes and failed assertion.
    pub fn reply_verdicts(mut self, at: Seq, encoded: &[u8]) {
        self.answered = true;
        let id = self.id;
        self.replies.answer(id, |out| frame_verdicts(id, at, encoded, out));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            let refusal =
                Refusal::Unavailable("the server dropped the request; it may be shutting down".to_owned());
            let id = self.id;
            self.replies.answer(id, |out| frame(&ReplyFrame { id, reply: Err(refusal) }, out));
        }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}
