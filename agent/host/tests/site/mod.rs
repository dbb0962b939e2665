//! A machine with an exec driver that can crash, and what the tests look at from outside.

mod enter;
pub(crate) mod groups;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use agent::{Intent, PlacementId, Spec, Start};
use agent_host::exec::{Exec, Happened, ShimProgram};
use agent_host::{GivenSettings, IsolationSettings, log_read};
use cell_state::job::care::{Care, LostAfter};
use cell_state::job::isolation::Isolation;
use cell_state::job::{Exec as Run, GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn};
use cell_state::machine::{Grant, MachineSpec};
use cell_state::task::Exit;
use cell_state::{JobId, Resources, TaskId};
use tokio::sync::mpsc;
use transport::message::{LogFrom, LogPiece, LogRequest, LogStream};

/// How long anything here may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) driver: Exec,
    happened: mpsc::Receiver<Happened>,
    /// What was told while something else was waited for.
    told: Vec<Happened>,
    dir: tempfile::TempDir,
}

/// The shim that a task's `live.json` names, and its child.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub(crate) shim: i32,
    pub(crate) child: i32,
}

pub(crate) fn id(n: u32) -> PlacementId {
    PlacementId { task: TaskId { job: JobId(n), group: 0, index: 0 }, epoch: 1 }
}

pub(crate) fn exec(command: &str, args: &[&str]) -> Run {
    Run {
        env: BTreeMap::from([("OWN".to_owned(), "mine".to_owned())]),
        log_bytes_max: 1_000,
        log_files_max: 3,
        isolation: Box::new(unconfined()),
        ..Run::new(command, args.iter().map(|arg| (*arg).to_owned()).collect())
    }
}

/// What the agent itself may do.
pub(crate) fn unconfined() -> Isolation {
    let root = rustix::process::geteuid().is_root();
    Isolation { user: root.then(|| "root".to_owned()), ..Isolation::none() }
}

pub(crate) fn settings() -> IsolationSettings {
    IsolationSettings { allow_privileged: true, ..IsolationSettings::default() }
}

pub(crate) fn confined(isolation: Isolation, run: Run) -> Run {
    Run { isolation: Box::new(isolation), ..run }
}

pub(crate) fn script(text: &str) -> Run {
    exec("sh", &["-c", text])
}

pub(crate) fn with_care(care: Care, run: Run) -> Run {
    Run { care: Box::new(care), ..run }
}

pub(crate) fn in_directory(directory: &str, run: Run) -> Run {
    Run { directory: Some(directory.into()), ..run }
}

/// A group of one task.
pub(crate) fn group_of(run: Run) -> GroupSpec {
    GroupSpec {
        name: "all".into(),
        count: 1,
        resources: Resources::ZERO,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: vec![PortAsk { name: "web-1".into(), number: None }],
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: cell_state::job::Run::Exec(run),
    }
}

fn start(incarnation: u64, n: u32, resources: Resources, port: u16, run: Run) -> Start {
    let group = GroupSpec { resources, ..group_of(run) };
    let job = JobSpec {
        name: "sums".into(),
        kind: JobKind::Batch,
        priority: 100,
        team: "t".into(),
        scheduler: "s".into(),
        groups: vec![group],
    };
    let intent = Intent {
        id: id(n),
        version: 1,
        resources,
        grant: Grant { ports: vec![port], devices: vec![(1, 1_000)] },
        stop_grace_us: 5_000_000,
        stop_after_us: None,
        lost_after: LostAfter::Down,
    };
    Start { incarnation, intent, spec: Arc::new(Spec::compile(job)) }
}

pub(crate) fn machine() -> MachineSpec {
    MachineSpec {
        name: "m7".into(),
        capacity: Resources::ZERO,
        attributes: BTreeMap::new(),
        devices: vec!["gpu0".into(), "gpu1".into()],
        ports: (20_000, 20_100),
    }
}

pub(crate) fn shim() -> ShimProgram {
    ShimProgram { path: PathBuf::from(env!("CARGO_BIN_EXE_ohm-shim")), args: Vec::new() }
}

impl Site {
    pub(crate) fn new() -> Site {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (driver, found, happened) =
            Exec::open(dir.path().join("tasks"), shim(), &machine(), &settings(), GivenSettings::default())
                .expect("a driver");
        assert_eq!(found, []);
        Site { driver, happened, told: Vec::new(), dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("tasks")
    }

    fn task(&self, n: u32) -> PathBuf {
        self.root().join(id(n).to_string())
    }

    pub(crate) fn start(&self, n: u32, run: Run) {
        self.start_in(1, n, run);
    }

    /// Starts a task in some life of the records.
    pub(crate) fn start_in(&self, incarnation: u64, n: u32, run: Run) {
        self.driver.start(start(incarnation, n, Resources::ZERO, 20_007, run));
    }

    /// Starts a task that is promised something.
    pub(crate) fn start_with(&self, n: u32, resources: Resources, run: Run) {
        self.driver.start(start(1, n, resources, 20_007, run));
    }

    /// Starts a task with this port.
    pub(crate) fn start_on(&self, port: u16, n: u32, run: Run) {
        self.driver.start(start(1, n, Resources::ZERO, port, run));
    }

    /// Makes a file in the task's directory.
    pub(crate) fn touch(&self, n: u32, name: &str) {
        std::fs::write(self.task(n).join(name), "").expect("the directory is there");
    }

    pub(crate) async fn next(&mut self) -> Happened {
        let happened = tokio::time::timeout(PATIENCE, self.happened.recv()).await;
        happened.expect("something happens").expect("the driver lives")
    }

    /// Waits until a task has started.
    pub(crate) async fn started(&mut self, n: u32) {
        self.wait_for(|happened| (happened == Happened::Started(id(n))).then_some(())).await;
    }

    /// Waits until a task has ended.
    pub(crate) async fn end_of(&mut self, n: u32) -> Exit {
        let end = |happened| match happened {
            Happened::Ended(ended, exit) if ended == id(n) => Some(exit),
            Happened::NotStarted(ended, why) if ended == id(n) => Some(Exit::NotStarted(why)),
            Happened::Prepared(_) | Happened::Started(_) | Happened::Ended(..) | Happened::NotStarted(..) => {
                None
            }
        };
        self.wait_for(end).await
    }

    async fn wait_for<T>(&mut self, wanted: impl Fn(Happened) -> Option<T>) -> T {
        loop {
            if let Some(at) = self.told.iter().position(|happened| wanted(*happened).is_some())
                && let Some(found) = wanted(self.told.remove(at))
            {
                return found;
            }
            let next = self.next().await;
            self.told.push(next);
        }
    }

    /// The agent crashes: nobody listens any more, and tasks go on.
    pub(crate) fn stop(&mut self) {
        let (_, nobody) = mpsc::channel(1);
        self.happened = nobody;
        self.told.clear();
    }

    /// The agent crashes and a new one begins; what it finds, by number.
    pub(crate) fn restart(&mut self) -> Vec<(u32, Option<Exit>)> {
        self.stop();
        let (driver, found, happened) =
            Exec::open(self.root(), shim(), &machine(), &settings(), GivenSettings::default())
                .expect("a driver");
        self.driver = driver;
        self.happened = happened;
        found.into_iter().map(|found| (found.intent.id.task.job.0, found.exit)).collect()
    }

    pub(crate) fn piece(&self, n: u32, stream: LogStream, from: LogFrom) -> LogPiece {
        let request = LogRequest { task: id(n).task, epoch: 0, stream, from, limit: 1 << 20 };
        log_read::read(&self.root(), &request).expect("output")
    }

    pub(crate) fn log(&self, n: u32, stream: LogStream, from: LogFrom) -> String {
        String::from_utf8(self.piece(n, stream, from).bytes).expect("text")
    }

    pub(crate) async fn wait_for_log(&self, n: u32, text: &str) {
        wait_until(|| self.log(n, LogStream::Stdout, LogFrom::Offset(0)).contains(text)).await;
    }

    /// The first line of a task's output, as a number.
    pub(crate) async fn first_line(&self, n: u32) -> i32 {
        self.wait_for_log(n, "\n").await;
        let text = self.log(n, LogStream::Stdout, LogFrom::Offset(0));
        text.lines().next().expect("a line").parse().expect("a number")
    }

    pub(crate) fn live(&self, n: u32) -> Live {
        let text = std::fs::read_link(self.task(n).join("live.json")).expect("live.json");
        let live: serde_json::Value = serde_json::from_str(text.to_str().expect("text")).expect("JSON");
        let shim = live["shim"]["pid"].as_i64().expect("a pid") as i32;
        let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"));
        let children = children.expect("the shim is there");
        let child = children.split(' ').next().and_then(|pid| pid.parse().ok()).expect("it has a child");
        Live { shim, child }
    }

    /// The parent of a task's shim.
    pub(crate) fn parent(&self, n: u32) -> i32 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.live(n).shim)).expect("the shim is there");
        let after_name = &stat[stat.rfind(')').expect("a name") + 2..];
        after_name.split(' ').nth(1).and_then(|pid| pid.parse().ok()).expect("a parent")
    }

    pub(crate) fn rewrite_live(&self, n: u32, change: impl Fn(&str) -> String) {
        let path = self.task(n).join("live.json");
        let before = std::fs::read_link(&path).expect("live.json");
        let before = before.to_str().expect("text");
        let after = change(before);
        assert_ne!(before, after);
        std::fs::remove_file(&path).expect("live.json is there");
        std::os::unix::fs::symlink(after, path).expect("live.json is replaced");
    }

    /// Puts a task's directory back to before any shim took it.
    pub(crate) fn unclaim(&self, n: u32) {
        for name in ["live.json", "exit.json"] {
            std::fs::remove_file(self.task(n).join(name)).expect("it was there");
        }
    }

    pub(crate) fn run_shim(&self, n: u32) -> Output {
        Command::new(shim().path).arg("run").arg(self.task(n)).output().expect("the shim runs")
    }

    /// Lines in the file that starts are counted in.
    pub(crate) fn count(&self) -> usize {
        std::fs::read_to_string(self.root().join("count")).expect("a start was counted").lines().count()
    }

    /// Lets a task go on that waits for this.
    pub(crate) fn go(&self, n: u32) {
        self.touch(n, "go");
    }
}

/// Whether there is such a process, and it isn't merely waiting to be reaped.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat[stat.rfind(')').unwrap_or(0)..].starts_with(") Z"))
}

pub(crate) fn signal(pid: i32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id").trim().to_owned()
}

pub(crate) async fn wait_until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to hold");
}
