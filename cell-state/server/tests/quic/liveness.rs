//! What happens when a party falls silent: machines go down and come back, sessions end and are resumed.

use std::time::Duration;

use cell_state::machine::MachineState;
use cell_state::task::TaskState;
use cell_state::{Cell, MachineId};
use transport::Request;

use crate::follower::Follower;
use crate::harness::{Ground, audited, job, machine, register, submit, tasks};

fn state(cell: &Cell, machine: MachineId) -> MachineState {
    cell.machine(machine).unwrap().state
}

async fn until(follower: &mut Follower, what: impl Fn(&Cell) -> bool) {
    while !what(&follower.cell) {
        follower.until(follower.cell.seq().next()).await;
    }
}

#[tokio::test]
async fn a_silent_machine_goes_down_its_tasks_are_pending_and_it_may_return() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.down_after = Duration::from_secs(4)).await;
    let silent = ground.agent(&server, "silent", &[machine("silent", 4)]).await;
    let beating = ground.agent(&server, "beating", &[machine("beating", 4)]).await;
    let beats = beating.client.clone();
    let beats = tokio::spawn(async move {
        for number in 1.. {
            beats.heartbeat(number);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 2)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let ids = tasks(id, 2);
    scheduler.place(at, &ids[..1], silent.machines[0]).await;
    let (at, _) = scheduler.place(at, &ids[1..], beating.machines[0]).await;

    let mut follower = Follower::fresh(&user).await;
    follower.until(at).await;
    until(&mut follower, |cell| state(cell, silent.machines[0]) == MachineState::Down).await;
    assert_eq!(follower.cell.task(ids[0]).unwrap().state, TaskState::Pending);
    assert_eq!(state(&follower.cell, beating.machines[0]), MachineState::Ready);
    assert_eq!(follower.cell.task(ids[1]).unwrap().state, TaskState::Placed);

    assert_eq!(register(&silent.client, &machine("silent", 4), 1).await, silent.machines[0]);
    until(&mut follower, |cell| state(cell, silent.machines[0]) == MachineState::Ready).await;
    audited(&user).await;
    beats.abort();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_does_not_register_again_is_disconnected() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.down_after = Duration::from_millis(400)).await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let operator = ground.connect(&server, transport::Role::Operator, "olga").await;
    let down = Request::SetMachineState { machine: "m0".into(), state: MachineState::Down, grace_us: None };
    crate::harness::done(&operator, down).await;
    let beats = agent.client.clone();
    let beats = tokio::spawn(async move {
        for number in 1.. {
            beats.heartbeat(number);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let reason = crate::harness::within(agent.client.closed()).await;
    assert!(reason.contains("m0 was declared down"), "{reason}");
    beats.abort();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_outlives_a_short_break_and_ends_after_a_long_one() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.session_grace = Duration::from_millis(700)).await;
    let user = ground.user(&server).await;
    let mut follower = Follower::fresh(&user).await;
    let scheduler = ground.scheduler(&server, "batch", 7).await;
    let session = scheduler.session;
    scheduler.client.close("a break");
    let scheduler = ground.scheduler(&server, "batch", 7).await;
    assert_eq!(scheduler.session, session);

    drop(scheduler);
    until(&mut follower, |cell| cell.session(session).is_some_and(|s| !s.live)).await;
    let scheduler = ground.scheduler(&server, "batch", 7).await;
    assert_eq!(scheduler.session, session, "its numbers go on");
    until(&mut follower, |cell| cell.session(session).is_some_and(|s| s.live)).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_restart_sessions_nobody_resumes_end() {
    let ground = Ground::new();
    let server = ground.start().await;
    let session = ground.scheduler(&server, "batch", 7).await.session;
    server.stop().await.unwrap();
    let server = ground.start_with(|config| config.session_grace = Duration::from_millis(300)).await;
    let user = ground.user(&server).await;
    let mut follower = Follower::fresh(&user).await;
    until(&mut follower, |cell| cell.session(session).is_some_and(|s| !s.live)).await;
    server.stop().await.unwrap();
}
