//! Pipelines: many requests on one stream that its owner drives.

use std::collections::BTreeSet;

use transport::Role;
use transport::bounds::REQUESTS_IN_FLIGHT_MAX;
use transport::message::{Refusal, Request};
use transport_quic::CallError;

use crate::cell::{Cell, answer_all, echo, echoed, numbered, soon};

#[tokio::test]
async fn every_request_of_a_pipeline_is_answered_under_its_number() {
    let cell = Cell::new("west");
    let client = cell.client(cell.serve(echo), Role::Scheduler, "batch").await;
    let mut pipeline = client.pipeline().await.unwrap();
    let mut answers = Vec::new();
    soon(pipeline.exchange(&mut answers)).await.unwrap();
    assert!(answers.is_empty(), "nothing was asked");
    let (mut asked, mut seen) = (0, BTreeSet::new());
    while seen.len() < 5_000 {
        // As many as there is room for, each time.
        while asked < 5_000 && pipeline.add(u64::from(asked) + 1, &numbered(asked)).is_ok() {
            asked += 1;
        }
        assert!(pipeline.unanswered() <= REQUESTS_IN_FLIGHT_MAX);
        soon(pipeline.exchange(&mut answers)).await.unwrap();
        assert!(!answers.is_empty());
        for (id, reply) in answers.drain(..) {
            assert_eq!(reply.map_err(CallError::Refused), echoed(id as u32 - 1));
            assert!(seen.insert(id), "{id} is answered once");
        }
    }
    assert_eq!(pipeline.unanswered(), 0);
    let traffic = client.traffic();
    assert!(traffic.sent.bytes > 5_000 && traffic.received.bytes > 5_000 && traffic.sent.datagrams > 0);
}

#[tokio::test]
async fn a_dropped_exchange_loses_no_answer() {
    let cell = Cell::new("west");
    let client = cell.client(cell.serve(echo), Role::Scheduler, "batch").await;
    let mut pipeline = client.pipeline().await.unwrap();
    let mut answers = Vec::new();
    for n in 0..200 {
        pipeline.add(u64::from(n) + 1, &numbered(n)).unwrap();
        tokio::select! {
            biased;
            done = pipeline.exchange(&mut answers) => done.unwrap(),
            () = tokio::task::yield_now() => {}
        }
    }
    while pipeline.unanswered() > 0 {
        soon(pipeline.exchange(&mut answers)).await.unwrap();
    }
    let ids: BTreeSet<u64> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!((ids.len(), answers.len()), (200, 200));
}

#[tokio::test]
async fn refusals_come_back_and_a_lost_connection_is_told() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::Reader, "eve").await;
    let session = soon(listener.accept()).await.unwrap();
    tokio::spawn(answer_all(session.clone(), echo));
    let mut pipeline = client.pipeline().await.unwrap();
    let mut answers = Vec::new();
    pipeline.add(7, &Request::OpenSession { instance: 1 }).unwrap();
    soon(pipeline.exchange(&mut answers)).await.unwrap();
    assert!(matches!(&answers[..], [(7, Err(Refusal::NotPermitted { .. }))]), "{answers:?}");
    session.close("maintenance at noon");
    soon(client.closed()).await;
    pipeline.add(8, &Request::Status).unwrap();
    let lost = soon(pipeline.exchange(&mut answers)).await;
    assert_eq!(lost, Err(CallError::Lost("maintenance at noon".into())));
}
