//! Emptying a machine for maintenance, and changing its agent under the tasks.

use cell_tests::test_cell::{TestCell, wait_for};

/// A cell of one machine with a service that doesn't mind a polite signal, and has an hour to end.
fn stubborn() -> TestCell {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("service", "service", "service", 1);
    cell.agent("m1", &["--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(1);
    cell.write(
        "web.toml",
        "name = \"web\"\nkind = \"service\"\n[[groups]]\ncount = 2\nstop_grace = \"1h\"\n[groups.run]\n\
         command = \"/bin/sh\"\nargs = [\"-c\", \"trap '' TERM; echo $$; while :; do sleep 0.1; done\"]\n",
    );
    cell.run(&["job", "run", "web.toml"]);
    // The first line says that signals are ignored by now.
    for task in ["0", "1"] {
        wait_for("a first line", || {
            let printed = cell.ohm(&["job", "logs", "web", task]);
            (printed.status.success() && printed.stdout.ends_with(b"\n")).then_some(())
        });
    }
    cell
}

fn tasks(cell: &TestCell) -> usize {
    cell.json(&["node", "status", "m1"])["task_list"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_drain_is_done_when_the_agent_saw_every_task_gone_however_long_that_takes() {
    let cell = stubborn();
    cell.run(&["node", "drain", "--yes", "--detach", "m1"]);
    assert_eq!(cell.json(&["node", "status", "m1"])["state"], "draining");
    assert_eq!(tasks(&cell), 2, "they have an hour");
    // A second drain with less patience hurries those that were asked already.
    let output = cell.ohm(&["node", "drain", "--deadline", "100ms", "m1"]);
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("m1: drained"), "{told}");
    assert_eq!(tasks(&cell), 0);
    assert_eq!(cell.json(&["job", "status", "web"])["tasks"]["pending"], 2, "nowhere else to go");
}

#[test]
fn a_drain_by_force_kills_at_once() {
    let cell = stubborn();
    cell.run(&["node", "drain", "--yes", "--force", "m1"]);
    assert_eq!(tasks(&cell), 0);
}

#[test]
fn a_drain_that_is_cancelled_lets_the_machine_take_tasks_again() {
    let cell = stubborn();
    cell.run(&["node", "drain", "--yes", "--detach", "m1"]);
    cell.run(&["node", "drain", "--cancel", "m1"]);
    assert_eq!(cell.json(&["node", "status", "m1"])["state"], "ready");
    let (code, told) = cell.refused(&["node", "drain", "--deadline", "soon", "m1"]);
    assert!(code == 1 && told.contains("--deadline"), "{code} {told}");
}

#[test]
fn an_agent_is_replaced_under_its_tasks() {
    let mut cell = stubborn();
    let pids = |cell: &TestCell| ["0", "1"].map(|task| cell.run(&["job", "logs", "web", task]));
    let before = pids(&cell);
    cell.get("m1").stop();
    for pid in &before {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        assert!(stat.is_ok(), "process {pid} goes on without an agent");
    }
    // Another program in another place, as after an upgrade; the shims stay what they are.
    let upgraded = cell.path("ohm-upgraded");
    std::fs::copy(cell_tests::binary::ohm(), &upgraded).expect("there is room for a copy");
    cell.get("m1").set_program(upgraded);
    cell.get("m1").restart();
    cell.wait_ready(1);
    wait_for("the new agent", || {
        let printed = cell.ohm(&["job", "logs", "web", "0"]);
        printed.status.success().then_some(())
    });
    assert_eq!(pids(&cell), before);
    for task in cell.json(&["job", "status", "web"])["task_list"].as_array().unwrap() {
        assert_eq!((&task["epoch"], &task["state"]), (&1.into(), &"running".into()), "{task}");
    }
    for pid in before {
        assert!(std::path::Path::new(&format!("/proc/{}", pid.trim())).exists());
    }
}
