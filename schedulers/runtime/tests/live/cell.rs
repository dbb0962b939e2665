//! A real server on this machine, for one test: certificates, QUIC, log and checkpoint in a temporary directory.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use cell_server::{ServerConfig, ServerError};
use cell_state::admit::Answer;
use cell_state::job::{Band, JobSpec};
use cell_state::{JobId, Resources};
use schedulers::sandbox::machine_spec;
use tempfile::TempDir;
use tokio::sync::oneshot;
use transport::Role;
use transport::message::{Reply, Request};
use transport::view::{Body, CellView, JobView, Query, SchedulerView};
use transport_quic::Client;
use transport_quic::pki::{Authority, Credentials};

/// How long anything may take before a test gives up; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same amount of cpu and memory.
pub(crate) fn cpu(amount: u64) -> Resources {
    Resources::cpu_memory(amount, amount)
}

/// A running server, and what stops it.
struct Serving {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServerError>>,
}

/// The cell.
pub(crate) struct LiveCell {
    dir: TempDir,
    authority: Authority,
    address: SocketAddr,
    server: Option<Serving>,
    settings: fn(ServerConfig) -> ServerConfig,
}

impl LiveCell {
    /// A cell with the usual settings.
    pub(crate) async fn start() -> LiveCell {
        LiveCell::start_with(|config| config).await
    }

    /// A cell with other settings.
    pub(crate) async fn start_with(settings: fn(ServerConfig) -> ServerConfig) -> LiveCell {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pki = dir.path().join("pki");
        std::fs::create_dir(&pki).expect("the directory is ours");
        let authority = Authority::create("test", &pki).expect("an authority");
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut cell = LiveCell { dir, authority, address, server: None, settings };
        cell.serve().await;
        cell
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    /// The certificate of a party; issued when it isn't there.
    pub(crate) fn credentials(&self, role: Role, name: &str) -> Credentials {
        if Credentials::load(&self.pki(), role, name).is_err() {
            self.authority.issue(role, name, &self.pki()).expect("a certificate");
        }
        Credentials::load(&self.pki(), role, name).expect("just issued")
    }

    async fn serve(&mut self) {
        let credentials = self.credentials(Role::Server, "server");
        let data: &Path = &self.dir.path().join("data");
        // Nobody sends heartbeats here.
        let config = ServerConfig::new(data, self.address, credentials);
        let config = (self.settings)(ServerConfig { down_after: Duration::from_secs(600), ..config });
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(cell_server::run(config, async { drop(stopped.await) }, |address| {
                ready.send(address).expect("the test waits for it");
            }))
        });
        self.address = address.await.expect("the server starts");
        self.server = Some(Serving { stop, thread });
    }

    /// Stops the server and starts it again on the same data and address.
    pub(crate) async fn restart(&mut self) {
        self.halt().await;
        self.serve().await;
    }

    /// Stops the server.
    pub(crate) async fn stop(mut self) {
        self.halt().await;
    }

    async fn halt(&mut self) {
        let Serving { stop, thread } = self.server.take().expect("it is running");
        stop.send(()).expect("it is running");
        let ended = tokio::task::spawn_blocking(|| thread.join()).await.expect("the wait is not cancelled");
        ended.expect("the server does not panic").expect("the server stops cleanly");
    }

    /// Registers machines, as their agent does.
    pub(crate) async fn machines(&self, numbers: Range<u32>, capacity: Resources) {
        let credentials = self.credentials(Role::Agent, "m*");
        let agent = Client::connect(self.address, &credentials).await.expect("the agent connects");
        for i in numbers {
            let spec = machine_spec(&format!("m{i}"), capacity);
            agent.call(Request::RegisterMachine { spec, incarnation: 1 }).await.expect("a machine");
        }
    }

    /// A person with every right.
    pub(crate) async fn operator(&self) -> Operator {
        let credentials = self.credentials(Role::Operator, "op");
        Operator(Client::connect(self.address, &credentials).await.expect("the operator connects"))
    }
}

/// A person with every right.
pub(crate) struct Operator(Client);

impl Operator {
    async fn ask(&self, request: Request) -> Reply {
        self.0.call(request).await.expect("the server answers")
    }

    /// Submits a job.
    pub(crate) async fn submit(&self, spec: JobSpec) -> JobId {
        match self.ask(Request::SubmitJob(spec)).await {
            Reply::Done { answer: Answer::Job { job, .. }, .. } => job,
            other => panic!("a job is answered with its number, not {other:?}"),
        }
    }

    /// Sets or lifts a quota.
    pub(crate) async fn quota(&self, team: &str, band: Band, limit: Option<Resources>) {
        self.ask(Request::SetQuota { team: team.to_owned(), band, limit }).await;
    }

    async fn read(&self, query: Query) -> Body {
        match self.ask(Request::Read { at: None, query }).await {
            Reply::View(view) => view.body,
            other => panic!("a read is answered with a view, not {other:?}"),
        }
    }

    async fn cell(&self) -> CellView {
        match self.read(Query::Cell).await {
            Body::Cell(view) => *view,
            other => panic!("not {other:?}"),
        }
    }

    /// One job with its tasks.
    pub(crate) async fn job(&self, name: &str) -> JobView {
        match self.read(Query::Job { name: name.to_owned(), skip: 0, limit: 1_000 }).await {
            Body::Job(view) => *view,
            other => panic!("not {other:?}"),
        }
    }

    /// Waits until exactly so many tasks hold a machine.
    pub(crate) async fn until_live(&self, count: u32) {
        self.until(&format!("{count} live tasks"), async || {
            let tasks = self.cell().await.tasks;
            (tasks.live() == count).then_some(()).ok_or(format!("{tasks:?}"))
        })
        .await;
    }

    /// Waits until exactly so many scheduler processes are live.
    pub(crate) async fn until_sessions(&self, count: usize) {
        self.until(&format!("{count} sessions"), async || {
            let live = self.schedulers().await.iter().filter(|s| s.live).count();
            (live == count).then_some(()).ok_or(format!("{live}"))
        })
        .await;
    }

    /// Waits until the one scheduler has compared its copy's hash with the server's.
    pub(crate) async fn until_checked(&self) -> SchedulerView {
        self.until("a compared hash", async || {
            let view = self.schedulers().await.pop().ok_or("no scheduler")?;
            let checked = view.telemetry.as_ref().is_some_and(|t| t.checked.is_some());
            if checked { Ok(view) } else { Err(format!("{view:?}")) }
        })
        .await
    }

    async fn schedulers(&self) -> Vec<SchedulerView> {
        match self.ask(Request::ListSchedulers).await {
            Reply::Schedulers(views) => views,
            other => panic!("not {other:?}"),
        }
    }

    /// Every invariant holds.
    pub(crate) async fn assert_sound(&self) {
        match self.ask(Request::Audit).await {
            Reply::Audit { violations, .. } => assert_eq!(violations, Vec::<String>::new()),
            other => panic!("not {other:?}"),
        }
    }

    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
        let mut last = String::new();
        let looking = async {
            loop {
                match look().await {
                    Ok(found) => return found,
                    Err(seen) => last = seen,
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(found) => found,
            Err(_) => panic!("no {what} within {PATIENCE:?}; last seen: {last}"),
        }
    }
}
