//! The bytes of the log, of streams and of pages, pinned: what an older build wrote must stay readable, so a change
//! of these files is a change of format and needs a new format version.

use std::collections::BTreeMap;
use std::fmt::Write;

use cell_state::constraint::{Constraint, Test};
use cell_state::event::{CellConfig, Committed, Event, Report, Seen};
use cell_state::fit::Misfit;
use cell_state::job::container::Container;
use cell_state::job::data::{Artifact, Data, Secret, Unpack};
use cell_state::job::isolation::{Isolation, Share};
use cell_state::job::{Band, Exec, JobSpec, PortAsk, Run, Spread};
use cell_state::machine::{Grant, MachineSpec, MachineState};
use cell_state::page::{PageKey, Restore, StateHash};
use cell_state::record::{self, Kind, PageRecord};
use cell_state::resources::{Dimension, Overcommit, Schema};
use cell_state::scope::{Loads, MachineLoad};
use cell_state::task::{ArtifactProblem, Exit, Lack, NotStarted, StopReason, TaskState};
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::verdict::{Conflict, ConflictKind, Outcome, Placed, PlacedExtra, Winner};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId, codec};

use crate::golden;
use crate::script::Stage;
use crate::words;

const TIME: Time = Time(1_700_000_000_000_000);

fn task(index: u32) -> TaskId {
    TaskId { job: JobId(3), group: 1, index }
}

fn txn() -> TxnId {
    TxnId { session: SessionId(2), number: 77 }
}

/// A job that uses every field there is.
fn spec() -> JobSpec {
    let mut spec =
        words::job(&["web", "priority=250", "team=red", "count=2", "cpu=1500", "gpu=500", "distinct"]);
    let tests = [
        Test::Equal("x86".into()),
        Test::NotEqual("arm".into()),
        Test::In(vec!["a".into(), "b".into()]),
        Test::Less(-5),
        Test::Greater(600),
        Test::Exists,
        Test::Regex("^r[0-9]$".into()),
    ];
    let group = &mut spec.groups[0];
    group.constraints = tests.map(|test| Constraint { attribute: "arch".into(), test }).into();
    group.spread = Some(Spread { attribute: "rack".into(), max_per_value: 2 });
    group.ports = vec![
        PortAsk { name: "http".into(), number: Some(80) },
        PortAsk { name: "admin".into(), number: None },
    ];
    group.data = Data {
        artifacts: vec![Artifact {
            source: "https://host/app.tar.gz".into(),
            sha256: Some([7; 32]),
            destination: "app".into(),
            mode: 0o755,
            unpack: Unpack::TarGz,
        }],
        secrets: vec![Secret { name: "token".into(), file: "api-token".into() }],
    };
    group.run = Run::Exec(Exec {
        command: "/bin/sh".into(),
        args: vec!["-c".into(), "exit 3".into()],
        env: BTreeMap::from([("KEY".to_owned(), "value".to_owned())]),
        directory: Some("/tmp".into()),
        log_bytes_max: 1 << 20,
        log_files_max: 3,
        log_age_us: Some(60_000_000),
        isolation: Box::new(Isolation {
            memory_limit_bytes: Some(1 << 50),
            user: Some("nobody".into()),
            processes: Share::Private,
            capabilities: vec!["kill".into()],
            limits: BTreeMap::from([("open_files".to_owned(), 64)]),
            ..Isolation::default()
        }),
        care: Box::default(),
        container: Some(Box::new(Container::Bundle("/srv/b".into()))),
    });
    spec.groups.push(words::group("sim"));
    spec.groups[1].run = Run::Simulated { run_for_us: Some(5_000_000), exit_code: -1 };
    spec
}

fn machine() -> MachineSpec {
    MachineSpec {
        name: "m1".into(),
        capacity: Resources([8_000, 1 << 34, 1 << 40, 2_000, 10_000, 0, 0, 1]),
        attributes: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
        devices: vec!["gpu0".into(), "gpu1".into()],
        ports: (20_000, 31_999),
    }
}

fn conflicts() -> Vec<ConflictKind> {
    let misfits = [
        Misfit::State(MachineState::Down),
        Misfit::Resource { dimension: Dimension::MEMORY, wanted: 1 << 33, free: 7 },
        Misfit::Constraint(4),
        Misfit::SameJob(task(9)),
        Misfit::Port(80),
        Misfit::Ports { wanted: 3, free: 1 },
        Misfit::Devices { wanted_milli: 1_000, largest_free_milli: 400 },
    ];
    let mut kinds: Vec<ConflictKind> = misfits.into_iter().map(ConflictKind::Misfit).collect();
    kinds.extend(TaskState::ALL.map(ConflictKind::TaskState));
    kinds.extend([
        ConflictKind::Changed { version: Seq(300) },
        ConflictKind::Epoch { epoch: 5 },
        ConflictKind::NoTask,
        ConflictKind::NoMachine,
        ConflictKind::Unwanted,
        ConflictKind::Quota {
            team: "red".into(),
            band: Band::Monitoring,
            dimension: Dimension::CPU,
            wanted: 2,
            free: 1,
        },
        ConflictKind::Victim(task(1)),
        ConflictKind::Waiting(task(2)),
        ConflictKind::Assertion { index: 1, found: 3, allowed: 2 },
    ]);
    kinds
}

fn conflict(kind: ConflictKind) -> Conflict {
    Conflict {
        task: Some(task(0)),
        machine: Some(MachineId(1)),
        kind,
        winner: Some(Winner { txn: txn(), scheduler: "batch".into() }),
        stale_entries: 12,
        spurious: true,
        divergence: false,
    }
}

fn committed() -> Committed {
    let grant = Grant { ports: vec![80, 20_000], devices: vec![(1, 500)] };
    let extra = PlacedExtra { grant, preempted: vec![task(4), task(5)] };
    let plain = Placed { task: task(0), machine: MachineId(1), epoch: 1, version: 2, extra: None };
    let rich = Placed { task: task(1), extra: Some(Box::new(extra)), ..plain.clone() };
    let mut outcomes = vec![Outcome::Placed(plain), Outcome::Placed(rich), Outcome::Aborted];
    outcomes.extend(
        [StopReason::Stop, StopReason::Evict].map(|reason| Outcome::Stopping { task: task(2), reason }),
    );
    let resources = Box::new(Resources::cpu_memory(2_000, 1 << 30));
    outcomes.push(Outcome::Resized { task: task(3), resources });
    outcomes.extend(conflicts().into_iter().map(|kind| Outcome::Conflict(Box::new(conflict(kind)))));
    Committed {
        txn: txn(),
        basis: Seq(290),
        atomicity: Atomicity::AllOrNothing,
        detection: Detection::Version,
        time: TIME,
        outcomes: outcomes.into(),
        failed_assertion: Some(Box::new(conflict(ConflictKind::NoTask))),
    }
}

fn reports() -> Vec<Report> {
    let not_started = [
        NotStarted::CommandNotFound,
        NotStarted::PermissionDenied,
        NotStarted::DirectoryNotFound,
        NotStarted::NoDriver,
        NotStarted::StoppedFirst,
        NotStarted::Os(12),
        NotStarted::Unfit,
        NotStarted::Lacks(Lack::Artifact(3, ArtifactProblem::Status(404))),
    ];
    let mut exits = vec![Exit::Code(-1), Exit::Signal(9), Exit::Unseen];
    exits.extend(not_started.map(Exit::NotStarted));
    let seen = std::iter::once(Seen::Started).chain(exits.into_iter().map(Seen::Ended));
    seen.map(|seen| Report { task: task(0), epoch: 3, seen }).collect()
}

/// Every kind of event.
fn events() -> Vec<Event> {
    let schema = Schema { custom: vec!["fpga".into()] };
    let overcommit = Overcommit([150, 125, 100, 100, 100, 100, 100, 1_000]);
    let limit = Some(Resources::cpu_memory(4_000, 1 << 32));
    let (machine_id, job, session) = (MachineId(1), JobId(3), SessionId(2));
    vec![
        Event::Configured { config: CellConfig { name: "prod".into(), schema, overcommit } },
        Event::QuotaSet { team: "red".into(), band: Band::Free, limit },
        Event::QuotaSet { team: "red".into(), band: Band::Production, limit: None },
        Event::MachineRegistered {
            machine: machine_id,
            spec: machine().into(),
            incarnation: u64::MAX,
            time: TIME,
        },
        Event::MachineStateSet {
            machine: machine_id,
            state: MachineState::Draining,
            grace_us: None,
            time: TIME,
        },
        Event::JobSubmitted { job, spec: spec().into(), time: TIME },
        Event::JobStopped { job, time: TIME },
        Event::JobsForgotten { jobs: vec![job, JobId(300)] },
        Event::SessionOpened { session, scheduler: "batch".into(), instance: 1 << 60, time: TIME },
        Event::SessionEnded { session, time: TIME },
        Event::Committed(committed()),
        Event::Reported { machine: machine_id, incarnation: 9, first: 41, reports: reports(), time: TIME },
    ]
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Configured { .. } => "Configured",
        Event::QuotaSet { .. } => "QuotaSet",
        Event::MachineRegistered { .. } => "MachineRegistered",
        Event::MachineStateSet { .. } => "MachineStateSet",
        Event::JobSubmitted { .. } => "JobSubmitted",
        Event::JobStopped { .. } => "JobStopped",
        Event::JobsForgotten { .. } => "JobsForgotten",
        Event::SessionOpened { .. } => "SessionOpened",
        Event::SessionEnded { .. } => "SessionEnded",
        Event::Committed(_) => "Committed",
        Event::Reported { .. } => "Reported",
    }
}

fn write_hex(out: &mut String, name: &str, bytes: &[u8]) {
    writeln!(out, "{name}, {} bytes", bytes.len()).expect("a string takes everything");
    for line in bytes.chunks(48) {
        let hex: String = line.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(out, "    {hex}").expect("a string takes everything");
    }
}

/// The samples of a golden file, by their order.
fn read_hex(text: &str) -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        let Some(hex) = line.strip_prefix("    ") else {
            samples.push(Vec::new());
            continue;
        };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        samples.last_mut().expect("a name comes first").extend((0..hex.len()).step_by(2).map(byte));
    }
    samples
}

#[test]
fn events_as_log_records() {
    let mut text = String::new();
    for (i, event) in events().iter().enumerate() {
        let mut bytes = Vec::new();
        record::append_event(&mut bytes, Seq(300 + i as u64), event);
        write_hex(&mut text, event_name(event), &bytes);
    }
    golden::compare("tests/golden/events.txt", &text);
    for (bytes, event) in read_hex(&golden::read("tests/golden/events.txt")).iter().zip(events()) {
        let (read, length) = record::read(bytes).expect("a sound record").expect("a whole record");
        assert_eq!((length, read.event().expect("an event")), (bytes.len(), event));
    }
}

#[test]
fn records_of_streams() {
    let mut text = String::new();
    let mut sample = |name: &str, write: &dyn Fn(&mut Vec<u8>) -> usize| {
        let mut bytes = Vec::new();
        assert_eq!(write(&mut bytes), bytes.len());
        write_hex(&mut text, name, &bytes);
    };
    let page = PageRecord { key: PageKey::Group(JobId(3), 1, 2), bytes: vec![1, 2, 3] };
    let hash = Some(StateHash(0x0123_4567_89ab_cdef));
    sample("SnapshotStart", &|out| record::append(out, Seq(7), Kind::SnapshotStart, &()));
    sample("Page", &|out| record::append(out, Seq(7), Kind::Page, &page));
    sample("SnapshotEnd", &|out| record::append_hash(out, Seq(7), Kind::SnapshotEnd, hash));
    sample("Mark with a hash", &|out| record::append_hash(out, Seq(7), Kind::Mark, hash));
    sample("Mark without one", &|out| record::append_hash(out, Seq(7), Kind::Mark, None));
    let load = MachineLoad {
        machine: MachineId(300),
        state: MachineState::Ready,
        version: Seq(6),
        used: Resources::cpu_memory(1_500, 3 << 30),
        ports: vec![80, 20_000],
        devices: vec![0, 600],
        waiting: vec![task(7)],
    };
    let quotas = vec![("red".to_owned(), Band::Batch, Resources::cpu_memory(500, 1 << 30))];
    let loads = Loads { time: Time(9), machines: vec![load], more: false, quotas };
    sample("Loads", &|out| record::append(out, Seq(7), Kind::Loads, &loads));
    golden::compare("tests/golden/records.txt", &text);
}

#[test]
fn transactions() {
    let ops = vec![
        Op::Place { task: task(0), machines: [MachineId(1), MachineId(300)].into(), preempt: vec![task(7)] },
        Op::Evict { task: task(1), epoch: 2 },
        Op::Stop { task: task(2), epoch: 0 },
        Op::Resize { task: task(3), epoch: 1, resources: Resources::cpu_memory(1_000, 1 << 30) },
    ];
    let assertions = vec![
        Assertion::AtMost { job: JobId(3), attribute: "rack".into(), value: "r1".into(), max: 2 },
        Assertion::JobVersion { job: JobId(3), version: 2 },
        Assertion::Unchanged { machine: MachineId(1) },
    ];
    let (atomicity, detection) = (Atomicity::Incremental, Detection::Fit);
    let sample = Transaction { id: txn(), basis: Seq(290), atomicity, detection, ops, assertions };
    let mut text = String::new();
    write_hex(&mut text, "Transaction", &codec::encode(&sample));
    golden::compare("tests/golden/transactions.txt", &text);
    let bytes = read_hex(&golden::read("tests/golden/transactions.txt")).remove(0);
    assert_eq!(codec::decode::<Transaction>(&bytes).expect("a transaction"), sample);
}

/// A small cell in which every kind of page has something to say.
fn busy_cell() -> Cell {
    let mut stage = Stage::new();
    let lines = "session s1\nquota team batch cpu=100\nmachine m0 cpu=20 devices=1 rack=r1\nmachine m1 cpu=20\n\
        job low scheduler=s1 count=2 cpu=2 priority=10 port=web\njob high scheduler=s1 count=40 cpu=19 priority=200\n\
        job gpu scheduler=s1 gpu=500\nlook s1\ns1 place low.0 on m0\ns1 place low.1 on m0\n\
        s1 resize low.1 cpu=1\ns1 place gpu.0 on m0\nlook s1\ns1 place high.0 on m0 preempting low.0 low.1\n\
        s1 place high.1 on m9\nreport m0 gpu.0 started\nreport m0 low.0 code=0\ndrain m1";
    for line in lines.lines() {
        stage.line(line);
    }
    stage.cell
}

#[test]
fn pages_of_a_busy_cell() {
    let mut cell = busy_cell();
    let mut text = String::new();
    for key in cell.page_keys() {
        let bytes = cell.encode_page(&key).expect("a page of the state");
        write_hex(&mut text, &format!("{key:?}"), &bytes);
    }
    writeln!(text, "hash {}", cell.hash()).expect("a string takes everything");
    golden::compare("tests/golden/pages.txt", &text);
    let mut restore = Restore::new(cell.seq());
    for (key, bytes) in cell.page_keys().into_iter().zip(read_hex(&golden::read("tests/golden/pages.txt"))) {
        restore.add(key, &bytes).expect("a page that was written once");
    }
    assert_eq!(restore.finish().expect("all pages").hash(), cell.hash());
}
