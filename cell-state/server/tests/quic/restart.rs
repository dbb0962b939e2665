//! Stopping and starting again: nothing is lost, and every party goes on.

use cell_state::Seq;
use transport::view::{Body, Query};
use transport::{Reply, Request};
use transport_quic::CallError;

use crate::follower::Follower;
use crate::harness::{Ground, audited, job, machine, place, read, submit, tasks, within};

#[tokio::test]
async fn a_clean_stop_and_a_start_keep_everything() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 64)]).await;
    let user = ground.user(&server).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    for n in 0..10 {
        let (id, at) = submit(&user, job(&format!("job-{n}"), "batch", 5)).await;
        scheduler.place(at, &tasks(id, 5), agent.machines[0]).await;
    }
    let (at, Body::Cell(before)) = read(&user, None, Query::Cell).await else { panic!() };
    server.stop().await.unwrap();
    let told = within(user.closed()).await;
    assert!(told.contains("the server is shutting down"), "{told}");

    let server = ground.start().await;
    let user = ground.user(&server).await;
    let Ok(Reply::Status(status)) = within(user.call(Request::Status)).await else { panic!() };
    assert_eq!((status.seq, status.checkpoint), (at, at), "the last state was saved");
    let (seen, Body::Cell(after)) = read(&user, None, Query::Cell).await else { panic!() };
    assert_eq!((seen, after), (at, before));
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_after_a_restart() {
    let ground = Ground::new();
    let server = ground.start().await;
    let user = ground.user(&server).await;
    let mut follower = Follower::fresh(&user).await;
    let (_, at) = submit(&user, job("one", "batch", 5)).await;
    follower.until(at).await;
    submit(&user, job("two", "batch", 5)).await;
    server.stop().await.unwrap();

    let server = ground.start().await;
    let user = ground.user(&server).await;
    let after = follower.cell.seq();
    let mut follower = Follower::resume(&user, follower.cell, Some(after)).await;
    let (_, at) = submit(&user, job("three", "batch", 5)).await;
    follower.until_marked(at).await;
    assert_eq!(follower.snapshots, 0, "the log had it");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_taken_before_the_stop_is_answered_or_untold() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4_000)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 2_000)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let txns: Vec<_> = tasks(id, 200)
        .into_iter()
        .map(|task| scheduler.propose(at, vec![place(task, &[agent.machines[0]])]))
        .collect();
    let calls: Vec<_> = txns
        .iter()
        .map(|txn| {
            let (client, txn) = (scheduler.client.clone(), txn.clone());
            tokio::spawn(async move { client.call(Request::Commit(txn)).await })
        })
        .collect();
    let first = within(scheduler.client.call(Request::Commit(txns[0].clone()))).await;
    assert!(matches!(first, Ok(Reply::Verdicts { .. })), "{first:?}");
    server.stop().await.unwrap();
    let mut told: Vec<(usize, (Seq, _))> = Vec::new();
    for (i, call) in calls.into_iter().enumerate() {
        match within(call).await.unwrap() {
            Ok(Reply::Verdicts { at, outcomes, .. }) => told.push((i, (at, outcomes))),
            Err(CallError::Refused(_) | CallError::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    let server = ground.start().await;
    let scheduler = ground.scheduler(&server, "batch", 7).await;
    for (i, verdict) in told {
        assert_eq!(scheduler.commit(txns[i].clone()).await, verdict, "what was told stays true");
    }
    for txn in txns {
        scheduler.commit(txn).await;
    }
    let user = ground.user(&server).await;
    let (_, Body::Cell(cell)) = read(&user, None, Query::Cell).await else { panic!() };
    assert_eq!((cell.tasks.placed, cell.tasks.pending), (200, 1_800));
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_taken_address_is_one_clear_error() {
    let ground = Ground::new();
    let server = ground.start().await;
    let other = Ground::new();
    let mut config = other.config();
    config.listen = server.address;
    let error = within(cell_server::run(config, std::future::pending(), |_| {})).await.unwrap_err();
    assert!(error.to_string().contains("can't listen on"), "{error}");
    assert_eq!(error.exit_code(), 1);
    server.stop().await.unwrap();
}
