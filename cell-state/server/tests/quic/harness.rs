//! A server on a fresh directory and an ephemeral port, and parties that talk to it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cell_server::{ServerConfig, ServerError};
use cell_state::admit::Answer;
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, Resources, Seq, SessionId, TaskId, TxnId};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use transport::message::Refusal;
use transport::view::{Body, Query};
use transport::{Reply, Request, Role};
use transport_quic::{Authority, CallError, Client, Credentials};

/// A cell's certificates and its data directory, which outlive any one server.
pub(crate) struct Ground {
    pki: TempDir,
    data: TempDir,
    authority: Authority,
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        let pki = tempfile::tempdir().unwrap();
        let authority = Authority::create("test", pki.path()).unwrap();
        authority.issue(Role::Server, "server", pki.path()).unwrap();
        Ground { pki, data: tempfile::tempdir().unwrap(), authority }
    }

    fn credentials(&self, role: Role, name: &str) -> Credentials {
        if Credentials::load(self.pki.path(), role, name).is_err() {
            self.authority.issue(role, name, self.pki.path()).unwrap();
        }
        Credentials::load(self.pki.path(), role, name).unwrap()
    }

    pub(crate) fn config(&self) -> ServerConfig {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config =
            ServerConfig::new(self.data.path(), listen, self.credentials(Role::Server, "server"));
        config.mark_every = Duration::from_millis(20);
        // Most agents of these tests never send a heartbeat.
        config.down_after = Duration::from_secs(3_600);
        config
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(|_| {}).await
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut ServerConfig)) -> Running {
        let mut config = self.config();
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, ready) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task =
            tokio::spawn(cell_server::run(config, shutdown, move |address| told.send(address).unwrap()));
        match within(ready).await {
            Ok(address) => Running { address, stop, task },
            Err(_) => panic!("the server did not start: {:?}", task.await),
        }
    }

    pub(crate) async fn connect(&self, server: &Running, role: Role, name: &str) -> Client {
        within(Client::connect(server.address, &self.credentials(role, name))).await.unwrap()
    }

    pub(crate) async fn user(&self, server: &Running) -> Client {
        self.connect(server, Role::User, "ann").await
    }

    /// A scheduler process with its session.
    pub(crate) async fn scheduler(&self, server: &Running, name: &str, instance: u64) -> Scheduler {
        let client = self.connect(server, Role::Scheduler, name).await;
        let Answer::Session { session, last_number } = done(&client, Request::OpenSession { instance }).await
        else {
            panic!("no session")
        };
        Scheduler { client, session, number: last_number }
    }

    /// An agent that plays these machines.
    pub(crate) async fn agent(&self, server: &Running, name: &str, machines: &[MachineSpec]) -> Agent {
        let client = self.connect(server, Role::Agent, name).await;
        let mut ids = Vec::new();
        for spec in machines {
            ids.push(register(&client, spec, 1).await);
        }
        Agent { client, machines: ids }
    }
}

impl Running {
    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(self) -> Result<(), ServerError> {
        let _ = self.stop.send(());
        within(self.task).await.unwrap()
    }
}

pub(crate) struct Scheduler {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    pub(crate) number: u64,
}

pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) machines: Vec<MachineId>,
}

impl Scheduler {
    /// A transaction with the next number.
    pub(crate) fn propose(&mut self, basis: Seq, ops: Vec<Op>) -> Transaction {
        self.number += 1;
        Transaction {
            id: TxnId { session: self.session, number: self.number },
            basis,
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops,
            assertions: Vec::new(),
        }
    }

    pub(crate) async fn commit(&self, txn: Transaction) -> (Seq, Arc<[Outcome]>) {
        match within(self.client.call(Request::Commit(txn))).await.unwrap() {
            Reply::Verdicts { at, outcomes, failed_assertion: None } => (at, outcomes),
            other => panic!("{other:?}"),
        }
    }

    /// Places tasks one by one on the machine.
    pub(crate) async fn place(
        &mut self,
        basis: Seq,
        tasks: &[TaskId],
        machine: MachineId,
    ) -> (Seq, Arc<[Outcome]>) {
        let txn = self.propose(basis, tasks.iter().map(|t| place(*t, &[machine])).collect());
        self.commit(txn).await
    }
}

/// Fails a test that hangs, instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this takes far too long")
}

pub(crate) async fn done(client: &Client, request: Request) -> Answer {
    done_at(client, request).await.1
}

pub(crate) async fn done_at(client: &Client, request: Request) -> (Seq, Answer) {
    match within(client.call(request)).await {
        Ok(Reply::Done { at, answer }) => (at, answer),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn refused(client: &Client, request: Request) -> Refusal {
    match within(client.call(request)).await {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn register(client: &Client, spec: &MachineSpec, incarnation: u64) -> MachineId {
    match done(client, Request::RegisterMachine { spec: spec.clone(), incarnation }).await {
        Answer::Machine(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Submits a job; returns its number and the position.
pub(crate) async fn submit(client: &Client, spec: JobSpec) -> (JobId, Seq) {
    match done_at(client, Request::SubmitJob(spec)).await {
        (at, Answer::Job { job, .. }) => (job, at),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn read(client: &Client, at: Option<Seq>, query: Query) -> (Seq, Body) {
    match within(client.call(Request::Read { at, query })).await {
        Ok(Reply::View(view)) => (view.at, view.body),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn audited(client: &Client) {
    match within(client.call(Request::Audit)).await {
        Ok(Reply::Audit { violations, .. }) => assert_eq!(violations, Vec::<String>::new()),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn place(task: TaskId, machines: &[MachineId]) -> Op {
    Op::Place { task, machines: machines.into(), preempt: Vec::new() }
}

pub(crate) fn tasks(job: JobId, count: u32) -> Vec<TaskId> {
    (0..count).map(|index| TaskId { job, group: 0, index }).collect()
}

/// A machine of this many cores.
pub(crate) fn machine(name: &str, cores: u64) -> MachineSpec {
    MachineSpec {
        name: name.into(),
        capacity: Resources::cpu_memory(cores * 1_000, cores << 30),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        ports: DEFAULT_PORTS,
    }
}

/// A batch job of tasks of one core each.
pub(crate) fn job(name: &str, scheduler: &str, count: u32) -> JobSpec {
    JobSpec {
        name: name.into(),
        kind: JobKind::Batch,
        priority: 100,
        team: "t".into(),
        scheduler: scheduler.into(),
        groups: vec![GroupSpec {
            name: "g".into(),
            count,
            resources: Resources::cpu_memory(1_000, 1 << 30),
            constraints: Vec::new(),
            distinct_machines: false,
            spread: None,
            ports: Vec::new(),
            restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
            data: cell_state::job::data::Data::default(),
            stop_grace_us: 0,
            run: Run::Simulated { run_for_us: None, exit_code: 0 },
        }],
    }
}
