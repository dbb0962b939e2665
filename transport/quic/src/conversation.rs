//! Conversations with tasks: framed messages both ways on a stream of their own.
//!
//! Between a party and the server QUIC's own flow control is enough: a party that doesn't read harms itself. Between the
//! server and an agent all conversations share a connection with the log and the reports, so there each end also waits
//! for credit: what it has sent and the other end hasn't passed on stays within `CONVERSATION_WINDOW`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cell_state::codec;
use quinn::{Connection, RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use transport::FrameBuffer;
use transport::bounds::{CONVERSATION_FRAME_BYTES_MAX, CONVERSATION_WINDOW};
use transport::frame::{PREFIX_BYTES, frame};
use transport::message::{Refusal, Reply, ReplyFrame, Request, RequestFrame};
use transport::task::{FromTask, Hop, ToTask};

use crate::bounds::READ_BYTES;
use crate::client::CallError;
use crate::closing::{BAD_FRAME, why, why_or};
use crate::replies::Replies;

/// What a party writes. Dropping it ends the stream: the other end takes that for its leave.
#[derive(Debug)]
pub struct ConversationWriter<T> {
    stream: SendStream,
    messages: PhantomData<fn(T)>,
}

/// What a party reads. Dropping it tells the other end to stop.
#[derive(Debug)]
pub struct ConversationReader<T> {
    stream: RecvStream,
    buffer: FrameBuffer,
    messages: PhantomData<fn() -> T>,
}

impl<T: Serialize> ConversationWriter<T> {
    /// Sends a message, once the other end has room for it.
    ///
    /// # Errors
    /// The other end has gone.
    pub async fn send(&mut self, message: &T) -> Result<(), String> {
        let mut bytes = Vec::new();
        frame(message, &mut bytes);
        self.stream.write_chunk(bytes.into()).await.map_err(|error| error.to_string())
    }

    /// Waits until the other end has taken all, or has gone.
    pub async fn finish(mut self) {
        // Fails only when the stream has ended already.
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
    }
}

impl<T: DeserializeOwned> ConversationReader<T> {
    fn new(stream: RecvStream, buffer: FrameBuffer) -> ConversationReader<T> {
        ConversationReader { stream, buffer, messages: PhantomData }
    }

    /// The next message; `None` when the other end has ended its stream.
    ///
    /// # Errors
    /// The connection broke, or the bytes are no messages.
    pub async fn next(&mut self) -> Result<Option<T>, String> {
        Ok(self.next_sized().await?.map(|(message, _)| message))
    }

    /// The next message and the length of its frame. No message is lost when the future is dropped.
    async fn next_sized(&mut self) -> Result<Option<(T, usize)>, String> {
        loop {
            // Of a frame that isn't whole no more may be here than the bound and one read.
            let is_long = self.buffer.pending() > CONVERSATION_FRAME_BYTES_MAX + PREFIX_BYTES + READ_BYTES;
            let taken = match self.buffer.next_message() {
                Ok(Some(message)) if message.len() <= CONVERSATION_FRAME_BYTES_MAX => {
                    let length = message.len() + PREFIX_BYTES;
                    Some(codec::decode(message).map(|message| (message, length)).map_err(|e| e.to_string()))
                }
                Ok(None) if !is_long => None,
                Ok(_) => {
                    Some(Err(format!("a message over the bound of {CONVERSATION_FRAME_BYTES_MAX} bytes")))
                }
                Err(error) => Some(Err(error.to_string())),
            };
            if let Some(taken) = taken {
                return taken.map(Some).inspect_err(|_| drop(self.stream.stop(BAD_FRAME)));
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.push(&chunk.bytes),
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// The stream of a request for a conversation, until the request is granted.
pub struct Offered {
    reader: ConversationReader<ToTask>,
    replies: Arc<Replies>,
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offered").finish_non_exhaustive()
    }
}

impl Offered {
    pub(crate) fn new(stream: RecvStream, buffer: FrameBuffer, replies: Arc<Replies>) -> Offered {
        Offered { reader: ConversationReader::new(stream, buffer), replies }
    }

    /// Begins the conversation; the request must have been granted. `None` when the party has gone.
    pub async fn begin(self) -> Option<(ConversationWriter<FromTask>, ConversationReader<ToTask>)> {
        let stream = self.replies.hand_over().await.ok()?;
        Some((ConversationWriter { stream, messages: PhantomData }, self.reader))
    }

    /// Ends the stream once the request's refusal is written.
    pub fn refuse(self) {
        self.replies.complete();
    }
}

/// Opens a stream, asks, and waits for the answer.
pub(crate) async fn open(
    connection: &Connection,
    request: Request,
) -> Result<(ConversationWriter<ToTask>, ConversationReader<FromTask>), CallError> {
    let opened = connection.open_bi().await.map_err(|error| CallError::Lost(why(&error)))?;
    let (stream, mut receive) = opened;
    let lost = |problem: String| CallError::Lost(why_or(connection, &problem));
    let mut asking = ConversationWriter { stream, messages: PhantomData };
    asking.send(&RequestFrame { id: 1, request }).await.map_err(lost)?;
    let mut buffer = FrameBuffer::default();
    let reply = loop {
        match buffer.next_message() {
            Ok(Some(message)) => {
                break codec::decode::<ReplyFrame>(message).map_err(|e| lost(e.to_string()))?;
            }
            Ok(None) => {}
            Err(error) => return Err(lost(error.to_string())),
        }
        match receive.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => buffer.push(&chunk.bytes),
            Ok(None) => return Err(lost("the server ended the stream".to_owned())),
            Err(error) => return Err(lost(error.to_string())),
        }
    };
    match reply.reply {
        Ok(Reply::Opened) => {
            let writer = ConversationWriter { stream: asking.stream, messages: PhantomData };
            Ok((writer, ConversationReader::new(receive, buffer)))
        }
        Ok(other) => {
            let problem = format!("the server answered a conversation with {other:?}");
            Err(CallError::Refused(Refusal::Malformed(problem)))
        }
        Err(refusal) => Err(CallError::Refused(refusal)),
    }
}

/// What one end of a conversation between server and agent writes.
#[derive(Debug)]
pub struct HopWriter<T> {
    line: Arc<Line>,
    _place: Option<OwnedSemaphorePermit>,
    messages: PhantomData<fn(T)>,
}

/// What one end of a conversation between server and agent reads.
#[derive(Debug)]
pub struct HopReader<T> {
    line: Arc<Line>,
    reader: ConversationReader<Hop<T>>,
}

/// What both halves share.
#[derive(Debug)]
struct Line {
    stream: Mutex<SendStream>,
    /// Bytes that may be sent.
    credit: Semaphore,
    /// Bytes passed on that the other end hasn't been told of.
    owed: AtomicUsize,
}

/// Both halves of one end.
pub(crate) fn hop<O, I: DeserializeOwned>(
    send: SendStream,
    receive: RecvStream,
    buffer: FrameBuffer,
) -> (HopWriter<O>, HopReader<I>) {
    let credit = Semaphore::new(CONVERSATION_WINDOW);
    let line = Arc::new(Line { stream: Mutex::new(send), credit, owed: AtomicUsize::new(0) });
    let writer = HopWriter { line: line.clone(), _place: None, messages: PhantomData };
    (writer, HopReader { line, reader: ConversationReader::new(receive, buffer) })
}

impl Line {
    async fn write(&self, bytes: Vec<u8>) -> Result<(), String> {
        let mut stream = self.stream.lock().await;
        stream.write_chunk(bytes.into()).await.map_err(|error| error.to_string())
    }
}

impl<T: Serialize> HopWriter<T> {
    /// Gives the place back when it is dropped.
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> HopWriter<T> {
        HopWriter { _place: Some(place), ..self }
    }

    /// Sends a message, once there is credit for it.
    ///
    /// # Errors
    /// The other end has gone.
    pub async fn send(&self, message: T) -> Result<(), String> {
        let mut bytes = Vec::new();
        frame(&Hop::Message(message), &mut bytes);
        let length = bytes.len().min(CONVERSATION_WINDOW) as u32;
        let credit = self.line.credit.acquire_many(length).await.map_err(|_| "the other end has gone")?;
        credit.forget();
        self.line.write(bytes).await
    }

    /// Tells the other end that so much of what was read has been passed on, and may be sent again.
    ///
    /// # Errors
    /// The other end has gone.
    pub async fn passed_on(&self, length: usize) -> Result<(), String> {
        let owed = self.line.owed.fetch_add(length, Ordering::Relaxed) + length;
        if owed < CONVERSATION_WINDOW / 4 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        frame(&Hop::<()>::Credit(self.line.owed.swap(0, Ordering::Relaxed) as u32), &mut bytes);
        self.line.write(bytes).await
    }

    /// Ends the stream and waits until the other end has taken all, or has gone.
    pub async fn finish(self) {
        let mut stream = self.line.stream.lock().await;
        // Fails only when the stream has ended already.
        let _ = stream.finish();
        let _ = stream.stopped().await;
    }
}

impl<T: DeserializeOwned> HopReader<T> {
    /// The next message, and what to give back with [`HopWriter::passed_on`] once it has been passed on; `None` when the
    /// other end has ended its stream. No message is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection broke, or the other end doesn't keep to the rules.
    pub async fn next(&mut self) -> Result<Option<(T, usize)>, String> {
        loop {
            match self.reader.next_sized().await {
                Ok(Some((Hop::Message(message), length))) => return Ok(Some((message, length))),
                Ok(Some((Hop::Credit(bytes), _))) => {
                    let bytes = bytes as usize;
                    if self.line.credit.available_permits() + bytes > CONVERSATION_WINDOW {
                        return Err("more credit than the window holds".to_owned());
                    }
                    self.line.credit.add_permits(bytes);
                }
                Ok(None) => {
                    self.line.credit.close();
                    return Ok(None);
                }
                Err(problem) => {
                    self.line.credit.close();
                    return Err(problem);
                }
            }
        }
    }
}
