//! The example is a scheduler: it runs as a process of its own, is killed and started again, and takes what is its.

use std::path::PathBuf;
use std::process::{Child, Command};

use schedulers::sandbox::simulated_job;
use transport::Role;

use crate::cell::{LiveCell, cpu};
use crate::task;

/// The example's process; killed when the test ends, however it ends.
struct Example(Child);

impl Example {
    fn start(cell: &LiveCell, name: &str) -> Example {
        cell.credentials(Role::Scheduler, name);
        let mut command = Command::new(binary());
        command.arg(cell.address().to_string()).arg(cell.pki()).arg(name);
        Example(command.spawn().expect("the example starts"))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours to kill");
        self.0.wait().expect("it was killed");
    }
}

/// Where cargo puts examples: beside the directory of the tests. They are built before the tests run, unless a single
/// test was asked for.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
    let path = profile.join("examples").join("first_fit");
    if !path.exists() {
        let target = profile.parent().expect("target");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "scheduler-runtime", "--example", "first_fit"])
            .env("CARGO_TARGET_DIR", target)
            .status();
        assert!(built.expect("cargo runs").success(), "the example builds");
    }
    path
}

#[tokio::test]
async fn the_example_schedules_its_jobs_and_no_others() {
    let cell = LiveCell::start().await;
    cell.machines(0..10, cpu(1_000)).await;
    let operator = cell.operator().await;
    operator.submit(simulated_job("not-its", "batch", 5, cpu(100))).await;
    let job = operator.submit(simulated_job("its", "first-fit", 30, cpu(100))).await;
    let example = Example::start(&cell, "first-fit");
    operator.until_live(30).await;
    drop(example);
    // What it placed stays placed; a new process goes on.
    operator.submit(simulated_job("its-too", "first-fit", 70, cpu(100))).await;
    let _example = Example::start(&cell, "first-fit");
    operator.until_live(100).await;
    operator.assert_sound().await;
    let view = operator.job("its").await;
    assert!(view.tasks.iter().all(|row| row.task.epoch == 1), "each was placed once");
    assert_eq!(view.tasks[0].id, task(job, 0));
    cell.stop().await;
}

#[test]
fn the_example_fits_on_a_page() {
    let source = include_str!("../../examples/first_fit.rs");
    assert!(source.lines().count() < 80);
    let page = include_str!("../../../../docs/writing-a-scheduler.md");
    assert!(page.contains(source), "docs/writing-a-scheduler.md shows the example as it is");
    let tried = include_str!("../../../tests/own_policy.rs");
    assert!(page.contains(tried), "docs/writing-a-scheduler.md shows how to try a policy as it is done");
}
