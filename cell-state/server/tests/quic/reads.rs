//! Reads: the state now and earlier, listings, specs.

use std::time::Duration;

use cell_state::admit::RejectionCode;
use cell_state::event::CellConfig;
use cell_state::resources::Overcommit;
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, Seq};
use transport::message::{AgentReply, AgentRequest, LogFrom, LogPiece, LogRequest, LogStream, Refusal};
use transport::view::{Body, Query, Telemetry};
use transport::{Reply, Request, Role};

use crate::follower::Follower;
use crate::harness::{Ground, done, job, machine, read, refused, submit, tasks, within};

#[tokio::test]
async fn the_state_can_be_read_at_every_position_the_log_keeps() {
    let ground = Ground::new();
    let server = ground.start().await;
    let user = ground.user(&server).await;
    let mut hashes = Vec::new();
    for n in 0..20 {
        let (_, at) = submit(&user, job(&format!("job-{n}"), "batch", 2)).await;
        let (seen, Body::Cell(cell)) = read(&user, None, Query::Cell).await else { panic!() };
        assert_eq!((seen, cell.jobs), (at, n + 1));
        hashes.push((at, cell.hash));
    }
    for (at, hash) in hashes {
        let (seen, Body::Cell(cell)) = read(&user, Some(at), Query::Cell).await else { panic!() };
        assert_eq!((seen, cell.hash), (at, hash));
    }
    let beyond = refused(&user, Request::Read { at: Some(Seq(1_000)), query: Query::Cell }).await;
    assert!(matches!(beyond, Refusal::Rejected(_)), "{beyond:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn pages_of_jobs_and_machines_and_ambiguous_names() {
    let ground = Ground::new();
    let server = ground.start().await;
    let specs: Vec<_> = (0..7).map(|n| machine(&format!("sim-{n}"), 4)).collect();
    ground.agent(&server, "sim-*", &specs).await;
    let user = ground.user(&server).await;
    for n in 0..7 {
        submit(&user, job(&format!("job-{n}"), "batch", 1)).await;
    }
    let (_, Body::Machines(rows)) = read(&user, None, Query::Machines { from: MachineId(2), limit: 3 }).await
    else {
        panic!()
    };
    assert_eq!(rows.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["sim-2", "sim-3", "sim-4"]);
    assert!(rows.iter().all(|row| row.silent_us.is_some()));
    let (_, Body::Jobs(rows)) = read(&user, None, Query::Jobs { from: JobId(5), limit: 9 }).await else {
        panic!()
    };
    assert_eq!(rows.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["job-5", "job-6"]);
    let (_, Body::Job(view)) = read(&user, None, Query::Job { name: "j3".into(), skip: 0, limit: 9 }).await
    else {
        panic!()
    };
    assert_eq!(view.row.name, "job-3");
    let query = Query::Machine { name: "sim".into() };
    let Refusal::Rejected(rejection) = refused(&user, Request::Read { at: None, query }).await else {
        panic!()
    };
    assert_eq!(rejection.code, RejectionCode::Invalid);
    assert!(rejection.problem.contains("sim-0, sim-1"), "{}", rejection.problem);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn schedulers_attempts_conflicts_and_specs() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 1)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 2)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let (at, outcomes) = scheduler.place(at, &tasks(id, 2), agent.machines[0]).await;
    assert!(matches!(outcomes[1], Outcome::Conflict(_)));
    let telemetry = Telemetry { at, policy: "batch".into(), ..Telemetry::default() };
    assert!(matches!(within(scheduler.client.call(Request::Telemetry(telemetry))).await, Ok(Reply::Noted)));

    let Ok(Reply::Schedulers(rows)) = within(user.call(Request::ListSchedulers)).await else { panic!() };
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].name.as_str(), rows[0].live, rows[0].lag_entries), ("batch", true, Some(0)));
    assert_eq!((rows[0].transactions, rows[0].accepted, rows[0].conflicts), (1, 1, 1));

    // The side log is written behind everybody's back.
    let list = || Request::ListAttempts {
        limit: 5,
        scheduler: Some("batch".into()),
        job: None,
        conflicts_only: true,
    };
    let attempt = loop {
        let Ok(Reply::Attempts(mut found)) = within(user.call(list())).await else { panic!() };
        match found.pop() {
            Some(attempt) => break attempt,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!((attempt.at, attempt.scheduler.as_str()), (at, "batch"));
    assert_eq!(attempt.machines, [(agent.machines[0], "m0".to_owned())]);
    assert_eq!(attempt.jobs, [(id, "web".to_owned())]);
    let Ok(Reply::Attempt(same)) = within(user.call(Request::GetAttempt { txn: attempt.txn })).await else {
        panic!()
    };
    assert_eq!(*same, attempt);
    let Ok(Reply::Conflicts(counts)) = within(user.call(Request::TopConflicts)).await else { panic!() };
    assert_eq!(
        (counts[0].loser.as_str(), counts[0].kind.as_str(), counts[0].count),
        ("batch", "resource", 1)
    );

    let Ok(Reply::Spec(spec)) = within(agent.client.call(Request::GetSpec { job: id, version: 1 })).await
    else {
        panic!()
    };
    assert_eq!(*spec, job("web", "batch", 2));
    let missing = refused(&agent.client, Request::GetSpec { job: id, version: 2 }).await;
    assert!(matches!(missing, Refusal::Rejected(r) if r.code == RejectionCode::NotFound));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn output_is_read_from_the_agent_that_has_it() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 2)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    scheduler.place(at, &tasks(id, 1), agent.machines[0]).await;
    let ask = |index| {
        let task = tasks(id, 2)[index];
        let (stream, from) = (LogStream::Stdout, LogFrom::Offset(0));
        Request::ReadLog(LogRequest { task, epoch: 0, stream, from, limit: 100 })
    };
    let client = agent.client.clone();
    let answering = tokio::spawn(async move {
        let (request, responder) = client.next_agent_request().await.unwrap();
        let AgentRequest::ReadLog { machine, .. } = request else { panic!("a log was asked for") };
        let piece = LogPiece { offset: 0, bytes: machine.into_bytes(), ended: false };
        responder.reply(AgentReply::Log(piece)).await;
    });
    let Ok(Reply::Log(piece)) = within(user.call(ask(0))).await else { panic!() };
    assert_eq!(piece.bytes, b"m0");
    within(answering).await.unwrap();

    let never_placed = refused(&user, ask(1)).await;
    assert!(matches!(never_placed, Refusal::Rejected(r) if r.code == RejectionCode::NotFound));
    agent.client.close("gone");
    let gone = loop {
        match refused(&user, ask(0)).await {
            // The server may still be waiting for the answer of an agent that has just left.
            Refusal::Unavailable(problem) if !problem.contains("not connected") => {}
            other => break other,
        }
    };
    assert!(matches!(&gone, Refusal::Unavailable(problem) if problem.contains("m0")), "{gone:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn settings_come_from_the_start_and_from_operators() {
    let ground = Ground::new();
    let server = ground.start().await;
    let operator = ground.connect(&server, Role::Operator, "olga").await;
    let Ok(Reply::Status(status)) = within(operator.call(Request::Status)).await else { panic!() };
    assert_eq!((status.config.name.as_str(), status.seq, status.divergences), ("test", Seq(1), 0));
    assert_eq!(status.sessions, [0, 0, 0, 1, 0, 0]);
    let overcommit = Overcommit([150; 8]);
    let config = CellConfig { overcommit, ..status.config };
    done(&operator, Request::Configure(config.clone())).await;
    server.stop().await.unwrap();

    // Without settings of its own, the next start keeps the operator's; with some, it applies them.
    let server = ground.start().await;
    let user = ground.user(&server).await;
    let Ok(Reply::Status(status)) = within(user.call(Request::Status)).await else { panic!() };
    assert_eq!((status.config, status.seq), (config, Seq(2)));
    server.stop().await.unwrap();
    let server = ground.start_with(|c| c.cell = Some(CellConfig::default())).await;
    let user = ground.user(&server).await;
    let Ok(Reply::Status(status)) = within(user.call(Request::Status)).await else { panic!() };
    assert_eq!((status.config.overcommit, status.seq), (Overcommit::default(), Seq(3)));
    server.stop().await.unwrap();

    let mut config = ground.config();
    config.cell = Some(CellConfig { name: "renamed".into(), ..CellConfig::default() });
    let error = within(cell_server::run(config, std::future::pending(), |_| {})).await.unwrap_err();
    assert!(error.to_string().contains("can't be renamed"), "{error}");
}

#[tokio::test]
async fn jobs_that_are_over_are_forgotten_after_a_while() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.retain_jobs = Duration::ZERO).await;
    let user = ground.user(&server).await;
    let (going, _) = submit(&user, job("going", "batch", 1)).await;
    let (over, _) = submit(&user, job("over", "batch", 1)).await;
    done(&user, Request::StopJob { name: "over".into() }).await;
    let mut follower = Follower::fresh(&user).await;
    while follower.cell.job(over).is_some() || follower.snapshots == 0 {
        follower.until(follower.cell.seq().next()).await;
    }
    assert!(follower.cell.job(going).is_some());
    server.stop().await.unwrap();
}
