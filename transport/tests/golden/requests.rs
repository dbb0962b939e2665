//! One request of every kind, and of every shape of what is in it.

use std::collections::BTreeMap;

use cell_state::constraint::{Constraint, Test};
use cell_state::event::{CellConfig, Report, Seen};
use cell_state::job::container::Container;
use cell_state::job::isolation::{Isolation, Share};
use cell_state::job::{Band, Exec, GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run, Spread};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec, MachineState};
use cell_state::page::StateHash;
use cell_state::resources::{Overcommit, Schema};
use cell_state::task::{Exit, Lack, NotStarted, SecretProblem};
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::{JobId, MachineId, Resources, Seq, SessionId, TaskId, TxnId};
use transport::message::{AgentRequest, LogFrom, LogRequest, LogStream, MachineReports, Request, Scope};
use transport::view::{Query, Telemetry};

use crate::{conversations, usage};

pub(crate) fn task(job: u32, index: u32) -> TaskId {
    TaskId { job: JobId(job), group: 1, index }
}

pub(crate) fn txn(number: u64) -> TxnId {
    TxnId { session: SessionId(3), number }
}

pub(crate) fn amounts() -> Resources {
    Resources([1_500, 1 << 30, 10 << 30, 2_000, 100, 1, 2, 3])
}

pub(crate) fn config() -> CellConfig {
    CellConfig {
        name: "west".into(),
        schema: Schema { custom: vec!["licence".into()] },
        overcommit: Overcommit([150, 100, 100, 100, 200, 100, 100, 100]),
    }
}

pub(crate) fn machine() -> MachineSpec {
    MachineSpec {
        name: "m1".into(),
        capacity: amounts(),
        attributes: BTreeMap::from([("rack".into(), "r7".into()), ("zone".into(), "a".into())]),
        devices: vec!["gpu-0".into(), "gpu-1".into()],
        ports: DEFAULT_PORTS,
    }
}

fn constraints() -> Vec<Constraint> {
    let tests = [
        Test::Equal("r7".into()),
        Test::NotEqual("r8".into()),
        Test::In(vec!["a".into(), "b".into()]),
        Test::Less(-1),
        Test::Greater(i64::MAX),
        Test::Exists,
        Test::Regex("^m[0-9]+$".into()),
    ];
    tests.into_iter().map(|test| Constraint { attribute: "rack".into(), test }).collect()
}

pub(crate) fn job() -> JobSpec {
    let exec = Exec {
        command: "/usr/bin/sha256sum".into(),
        args: vec!["-b".into(), "file".into()],
        env: BTreeMap::from([("LANG".into(), "C".into())]),
        directory: Some("/srv".into()),
        log_bytes_max: 10 << 20,
        log_files_max: 3,
        log_age_us: Some(3_600_000_000),
        isolation: Box::new(Isolation { pids_max: Some(64), ipc: Share::Host, ..Isolation::default() }),
        care: Box::default(),
        container: Some(Box::new(Container::Rootfs("image".into()))),
    };
    let web = GroupSpec {
        name: "web".into(),
        count: 12,
        resources: amounts(),
        constraints: constraints(),
        distinct_machines: true,
        spread: Some(Spread { attribute: "rack".into(), max_per_value: 2 }),
        ports: vec![
            PortAsk { name: "http".into(), number: Some(8_080) },
            PortAsk { name: "admin".into(), number: None },
        ],
        restart: Restart { on: RestartOn::Failure, attempts: 3, delay_us: 1_000_000 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 5_000_000,
        run: Run::Exec(exec),
    };
    let idle = GroupSpec {
        name: "idle".into(),
        count: 1,
        resources: Resources::ZERO,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: Some(1), exit_code: -1 },
    };
    JobSpec {
        name: "site".into(),
        kind: JobKind::Service,
        priority: 210,
        team: "search".into(),
        scheduler: "service".into(),
        groups: vec![web, idle],
    }
}

fn transaction() -> Transaction {
    Transaction {
        id: txn(7),
        basis: Seq(1_000),
        atomicity: Atomicity::AllOrNothing,
        detection: Detection::Version,
        ops: vec![
            Op::Place {
                task: task(1, 2),
                machines: [MachineId(3), MachineId(400)].into(),
                preempt: vec![task(5, 0)],
            },
            Op::Evict { task: task(1, 3), epoch: 4 },
            Op::Stop { task: task(1, 4), epoch: 5 },
            Op::Resize { task: task(1, 5), epoch: 6, resources: amounts() },
        ],
        assertions: vec![
            Assertion::AtMost { job: JobId(1), attribute: "rack".into(), value: "r7".into(), max: 2 },
            Assertion::JobVersion { job: JobId(1), version: 2 },
            Assertion::Unchanged { machine: MachineId(9) },
        ],
    }
}

fn reports() -> Vec<Report> {
    let ends = [
        Exit::Code(0),
        Exit::Code(-1),
        Exit::Signal(9),
        Exit::Unseen,
        Exit::NotStarted(NotStarted::CommandNotFound),
        Exit::NotStarted(NotStarted::PermissionDenied),
        Exit::NotStarted(NotStarted::DirectoryNotFound),
        Exit::NotStarted(NotStarted::NoDriver),
        Exit::NotStarted(NotStarted::StoppedFirst),
        Exit::NotStarted(NotStarted::Os(12)),
        Exit::NotStarted(NotStarted::Unfit),
        Exit::NotStarted(NotStarted::Lacks(Lack::Secret(3, SecretProblem::NotFound))),
    ];
    let ended =
        (0..).zip(ends).map(|(i, exit)| Report { task: task(2, i), epoch: 1, seen: Seen::Ended(exit) });
    [Report { task: task(1, 2), epoch: 3, seen: Seen::Started }].into_iter().chain(ended).collect()
}

pub(crate) fn telemetry() -> Telemetry {
    Telemetry {
        at: Seq(99),
        policy: "batch".into(),
        queued: 12,
        busy_us: 34_567,
        uptime_us: 8_901_234,
        memory_bytes: 50 << 20,
        checked: Some((Seq(90), StateHash(0x0123_4567_89ab_cdef))),
        hash_mismatches: 0,
    }
}

fn log(from: LogFrom, stream: LogStream) -> LogRequest {
    LogRequest { task: task(1, 2), epoch: 3, stream, from, limit: 65_536 }
}

fn read(at: Option<Seq>, query: Query) -> Request {
    Request::Read { at, query }
}

pub(crate) fn all() -> Vec<(&'static str, Request)> {
    let machines_follow = Request::Subscribe { scope: Scope::Machines, after: None };
    let jobs = Scope::Jobs { scheduler: "batch".into() };
    let services = [
        ("Read.services", read(None, Query::Services { limit: 100 })),
        ("Read.endpoints", read(Some(Seq(5)), Query::Endpoints { name: "http.main.site".into() })),
    ];
    vec![
        ("Status", Request::Status),
        ("Read.cell", read(None, Query::Cell)),
        ("Read.jobs", read(Some(Seq(5)), Query::Jobs { from: JobId(7), limit: 100 })),
        ("Read.job", read(None, Query::Job { name: "site".into(), skip: 10, limit: 20 })),
        ("Read.machines", read(None, Query::Machines { from: MachineId(7), limit: 100 })),
        ("Read.machine", read(None, Query::Machine { name: "m1".into() })),
        ("ListSchedulers", Request::ListSchedulers),
        (
            "ListAttempts",
            Request::ListAttempts {
                limit: 50,
                scheduler: Some("batch".into()),
                job: Some(JobId(4)),
                conflicts_only: true,
            },
        ),
        ("GetAttempt", Request::GetAttempt { txn: txn(7) }),
        ("TopConflicts", Request::TopConflicts),
        ("Audit", Request::Audit),
        ("ReadLog.offset", Request::ReadLog(log(LogFrom::Offset(1 << 40), LogStream::Stdout))),
        ("ReadLog.end", Request::ReadLog(log(LogFrom::End(4_096), LogStream::Stderr))),
        ("OpenSession", Request::OpenSession { instance: 0x0123_4567_89ab_cdef }),
        ("Commit", Request::Commit(transaction())),
        ("Telemetry", Request::Telemetry(telemetry())),
        ("RegisterMachine", Request::RegisterMachine { spec: machine(), incarnation: 77 }),
        ("Report", Request::Report { machine: MachineId(1), incarnation: 77, first: 5, reports: reports() }),
        ("GetSpec", Request::GetSpec { job: JobId(4), version: 2 }),
        ("SubmitJob", Request::SubmitJob(job())),
        ("StopJob", Request::StopJob { name: "site".into() }),
        ("SetMachineState.ready", set_state(MachineState::Ready)),
        ("SetMachineState.draining", set_state(MachineState::Draining)),
        ("SetMachineState.down", set_state(MachineState::Down)),
        ("SetQuota.free", set_quota(Band::Free, None)),
        ("SetQuota.batch", set_quota(Band::Batch, Some(amounts()))),
        ("SetQuota.production", set_quota(Band::Production, Some(Resources::ZERO))),
        ("SetQuota.monitoring", set_quota(Band::Monitoring, None)),
        ("Configure", Request::Configure(config())),
        ("Subscribe.full", Request::Subscribe { scope: Scope::Full, after: Some(Seq(1_000_000)) }),
        ("Subscribe.jobs", Request::Subscribe { scope: jobs, after: None }),
        ("Subscribe.machines", machines_follow),
        ("Stages", Request::Stages),
        (
            "Reports",
            Request::Reports(vec![
                MachineReports { machine: MachineId(1), incarnation: 77, first: 5, reports: reports() },
                MachineReports { machine: MachineId(300), incarnation: 78, first: 1, reports: Vec::new() },
            ]),
        ),
    ]
    .into_iter()
    .chain(conversations::asked().into_iter().map(|(name, request)| (name, Request::Task(request))))
    .chain(usage::requests())
    .chain(services)
    .collect()
}

fn set_state(state: MachineState) -> Request {
    Request::SetMachineState { machine: "m1".into(), state, grace_us: None }
}

fn set_quota(band: Band, limit: Option<Resources>) -> Request {
    Request::SetQuota { team: "search".into(), band, limit }
}

pub(crate) fn to_agents() -> Vec<(&'static str, AgentRequest)> {
    let request = log(LogFrom::Offset(0), LogStream::Stdout);
    let (_, talk) = conversations::asked().remove(0);
    vec![
        ("ReadLog", AgentRequest::ReadLog { machine: "m1".into(), request }),
        ("Task", AgentRequest::Task { machine: "m1".into(), request: talk }),
    ]
}
