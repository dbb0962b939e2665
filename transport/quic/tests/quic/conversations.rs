//! Conversations with tasks: on streams of their own, and never more on the way than the window.

use cell_state::{JobId, TaskId};
use transport::Role;
use transport::bounds::{CONVERSATION_FRAME_BYTES_MAX, CONVERSATION_PIECE_BYTES, CONVERSATION_WINDOW};
use transport::message::{AgentRequest, Refusal, Reply, Request};
use transport::task::{FromTask, TaskAct, TaskRequest, ToTask};
use transport_quic::CallError;

use crate::cell::{Cell, soon};

fn signal() -> TaskRequest {
    let task = TaskId { job: JobId(1), group: 0, index: 0 };
    TaskRequest { task, epoch: 0, act: TaskAct::Signal { signal: 1 } }
}

#[tokio::test]
async fn a_conversation_has_a_stream_of_its_own_and_ends_with_either_end() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let user = cell.client(listener.local_addr(), Role::User, "ann").await;
    let session = soon(listener.accept()).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut incoming = session.next_request().await.unwrap();
        let offered = incoming.take_conversation().expect("the first request of its stream");
        let (request, responder) = incoming.into_parts();
        assert_eq!(request, Request::Task(signal()));
        responder.reply(Ok(Reply::Opened));
        let (mut writer, mut reader) = offered.begin().await.unwrap();
        while let Some(message) = reader.next().await.unwrap() {
            let ToTask::Input(bytes) = message else { panic!("input was sent") };
            writer.send(&FromTask::Piece(bytes)).await.unwrap();
        }
        // The party took its leave. The next one is refused, and its stream ends.
        drop(writer);
        let mut incoming = session.next_request().await.unwrap();
        let offered = incoming.take_conversation().expect("a stream of its own again");
        let (_, responder) = incoming.into_parts();
        responder.reply(Err(Refusal::Unavailable("not now".into())));
        offered.refuse();
        // On a stream with other requests there is nothing to hand over.
        let (_, responder) = session.next_request().await.unwrap().into_parts();
        responder.reply(Ok(Reply::Noted));
        let mut incoming = session.next_request().await.unwrap();
        assert!(incoming.take_conversation().is_none());
        incoming.into_parts().1.reply(Ok(Reply::Noted));
        session
    });
    let (mut writer, mut reader) = soon(user.converse(signal())).await.unwrap();
    for n in 0..100u8 {
        writer.send(&ToTask::Input(vec![n; CONVERSATION_PIECE_BYTES])).await.unwrap();
        assert_eq!(soon(reader.next()).await, Ok(Some(FromTask::Piece(vec![n; CONVERSATION_PIECE_BYTES]))));
    }
    drop(writer);
    assert_eq!(soon(reader.next()).await, Ok(None));
    let refused = soon(user.converse(signal())).await.unwrap_err();
    assert_eq!(refused, CallError::Refused(Refusal::Unavailable("not now".into())));
    assert_eq!(soon(user.call(Request::Status)).await, Ok(Reply::Noted));
    assert_eq!(soon(user.call(Request::Task(signal()))).await, Ok(Reply::Noted));
    serving.await.unwrap();
}

#[tokio::test]
async fn an_agent_sends_no_more_than_the_window_until_it_is_passed_on() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let agent = cell.client(listener.local_addr(), Role::Agent, "m1").await;
    let session = soon(listener.accept()).await.unwrap();
    let answering = agent.clone();
    let sending = tokio::spawn(async move {
        let (request, responder) = answering.next_agent_request().await.unwrap();
        assert_eq!(request, AgentRequest::Task { machine: "m1".into(), request: signal() });
        let (writer, mut reader) = responder.converse().expect("it opens a conversation");
        let send = async {
            for n in 0..40u8 {
                writer.send(FromTask::Piece(vec![n; CONVERSATION_PIECE_BYTES])).await.unwrap();
            }
        };
        // Credit comes with what is read.
        tokio::select! {
            () = send => {}
            read = reader.next() => panic!("{read:?}"),
        }
        writer.finish().await;
    });
    let (writer, mut reader) = soon(session.converse("m1".into(), signal())).await.unwrap();
    // Nothing is passed on, so after the window nothing more comes, however long one waits.
    let mut unpassed = Vec::new();
    let mut bytes = 0;
    while let Ok(next) = tokio::time::timeout(std::time::Duration::from_millis(300), reader.next()).await {
        let (message, length) = next.unwrap().unwrap();
        unpassed.push(message);
        bytes += length;
    }
    assert!((1..=CONVERSATION_WINDOW).contains(&bytes), "{bytes} bytes on the way");
    // Everything else of the agent's connection goes on.
    let (called, ()) = tokio::join!(soon(agent.call(Request::Status)), async {
        let (_, responder) = session.next_request().await.unwrap().into_parts();
        responder.reply(Ok(Reply::Noted));
    });
    assert_eq!(called, Ok(Reply::Noted));
    writer.passed_on(bytes).await.unwrap();
    while unpassed.len() < 40 {
        let (message, length) = soon(reader.next()).await.unwrap().unwrap();
        unpassed.push(message);
        writer.passed_on(length).await.unwrap();
    }
    let expected: Vec<FromTask> =
        (0..40u8).map(|n| FromTask::Piece(vec![n; CONVERSATION_PIECE_BYTES])).collect();
    assert_eq!(unpassed, expected);
    assert_eq!(soon(reader.next()).await, Ok(None));
    drop((writer, reader));
    sending.await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_bound_ends_the_conversation_and_nothing_else() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let user = cell.client(listener.local_addr(), Role::User, "ann").await;
    let session = soon(listener.accept()).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut incoming = session.next_request().await.unwrap();
        let offered = incoming.take_conversation().unwrap();
        incoming.into_parts().1.reply(Ok(Reply::Opened));
        let (_writer, mut reader) = offered.begin().await.unwrap();
        assert!(reader.next().await.unwrap_err().contains("over the bound"));
        let (_, responder) = session.next_request().await.unwrap().into_parts();
        responder.reply(Ok(Reply::Noted));
        session
    });
    let (mut writer, _reader) = soon(user.converse(signal())).await.unwrap();
    // Fails if the other end was quick to stop it.
    let _ = writer.send(&ToTask::Input(vec![0; CONVERSATION_FRAME_BYTES_MAX + 1])).await;
    assert_eq!(soon(user.call(Request::Status)).await, Ok(Reply::Noted));
    serving.await.unwrap();
}
