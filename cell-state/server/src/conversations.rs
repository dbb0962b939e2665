//! Conversations with tasks: found in the cell, passed on between the party's stream and one to the task's agent.
//!
//! Nothing is kept here but the message on its way: a party that doesn't read stops its own agent from sending more, by
//! credit, and nobody else.

use std::sync::Arc;

use cell_state::admit::{Rejection, RejectionCode};
use cell_state::bounds::ARGS_MAX;
use cell_state::{Epoch, TaskId};
use tracing::Instrument;
use transport::message::{Refusal, Reply};
use transport::task::{FromTask, TaskAct, TaskRequest, ToTask};
use transport_quic::{
    CallError, ConversationReader, ConversationWriter, HopReader, HopWriter, Offered, Responder,
};

use crate::connection::Connection;
use crate::server::Server;

/// Holds a conversation, in a task of its own.
pub(crate) fn spawn(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    request: TaskRequest,
    stream: Option<Offered>,
    responder: Responder,
) {
    let Some(stream) = stream else {
        let problem = "a conversation needs a stream of its own: make the request the first of one";
        return responder.reply(Err(Refusal::Rejected(Rejection::invalid("stream", problem.to_owned()))));
    };
    let server = Arc::clone(server);
    let span =
        tracing::info_span!("conversation", task = %request.task, party = %connection.session.identity());
    let hold = async move {
        match open(&server, request).await {
            Ok((to_agent, from_agent)) => {
                responder.reply(Ok(Reply::Opened));
                drop(server);
                if let Some((to_party, from_party)) = stream.begin().await {
                    relay(to_party, from_party, to_agent, from_agent).await;
                }
                tracing::debug!("ended");
            }
            Err(refusal) => {
                responder.reply(Err(refusal));
                stream.refuse();
            }
        }
    };
    tokio::spawn(hold.instrument(span));
}

async fn open(
    server: &Server,
    request: TaskRequest,
) -> Result<(HopWriter<ToTask>, HopReader<FromTask>), Refusal> {
    check(&request.act).map_err(Refusal::Rejected)?;
    // Whatever was durable when the question came counts.
    server.mirror.reached(server.ring.last()).await;
    let (agent, machine) = agent_of(server, request.task, request.epoch)?;
    match &request.act {
        TaskAct::Exec { command, .. } => tracing::info!(?command, "a command beside a task"),
        TaskAct::Signal { signal } => tracing::info!(signal, "a signal to a task"),
        TaskAct::FollowLog { .. } | TaskAct::ListFiles { .. } | TaskAct::ReadFile { .. } => {}
    }
    agent.session.converse(machine, request).await.map_err(|error| match error {
        CallError::Refused(refusal) => refusal,
        CallError::Lost(problem) => Refusal::Unavailable(problem),
    })
}

fn check(act: &TaskAct) -> Result<(), Rejection> {
    match act {
        TaskAct::Exec { command, .. } if command.is_empty() => {
            Err(Rejection::invalid("command", "there is none; name a program".to_owned()))
        }
        TaskAct::Exec { command, .. } if command.len() > ARGS_MAX => {
            Err(Rejection::invalid("command", format!("{} words, allowed are {ARGS_MAX}", command.len())))
        }
        TaskAct::Signal { signal } if !(1..=64).contains(signal) => {
            Err(Rejection::invalid("signal", format!("{signal} is no signal; they are 1 to 64")))
        }
        TaskAct::Exec { .. }
        | TaskAct::Signal { .. }
        | TaskAct::FollowLog { .. }
        | TaskAct::ListFiles { .. }
        | TaskAct::ReadFile { .. } => Ok(()),
    }
}

/// The connection of the agent that has the task's current or last placement, and the name of the machine.
pub(crate) fn agent_of(
    server: &Server,
    task: TaskId,
    epoch: Epoch,
) -> Result<(Arc<Connection>, String), Refusal> {
    let not_found = |problem| Refusal::Rejected(Rejection::new(RejectionCode::NotFound, "task", problem));
    let (agent, machine) = {
        let cell = server.mirror.read();
        let found = cell.task(task).ok_or_else(|| not_found(format!("{task} is not in the cell")))?;
        let placed = found.machine.and_then(|id| cell.machine(id));
        let Some(machine) = placed.filter(|_| epoch <= found.epoch) else {
            return Err(not_found(format!("{task} has not been placed, or not that often")));
        };
        (server.parties.agent_of(machine.id), machine.spec.name.clone())
    };
    match agent {
        Some(agent) => Ok((agent, machine)),
        None => Err(Refusal::Unavailable(format!("the agent of machine {machine} is not connected"))),
    }
}

/// Passes messages on until one end has gone or the last one was sent. Dropping the other end's streams is how it learns.
async fn relay(
    mut to_party: ConversationWriter<FromTask>,
    mut from_party: ConversationReader<ToTask>,
    to_agent: HopWriter<ToTask>,
    mut from_agent: HopReader<FromTask>,
) {
    let up = async {
        while let Ok(Some(message)) = from_party.next().await {
            if to_agent.send(message).await.is_err() {
                // The other direction says why.
                return std::future::pending().await;
            }
        }
    };
    let down = async {
        loop {
            let (message, length) = match from_agent.next().await {
                Ok(Some((message, length))) => (message, length),
                Ok(None) => (FromTask::Lost("the agent ended the conversation".to_owned()), 0),
                Err(problem) => {
                    (FromTask::Lost(format!("the agent can't be reached any more: {problem}")), 0)
                }
            };
            let is_sent = to_party.send(&message).await.is_ok();
            if !is_sent || message.is_last() {
                return;
            }
            // Fails when the agent has gone: reading says why.
            let _ = to_agent.passed_on(length).await;
        }
    };
    tokio::select! {
        () = up => return,
        () = down => {}
    }
    to_party.finish().await;
}
