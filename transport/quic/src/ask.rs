//! What the server asks of an agent, both ends: one bidirectional stream per request, and per conversation.

use std::sync::Arc;

use cell_state::codec;
use quinn::{Connection, RecvStream, SendStream};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Instrument;
use transport::FrameBuffer;
use transport::frame::frame;
use transport::message::{AgentReply, AgentRequest, Refusal};
use transport::task::{FromTask, ToTask};

use crate::bounds::{AGENT_ANSWER_WAIT, AGENT_REQUESTS_MAX, READ_BYTES};
use crate::client::CallError;
use crate::closing::{BAD_FRAME, why, why_or};
use crate::conversation::{self, HopReader, HopWriter};

/// Answers one request of the server.
#[derive(Debug)]
pub struct AgentResponder {
    stream: SendStream,
    /// What follows the request: nothing, unless it opens a conversation.
    rest: Option<(RecvStream, FrameBuffer)>,
}

impl AgentResponder {
    /// Begins the conversation that the request asks for; `None` when it asks for none.
    pub fn converse(self) -> Option<(HopWriter<FromTask>, HopReader<ToTask>)> {
        let (receive, buffer) = self.rest?;
        Some(conversation::hop(self.stream, receive, buffer))
    }

    /// Answers. A server that has gone meanwhile is no error: it will ask again if it still wants to know.
    pub async fn reply(mut self, reply: AgentReply) {
        let mut bytes = Vec::new();
        frame(&reply, &mut bytes);
        if self.stream.write_chunk(bytes.into()).await.is_ok() {
            let _ = self.stream.finish();
        }
    }
}

/// Takes in the server's requests until the connection ends.
pub(crate) async fn accept(connection: Connection, taker: mpsc::Sender<(AgentRequest, AgentResponder)>) {
    // QUIC itself bounds the streams that are open at a time.
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(take(send, receive, taker.clone()).in_current_span());
    }
}

async fn take(
    send: SendStream,
    mut receive: RecvStream,
    taker: mpsc::Sender<(AgentRequest, AgentResponder)>,
) {
    let mut buffer = FrameBuffer::default();
    match read_one(&mut receive, &mut buffer).await {
        Ok(request) => {
            let opens = matches!(request, AgentRequest::Task { .. });
            let responder = AgentResponder { stream: send, rest: opens.then_some((receive, buffer)) };
            // Fails when the agent is shutting down; dropping the responder ends the stream.
            drop(taker.send((request, responder)).await);
        }
        Err(problem) => {
            AgentResponder { stream: send, rest: None }
                .reply(AgentReply::Failed(format!("unreadable request: {problem}")))
                .await
        }
    }
}

/// Sends one request and waits for its answer.
pub(crate) async fn ask(
    connection: &Connection,
    places: &Arc<Semaphore>,
    request: &AgentRequest,
) -> Result<AgentReply, CallError> {
    let Ok(_place) = places.try_acquire() else {
        let problem = format!("the agent has {AGENT_REQUESTS_MAX} requests to answer, its bound");
        return Err(CallError::Refused(Refusal::Unavailable(problem)));
    };
    let asked = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| why(&error))?;
        let mut bytes = Vec::new();
        frame(request, &mut bytes);
        send.write_chunk(bytes.into()).await.map_err(|error| error.to_string())?;
        // Fails only when the stream has ended already.
        let _ = send.finish();
        read_one(&mut receive, &mut FrameBuffer::default()).await
    };
    match tokio::time::timeout(AGENT_ANSWER_WAIT, asked).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(problem)) => Err(CallError::Lost(why_or(connection, &problem))),
        Err(_) => {
            let problem = format!("the agent didn't answer within {} s", AGENT_ANSWER_WAIT.as_secs());
            Err(CallError::Refused(Refusal::Unavailable(problem)))
        }
    }
}

/// Opens a conversation with the agent.
pub(crate) async fn converse(
    connection: &Connection,
    place: OwnedSemaphorePermit,
    request: &AgentRequest,
) -> Result<(HopWriter<ToTask>, HopReader<FromTask>), CallError> {
    let opened = connection.open_bi().await.map_err(|error| CallError::Lost(why(&error)))?;
    let (mut send, receive) = opened;
    let mut bytes = Vec::new();
    frame(request, &mut bytes);
    let written = send.write_chunk(bytes.into()).await;
    written.map_err(|error| CallError::Lost(why_or(connection, &error.to_string())))?;
    let (writer, reader) = conversation::hop(send, receive, FrameBuffer::default());
    Ok((writer.holding(place), reader))
}

/// The first message of a stream.
async fn read_one<T: DeserializeOwned>(
    stream: &mut RecvStream,
    buffer: &mut FrameBuffer,
) -> Result<T, String> {
    loop {
        match stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => buffer.push(&chunk.bytes),
            Ok(None) => return Err("the stream ended before a message".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        match buffer.next_message() {
            Ok(None) => {}
            Ok(Some(message)) => return codec::decode(message).map_err(|error| error.to_string()),
            Err(error) => {
                // Fails only when the stream has ended already.
                let _ = stream.stop(BAD_FRAME);
                return Err(error.to_string());
            }
        }
    }
}
