//! One reply and one refusal of every kind, and of every shape of what is in them.

use cell_state::admit::{Answer, Rejection, RejectionCode};
use cell_state::fit::Misfit;
use cell_state::job::{Band, Counts, Desired, JobKind};
use cell_state::machine::{Grant, MachineState};
use cell_state::page::StateHash;
use cell_state::task::{Exit, StopReason, Task, TaskState};
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{Conflict, ConflictKind, Outcome, Placed, PlacedExtra, Winner};
use cell_state::{Dimension, JobId, MachineId, Seq, SessionId, Time};
use transport::message::{Acknowledged, AgentReply, LogPiece, Refusal, Reply, ServerStatus};
use transport::view::{
    Attempt, Body, CellView, ConflictCount, JobRow, JobView, MachineRow, MachineView, SchedulerView,
    StageTimes, TaskRow, View,
};

use crate::requests::{amounts, config, job, machine, task, telemetry, txn};
use crate::usage;

pub(crate) const KINDS: [&str; 17] = [
    "Status",
    "View",
    "Schedulers",
    "Attempts",
    "Attempt",
    "Conflicts",
    "Audit",
    "Log",
    "Done",
    "Verdicts",
    "Spec",
    "Subscribed",
    "Noted",
    "Reported",
    "Stages",
    "Opened",
    "Usage",
];

pub(crate) const REFUSAL_KINDS: [&str; 6] =
    ["Busy", "NotPermitted", "Rejected", "Malformed", "TooOld", "Unavailable"];

/// A new kind of reply doesn't compile here until it has a name, and is missed above until it has a line.
pub(crate) fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Status(_) => "Status",
        Reply::View(_) => "View",
        Reply::Schedulers(_) => "Schedulers",
        Reply::Attempts(_) => "Attempts",
        Reply::Attempt(_) => "Attempt",
        Reply::Conflicts(_) => "Conflicts",
        Reply::Audit { .. } => "Audit",
        Reply::Log(_) => "Log",
        Reply::Done { .. } => "Done",
        Reply::Verdicts { .. } => "Verdicts",
        Reply::Spec(_) => "Spec",
        Reply::Subscribed { .. } => "Subscribed",
        Reply::Noted => "Noted",
        Reply::Reported(_) => "Reported",
        Reply::Stages(_) => "Stages",
        Reply::Opened => "Opened",
        Reply::Usage(_) => "Usage",
    }
}

/// As [`kind`], for refusals.
pub(crate) fn refusal_kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Busy => "Busy",
        Refusal::NotPermitted { .. } => "NotPermitted",
        Refusal::Rejected(_) => "Rejected",
        Refusal::Malformed(_) => "Malformed",
        Refusal::TooOld { .. } => "TooOld",
        Refusal::Unavailable(_) => "Unavailable",
    }
}

fn conflict(kind: ConflictKind) -> Conflict {
    Conflict {
        task: Some(task(1, 2)),
        machine: Some(MachineId(3)),
        kind,
        winner: Some(Winner { txn: txn(6), scheduler: "service".into() }),
        stale_entries: 17,
        spurious: true,
        divergence: false,
    }
}

fn conflict_kinds() -> Vec<ConflictKind> {
    let cpu = Dimension::CPU;
    let misfits = [
        Misfit::State(MachineState::Draining),
        Misfit::Resource { dimension: cpu, wanted: 2_000, free: 1_000 },
        Misfit::Constraint(1),
        Misfit::SameJob(task(1, 9)),
        Misfit::Port(8_080),
        Misfit::Ports { wanted: 2, free: 1 },
        Misfit::Devices { wanted_milli: 2_000, largest_free_milli: 500 },
    ];
    let states = [
        TaskState::Pending,
        TaskState::Placed,
        TaskState::Running,
        TaskState::Stopping(StopReason::Drain),
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Stopped,
    ];
    let others = [
        ConflictKind::Changed { version: Seq(44) },
        ConflictKind::Epoch { epoch: 3 },
        ConflictKind::NoTask,
        ConflictKind::NoMachine,
        ConflictKind::Unwanted,
        ConflictKind::Quota { team: "search".into(), band: Band::Batch, dimension: cpu, wanted: 2, free: 1 },
        ConflictKind::Victim(task(5, 0)),
        ConflictKind::Waiting(task(5, 1)),
        ConflictKind::Assertion { index: 0, found: 3, allowed: 2 },
    ];
    let misfits = misfits.into_iter().map(ConflictKind::Misfit);
    misfits.chain(states.into_iter().map(ConflictKind::TaskState)).chain(others).collect()
}

fn outcomes() -> Vec<Outcome> {
    let plain = Placed { task: task(1, 1), machine: MachineId(3), epoch: 1, version: 2, extra: None };
    let grant = Grant { ports: vec![8_080, 20_001], devices: vec![(0, 1_000), (1, 250)] };
    let extra = PlacedExtra { grant, preempted: vec![task(5, 0)] };
    let rich = Placed { task: task(1, 2), extra: Some(Box::new(extra)), ..plain.clone() };
    let stopping = [StopReason::Stop, StopReason::Evict, StopReason::Drain];
    let mut outcomes = vec![
        Outcome::Placed(plain),
        Outcome::Placed(rich),
        Outcome::Resized { task: task(1, 5), resources: Box::new(amounts()) },
        Outcome::Aborted,
    ];
    outcomes.extend(stopping.map(|reason| Outcome::Stopping { task: task(1, 3), reason }));
    outcomes.extend(conflict_kinds().into_iter().map(|kind| Outcome::Conflict(Box::new(conflict(kind)))));
    outcomes
}

fn counts() -> Counts {
    Counts { pending: 1, placed: 2, running: 3, stopping: 4, completed: 5, failed: 6, stopped: 7 }
}

fn task_row() -> TaskRow {
    let task_record = Task {
        state: TaskState::Running,
        restarts: 1,
        epoch: 2,
        machine: Some(MachineId(3)),
        version: 2,
        exit: Some(Exit::Code(1)),
        changed: Time(1_700_000_000_000_000),
        placed_by: Some(txn(7)),
    };
    let machine = Some("m1".to_owned());
    TaskRow {
        id: task(1, 2),
        task: task_record,
        machine,
        job: "site".into(),
        ports: vec![8_080, 20_001],
        memory_limit: Some(1 << 28),
    }
}

fn job_row() -> JobRow {
    JobRow {
        id: JobId(1),
        name: "site".into(),
        kind: JobKind::Batch,
        priority: 110,
        team: "search".into(),
        scheduler: "batch".into(),
        desired: Desired::Stop,
        version: 2,
        submitted: Time(1_700_000_000_000_000),
        wanted: 28,
        counts: counts(),
    }
}

fn machine_row() -> MachineRow {
    MachineRow {
        id: MachineId(3),
        name: "m1".into(),
        state: MachineState::Down,
        tasks: 4,
        capacity: amounts(),
        limit: amounts(),
        used: amounts(),
        version: Seq(88),
        silent_us: Some(12_000_000),
    }
}

fn cell_view() -> CellView {
    CellView {
        name: "west".into(),
        hash: StateHash(0x0123_4567_89ab_cdef),
        time: Time(1_700_000_000_000_000),
        machines: [5, 1, 2],
        jobs: 9,
        tasks: counts(),
        capacity: amounts(),
        limit: amounts(),
        used: amounts(),
        used_by_band: [amounts(); 4],
    }
}

fn attempt() -> Attempt {
    Attempt {
        txn: txn(7),
        scheduler: "batch".into(),
        at: Seq(1_001),
        time: Time(1_700_000_000_000_000),
        basis: Seq(1_000),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        outcomes: [Outcome::Aborted].into(),
        failed_assertion: Some(Box::new(conflict(ConflictKind::NoTask))),
        machines: vec![(MachineId(3), "m1".into())],
        jobs: vec![(JobId(1), "site".into())],
    }
}

fn status() -> ServerStatus {
    ServerStatus {
        config: config(),
        version: "0.1.0".into(),
        seq: Seq(1_001),
        oldest: Seq(10),
        checkpoint: Seq(900),
        started: Time(1_700_000_000_000_000),
        sessions: vec![0, 2, 3, 1, 0, 0],
        memory_bytes: 80 << 20,
        divergences: 0,
    }
}

fn scheduler() -> SchedulerView {
    SchedulerView {
        name: "batch".into(),
        session: SessionId(3),
        live: true,
        telemetry: Some(telemetry()),
        lag_entries: Some(2),
        transactions: 40,
        accepted: 300,
        conflicts: 5,
    }
}

fn view(body: Body) -> Reply {
    Reply::View(Box::new(View { at: Seq(1_001), body }))
}

fn done(answer: Answer) -> Reply {
    Reply::Done { at: Seq(1_001), answer }
}

pub(crate) fn all() -> Vec<(&'static str, Reply)> {
    let job_view = JobView {
        row: job_row(),
        spec: job(),
        groups: vec![counts()],
        tasks_total: 13,
        tasks: vec![task_row()],
    };
    let machine_view = MachineView { row: machine_row(), spec: machine(), tasks: vec![task_row()] };
    let count = ConflictCount {
        loser: "batch".into(),
        winner: "service".into(),
        kind: "resource".into(),
        count: 5,
        spurious: 1,
    };
    let failed_assertion = Some(Box::new(conflict(ConflictKind::NoMachine)));
    vec![
        ("Status", Reply::Status(status())),
        ("View.cell", view(Body::Cell(Box::new(cell_view())))),
        ("View.jobs", view(Body::Jobs(vec![job_row()]))),
        ("View.job", view(Body::Job(Box::new(job_view)))),
        ("View.machines", view(Body::Machines(vec![machine_row()]))),
        ("View.machine", view(Body::Machine(Box::new(machine_view)))),
        ("Schedulers", Reply::Schedulers(vec![scheduler()])),
        ("Attempts", Reply::Attempts(vec![attempt()])),
        ("Attempt", Reply::Attempt(Box::new(attempt()))),
        ("Conflicts", Reply::Conflicts(vec![count])),
        ("Audit", Reply::Audit { at: Seq(1_001), violations: vec!["m1 holds too much".into()] }),
        ("Log", Reply::Log(piece())),
        ("Done.done", done(Answer::Done)),
        ("Done.machine", done(Answer::Machine(MachineId(3)))),
        ("Done.job", done(Answer::Job { job: JobId(1), version: 2, changed: true })),
        ("Done.session", done(Answer::Session { session: SessionId(3), last_number: 7 })),
        ("Done.reported", done(Answer::Reported { upto: 16 })),
        ("Verdicts", Reply::Verdicts { at: Seq(1_001), outcomes: outcomes().into(), failed_assertion }),
        ("Spec", Reply::Spec(Box::new(job()))),
        ("Subscribed", Reply::Subscribed { subscription: 2 }),
        ("Noted", Reply::Noted),
        ("Reported", Reply::Reported(vec![Ok(Acknowledged { at: Seq(77), upto: 12 }), Err(Refusal::Busy)])),
        (
            "Stages",
            Reply::Stages(StageTimes {
                sessions_us: 1_000,
                judge_us: 2_000,
                encode_us: 300,
                log_us: 400,
                stream_us: 50,
                answer_us: 600,
                mirror_us: 700,
                side_log_us: 8,
                mark_us: 90,
                checkpoint_us: 70_000,
            }),
        ),
        ("Opened", Reply::Opened),
        ("Usage", Reply::Usage(Box::new(usage::view()))),
        ("View.services", view(Body::Services(vec![usage::service_row()]))),
        ("View.endpoints", view(Body::Endpoints(vec![usage::endpoint()]))),
    ]
}

pub(crate) fn refusals() -> Vec<(&'static str, Refusal)> {
    let codes = [
        ("Rejected.invalid", RejectionCode::Invalid),
        ("Rejected.not-found", RejectionCode::NotFound),
        ("Rejected.not-allowed", RejectionCode::NotAllowed),
        ("Rejected.full", RejectionCode::Full),
        ("Rejected.forgotten", RejectionCode::Forgotten),
    ];
    let rejected =
        codes.map(|(name, code)| (name, Refusal::Rejected(Rejection::new(code, "name", "is no name"))));
    let others = [
        ("Busy", Refusal::Busy),
        ("NotPermitted", Refusal::NotPermitted { role: "user".into(), what: "SetQuota".into() }),
        ("Malformed", Refusal::Malformed("3 bytes left over".into())),
        ("TooOld", Refusal::TooOld { wanted: Seq(1), oldest: Seq(10) }),
        ("Unavailable", Refusal::Unavailable("the agent of m1 is not connected".into())),
    ];
    rejected.into_iter().chain(others).collect()
}

fn piece() -> LogPiece {
    LogPiece { offset: 1 << 33, bytes: b"hello\n".to_vec(), ended: true }
}

pub(crate) fn of_agents() -> Vec<(&'static str, AgentReply)> {
    vec![("Log", AgentReply::Log(piece())), ("Failed", AgentReply::Failed("no such task".into()))]
}
