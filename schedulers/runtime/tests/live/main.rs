//! Scheduler processes against a real server over QUIC: the built-in policies, the example as a process of its own, the
//! loss of the server, several processes under one name, and who is not let in.

mod cell;
mod example;

use std::time::Duration;

use cell_server::ServerConfig;
use cell_state::job::Band;
use cell_state::transaction::{Atomicity, Detection};
use cell_state::{Resources, TaskId};
use scheduler_runtime::{Config, RuntimeError, Summary};
use schedulers::built_in;
use schedulers::plan::Terms;
use schedulers::sandbox::simulated_job;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use transport::Role;
use transport::message::Refusal;

use cell::{LiveCell, cpu};

/// A scheduler process inside the test.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Summary, RuntimeError>>,
}

impl Running {
    fn start(cell: &LiveCell, policy: &str, name: &str, seed: u64) -> Running {
        Running::with(policy, Config::new(cell.address(), cell.credentials(Role::Scheduler, name), seed))
    }

    fn with(policy: &str, config: Config) -> Running {
        let (stop, stopped) = oneshot::channel();
        let policy = built_in(policy).expect("a built-in policy");
        let stopped = async { drop(stopped.await) };
        Running { stop, task: tokio::spawn(scheduler_runtime::run(policy, config, stopped)) }
    }

    async fn stop(self) -> Summary {
        self.stop.send(()).expect("it is still running");
        self.task.await.expect("it does not panic").expect("it has run")
    }
}

#[tokio::test]
async fn two_schedulers_fill_a_cell_and_no_wake_up_is_missed() {
    let cell = LiveCell::start().await;
    let operator = cell.operator().await;
    let schedulers =
        [Running::start(&cell, "batch", "batch", 1), Running::start(&cell, "service", "service", 2)];
    // Jobs first, machines in two waves: what doesn't fit waits, and wakes when there is room.
    for i in 0..40 {
        let name = ["batch", "service"][i % 2];
        operator.submit(simulated_job(&format!("j{i}"), name, 25, cpu(100))).await;
    }
    cell.machines(0..60, cpu(1_000)).await;
    operator.until_live(600).await;
    cell.machines(60..100, cpu(1_000)).await;
    operator.until_live(1_000).await;
    operator.assert_sound().await;
    for scheduler in schedulers {
        let summary = scheduler.stop().await;
        assert_eq!(summary.stats.placed, 500, "{summary:?}");
        assert_eq!((summary.hash_mismatches, summary.stats.divergences), (0, 0), "{summary:?}");
    }
    cell.stop().await;
}

#[tokio::test]
async fn a_restarted_server_finds_its_schedulers_again() {
    let mut cell = LiveCell::start().await;
    cell.machines(0..20, cpu(1_000)).await;
    let scheduler = Running::start(&cell, "batch", "batch", 3);
    let operator = cell.operator().await;
    operator.submit(simulated_job("before", "batch", 80, cpu(100))).await;
    operator.until_live(80).await;
    cell.restart().await;
    let operator = cell.operator().await;
    operator.submit(simulated_job("after", "batch", 120, cpu(100))).await;
    operator.until_live(200).await;
    operator.assert_sound().await;
    let summary = scheduler.stop().await;
    assert!(summary.connections >= 2, "{summary:?}");
    assert_eq!((summary.stats.placed, summary.hash_mismatches), (200, 0), "{summary:?}");
    cell.stop().await;
}

#[tokio::test]
async fn processes_of_one_name_divide_the_jobs_and_inherit_those_of_one_that_leaves() {
    let cell =
        LiveCell::start_with(|config| ServerConfig { session_grace: Duration::from_millis(100), ..config })
            .await;
    cell.machines(0..50, cpu(1_000)).await;
    let first = Running::start(&cell, "batch", "batch", 4);
    let second = Running::start(&cell, "batch", "batch", 5);
    let operator = cell.operator().await;
    operator.until_sessions(2).await;
    for i in 0..40 {
        operator.submit(simulated_job(&format!("j{i}"), "batch", 5, cpu(100))).await;
    }
    operator.until_live(200).await;
    let first = first.stop().await;
    operator.until_sessions(1).await;
    for i in 40..60 {
        operator.submit(simulated_job(&format!("j{i}"), "batch", 5, cpu(100))).await;
    }
    operator.until_live(300).await;
    let second = second.stop().await;
    assert!(first.stats.placed > 0 && second.stats.placed > 100, "{first:?} {second:?}");
    assert_eq!(first.stats.placed + second.stats.placed, 300, "no task is placed twice");
    cell.stop().await;
}

#[tokio::test]
async fn every_kind_of_transaction_gets_everything_placed() {
    for atomicity in [Atomicity::Incremental, Atomicity::AllOrNothing] {
        for detection in [Detection::Fit, Detection::Version] {
            let cell = LiveCell::start().await;
            let operator = cell.operator().await;
            let with = |name: &str, seed| Config {
                terms: Terms { atomicity, detection },
                ..Config::new(cell.address(), cell.credentials(Role::Scheduler, name), seed)
            };
            let schedulers = [
                Running::with("batch", with("batch", 6)),
                Running::with("service", Config { think_job_us: 2_000, ..with("service", 7) }),
            ];
            cell.machines(0..20, cpu(1_000)).await;
            for i in 0..20 {
                let name = ["batch", "service"][i % 2];
                operator.submit(simulated_job(&format!("j{i}"), name, 10, cpu(100))).await;
            }
            operator.until_live(200).await;
            operator.assert_sound().await;
            for scheduler in schedulers {
                let summary = scheduler.stop().await;
                assert_eq!(summary.stats.placed, 100, "{atomicity:?} {detection:?} {summary:?}");
            }
            cell.stop().await;
        }
    }
}

#[tokio::test]
async fn a_quota_that_is_lifted_wakes_who_waited_for_it() {
    let cell = LiveCell::start().await;
    cell.machines(0..4, cpu(1_000)).await;
    let operator = cell.operator().await;
    operator.quota("team", Band::Batch, Some(Resources::cpu_memory(500, 1 << 40))).await;
    let scheduler = Running::start(&cell, "service", "service", 8);
    operator.submit(simulated_job("j", "service", 20, cpu(100))).await;
    operator.until_live(5).await;
    operator.quota("team", Band::Batch, None).await;
    operator.until_live(20).await;
    let summary = scheduler.stop().await;
    assert_eq!(summary.stats.conflicts_total(), 0, "quota is known beforehand: {summary:?}");
    cell.stop().await;
}

#[tokio::test]
async fn who_may_not_schedule_is_told_at_once() {
    let cell = LiveCell::start().await;
    let config = Config::new(cell.address(), cell.credentials(Role::Reader, "eve"), 1);
    let policy = built_in("batch").expect("a built-in policy");
    let refused = scheduler_runtime::run(policy, config, std::future::pending()).await;
    match refused {
        Err(RuntimeError::Session { name, source: Refusal::NotPermitted { role, .. } }) => {
            assert_eq!((name.as_str(), role.as_str()), ("eve", "reader"));
        }
        other => panic!("a reader must not become a scheduler: {other:?}"),
    }
    cell.stop().await;
}

#[tokio::test]
async fn the_server_hears_how_its_schedulers_fare() {
    let cell = LiveCell::start().await;
    cell.machines(0..4, cpu(1_000)).await;
    let scheduler = Running::start(&cell, "batch", "batch", 9);
    let operator = cell.operator().await;
    operator.submit(simulated_job("j", "batch", 7, cpu(100))).await;
    operator.until_live(7).await;
    let view = operator.until_checked().await;
    let telemetry = view.telemetry.expect("it has reported");
    assert_eq!((view.name.as_str(), view.live, view.accepted), ("batch", true, 7));
    assert_eq!((telemetry.policy.as_str(), telemetry.hash_mismatches), ("batch", 0));
    assert!(telemetry.memory_bytes > 0 && telemetry.uptime_us > 0);
    scheduler.stop().await;
    cell.stop().await;
}

/// A task of the first group of a job.
fn task(job: cell_state::JobId, index: u32) -> TaskId {
    TaskId { job, group: 0, index }
}
