//! The permission table, role by request, over real connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cell_state::event::CellConfig;
use cell_state::job::{Band, JobKind, JobSpec};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec, MachineState};
use cell_state::transaction::{Atomicity, Detection, Transaction};
use cell_state::{JobId, MachineId, Resources, Seq, SessionId, TaskId, TxnId};
use transport::message::{LogFrom, LogRequest, LogStream, Refusal, Reply, Request, Scope};
use transport::task::{LogStart, TaskAct, TaskRequest};
use transport::view::{Query, Telemetry};
use transport::{RequestKind, Role};
use transport_quic::CallError;

use crate::cell::{Cell, soon};

/// One request of each kind.
fn sample(kind: RequestKind) -> Request {
    let txn = TxnId { session: SessionId(1), number: 1 };
    let task = TaskId { job: JobId(1), group: 0, index: 0 };
    let subscribe = |scope| Request::Subscribe { scope, after: None };
    let talk = |act| Request::Task(TaskRequest { task, epoch: 0, act });
    match kind {
        RequestKind::Status => Request::Status,
        RequestKind::Read => Request::Read { at: None, query: Query::Cell },
        RequestKind::ListSchedulers => Request::ListSchedulers,
        RequestKind::ListAttempts => {
            Request::ListAttempts { limit: 1, scheduler: None, job: None, conflicts_only: false }
        }
        RequestKind::GetAttempt => Request::GetAttempt { txn },
        RequestKind::TopConflicts => Request::TopConflicts,
        RequestKind::Audit => Request::Audit,
        RequestKind::ReadLog => {
            let (stream, from) = (LogStream::Stdout, LogFrom::Offset(0));
            Request::ReadLog(LogRequest { task, epoch: 0, stream, from, limit: 10 })
        }
        RequestKind::OpenSession => Request::OpenSession { instance: 1 },
        RequestKind::Commit => Request::Commit(Transaction {
            id: txn,
            basis: Seq(0),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: Vec::new(),
            assertions: Vec::new(),
        }),
        RequestKind::Telemetry => Request::Telemetry(Telemetry::default()),
        RequestKind::RegisterMachine => Request::RegisterMachine {
            spec: MachineSpec {
                name: "m1".into(),
                capacity: Resources::ZERO,
                attributes: BTreeMap::new(),
                devices: Vec::new(),
                ports: DEFAULT_PORTS,
            },
            incarnation: 1,
        },
        RequestKind::Report => {
            Request::Report { machine: MachineId(0), incarnation: 1, first: 1, reports: Vec::new() }
        }
        RequestKind::GetSpec => Request::GetSpec { job: JobId(1), version: 1 },
        RequestKind::SubmitJob => Request::SubmitJob(JobSpec {
            name: "site".into(),
            kind: JobKind::Batch,
            priority: 0,
            team: "search".into(),
            scheduler: "batch".into(),
            groups: Vec::new(),
        }),
        RequestKind::StopJob => Request::StopJob { name: "site".into() },
        RequestKind::SetMachineState => {
            Request::SetMachineState { machine: "m1".into(), state: MachineState::Draining, grace_us: None }
        }
        RequestKind::SetQuota => Request::SetQuota { team: "search".into(), band: Band::Free, limit: None },
        RequestKind::Configure => Request::Configure(CellConfig::default()),
        RequestKind::SubscribeFull => subscribe(Scope::Full),
        RequestKind::SubscribeJobs => subscribe(Scope::Jobs { scheduler: "batch".into() }),
        RequestKind::SubscribeMachines => subscribe(Scope::Machines),
        RequestKind::FollowLog => {
            talk(TaskAct::FollowLog { stream: LogStream::Stdout, from: LogStart::Lines(1), follow: false })
        }
        RequestKind::TaskExec => {
            talk(TaskAct::Exec { command: vec!["true".into()], terminal: None, input: false })
        }
        RequestKind::TaskFiles => talk(TaskAct::ReadFile { path: "a".into() }),
        RequestKind::TaskSignal => talk(TaskAct::Signal { signal: 1 }),
    }
}

#[tokio::test]
async fn every_role_gets_through_with_what_it_may_do_and_nothing_else() {
    let cell = Cell::new("west");
    let listener = cell.listener();
    let server = listener.local_addr();
    let through = Arc::new(Mutex::new(Vec::new()));
    let seen = through.clone();
    tokio::spawn(async move {
        while let Some(session) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Some(incoming) = session.next_request().await {
                    let (request, responder) = incoming.into_parts();
                    seen.lock().unwrap().push((session.identity().role, request.kind()));
                    responder.reply(Ok(Reply::Noted));
                }
            });
        }
    });
    let mut allowed = Vec::new();
    for role in Role::ALL {
        // A server's own certificate may call as well; it is one that the listener doesn't use.
        let client = cell.client(server, role, "p1").await;
        for kind in RequestKind::ALL {
            let request = sample(kind);
            assert_eq!(request.kind(), kind);
            let refusal = Refusal::NotPermitted { role: role.to_string(), what: kind.to_string() };
            let expected = if role.may(kind) { Ok(Reply::Noted) } else { Err(CallError::Refused(refusal)) };
            assert_eq!(soon(client.call(request)).await, expected, "{role} {kind}");
            allowed.extend(role.may(kind).then_some((role, kind)));
        }
    }
    assert_eq!(*through.lock().unwrap(), allowed);
    // So that an empty table can't pass: a sixth of all combinations at least, and not all of them.
    assert!((22..100).contains(&allowed.len()), "{} combinations are allowed", allowed.len());
}
