//! Tests of scenarios recorded from logs.

use std::sync::Arc;

use cell_state::event::Event;
use cell_state::ids::{Seq, SessionId, TxnId};
use cell_state::job::{GroupSpec, JobKind, Restart, RestartOn};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::transaction::{Atomicity, Detection};
use cell_state::{Resources, verdict};

use super::*;

const SECOND: u64 = 1_000_000;
const START: u64 = 1_000 * SECOND;

fn at(seconds: u64) -> Time {
    Time(START + seconds * SECOND)
}

fn register(machine: u32, incarnation: u64, seconds: u64) -> Event {
    let spec = MachineSpec {
        ..crate::scenario::machine(format!("m{machine}"), Resources::cpu_memory(9, 9), BTreeMap::new())
    };
    Event::MachineRegistered {
        machine: MachineId(machine),
        spec: Arc::new(spec),
        incarnation,
        time: at(seconds),
    }
}

fn spec(name: &str, priority: u16, count: u32) -> Arc<JobSpec> {
    let group = GroupSpec {
        name: "g".into(),
        count,
        resources: Resources::cpu_memory(2, 3),
        constraints: Vec::new(),
        distinct_machines: true,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: Some(77), exit_code: 0 },
    };
    let (team, scheduler) = ("t".to_owned(), "batch".to_owned());
    Arc::new(JobSpec {
        name: name.into(),
        kind: JobKind::Batch,
        priority,
        team,
        scheduler,
        groups: vec![group],
    })
}

fn task(index: u32) -> TaskId {
    TaskId { job: JobId(0), group: 0, index }
}

fn place(index: u32, machine: u32, epoch: u32, seconds: u64) -> Event {
    let placed =
        verdict::Placed { task: task(index), machine: MachineId(machine), epoch, version: 1, extra: None };
    Event::Committed(Committed {
        txn: TxnId { session: SessionId(0), number: 1 },
        basis: Seq(0),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        time: at(seconds),
        outcomes: vec![Outcome::Placed(placed), Outcome::Aborted].into(),
        failed_assertion: None,
    })
}

fn report(machine: u32, index: u32, seen: Seen, seconds: u64) -> Event {
    let reports = vec![Report { task: task(index), epoch: 1, seen }];
    Event::Reported { machine: MachineId(machine), incarnation: 1, first: 1, reports, time: at(seconds) }
}

#[test]
fn a_log_becomes_what_happened() {
    let down = Event::MachineStateSet {
        machine: MachineId(0),
        state: MachineState::Down,
        grace_us: None,
        time: at(50),
    };
    let events = [
        register(0, 1, 0),
        register(1, 1, 5),
        Event::JobSubmitted { job: JobId(0), spec: spec("j", 250, 4), time: at(20) },
        place(0, 0, 1, 21),
        place(1, 1, 1, 22),
        report(0, 0, Seen::Started, 23),
        report(1, 1, Seen::Started, 23),
        report(1, 1, Seen::Ended(Exit::Code(3)), 30),
        Event::JobSubmitted { job: JobId(0), spec: spec("j", 250, 5), time: at(31) },
        down,
        // It was lost with its machine, is placed again and ends.
        place(0, 1, 2, 51),
        report(1, 0, Seen::Started, 52),
        report(1, 0, Seen::Ended(Exit::Code(0)), 60),
        register(0, 2, 70),
        register(2, 1, 71),
        Event::JobSubmitted { job: JobId(1), spec: spec("j", 99, 1), time: at(80) },
    ];
    let mut recording = Recording::default();
    events.iter().for_each(|event| recording.take(event));
    let (scenario, notes) = recording.finish();
    assert_eq!(notes, ["1 later versions of jobs were left out"]);
    let names: Vec<_> = scenario.machines.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["m0", "m1", "m2"]);
    let changes: Vec<_> = scenario.changes.iter().map(|c| (c.at_us / SECOND, c.machine, c.change)).collect();
    assert_eq!(changes, [(50, 0, Change::Down), (70, 0, Change::Up), (71, 2, Change::Up)]);
    let [first, second] = &scenario.jobs[..] else { panic!("two jobs") };
    assert_eq!(
        (first.name.as_str(), first.submit_us, first.class.as_str()),
        ("j", Some(20 * SECOND), "service")
    );
    assert_eq!((second.name.as_str(), second.class.as_str(), second.distinct), ("j-again1", "batch", true));
    let tasks: Vec<_> = first
        .tasks
        .iter()
        .map(|t| (t.count, t.placed.map(|p| (p.machine, p.at_us / SECOND)), t.run_for_us, t.exit_code))
        .collect();
    assert_eq!(
        tasks,
        [
            (2, None, Some(77), 0),
            (1, Some((0, 21)), Some(8 * SECOND), 0),
            (1, Some((1, 22)), Some(7 * SECOND), 3),
        ]
    );
}
