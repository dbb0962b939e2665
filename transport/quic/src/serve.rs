//! Requests of a session as they come in: cut into frames, decoded, checked against the permission table, handed over.
//!
//! A message that doesn't decode, or that the sender's role may not send, is answered here. A frame over the bound ends
//! its stream, for nothing behind it can be trusted to be a frame; the session goes on.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, RecvStream};
use tokio::sync::mpsc;
use tracing::Instrument;
use transport::message::{Refusal, Request, RequestFrame};
use transport::{FrameBuffer, Identity, hot};

use crate::bounds::REQUEST_PIECES;
use crate::closing::BAD_FRAME;
use crate::conversation::Offered;
use crate::replies::{self, Load, Replies, Responder};

/// A request that its sender may make, and the way to answer it.
#[derive(Debug)]
pub struct Incoming {
    /// The request.
    pub request: Request,
    responder: Responder,
    conversation: Option<Offered>,
}

impl Incoming {
    /// The stream of a request for a conversation, if the request came first on one of its own.
    pub fn take_conversation(&mut self) -> Option<Offered> {
        self.conversation.take()
    }

    /// The request, and the way to answer it.
    pub fn into_parts(self) -> (Request, Responder) {
        (self.request, self.responder)
    }
}

/// Serves every request stream of a connection until it ends.
pub(crate) async fn streams(
    connection: Connection,
    identity: Arc<Identity>,
    taker: mpsc::Sender<Vec<Incoming>>,
) {
    let load = Arc::new(Load::default());
    // QUIC itself bounds the streams that are open at a time.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let replies = Replies::new(connection.clone(), load.clone());
        let desk = Desk {
            identity: identity.clone(),
            load: load.clone(),
            replies: replies.clone(),
            taker: taker.clone(),
        };
        tokio::spawn(replies::write(replies, send).in_current_span());
        tokio::spawn(desk.read(receive).in_current_span());
    }
}

/// What taking all frames led to.
enum Taken {
    /// All that are whole.
    All,
    /// The stream is of no further use.
    Unsound,
    /// The rest of the stream belongs to this request.
    Conversation(Box<Incoming>),
}

/// Takes the requests of one stream.
struct Desk {
    identity: Arc<Identity>,
    load: Arc<Load>,
    replies: Arc<Replies>,
    taker: mpsc::Sender<Vec<Incoming>>,
}

impl Desk {
    async fn read(self, mut stream: RecvStream) {
        let mut buffer = FrameBuffer::default();
        let mut pieces = vec![Bytes::new(); REQUEST_PIECES];
        let mut is_first = true;
        loop {
            self.load.room().await;
            match stream.read_chunks(&mut pieces).await {
                Ok(Some(n)) => pieces[..n].iter_mut().for_each(|p| buffer.push(&std::mem::take(p))),
                Ok(None) => {
                    if buffer.pending() > 0 {
                        self.malformed(
                            0,
                            format!("the stream ended {} bytes into a frame", buffer.pending()),
                        );
                    }
                    break;
                }
                Err(_) => break,
            }
            match self.take_all(&mut buffer, &mut is_first).await {
                Taken::All => {}
                Taken::Unsound => {
                    // Fails only when the stream has ended already.
                    let _ = stream.stop(BAD_FRAME);
                    break;
                }
                Taken::Conversation(mut incoming) => {
                    incoming.conversation = Some(Offered::new(stream, buffer, self.replies.clone()));
                    // Fails when the server drops the session.
                    drop(self.taker.send(vec![*incoming]).await);
                    return;
                }
            }
        }
        self.replies.complete();
    }

    /// Takes every whole frame and hands the requests over together.
    async fn take_all(&self, buffer: &mut FrameBuffer, is_first: &mut bool) -> Taken {
        let mut taken = Vec::new();
        let how = loop {
            match buffer.next_message() {
                Ok(None) => break Taken::All,
                Ok(Some(message)) => {
                    let alone = std::mem::take(is_first);
                    match self.admit(message) {
                        Some(incoming) if alone && matches!(incoming.request, Request::Task(_)) => {
                            break Taken::Conversation(Box::new(incoming));
                        }
                        admitted => taken.extend(admitted),
                    }
                }
                Err(error) => {
                    self.malformed(0, error.to_string());
                    break Taken::Unsound;
                }
            }
        };
        match taken.is_empty() || self.taker.send(taken).await.is_ok() {
            true => how,
            false => Taken::Unsound,
        }
    }

    /// The request in a message, or `None` when it has been refused.
    fn admit(&self, message: &[u8]) -> Option<Incoming> {
        let RequestFrame { id, request } = match hot::request(message) {
            Ok(frame) => frame,
            Err(error) => {
                self.malformed(RequestFrame::id_of(message).unwrap_or(0), error.to_string());
                return None;
            }
        };
        let (role, kind) = (self.identity.role, request.kind());
        if !role.may(kind) {
            tracing::debug!(%kind, "not permitted");
            self.replies.refuse(id, Refusal::NotPermitted { role: role.to_string(), what: kind.to_string() });
            return None;
        }
        if !self.load.begin() {
            self.replies.refuse(id, Refusal::Busy);
            return None;
        }
        tracing::trace!(id, %kind, "request");
        Some(Incoming { request, responder: self.replies.responder(id), conversation: None })
    }

    fn malformed(&self, id: u64, problem: String) {
        tracing::debug!(id, problem, "malformed request");
        self.replies.refuse(id, Refusal::Malformed(problem));
    }
}
