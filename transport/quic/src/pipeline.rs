//! Calls of a party that makes thousands per second: on a stream of their own, sent together, answered together.
//!
//! A [`Client::call`] costs two tasks a wake-up each, a place in a map and a channel. Here the caller's own task does all
//! the work: what was added goes out as one piece, and all answers that have arrived come back at once.

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use transport::bounds::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use transport::frame::{PREFIX_BYTES, frame};
use transport::message::{Refusal, Reply, ReplyFrame, Request, RequestFrameRef};
use transport::{FrameBuffer, hot};

use crate::bounds::READ_PIECES;
use crate::client::{CallError, Client};
use crate::closing::{BAD_FRAME, why_or};

/// The answer to one request, with the number the caller gave it.
pub type Answered = (u64, Result<Reply, Refusal>);

/// A request stream that its owner drives.
pub struct Pipeline {
    client: Client,
    send: SendStream,
    receive: RecvStream,
    /// Framed requests that wait for the next exchange.
    unwritten: Vec<u8>,
    /// Framed requests on their way out.
    writing: Bytes,
    pieces: Vec<Bytes>,
    buffer: FrameBuffer,
    unanswered: usize,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("client", &self.client)
            .field("unanswered", &self.unanswered)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    pub(crate) fn new(client: Client, send: SendStream, receive: RecvStream) -> Pipeline {
        Pipeline {
            client,
            send,
            receive,
            unwritten: Vec::new(),
            writing: Bytes::new(),
            pieces: vec![Bytes::new(); READ_PIECES],
            buffer: FrameBuffer::default(),
            unanswered: 0,
        }
    }

    /// Adds a request under a number of the caller's choice, from 1 on; it is sent by the next exchange.
    ///
    /// # Errors
    /// The request is over the bound of a frame, or as many are unanswered as the server allows.
    pub fn add(&mut self, id: u64, request: &Request) -> Result<(), CallError> {
        if self.unanswered >= REQUESTS_IN_FLIGHT_MAX {
            return Err(CallError::Refused(Refusal::Busy));
        }
        let start = self.unwritten.len();
        frame(&RequestFrameRef { id, request }, &mut self.unwritten);
        let length = self.unwritten.len() - start - PREFIX_BYTES;
        if length > FRAME_BYTES_MAX {
            self.unwritten.truncate(start);
            let problem = format!("a request of {length} bytes, over the bound of {FRAME_BYTES_MAX}");
            return Err(CallError::Refused(Refusal::Malformed(problem)));
        }
        self.unanswered += 1;
        Ok(())
    }

    /// Requests that were added and aren't answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Sends what was added, and appends all answers that have arrived, at least one unless none is due. Nothing is lost
    /// when the future is dropped.
    ///
    /// # Errors
    /// The stream or the connection broke: what is unanswered may or may not have taken effect.
    pub async fn exchange(&mut self, answers: &mut Vec<Answered>) -> Result<(), CallError> {
        loop {
            if self.writing.is_empty() && !self.unwritten.is_empty() {
                let next = Vec::with_capacity(self.unwritten.capacity());
                self.writing = Bytes::from(std::mem::replace(&mut self.unwritten, next));
            }
            if self.unanswered == 0 && self.writing.is_empty() {
                return Ok(());
            }
            let writing = std::slice::from_mut(&mut self.writing);
            // Reading goes on while the server takes nothing: it may be waiting for its answers to be read.
            tokio::select! {
                biased;
                written = self.send.write_chunks(writing), if !writing[0].is_empty() => {
                    written.map_err(|error| self.lost(&error.to_string()))?;
                }
                read = self.receive.read_chunks(&mut self.pieces) => {
                    match read {
                        Ok(Some(n)) => {
                            self.pieces[..n].iter_mut().for_each(|p| self.buffer.push(&std::mem::take(p)));
                        }
                        Ok(None) => return Err(self.lost("the server ended the request stream")),
                        Err(error) => return Err(self.lost(&error.to_string())),
                    }
                    if self.take(answers)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes every whole answer; whether there was one.
    fn take(&mut self, answers: &mut Vec<Answered>) -> Result<bool, CallError> {
        let before = answers.len();
        let problem = loop {
            match self.buffer.next_message() {
                Ok(None) => break None,
                Ok(Some(message)) => match hot::reply(message) {
                    Ok(ReplyFrame { id: 0, reply }) => {
                        let why = reply.err().map_or_else(String::new, |refusal| refusal.to_string());
                        break Some(format!("the server gave up the request stream: {why}"));
                    }
                    Ok(ReplyFrame { id, reply }) => answers.push((id, reply)),
                    Err(error) => break Some(format!("unreadable reply: {error}")),
                },
                Err(error) => break Some(format!("unreadable reply: {error}")),
            }
        };
        self.unanswered = self.unanswered.saturating_sub(answers.len() - before);
        match problem {
            None => Ok(answers.len() > before),
            Some(problem) => {
                // Fails only when the stream has ended already.
                let _ = self.receive.stop(BAD_FRAME);
                Err(self.lost(&problem))
            }
        }
    }

    fn lost(&self, problem: &str) -> CallError {
        CallError::Lost(why_or(self.client.connection(), &format!("the request stream broke: {problem}")))
    }
}
