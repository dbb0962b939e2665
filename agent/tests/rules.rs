//! Rules that are about time, or about what only happens to agents whose world has changed.

mod preparing;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent::bounds::{DISPLACED_RETRY_US, KILL_AGAIN_US, SPEC_RETRY_US};
use agent::{Agent, Found, Input, Intent, Kept, Output, PlacementId, Refused, Setup, Signal, Spec, Write};
use cell_state::event::{Event, Report, Seen};
use cell_state::job::care::LostAfter;
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{Grant, MachineSpec, MachineState};
use cell_state::page::Assigned;
use cell_state::resources::Overcommit;
use cell_state::task::{Exit, NotStarted, TaskState};
use cell_state::{JobId, MachineId, Resources, Seq, TaskId, Time};

const GRACE_US: u64 = 3_000_000;
const T0: Time = Time(100);

fn task(index: u32) -> TaskId {
    TaskId { job: JobId(0), group: 0, index }
}

fn id(index: u32) -> PlacementId {
    PlacementId { task: task(index), epoch: 1 }
}

fn machine() -> Arc<MachineSpec> {
    Arc::new(MachineSpec {
        name: "m".into(),
        capacity: Resources::cpu_memory(4, 4),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        ports: (20_000, 20_009),
    })
}

fn spec(cpu: u64) -> Arc<Spec> {
    let group = GroupSpec {
        name: "g".into(),
        count: 9,
        resources: Resources::cpu_memory(cpu, 1),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: GRACE_US,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    Arc::new(Spec::compile(JobSpec {
        name: "j".into(),
        kind: JobKind::Batch,
        priority: 0,
        team: "t".into(),
        scheduler: "s".into(),
        groups: vec![group],
    }))
}

fn assigned(index: u32, state: TaskState) -> Assigned {
    Assigned {
        task: task(index),
        epoch: 1,
        version: 1,
        state,
        resources: Resources::cpu_memory(1, 1),
        grant: Grant::default(),
        waits_for: Vec::new(),
    }
}

/// All outputs, with every write made durable at once.
fn drain(agent: &mut Agent) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(output) = agent.poll() {
        if let Output::Record { number, .. } = output {
            agent.handle(T0, Input::Recorded { upto: number });
        }
        outputs.push(output);
    }
    outputs
}

fn online(kept: Kept, found: Vec<Found>) -> Agent {
    let mut agent = Agent::new(Setup { spec: machine(), kept, found });
    agent.handle(T0, Input::Connected { overcommit: Overcommit::default() });
    agent.handle(T0, Input::Registered { machine: MachineId(0), at: Seq(1) });
    agent
}

/// An agent that runs task 0.
fn running() -> Agent {
    let mut agent = online(Kept::new(7), Vec::new());
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Placed)] });
    agent.handle(T0, Input::Spec { job: JobId(0), version: 1, spec: &spec(1) });
    assert!(drain(&mut agent).iter().any(|o| matches!(o, Output::Start(s) if s.intent.id == id(0))));
    agent.handle(T0, Input::Started(id(0)));
    drain(&mut agent);
    agent
}

fn reports(outputs: &[Output]) -> Vec<Seen> {
    let sent = outputs.iter().filter_map(|o| match o {
        Output::Report { reports, .. } => Some(reports.iter().map(|r| r.seen)),
        _ => None,
    });
    sent.flatten().collect()
}

#[test]
fn a_stop_is_polite_then_a_kill_then_a_kill_again() {
    let mut agent = running();
    agent.handle(T0, Input::Event { at: Seq(2), event: &Event::JobStopped { job: JobId(0), time: T0 } });
    assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Term)]);
    let kill_at = T0.plus(GRACE_US);
    assert_eq!(agent.next_timeout(), Some(kill_at));
    agent.handle(Time(kill_at.0 - 1), Input::Wake);
    assert_eq!(drain(&mut agent), []);
    for at in [kill_at, kill_at.plus(KILL_AGAIN_US)] {
        agent.handle(at, Input::Wake);
        assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Kill)]);
    }
    agent.handle(kill_at.plus(KILL_AGAIN_US), Input::Ended(id(0), Exit::Signal(9)));
    assert_eq!(agent.next_timeout(), None);
    agent.handle(T0, Input::Acknowledged { upto: 1, at: Seq(3) });
    assert_eq!(reports(&drain(&mut agent)), [Seen::Ended(Exit::Signal(9))]);
}

#[test]
fn an_end_is_forgotten_once_it_is_acknowledged() {
    let mut agent = running();
    agent.handle(T0, Input::Ended(id(0), Exit::Code(0)));
    agent.handle(T0, Input::Acknowledged { upto: 1, at: Seq(2) });
    drain(&mut agent);
    assert!(agent.knows(task(0)));
    agent.handle(T0, Input::Acknowledged { upto: 2, at: Seq(5) });
    assert!(!agent.knows(task(0)));
    let forgotten = |o: &Output| matches!(o, Output::Record { write: Write::Forget(f), .. } if *f == id(0));
    assert!(drain(&mut agent).iter().any(forgotten));
    // A snapshot that doesn't know of the end yet would bring it back.
    agent.handle(T0, Input::Snapshot { at: Seq(4), assigned: &[assigned(0, TaskState::Placed)] });
    assert!(!agent.knows(task(0)) && !agent.is_synced());
}

#[test]
fn what_can_never_fit_is_reported_not_waited_for() {
    let mut agent = online(Kept::new(7), Vec::new());
    let wanted = Assigned { resources: Resources::cpu_memory(5, 1), ..assigned(0, TaskState::Placed) };
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[wanted] });
    agent.handle(T0, Input::Spec { job: JobId(0), version: 1, spec: &spec(5) });
    assert_eq!(reports(&drain(&mut agent)), [Seen::Ended(Exit::NotStarted(NotStarted::Unfit))]);
}

#[test]
fn a_spec_that_could_not_be_had_is_asked_for_again() {
    let mut agent = online(Kept::new(7), Vec::new());
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Placed)] });
    drain(&mut agent);
    agent.handle(T0, Input::NoSpec { job: JobId(0), version: 1 });
    let again = T0.plus(SPEC_RETRY_US);
    assert_eq!(agent.next_timeout(), Some(again));
    agent.handle(again, Input::Wake);
    assert_eq!(drain(&mut agent), [Output::FetchSpec { job: JobId(0), version: 1 }]);
}

#[test]
fn a_snapshot_from_before_the_registration_says_nothing() {
    let mut agent = running();
    agent.handle(T0, Input::Disconnected);
    agent.handle(T0, Input::Connected { overcommit: Overcommit::default() });
    agent.handle(T0, Input::Registered { machine: MachineId(0), at: Seq(9) });
    agent.handle(T0, Input::Snapshot { at: Seq(8), assigned: &[] });
    assert!(agent.knows(task(0)) && !agent.is_synced());
    agent.handle(T0, Input::Snapshot { at: Seq(9), assigned: &[] });
    assert!(agent.is_synced());
    assert!(drain(&mut agent).contains(&Output::Signal(id(0), Signal::Term)));
}

#[test]
fn a_process_nobody_has_assigned_here_is_stopped() {
    let intent = Intent {
        id: id(3),
        version: 1,
        resources: Resources::cpu_memory(1, 1),
        grant: Grant::default(),
        stop_grace_us: 0,
        stop_after_us: None,
        lost_after: LostAfter::Down,
    };
    let mut agent = online(Kept::new(7), vec![Found { intent, exit: None }]);
    drain(&mut agent);
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[] });
    assert_eq!(drain(&mut agent), [Output::Signal(id(3), Signal::Kill)]);
    agent.handle(T0, Input::Ended(id(3), Exit::Signal(9)));
    assert_eq!(reports(&drain(&mut agent)), [], "nobody waits for its end");
    assert!(!agent.knows(task(3)));
}

#[test]
fn an_intent_without_process_and_result_is_unseen_and_never_started() {
    let intent = Intent {
        id: id(0),
        version: 1,
        resources: Resources::cpu_memory(1, 1),
        grant: Grant::default(),
        stop_grace_us: 0,
        stop_after_us: None,
        lost_after: LostAfter::Down,
    };
    let mut kept = Kept::new(7);
    kept.apply(&Write::Intent(Box::new(intent)));
    let mut agent = online(kept, Vec::new());
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Placed)] });
    agent.handle(T0, Input::Spec { job: JobId(0), version: 1, spec: &spec(1) });
    let outputs = drain(&mut agent);
    assert_eq!(reports(&outputs), [Seen::Ended(Exit::Unseen)]);
    assert!(!outputs.iter().any(|o| matches!(o, Output::Start(_))));
}

#[test]
fn a_start_the_cell_saw_and_the_records_did_not_is_not_repeated() {
    let mut agent = online(Kept::new(7), Vec::new());
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Running)] });
    agent.handle(T0, Input::Spec { job: JobId(0), version: 1, spec: &spec(1) });
    assert_eq!(reports(&drain(&mut agent)), [Seen::Ended(Exit::Unseen)]);
}

#[test]
fn another_agent_of_the_same_name_takes_over_and_is_taken_over_later() {
    let mut agent = running();
    let event =
        Event::MachineRegistered { machine: MachineId(0), spec: machine().clone(), incarnation: 8, time: T0 };
    agent.handle(T0, Input::Event { at: Seq(2), event: &event });
    assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Term)]);
    agent.handle(T0.plus(DISPLACED_RETRY_US), Input::Wake);
    let again = |o: &Output| matches!(o, Output::Register { incarnation: 7, .. });
    assert!(drain(&mut agent).iter().any(again));
}

#[test]
fn reports_with_a_gap_mean_another_cell_and_begin_new_records() {
    let started = Report { task: task(0), epoch: 1, seen: Seen::Started };
    let kept = Kept { reported: 5, reports: BTreeMap::from([(5, started)]), ..Kept::new(7) };
    let mut agent = online(kept, Vec::new());
    assert!(matches!(drain(&mut agent).last(), Some(Output::Report { first: 5, .. })));
    agent.handle(T0, Input::Refused(Refused::Gap));
    let outputs: Vec<Output> = std::iter::from_fn(|| agent.poll()).collect();
    let write = Write::Reincarnate { incarnation: 8 };
    assert_eq!(outputs, [Output::Record { number: 1, write }], "registered only once that is durable");
    agent.handle(T0, Input::Recorded { upto: 1 });
    assert!(matches!(drain(&mut agent)[..], [Output::Register { incarnation: 8, .. }]));
}

#[test]
fn a_drain_may_leave_less_time_than_a_task_has_also_to_one_that_was_told_already() {
    let mut agent = running();
    let drain_with = |agent: &mut Agent, at: u64, grace_us| {
        let (machine, state) = (MachineId(0), MachineState::Draining);
        let event = Event::MachineStateSet { machine, state, grace_us, time: T0 };
        agent.handle(T0, Input::Event { at: Seq(at), event: &event });
        drain(agent)
    };
    assert_eq!(drain_with(&mut agent, 5, None), [Output::Signal(id(0), Signal::Term)]);
    assert_eq!(agent.next_timeout(), Some(T0.plus(GRACE_US)));
    assert_eq!(drain_with(&mut agent, 6, Some(1_000)), []);
    assert_eq!(agent.next_timeout(), Some(T0.plus(1_000)));
    agent.handle(T0.plus(1_000), Input::Wake);
    assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Kill)]);
}

/// A process that an earlier life of the agent started, which is to stop a second after the server is gone.
fn cut_off_after_a_second(index: u32) -> (Kept, Vec<Found>) {
    let intent = Intent {
        id: id(index),
        version: 1,
        resources: Resources::cpu_memory(1, 1),
        grant: Grant::default(),
        stop_grace_us: GRACE_US,
        stop_after_us: Some(1_000_000),
        lost_after: LostAfter::Down,
    };
    let mut kept = Kept::new(7);
    kept.apply(&Write::Intent(Box::new(intent.clone())));
    (kept, vec![Found { intent, exit: None }])
}

#[test]
fn a_task_that_says_so_is_stopped_when_the_server_is_silent_for_too_long() {
    let (kept, found) = cut_off_after_a_second(0);
    let mut agent = online(kept, found);
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Running)] });
    drain(&mut agent);
    assert!(agent.needs_lease());
    let at = |us| T0.plus(us);
    assert_eq!(agent.next_timeout(), Some(at(1_000_000)));
    agent.handle(at(500_000), Input::Heard { sent: at(300_000) });
    agent.handle(at(500_000), Input::Heard { sent: at(200_000) });
    assert_eq!(agent.next_timeout(), Some(at(1_300_000)), "the latest question counts, not its answer");
    // Whether there is a connection says nothing: one that is dead in one direction looks alive.
    agent.handle(at(600_000), Input::Disconnected);
    agent.handle(at(700_000), Input::Connected { overcommit: Overcommit::default() });
    agent.handle(at(1_299_999), Input::Wake);
    assert!(!drain(&mut agent).contains(&Output::Signal(id(0), Signal::Term)));
    agent.handle(at(1_300_000), Input::Wake);
    assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Term)]);
    assert!(!agent.needs_lease());
    agent.handle(at(1_300_001), Input::Wake);
    assert_eq!(drain(&mut agent), [], "it was told");
}

#[test]
fn a_task_that_says_nothing_goes_on_without_a_server() {
    let mut agent = running();
    assert!(!agent.needs_lease());
    agent.handle(T0, Input::Disconnected);
    assert_eq!(agent.next_timeout(), None);
}

#[test]
fn a_machine_that_was_silent_keeps_what_outlasts_that() {
    let table = [
        (LostAfter::Down, Some(11), true),
        (LostAfter::Silent(60), Some(11), false),
        (LostAfter::Silent(60), Some(60), true),
        (LostAfter::Never, Some(1_000), false),
        (LostAfter::Never, None, true),
    ];
    for (lost_after, silent_us, is_over) in table {
        let (mut kept, mut found) = cut_off_after_a_second(0);
        let intent = Intent { lost_after, ..found[0].intent.clone() };
        kept.apply(&Write::Intent(Box::new(intent.clone())));
        found[0].intent = intent;
        let mut agent = online(kept, found);
        agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Running)] });
        drain(&mut agent);
        let (machine, state) = (MachineId(0), MachineState::Down);
        let event = Event::MachineStateSet { machine, state, grace_us: silent_us, time: T0 };
        agent.handle(T0, Input::Event { at: Seq(2), event: &event });
        let stopped = drain(&mut agent).contains(&Output::Signal(id(0), Signal::Term));
        assert_eq!(stopped, is_over, "{lost_after:?} {silent_us:?}");
    }
}

#[test]
fn a_clock_that_jumps_delays_a_kill_at_most_and_loses_none() {
    // Microseconds after the polite signal, and whether the kill is sent then.
    let table: [&[(u64, bool)]; 3] = [
        // A day forward.
        &[(86_400_000_000, true)],
        // Back to before the signal, and on.
        &[(0, false), (GRACE_US - 1, false), (GRACE_US, true)],
        // To and fro.
        &[(GRACE_US - 1, false), (1, false), (GRACE_US * 3, true)],
    ];
    for steps in table {
        let mut agent = running();
        let event = Event::JobStopped { job: id(0).task.job, time: T0 };
        agent.handle(T0.plus(1_000), Input::Event { at: Seq(9), event: &event });
        assert_eq!(drain(&mut agent), [Output::Signal(id(0), Signal::Term)]);
        for (us, killed) in steps {
            agent.handle(T0.plus(us + if *us == 0 { 0 } else { 1_000 }), Input::Wake);
            assert_eq!(
                drain(&mut agent).contains(&Output::Signal(id(0), Signal::Kill)),
                *killed,
                "{steps:?} {us}"
            );
        }
    }
}
