//! Requests of a client on their way out, and their replies on the way back.
//!
//! All requests of a client share one long-lived stream: a writer task sends what has gathered since its last turn as one
//! piece, a reader task matches replies to requests by number. When the server ends the stream but not the connection,
//! the next request opens another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::Instrument;
use transport::bounds::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use transport::frame::{PREFIX_BYTES, frame};
use transport::message::{Refusal, Reply, ReplyFrame, Request, RequestFrame};
use transport::{FrameBuffer, hot};

use crate::bounds::READ_BYTES;
use crate::client::CallError;
use crate::closing::{BAD_FRAME, why_or};
use crate::subscription::Arrivals;

/// The requests of one client.
pub(crate) struct Requests {
    connection: Connection,
    arrivals: Arc<Arrivals>,
    /// A place for each request that may be in flight; the next one waits for a place.
    places: Arc<Semaphore>,
    current: tokio::sync::Mutex<Option<Arc<Channel>>>,
}

impl Requests {
    pub(crate) fn new(connection: Connection, arrivals: Arc<Arrivals>) -> Requests {
        let places = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX));
        Requests { connection, arrivals, places, current: tokio::sync::Mutex::default() }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let answer = self.channel().await?.send(request, place)?;
        answer.await.expect("every waiting request is answered, also when its stream ends")
    }

    /// The stream in use, or a new one.
    async fn channel(&self) -> Result<Arc<Channel>, CallError> {
        let mut current = self.current.lock().await;
        if let Some(channel) = current.as_ref().filter(|channel| channel.state().over.is_none()) {
            return Ok(channel.clone());
        }
        let opened = self.connection.open_bi().await;
        let (send, receive) = opened.map_err(|error| CallError::Lost(crate::closing::why(&error)))?;
        let channel = Arc::new(Channel { state: Mutex::default(), wake: Notify::new() });
        tokio::spawn(write(channel.clone(), send).in_current_span());
        tokio::spawn(
            read(channel.clone(), receive, self.connection.clone(), self.arrivals.clone()).in_current_span(),
        );
        *current = Some(channel.clone());
        Ok(channel)
    }
}

/// One request stream.
struct Channel {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// Framed requests not written yet; at most as many as there are places.
    unwritten: Vec<u8>,
    last_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Why the stream ended, once it has.
    over: Option<String>,
}

/// A request that waits for its reply. Its place is free again when the reply is here, also if the caller has gone.
struct Waiting {
    answer: oneshot::Sender<Result<Reply, CallError>>,
    _place: OwnedSemaphorePermit,
}

impl Channel {
    fn send(
        &self,
        request: Request,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Reply, CallError>>, CallError> {
        let mut state = self.state();
        if let Some(reason) = &state.over {
            return Err(CallError::Lost(reason.clone()));
        }
        let id = state.last_id + 1;
        let start = state.unwritten.len();
        frame(&RequestFrame { id, request }, &mut state.unwritten);
        let length = state.unwritten.len() - start - PREFIX_BYTES;
        if length > FRAME_BYTES_MAX {
            state.unwritten.truncate(start);
            let problem = format!("a request of {length} bytes, over the bound of {FRAME_BYTES_MAX}");
            return Err(CallError::Refused(Refusal::Malformed(problem)));
        }
        state.last_id = id;
        let (answer, answered) = oneshot::channel();
        state.waiting.insert(id, Waiting { answer, _place: place });
        drop(state);
        self.wake.notify_one();
        Ok(answered)
    }

    /// Ends the stream: whoever waits is told why. The first reason counts.
    fn end(&self, reason: &str) {
        let mut state = self.state();
        let reason = state.over.get_or_insert_with(|| reason.to_owned()).clone();
        let waiting = std::mem::take(&mut state.waiting);
        state.unwritten = Vec::new();
        drop(state);
        for (_, request) in waiting {
            // Fails when the caller has gone.
            let _ = request.answer.send(Err(CallError::Lost(reason.clone())));
        }
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

async fn write(channel: Arc<Channel>, mut stream: SendStream) {
    loop {
        let batch = {
            let mut state = channel.state();
            if state.over.is_some() {
                return;
            }
            std::mem::take(&mut state.unwritten)
        };
        if batch.is_empty() {
            channel.wake.notified().await;
        } else if stream.write_chunk(Bytes::from(batch)).await.is_err() {
            // The reader learns why, and ends the channel.
            return;
        }
    }
}

async fn read(
    channel: Arc<Channel>,
    mut stream: RecvStream,
    connection: Connection,
    arrivals: Arc<Arrivals>,
) {
    let mut buffer = FrameBuffer::default();
    loop {
        match stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => buffer.push(&chunk.bytes),
            Ok(None) => return channel.end("the server ended the request stream"),
            Err(error) => {
                return channel.end(&why_or(&connection, &format!("the request stream broke: {error}")));
            }
        }
        loop {
            let reply = match buffer.next_message().map(|message| message.map(hot::reply)) {
                Ok(None) => break,
                Ok(Some(Ok(reply))) => reply,
                Ok(Some(Err(error))) => return unreadable(&channel, &mut stream, &error.to_string()),
                Err(error) => return unreadable(&channel, &mut stream, &error.to_string()),
            };
            take(&channel, &arrivals, reply);
        }
    }
}

fn take(channel: &Channel, arrivals: &Arrivals, ReplyFrame { id, reply }: ReplyFrame) {
    let waiting = channel.state().waiting.remove(&id);
    match (waiting, reply) {
        (Some(waiting), reply) => {
            if let Err(Ok(Reply::Subscribed { subscription })) =
                waiting.answer.send(reply.map_err(CallError::Refused))
            {
                // The caller has gone: its stream is not wanted.
                arrivals.forget(subscription);
            }
        }
        (None, Err(refusal)) if id == 0 => {
            channel.end(&format!("the server gave up the request stream: {refusal}"))
        }
        (None, _) => tracing::warn!(id, "a reply to a request that was never made"),
    }
}

fn unreadable(channel: &Channel, stream: &mut RecvStream, problem: &str) {
    // Fails only when the stream has ended already.
    let _ = stream.stop(BAD_FRAME);
    channel.end(&format!("unreadable reply: {problem}"));
}
