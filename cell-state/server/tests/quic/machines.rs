//! What an agent follows: the records of its machines, a snapshot first, nothing of others.

use cell_state::Seq;
use cell_state::event::{Event, Report, Seen};
use cell_state::machine::MachineState;
use cell_state::task::{Exit, TaskState};
use cell_state::transaction::Op;
use transport::message::{MachineReports, Refusal};
use transport::{Reply, Request, Role, Scope};
use transport_quic::CallError;

use crate::follower::Received;
use crate::harness::{Agent, Ground, audited, done, job, machine, place, register, submit, tasks, within};

fn events(received: &Received) -> Vec<&'static str> {
    let word = |event: &Event| match event {
        Event::MachineRegistered { .. } => "registered",
        Event::MachineStateSet { .. } => "state",
        Event::JobSubmitted { .. } => "submitted",
        Event::JobStopped { .. } => "stopped",
        Event::Committed(_) => "committed",
        _ => "other",
    };
    received.events.iter().map(|(_, event)| word(event)).collect()
}

async fn follow(agent: &Agent, after: Option<Seq>) -> transport_quic::Subscription {
    within(agent.client.subscribe(Scope::Machines, after)).await.unwrap()
}

#[tokio::test]
async fn an_agent_gets_its_machines_and_nothing_else() {
    let ground = Ground::new();
    let server = ground.start().await;
    let one = ground.agent(&server, "one", &[machine("one", 4)]).await;
    let other = ground.agent(&server, "other", &[machine("other", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 4)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let ids = tasks(id, 4);
    scheduler.place(at, &ids[..1], one.machines[0]).await;

    let mut stream = follow(&one, None).await;
    let mut got = Received::default();
    got.until(&mut stream, |got| got.snapshots == 1).await;
    let (machine, assigned) = &got.assigned[0];
    assert_eq!((*machine, assigned.len(), assigned[0].task), (one.machines[0], 1, ids[0]));

    // Two for the other machine, one for this, a job nobody runs, a new version, a drain, the end of the job.
    scheduler.place(at, &ids[1..3], other.machines[0]).await;
    scheduler.place(at, &ids[3..], one.machines[0]).await;
    submit(&user, job("idle", "batch", 1)).await;
    let operator = ground.connect(&server, Role::Operator, "olga").await;
    for (name, state) in [("other", MachineState::Draining), ("one", MachineState::Draining)] {
        done(&operator, Request::SetMachineState { machine: name.into(), state, grace_us: None }).await;
    }
    done(&user, Request::StopJob { name: "idle".into() }).await;
    done(&user, Request::StopJob { name: "web".into() }).await;
    got.until(&mut stream, |got| events(got).contains(&"stopped")).await;
    assert_eq!(events(&got), ["committed", "state", "stopped"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn reports_end_tasks_and_are_counted_once() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("once", "batch", 1)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    scheduler.place(at, &tasks(id, 1), agent.machines[0]).await;
    let saw = |seen| Report { task: tasks(id, 1)[0], epoch: 1, seen };
    let reports = vec![saw(Seen::Started), saw(Seen::Ended(Exit::Code(0)))];
    let report = Request::Report { machine: agent.machines[0], incarnation: 1, first: 1, reports };
    for _ in 0..2 {
        let answer = done(&agent.client, report.clone()).await;
        assert_eq!(answer, cell_state::admit::Answer::Reported { upto: 2 });
    }
    let query = transport::view::Query::Job { name: "once".into(), skip: 0, limit: 1 };
    let (_, transport::view::Body::Job(view)) = crate::harness::read(&user, None, query).await else {
        panic!()
    };
    assert_eq!(view.tasks[0].task.state, TaskState::Completed);
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn reports_of_several_machines_travel_together_and_fail_alone() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "sim-*", &[machine("sim-0", 4), machine("sim-1", 4)]).await;
    let stranger = ground.agent(&server, "m2", &[machine("m2", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("twice", "batch", 2)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let ids = tasks(id, 2);
    let ops = ids.iter().zip(&agent.machines).map(|(task, machine)| place(*task, &[*machine])).collect();
    let txn = scheduler.propose(at, ops);
    scheduler.commit(txn).await;
    let of = |index: usize, first| MachineReports {
        machine: agent.machines[index],
        incarnation: 1,
        first,
        reports: vec![Report { task: ids[index], epoch: 1, seen: Seen::Started }],
    };
    let together = Request::Reports(vec![of(0, 1), of(1, 2), of(1, 1)]);
    let Ok(Reply::Reported(answers)) = within(agent.client.call(together.clone())).await else { panic!() };
    let upto: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().map(|a| a.upto)).collect();
    assert_eq!(upto, [Some(1), None, Some(1)], "{answers:?}");
    assert!(matches!(&answers[1], Err(Refusal::Rejected(gap)) if gap.field == "first"));
    let foreign = within(stranger.client.call(together)).await;
    assert!(matches!(foreign, Err(CallError::Refused(Refusal::Rejected(r))) if r.field == "machine"));
    let query = transport::view::Query::Job { name: "twice".into(), skip: 0, limit: 2 };
    let (_, transport::view::Body::Job(view)) = crate::harness::read(&user, None, query).await else {
        panic!()
    };
    assert!(view.tasks.iter().all(|row| row.task.state == TaskState::Running));
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_agent_plays_many_machines_and_gets_each_record_once() {
    let ground = Ground::new();
    let server = ground.start().await;
    let specs: Vec<_> = (0..50).map(|n| machine(&format!("sim-{n}"), 4)).collect();
    let agent = ground.agent(&server, "sim-*", &specs).await;
    let mut stream = follow(&agent, None).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("wide", "batch", 50)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let ops: Vec<Op> = tasks(id, 50).iter().zip(&agent.machines).map(|(t, m)| place(*t, &[*m])).collect();
    let txn = scheduler.propose(at, ops);
    let (at, _) = scheduler.commit(txn).await;
    done(&user, Request::StopJob { name: "wide".into() }).await;
    let mut got = Received::default();
    got.until(&mut stream, |got| events(got).contains(&"stopped")).await;
    assert_eq!((got.snapshots, got.assigned.len()), (1, 50));
    assert_eq!(events(&got), ["committed", "stopped"]);
    assert_eq!(got.events[0].0, at);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_resumes_by_seq_and_a_late_machine_joins_with_a_snapshot() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "sim-*", &[machine("sim-0", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 3)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let ids = tasks(id, 3);
    let (first, _) = scheduler.place(at, &ids[..1], agent.machines[0]).await;
    let (second, _) = scheduler.place(at, &ids[1..2], agent.machines[0]).await;

    let mut stream = follow(&agent, Some(first)).await;
    let mut got = Received::default();
    got.until(&mut stream, |got| got.marked >= second).await;
    assert_eq!((got.snapshots, got.events.len(), got.events[0].0), (0, 1, second), "{got:?}");

    let late = register(&agent.client, &machine("sim-1", 4), 1).await;
    got.until(&mut stream, |got| got.snapshots == 1).await;
    assert_eq!(
        got.assigned.iter().map(|(m, a)| (*m, a.len())).collect::<Vec<_>>(),
        [(agent.machines[0], 2), (late, 0)]
    );
    let (third, _) = scheduler.place(at, &ids[2..], late).await;
    got.until(&mut stream, |got| got.events.last().is_some_and(|(seq, _)| *seq == third)).await;

    // A second subscription takes the place of the first.
    let mut again = follow(&agent, None).await;
    let mut got = Received::default();
    got.until(&mut again, |got| got.snapshots == 1).await;
    assert_eq!(got.assigned.len(), 2);
    while within(stream.next()).await.unwrap().is_some() {}
    server.stop().await.unwrap();
}
