//! What each part of the isolation of a task costs per start: tasks that do nothing, one after the other.
//! `cargo bench -p agent-host --bench isolation [-- STARTS]`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{Intent, PlacementId, Spec, Start};
use agent_host::exec::{Exec, Happened, ShimProgram};
use agent_host::{GivenSettings, IsolationSettings};
use cell_state::job::care::LostAfter;
use cell_state::job::isolation::{Isolation, Share};
use cell_state::job::{Exec as Command, GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{Grant, MachineSpec};
use cell_state::task::Exit;
use cell_state::{JobId, Resources, TaskId};
use tokio::sync::mpsc;

const PROMISED: Resources = Resources([100, 64 << 20, 0, 0, 0, 0, 0, 0]);

/// Starts of each kind, unless the command line says otherwise.
const STARTS: u32 = 200;

/// A kind of task: whether the agent isolates by default, and what the job says.
type Kind = (&'static str, bool, Isolation);

fn kinds() -> Vec<Kind> {
    let none = Isolation::none;
    let private = Share::Private;
    vec![
        ("none", false, none()),
        ("control groups", false, Isolation { pids_max: Some(64), ..none() }),
        ("another user", false, Isolation { user: Some("nobody".into()), ..none() }),
        ("files", false, Isolation { filesystem: private, ..none() }),
        ("processes", false, Isolation { processes: private, ..none() }),
        ("ipc", false, Isolation { ipc: private, ..none() }),
        ("host name", false, Isolation { hostname: private, ..none() }),
        ("system calls", false, Isolation { system_calls: private, ..none() }),
        ("all", true, Isolation::default()),
    ]
}

fn start(n: u32, isolation: &Isolation) -> Start {
    let run = Command { isolation: Box::new(isolation.clone()), ..Command::new("/bin/true", Vec::new()) };
    let group = GroupSpec {
        name: "main".into(),
        count: 1,
        resources: PROMISED,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Exec(run),
    };
    let job = JobSpec {
        name: "cost".into(),
        kind: JobKind::Batch,
        priority: 100,
        team: "t".into(),
        scheduler: "s".into(),
        groups: vec![group],
    };
    let id = PlacementId { task: TaskId { job: JobId(n), group: 0, index: 0 }, epoch: 1 };
    let intent = Intent {
        id,
        version: 1,
        resources: PROMISED,
        grant: Grant::default(),
        stop_grace_us: 0,
        stop_after_us: None,
        lost_after: LostAfter::Down,
    };
    Start { incarnation: 1, intent, spec: Arc::new(Spec::compile(job)) }
}

async fn end(happened: &mut mpsc::Receiver<Happened>) -> Exit {
    loop {
        match happened.recv().await.expect("the driver lives") {
            Happened::Prepared(_) | Happened::Started(_) => {}
            Happened::Ended(_, exit) => return exit,
            Happened::NotStarted(_, why) => return Exit::NotStarted(why),
        }
    }
}

/// Processor time that this machine has spent on anything.
fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("the kernel's statistics");
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // User, nice, system, and what interrupts take; not idle (3) and waiting (4).
    Duration::from_millis([0, 1, 2, 5, 6].iter().filter_map(|i| ticks.get(*i)).sum::<u64>() * 10)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let starts = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(STARTS);
    println!("| isolation | median ms | 90 % ms | processor ms of the machine |\n|---|---|---|---|");
    for (name, by_default, isolation) in kinds() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let shim = ShimProgram { path: PathBuf::from(env!("CARGO_BIN_EXE_ohm-shim")), args: Vec::new() };
        let machine = MachineSpec {
            name: "cost".into(),
            capacity: PROMISED,
            attributes: BTreeMap::new(),
            devices: Vec::new(),
            ports: (20_000, 20_100),
        };
        let settings = IsolationSettings { by_default, ..IsolationSettings::default() };
        let opened =
            Exec::open(dir.path().join("tasks"), shim, &machine, &settings, GivenSettings::default());
        let (driver, _, mut happened) = opened.expect("a driver");
        let mut took = Vec::new();
        let before = busy();
        let mut exit = Exit::Code(0);
        for n in 1..=starts {
            let at = Instant::now();
            driver.start(start(n, &isolation));
            exit = end(&mut happened).await;
            took.push(at.elapsed());
            if exit != Exit::Code(0) {
                break;
            }
        }
        let busy = (busy() - before) / starts;
        if exit != Exit::Code(0) {
            println!("| {name} | not here: {exit:?} | | |");
            continue;
        }
        took.sort_unstable();
        let at = |part: usize| took[took.len() * part / 100].as_secs_f64() * 1e3;
        println!("| {name} | {:.2} | {:.2} | {:.2} |", at(50), at(90), busy.as_secs_f64() * 1e3);
    }
}
