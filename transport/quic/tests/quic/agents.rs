//! What the server asks of agents.

use cell_state::{JobId, TaskId};
use tokio::task::JoinSet;
use transport::Role;
use transport::message::{AgentReply, AgentRequest, LogFrom, LogPiece, LogRequest, LogStream, Refusal};
use transport_quic::CallError;

use crate::cell::{Cell, soon};

fn read_log(offset: u64) -> AgentRequest {
    let task = TaskId { job: JobId(1), group: 0, index: 0 };
    let request = LogRequest {
        task,
        epoch: 1,
        stream: LogStream::Stdout,
        from: LogFrom::Offset(offset),
        limit: 1 << 20,
    };
    AgentRequest::ReadLog { machine: "m1".into(), request }
}

fn piece(request: &AgentRequest) -> AgentReply {
    let AgentRequest::ReadLog { request, .. } = request else { return AgentReply::Failed("a log".into()) };
    let LogFrom::Offset(offset) = request.from else { return AgentReply::Failed("an offset, please".into()) };
    AgentReply::Log(LogPiece { offset, bytes: vec![7; 200_000], ended: false })
}

#[tokio::test]
async fn an_agent_answers_many_requests_at_once() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let agent = cell.client(listener.local_addr(), Role::Agent, "m1").await;
    let session = soon(listener.accept()).await.unwrap();
    let answering = agent.clone();
    tokio::spawn(async move {
        while let Some((request, responder)) = answering.next_agent_request().await {
            responder.reply(piece(&request)).await;
        }
    });
    let mut asked = JoinSet::new();
    for offset in 0..50 {
        let session = session.clone();
        asked.spawn(async move { (offset, session.ask_agent(read_log(offset)).await) });
    }
    while let Some(answer) = soon(asked.join_next()).await {
        let (offset, reply) = answer.unwrap();
        assert_eq!(reply, Ok(piece(&read_log(offset))));
    }
    agent.close("the agent stops");
    let lost = soon(session.ask_agent(read_log(0))).await.unwrap_err();
    assert_eq!(lost, CallError::Lost("the agent stops".into()));
    assert!(soon(agent.next_agent_request()).await.is_none());
}

#[tokio::test]
async fn an_agent_that_drops_a_request_is_found_out_and_others_are_not_asked() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let agent = cell.client(listener.local_addr(), Role::Agent, "m1").await;
    let session = soon(listener.accept()).await.unwrap();
    let (answer, request) = tokio::join!(session.ask_agent(read_log(0)), async {
        let (request, responder) = agent.next_agent_request().await.unwrap();
        drop(responder);
        request
    });
    assert_eq!(request, read_log(0));
    assert_eq!(answer, Err(CallError::Lost("the stream ended before a message".into())));

    let user = cell.client(listener.local_addr(), Role::User, "ann").await;
    let session = soon(listener.accept()).await.unwrap();
    let refused = soon(session.ask_agent(read_log(0))).await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused(Refusal::Unavailable(why)) if why.contains("is no agent")));
    assert!(soon(user.next_agent_request()).await.is_none());
}

#[tokio::test]
async fn an_agent_that_doesnt_answer_is_not_waited_for() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let agent = cell.client(listener.local_addr(), Role::Agent, "m1").await;
    let session = soon(listener.accept()).await.unwrap();
    let asking = tokio::spawn({
        let session = session.clone();
        async move { session.ask_agent(read_log(0)).await }
    });
    let _held = soon(agent.next_agent_request()).await.unwrap();
    // Only timers are left to happen, so the clock may run to the next one at once.
    tokio::time::pause();
    let refused = asking.await.unwrap().unwrap_err();
    assert_eq!(refused.to_string(), "unavailable: the agent didn't answer within 10 s");
}
