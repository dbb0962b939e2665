//! What people do with a cell every day, through the command line, with real tasks.

use cell_tests::test_cell::{TestCell, running, text, wait_for};

/// A cell with both built-in schedulers and as many machines.
fn cell(machines: &[&str]) -> TestCell {
    let mut cell = TestCell::start(&["--down-after", "3s"]);
    cell.scheduler("batch", "batch", "batch", 1);
    cell.scheduler("service", "service", "service", 2);
    for machine in machines {
        cell.agent(machine, &["--cpu", "4", "--memory", "4 GiB", "--attribute", &format!("rack={machine}")]);
    }
    cell.wait_ready(machines.len());
    cell
}

fn job(name: &str, count: u32, script: &str) -> String {
    format!(
        "name = \"{name}\"\nkind = \"batch\"\n[[groups]]\nname = \"main\"\ncount = {count}\n[groups.run]\n\
         command = \"/bin/sh\"\nargs = [\"-c\", '''{script}''']\n[groups.resources]\ncpu = \"200m\"\nmemory = \"32 MiB\"\n"
    )
}

#[test]
fn a_job_runs_and_its_life_can_be_followed() {
    let cell = cell(&["m1", "m2"]);
    cell.write("hello.toml", &job("hello", 3, "echo hello from $OHM_INDEX; echo oops >&2"));
    cell.run(&["job", "check", "hello.toml"]);
    let planned = cell.ohm(&["job", "plan", "hello.toml"]);
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned.stderr));
    cell.run(&["job", "run", "--wait", "hello.toml"]);

    let status = cell.json(&["job", "status", "hello"]);
    assert_eq!(status["tasks"]["completed"], 3, "{status}");
    for task in status["task_list"].as_array().unwrap() {
        assert_eq!((&task["state"], &task["epoch"]), (&"completed".into(), &1.into()), "{task}");
    }
    assert_eq!(cell.run(&["job", "logs", "hello", "1"]), "hello from 1\n");
    assert_eq!(cell.run(&["job", "logs", "hello", "2", "--stderr"]), "oops\n");

    let planned = cell.ohm(&["job", "plan", "hello.toml"]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stdout));
    assert!(cell.json(&["txn", "list", "--job", "hello"]).as_array().is_some_and(|t| !t.is_empty()));
    assert_eq!(cell.json(&["audit"])["sound"], true);
}

#[test]
fn a_failing_task_is_told_apart() {
    let cell = cell(&["m1"]);
    let text_of = job("fail", 1, "exit 3") + "[groups.restart]\non = \"never\"\n";
    cell.write("fail.toml", &text_of);
    let output = cell.ohm(&["job", "run", "--wait", "fail.toml"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let status = cell.json(&["job", "status", "fail"]);
    assert_eq!(status["tasks"]["failed"], 1, "{status}");
    assert!(status["task_list"][0]["exit"].to_string().contains('3'), "{status}");
}

#[test]
fn a_job_nobody_can_place_says_why() {
    let cell = cell(&["m1", "m2"]);
    let mut wanted = job("big", 1, "true").replace("200m", "64");
    wanted.push_str("");
    cell.write("big.toml", &wanted);
    let output = cell.ohm(&["job", "run", "--timeout", "2s", "big.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let why = cell.run(&["job", "why", "big"]);
    assert!(why.contains("cpu"), "{why}");
    let why = cell.run(&["job", "why", "big", "--machine", "m1"]);
    assert!(why.contains("cpu") && why.contains("m1"), "{why}");
    cell.json(&["job", "why", "big"]);
    cell.run(&["job", "stop", "--yes", "big"]);
    assert_eq!(cell.json(&["job", "status", "big"])["tasks"]["stopped"], 1);
}

#[test]
fn a_service_is_stopped_and_its_machine_drained() {
    let cell = cell(&["m1", "m2"]);
    let service =
        job("web", 2, "trap 'exit 0' TERM; while :; do sleep 0.1; done").replace("\"batch\"", "\"service\"");
    cell.write("web.toml", &service);
    cell.run(&["job", "run", "web.toml"]);
    wait_for("both running", || {
        (cell.json(&["job", "status", "web"])["tasks"]["running"] == 2).then_some(())
    });

    let before = cell.json(&["status"])["seq"].as_u64().unwrap();
    cell.run(&["node", "drain", "--yes", "m1"]);
    assert_eq!(cell.json(&["node", "status", "m1"])["task_list"].as_array().map(Vec::len), Some(0));
    wait_for("both on m2", || {
        let tasks = cell.json(&["job", "status", "web"])["task_list"].clone();
        let there = |t: &serde_json::Value| t["machine"] == "m2" && t["state"] == "running";
        tasks.as_array().unwrap().iter().all(there).then_some(())
    });
    cell.run(&["node", "undrain", "m1"]);
    assert_eq!(cell.json(&["node", "status", "m1"])["state"], "ready");

    // Before the drain, as the log remembers it.
    let then = cell.json(&["state", "--at", &before.to_string(), "--machine", "m1"]);
    assert_eq!(
        (&then["state"], then["task_list"].as_array().map(Vec::len)),
        (&"ready".into(), Some(1)),
        "{then}"
    );
    let then = cell.json(&["state", "--at", "1"]);
    assert_eq!(then["machines"]["ready"], 0, "{then}");

    cell.run(&["job", "stop", "--yes", "web"]);
    let status = cell.json(&["job", "status", "web"]);
    assert_eq!((&status["desired"], &status["tasks"]["stopped"]), (&"stop".into(), &2.into()), "{status}");
    for node in cell.json(&["node", "list"]).as_array().unwrap() {
        assert_eq!(node["tasks"], 0, "{node}");
    }
}

#[test]
fn every_listing_has_json() {
    let cell = cell(&["m1"]);
    cell.write("one.toml", &job("one", 1, "true"));
    cell.run(&["job", "run", "--wait", "one.toml"]);
    cell.run(&["quota", "set", "red", "batch", "--cpu", "2"]);
    let lists: [&[&str]; 8] = [
        &["job", "list"],
        &["node", "list"],
        &["scheduler", "list"],
        &["txn", "list"],
        &["conflicts", "top"],
        &["quota", "list"],
        &["state", "--jobs"],
        &["state", "--machines"],
    ];
    for list in lists {
        assert!(cell.json(list).is_array(), "ohm {list:?}");
    }
    let txn = cell.json(&["txn", "list"])[0]["txn"].as_str().unwrap().to_owned();
    let single: [&[&str]; 7] = [
        &["status"],
        &["audit"],
        &["state"],
        &["job", "status", "one"],
        &["node", "status", "m1"],
        &["txn", "show", &txn],
        &["state", "--job", "one"],
    ];
    for command in single {
        assert!(cell.json(command).is_object(), "ohm {command:?}");
        for format in ["table", "wide", "name"] {
            assert!(
                !cell.run(&[command, &["-o", format]].concat()).is_empty(),
                "ohm {command:?} -o {format}"
            );
        }
    }
}

#[test]
fn a_silent_machine_is_given_up_and_its_tasks_are_placed_elsewhere() {
    let mut cell = cell(&["m1", "m2"]);
    let service = job("web", 1, "sleep 61739").replace("\"batch\"", "\"service\"");
    cell.write("web.toml", &service);
    cell.run(&["job", "run", "web.toml"]);
    let first = |cell: &TestCell| cell.json(&["job", "status", "web"])["task_list"][0].clone();
    wait_for("a start", || (first(&cell)["state"] == "running").then_some(()));
    let home = first(&cell)["machine"].as_str().unwrap().to_owned();
    cell.get(&home).kill();
    wait_for("a placement elsewhere", || {
        let task = first(&cell);
        (task["state"] == "running" && task["machine"] != home.as_str() && task["epoch"] == 2).then_some(())
    });
    assert_eq!(cell.json(&["node", "status", &home])["state"], "down");
    // The agent comes back: its machine is ready, and the process of the old epoch is gone.
    cell.get(&home).restart();
    wait_for("the return", || (cell.json(&["node", "status", &home])["state"] == "ready").then_some(()));
    wait_for("one process", || (running(&["sleep", "61739"]) == 1).then_some(()));
    assert_eq!(first(&cell)["epoch"], 2);
}
