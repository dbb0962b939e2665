//! Requests and replies between parties that keep to the rules.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use transport::Role;
use transport::bounds::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use transport::message::{Refusal, Reply, Request};
use transport_quic::CallError;

use crate::cell::{Cell, answer_all, assert_served, echo, echoed, numbered, soon};

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_reply_in_any_order() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let server = listener.local_addr();
    tokio::spawn(async move {
        let session = listener.accept().await.unwrap();
        // Answers the latest first, from a thread that knows nothing of the runtime.
        let mut held = Vec::new();
        while let Some(incoming) = session.next_request().await {
            held.push(incoming.into_parts());
            if held.len() == 500 {
                let batch = std::mem::take(&mut held);
                std::thread::spawn(move || {
                    batch.into_iter().rev().for_each(|(request, responder)| responder.reply(echo(request)));
                });
            }
        }
    });
    let client = cell.client(server, Role::Scheduler, "batch").await;
    assert_eq!(client.identity(), &cell.identity(Role::Scheduler, "batch"));
    let mut calls = JoinSet::new();
    // Several times as many as may be in flight: the rest wait.
    for n in 0..4 * REQUESTS_IN_FLIGHT_MAX as u32 / 500 * 500 {
        let client = client.clone();
        calls.spawn(async move { (n, client.call(numbered(n)).await) });
    }
    while let Some(called) = soon(calls.join_next()).await {
        let (n, reply) = called.unwrap();
        assert_eq!(reply, echoed(n));
    }
}

#[tokio::test]
async fn a_session_knows_its_party_and_both_ends_learn_why_it_ended() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::Agent, "sim-*").await;
    let session = soon(listener.accept()).await.unwrap();
    assert_eq!(session.identity(), &cell.identity(Role::Agent, "sim-*"));
    assert_eq!((session.id(), session.remote().ip()), (1, listener.local_addr().ip()));
    session.close("maintenance at noon");
    assert_eq!(soon(client.closed()).await, "maintenance at noon");
    assert_eq!(soon(client.call(Request::Status)).await, Err(CallError::Lost("maintenance at noon".into())));
    assert!(soon(session.next_request()).await.is_none() && soon(session.next_heartbeat()).await.is_none());

    let client = cell.client(listener.local_addr(), Role::User, "ann").await;
    let session = soon(listener.accept()).await.unwrap();
    client.close("done here");
    assert_eq!(soon(session.closed()).await, "done here");
    soon(client.closed()).await;

    let client = cell.client(listener.local_addr(), Role::User, "bob").await;
    listener.close("the server stops");
    assert_eq!(soon(client.closed()).await, "the server stops");
    soon(listener.closed()).await;
    // The one for bob was let in before; after it there is nobody.
    assert!(soon(listener.accept()).await.is_some() && soon(listener.accept()).await.is_none());
}

#[tokio::test]
async fn a_client_that_is_dropped_ends_its_session() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::User, "ann").await;
    let session = soon(listener.accept()).await.unwrap();
    tokio::spawn(answer_all(session.clone(), echo));
    let clone = client.clone();
    drop(client);
    assert_served(&clone).await;
    drop(clone);
    assert_eq!(soon(session.closed()).await, "the client is done");
}

#[tokio::test]
async fn a_request_that_nobody_answers_is_refused_when_its_responder_is_dropped() {
    let cell = Cell::new("west");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::Scheduler, "batch").await;
    let session = soon(listener.accept()).await.unwrap();
    let keeper = kept.clone();
    let taking = session.clone();
    tokio::spawn(async move {
        while let Some(incoming) = taking.next_request().await {
            let (request, responder) = incoming.into_parts();
            match request {
                Request::Status => keeper.lock().unwrap().push(responder),
                other => responder.reply(echo(other)),
            }
        }
    });
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(Request::Status).await }
    });
    // Later requests overtake it.
    assert_served(&client).await;
    while kept.lock().unwrap().pop().is_none() {
        tokio::task::yield_now().await;
    }
    let refused = soon(call).await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, CallError::Refused(Refusal::Unavailable(why)) if why.contains("dropped")),
        "{refused}"
    );
    assert_served(&client).await;
}

#[tokio::test]
async fn messages_over_the_bound_are_refused_before_they_are_sent() {
    let cell = Cell::new("west");
    let server = cell.serve(|request| match request {
        Request::StopJob { name } if name == "big" => {
            let violations = vec!["x".repeat(FRAME_BYTES_MAX)];
            Ok(Reply::Audit { at: cell_state::Seq(1), violations })
        }
        Request::StopJob { name } => {
            Ok(Reply::Audit { at: cell_state::Seq(name.len() as u64), violations: vec![] })
        }
        other => echo(other),
    });
    let client = cell.client(server, Role::Operator, "ann").await;
    let stop = |name: String| client.call(Request::StopJob { name });
    let too_long = soon(stop("x".repeat(FRAME_BYTES_MAX))).await.unwrap_err();
    assert!(
        matches!(&too_long, CallError::Refused(Refusal::Malformed(why)) if why.contains("over the bound"))
    );
    let too_long = soon(stop("big".into())).await.unwrap_err();
    assert!(
        matches!(&too_long, CallError::Refused(Refusal::Unavailable(why)) if why.contains("over the bound"))
    );
    // One that just fits travels.
    let fits = FRAME_BYTES_MAX - 20;
    let reply = soon(stop("x".repeat(fits))).await.unwrap();
    assert_eq!(reply, Reply::Audit { at: cell_state::Seq(fits as u64), violations: vec![] });
    assert_served(&client).await;
}

#[tokio::test]
async fn heartbeats_arrive() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::Agent, "m1").await;
    let session = soon(listener.accept()).await.unwrap();
    for number in [1, 2, u64::MAX] {
        client.heartbeat(number);
        assert_eq!(soon(session.next_heartbeat()).await.unwrap().number, number);
    }
}
