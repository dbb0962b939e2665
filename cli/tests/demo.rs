//! `ohm demo` and `ohm scale` as people run them, on a small scale: separate processes, real QUIC, real checks.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command whose temporary files go to `dir`.
fn ohm(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ohm"));
    command.args(args).env("TMPDIR", dir).env_remove("OHM_TRACE").env_remove("OHM_LOG");
    command
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).expect("the directory is there").count()
}

/// What a command printed as JSON, and that it left nothing in its temporary directory.
fn json(dir: &Path, output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(entries(dir), 0, "something is left in the temporary directory");
    serde_json::from_slice(&output.stdout).expect("-o json prints one JSON value")
}

#[test]
fn both_parts_pass_every_check_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--percent", "3", "--speed", "2000", "-o", "json"];
    let found = json(dir.path(), &ohm(dir.path(), &args).output().unwrap());
    assert_eq!(found["passed"], true, "{}", found["checks"]);
    let checks = found["checks"].as_array().unwrap();
    assert!(checks.len() >= 12 && checks.iter().all(|c| c["passed"] == true), "{checks:?}");
    let real = &found["report"]["real"];
    assert_eq!((&real["tasks"], &real["right"]), (&200.into(), &200.into()));
    let phases = found["report"]["big"]["phases"].as_array().unwrap();
    for phase in phases {
        let (tasks, placed) =
            (phase["tasks"].as_u64().unwrap(), phase["figures"]["placed"].as_u64().unwrap());
        assert!(tasks > 500 && placed >= tasks, "{tasks} tasks, {placed} placements");
    }
    assert_eq!(found["report"]["big"]["schedulers"].as_array().unwrap().len(), 3);
}

#[test]
fn without_the_usual_tools_tasks_run_the_program_itself() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        ohm(dir.path(), &["demo", "--only", "real", "-o", "json"]).env("PATH", "/nowhere").output().unwrap();
    let found = json(dir.path(), &output);
    assert_eq!(found["report"]["real"]["right"], 200);
    assert_eq!(found["report"]["real"]["commands"]["ohm checksum"], 100);
}

#[test]
fn a_measurement_survives_its_own_kill_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let small =
        "scale --machines 100 --tasks 3000 --tasks-per-job 1000 --entries 1000 --subscribers 5 --agents 5";
    let args: Vec<&str> = small.split(' ').chain(["--seconds", "1", "-o", "json"]).collect();
    let found = json(dir.path(), &ohm(dir.path(), &args).output().unwrap());
    // One entry for each task placed after the last checkpoint, and perhaps some of the server's own.
    assert!(found["measured"]["entries"].as_u64().unwrap() >= 1_000, "{}", found["measured"]["entries"]);
    for commits in ["commit_alone", "commit_beside"] {
        assert!(found["measured"][commits]["count"].as_u64().unwrap() > 0, "{commits}");
    }
    for peers in ["subscribers", "agents"] {
        assert_eq!(found["measured"][peers]["count"], 5, "{peers}");
    }
    assert_eq!((&found["measured"]["tasks"], &found["measured"]["jobs"]), (&3_000.into(), &3.into()));
    for figure in ["server_bytes", "scheduler_bytes", "snapshot_bytes", "checkpoint_bytes", "log_bytes"] {
        assert!(found["measured"][figure].as_u64().unwrap() > 0, "{figure}");
    }
    assert!(found["checks"].as_array().unwrap().iter().all(|c| c["passed"] == true), "{}", found["checks"]);
}

/// The processes that were started with something in `dir` as an argument.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("temporary directories have plain names");
    let all = fs::read_dir("/proc").expect("this is Linux").flatten();
    let told = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let told = told.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    told.filter(|line| line.contains(dir)).collect()
}

fn wait_for_processes(child: &mut Child, dir: &Path, count: usize) {
    while processes_of(dir).len() < count {
        assert!(
            child.try_wait().expect("it is our child").is_none(),
            "the demo ended before it was interrupted"
        );
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupt_ends_every_process_and_removes_every_file() {
    for (part, processes) in [("real", 6), ("big", 5)] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = ohm(dir.path(), &["demo", "--only", part, "--percent", "5"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_processes(&mut child, dir.path(), processes);
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert_eq!(processes_of(dir.path()), Vec::<String>::new());
        assert_eq!(entries(dir.path()), 0);
    }
}

#[test]
fn what_is_wrong_with_the_trace_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let trace = tempfile::tempdir().unwrap();
    let output = ohm(dir.path(), &["demo", "--trace", trace.path().to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("--trace: ") && said.contains("holds no trace: expected machine_events"), "{said}");
    assert_eq!(entries(dir.path()), 0);
}
