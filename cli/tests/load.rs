//! `ohm load` as people run it, on a small scale: a cell of its own, real connections, and counts that add up.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A small load, whose temporary files go to `dir`.
fn load(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ohm"));
    let small = ["--machines", "50", "--hold", "100ms", "--warm-up", "200ms"];
    command.args(["load", "--self"]).args(small).args(args).env("TMPDIR", dir).env_remove("OHM_LOG");
    command
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).expect("the directory is there").count()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("-o json prints one JSON value")
}

/// What must hold of every result, however fast the machine is.
fn check(found: &Value) {
    for key in ["placements_per_s", "transactions_per_s", "limit_share"] {
        assert!(found[key].as_f64().is_some_and(|n| n >= 0.0), "{key}: {}", found[key]);
    }
    for (times, percentile) in
        ["latency_us", "copy_lag_us"].iter().flat_map(|t| ["p50", "p99", "p999"].map(|p| (t, p)))
    {
        assert!(found[times][percentile].is_u64(), "{times}.{percentile}");
    }
    for stretch in ["measured", "whole"] {
        let count = |key: &str| found[stretch][key].as_u64().unwrap_or_else(|| panic!("{stretch}.{key}"));
        assert_eq!(count("attempts"), count("placed") + count("lost") + count("aborted"), "{stretch}");
        assert_eq!(
            count("attempts"),
            count("transactions") * found["settings"]["ops"].as_u64().expect("a count")
        );
        assert!(count("placed") <= found["whole"]["placed"].as_u64().expect("a count"));
    }
    let kinds = found["conflicts"].as_object().expect("counts by kind").values();
    assert_eq!(
        kinds.map(|n| n.as_u64().expect("a count")).sum::<u64>(),
        found["measured"]["lost"].as_u64().expect("a count")
    );
    assert_eq!(found["latency_us"]["count"], found["measured"]["transactions"]);
    assert_eq!(found["audit"]["sound"], true, "{}", found["audit"]);
    for copy in found["copies"]["placed"].as_array().expect("a list") {
        assert_eq!(copy, &found["whole"]["placed"]);
    }
    assert!(found["copies"]["compared"].as_u64().expect("a count") > 0);
    assert!(found["limits"]["echo"]["placements_per_s"].as_f64().expect("a rate") > 0.0);
}

#[test]
fn a_load_of_its_own_adds_up_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // One machine has room for 320 tasks, so all of these fit wherever they go and however late their ends are told.
    let few = ["--tasks", "300", "--schedulers", "3", "--in-flight", "5"];
    let args = [&few[..], &["--duration", "1s", "-o", "json"]].concat();
    let found = json(&load(dir.path(), &args).output().unwrap());
    check(&found);
    assert!(found["measured"]["placed"].as_u64().unwrap() > 0);
    assert!(found["server_cpu_us_per_placement"].as_f64().unwrap() >= 0.0);
    assert!(found["limits"]["disk"]["flushes_per_s"].as_f64().unwrap() > 0.0);
    assert!(found["latency_limit_us"].as_u64().unwrap() > 0 && found["latency_limit_ratio"].is_f64());
    for party in ["schedulers", "machines", "copies"] {
        for way in ["sent", "received"] {
            assert!(found["wire"][party][way]["bytes"].as_f64().unwrap() > 0.0, "{party} {way}");
        }
    }
    assert_eq!(found["conflicts"], serde_json::json!({}), "everything fits");
    assert_eq!(entries(dir.path()), 0, "something is left in the temporary directory");
}

#[test]
fn a_crowded_cell_loses_placements_and_stays_sound() {
    let dir = tempfile::tempdir().unwrap();
    let crowded =
        ["--sweep", "atomicity=incremental,all-or-nothing", "--skew", "hot:0.02:0.9", "--detection"];
    let args = [
        &crowded[..],
        &["version", "--duration", "500ms", "--copies", "2", "--tasks", "10000", "-o", "json"],
    ]
    .concat();
    let found = json(&load(dir.path(), &args).output().unwrap());
    let rows = found.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        check(row);
        assert_eq!(row["sweep"]["axis"], "atomicity");
        assert_eq!(row["settings"]["atomicity"], row["sweep"]["value"]);
        assert_eq!(row["copies"]["placed"].as_array().unwrap().len(), 2);
        assert!(row["whole"]["lost"].as_u64().unwrap() > 0, "machines change under every basis");
    }
    assert_eq!(rows[0]["whole"]["aborted"], 0);
    assert!(rows[1]["whole"]["aborted"].as_u64().unwrap() > 0);
}

#[test]
fn policies_place_what_they_are_given_and_keep_to_the_fit_rule() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--sweep", "policy=batch,service", "--schedulers", "2", "--tasks", "300", "--ops", "10"];
    let args = [&args[..], &["--in-flight", "4", "--duration", "500ms", "-o", "json"]].concat();
    let found = json(&load(dir.path(), &args).output().unwrap());
    for row in found.as_array().unwrap() {
        let count = |stretch: &str, key: &str| row[stretch][key].as_u64().expect("a count");
        assert!(count("whole", "placed") > 0, "{row}");
        assert_eq!(count("whole", "divergences"), 0, "a policy plans nothing that doesn't fit");
        assert_eq!(
            count("whole", "attempts"),
            count("whole", "placed") + count("whole", "lost") + count("whole", "aborted")
        );
        assert_eq!(row["audit"]["sound"], true, "{}", row["audit"]);
        assert_eq!(row["settings"]["policy"], row["sweep"]["value"]);
    }
}

#[test]
fn an_interrupt_stops_the_server_and_removes_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = load(dir.path(), &["--duration", "60s", "--tasks", "10000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while entries(dir.path()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::yield_now();
    }
    // The signal is caught before the server is started, and its address is written after that.
    let made = fs::read_dir(dir.path()).unwrap().flatten().next().unwrap().path();
    while !made.join("address").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn a_running_cell_is_loaded_twice_and_its_jobs_are_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain name").to_owned();
    let (pki, ready) = (path("pki"), path("address"));
    let ohm = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ohm"));
        command.args(args).env("OHM_PKI", &pki).env("TMPDIR", dir.path()).env_remove("OHM_LOG");
        command
    };
    assert!(ohm(&["pki", "init", "--cell", "t"]).output().unwrap().status.success());
    let args = ["server", "run", "--listen", "127.0.0.1:0", "--ready-file", &ready, "--data", &path("data")];
    let args = [&args[..], &["--stop-with-stdin"]].concat();
    let quiet = Stdio::null;
    let mut server = ohm(&args).stdin(Stdio::piped()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    while !Path::new(&ready).exists() {
        assert!(server.try_wait().unwrap().is_none(), "the server ended before it was ready");
        std::thread::yield_now();
    }
    let address = fs::read_to_string(&ready).unwrap();
    let small = ["--machines", "20", "--tasks", "5000", "--hold", "never", "--ops", "5", "--copies", "0"];
    for _ in 0..2 {
        let mut load = ohm(&["load", "--server", address.trim(), "--warm-up", "0s", "--duration", "10s"]);
        let output = load.args(small).args(["-o", "json"]).output().unwrap();
        let found = json(&output);
        assert_eq!(found["whole"]["placed"], 5_000, "without an end of tasks all of them are placed once");
        assert_eq!(
            (&found["server_cpu_us_per_placement"], &found["limits"]["disk"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(found["audit"]["sound"], true, "{}", found["audit"]);
    }
    let state = json(&ohm(&["state", "--server", address.trim(), "-o", "json"]).output().unwrap());
    assert_eq!(
        (&state["tasks"]["stopped"], &state["tasks"]["pending"]),
        (&10_000.into(), &0.into()),
        "{state}"
    );
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

fn load_tasks(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ohm"));
    command.args(["load", "tasks"]).args(args).env("TMPDIR", dir);
    for variable in ["OHM_LOG", "OHM_SERVER", "OHM_PKI"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary under test starts")
}

#[test]
fn real_tasks_are_measured_beside_the_same_command_without_a_cell() {
    let dir = tempfile::tempdir().unwrap();
    // As people write it: the -o at the very end is ohm's.
    let found = json(&load_tasks(dir.path(), &["-n", "150", "--", "true", "-o", "json"]));
    assert_eq!((&found["command"], &found["tasks"]), (&serde_json::json!(["true"]), &150.into()));
    assert_eq!((&found["completed"], &found["failed"]), (&150.into(), &0.into()));
    for rate in ["tasks_per_s", "raw_spawn_per_s", "raw_spawn_per_s_one_thread", "raw_spawn_cpu_us"] {
        assert!(found[rate].as_f64().is_some_and(|rate| rate > 0.0), "{rate}: {}", found[rate]);
    }
    for part in ["agent", "server", "scheduler", "shim_and_task"] {
        assert!(found[format!("{part}_cpu_us_per_task")].as_f64().is_some_and(|us| us >= 0.0), "{part}");
    }
    assert_eq!(entries(dir.path()), 0, "something is left in the temporary directory");
}

#[test]
fn simulated_tasks_go_the_same_way_without_processes() {
    let dir = tempfile::tempdir().unwrap();
    let found = json(&load_tasks(dir.path(), &["-n", "2000", "--driver", "simulated", "-o", "json"]));
    assert_eq!((&found["driver"], &found["completed"]), (&"simulated".into(), &2_000.into()));
    assert!(found["raw_spawn_per_s"].is_null() && found["tasks_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn tasks_that_fail_are_told_and_what_can_not_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = load_tasks(dir.path(), &["-n", "3", "-o", "json", "--", "false"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON all the same");
    assert_eq!(found["failed"], 3);
    let table: [(&[&str], &str); 5] = [
        (&["-n", "3"], "write it after --"),
        (&["--driver", "simulated", "--", "true"], "run no command"),
        (&["-n", "0", "--", "true"], "--tasks"),
        (&["--timeout", "soon", "--", "true"], "--timeout"),
        (&["--", "/no/such/program"], "/no/such/program"),
    ];
    for (args, expected) in table {
        let output = load_tasks(dir.path(), args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains(expected), "{args:?}: {told}");
    }
}
