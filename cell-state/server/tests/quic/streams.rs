//! Full subscriptions: every copy is a prefix of the log, whatever its speed and wherever it resumes.

use std::time::Duration;

use cell_state::job::{Exec, JobSpec, Run};
use cell_state::machine::MachineState;
use cell_state::{Cell, Seq};
use transport::{Reply, Request, Role};
use transport_quic::Client;

use crate::follower::Follower;
use crate::harness::{Ground, audited, done, job, machine, place, submit, tasks, within};

/// A job whose spec fills about 60 KB of log.
fn large(name: &str) -> JobSpec {
    let mut spec = job(name, "batch", 1);
    spec.groups[0].run =
        Run::Exec(Exec { log_files_max: 2, ..Exec::new("/bin/true", vec!["x".repeat(2_000); 30]) });
    spec
}

/// Submits many of them side by side, and returns the last position.
pub(crate) async fn fill(user: &Client, prefix: &str, count: u32) -> Seq {
    let submits: Vec<_> = (0..count)
        .map(|n| {
            let (user, spec) = (user.clone(), large(&format!("{prefix}-{n}")));
            tokio::spawn(async move { submit(&user, spec).await.1 })
        })
        .collect();
    let mut last = Seq(0);
    for submit in submits {
        last = last.max(submit.await.unwrap());
    }
    last
}

#[tokio::test]
async fn copies_equal_the_server_at_every_mark() {
    let ground = Ground::new();
    let server = ground.start().await;
    let user = ground.user(&server).await;
    let mut early = Follower::fresh(&user).await;
    let specs: Vec<_> = (0..20).map(|n| machine(&format!("sim-{n}"), 4)).collect();
    let agent = ground.agent(&server, "sim-*", &specs).await;
    let operator = ground.connect(&server, Role::Operator, "olga").await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let mut last = Seq(0);
    for n in 0..40_usize {
        let (id, at) = submit(&user, job(&format!("job-{n}"), "batch", 3)).await;
        let machine = agent.machines[n % 20];
        let ops =
            tasks(id, 3).into_iter().map(|t| place(t, &[machine, agent.machines[(n + 7) % 20]])).collect();
        let txn = scheduler.propose(at, ops);
        last = scheduler.commit(txn).await.0;
        if n % 5 == 4 {
            done(&user, Request::StopJob { name: format!("job-{}", n - 2) }).await;
        }
        if n == 20 {
            let state = MachineState::Down;
            done(&operator, Request::SetMachineState { machine: "sim-3".into(), state, grace_us: None })
                .await;
        }
    }
    let mut late = Follower::fresh(&operator).await;
    early.until_marked(last).await;
    late.until_marked(last).await;
    assert_eq!(early.cell.hash(), late.cell.hash());
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_copy_resumes_after_any_seq_of_its_past() {
    let ground = Ground::new();
    let server = ground.start().await;
    let user = ground.user(&server).await;
    for n in 0..30 {
        submit(&user, job(&format!("job-{n}"), "batch", 1)).await;
    }
    let mut whole = Follower::resume(&user, Cell::new(), Some(Seq(0))).await;
    whole.until(Seq(17)).await;
    assert_eq!(whole.snapshots, 0);
    let cell = whole.cell.clone();
    drop(whole);
    let after = cell.seq();
    let mut resumed = Follower::resume(&user, cell, Some(after)).await;
    let (_, last) = submit(&user, job("last", "batch", 1)).await;
    resumed.until_marked(last).await;
    assert_eq!(resumed.snapshots, 0);

    // A copy that is ahead of the log is no copy of it.
    let mut ahead = Follower::resume(&user, Cell::new(), Some(Seq(1_000_000))).await;
    ahead.until_marked(last).await;
    assert_eq!(ahead.snapshots, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_holds_up_nobody() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.ring_bytes = 1 << 20).await;
    let user = ground.user(&server).await;
    let reader = ground.connect(&server, Role::Reader, "slow").await;
    let mut slow = Follower::fresh(&reader).await;
    // More than the stream's windows and the ring hold together.
    let last = fill(&user, "large", 300).await;
    slow.until_marked(last).await;
    assert_eq!(slow.snapshots, 1, "it went on from the log");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_copy_older_than_the_log_gets_a_snapshot() {
    let ground = Ground::new();
    let tight = |config: &mut cell_server::ServerConfig| {
        config.ring_bytes = 1 << 20;
        config.retain_log_bytes = 0;
        config.checkpoint_every = Duration::from_millis(50);
    };
    let server = ground.start_with(tight).await;
    let user = ground.user(&server).await;
    let mut old = Follower::fresh(&user).await;
    let (_, at) = submit(&user, job("first", "batch", 1)).await;
    old.until(at).await;
    let cell = old.cell.clone();
    drop(old);
    let mut last = Seq(0);
    for round in 0.. {
        let Ok(Reply::Status(status)) = within(user.call(Request::Status)).await else { panic!() };
        if status.oldest > at.next() {
            break;
        }
        assert!(round < 30, "the log is never trimmed");
        last = fill(&user, &format!("round-{round}"), 300).await;
    }
    let after = cell.seq();
    let mut resumed = Follower::resume(&user, cell, Some(after)).await;
    resumed.until_marked(last).await;
    assert_eq!(resumed.snapshots, 1);
    let too_old =
        crate::harness::refused(&user, Request::Read { at: Some(at), query: transport::view::Query::Cell });
    assert!(matches!(too_old.await, transport::message::Refusal::TooOld { .. }));
    server.stop().await.unwrap();
}
