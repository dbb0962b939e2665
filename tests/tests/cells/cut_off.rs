//! Machines that are cut off from the server by the network, in both directions and in one, and come back.

use cell_tests::network::{Cut, Network};
use cell_tests::test_cell::{TestCell, running, wait_for};
use serde_json::Value;

/// A cell whose first machine `far` is at the end of a cable, and whose second, `near`, is not.
fn cell(network: &mut Network) -> TestCell {
    let mut cell = TestCell::start_everywhere(&["--down-after", "5s"]);
    cell.scheduler("service", "service", "service", 2);
    let (launcher, server) = network.add();
    cell.agent_through(launcher, "far", &server, &["--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(1);
    cell
}

fn job(sleep: &str, stop_after: &str) -> String {
    format!(
        "name = \"web\"\nkind = \"service\"\n[[groups]]\nstop_grace = \"200ms\"\n{stop_after}\n[groups.run]\n\
         command = \"sleep\"\nargs = [\"{sleep}\"]\n"
    )
}

fn task(cell: &TestCell) -> Value {
    cell.json(&["job", "status", "web"])["task_list"][0].clone()
}

fn runs_on(cell: &TestCell, machine: &str) {
    wait_for(machine, || {
        let task = task(cell);
        (task["state"] == "running" && task["machine"] == machine).then_some(())
    });
}

/// A cell whose job runs on `far`, which has just been cut off; `near` would have room for it.
fn cell_cut(network: &mut Network, cut: Cut, job: &str) -> TestCell {
    let mut cell = cell(network);
    cell.write("web.toml", job);
    cell.run(&["job", "run", "web.toml"]);
    runs_on(&cell, "far");
    cell.agent("near", &["--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(2);
    network.cut(1, cut);
    cell
}

/// Cuts a machine off until its task runs elsewhere, and lets it come back.
fn cut_and_heal(cut: Cut, sleep: &str, stop_after: &str) {
    let Some(mut network) = Network::open() else { return };
    let cell = cell_cut(&mut network, cut, &job(sleep, stop_after));
    runs_on(&cell, "near");
    let replaced = task(&cell)["epoch"].clone();
    assert_ne!(replaced, 1);
    let beside = running(&["sleep", sleep]);
    let expected = if stop_after.is_empty() { 2 } else { 1 };
    assert_eq!(beside, expected, "with stop_after it ended before it was replaced, without it goes on");
    network.heal(1, cut);
    wait_for("the return", || (cell.json(&["node", "status", "far"])["state"] == "ready").then_some(()));
    // What was replaced is ended, and what replaced it stays.
    wait_for("one process", || (running(&["sleep", sleep]) == 1).then_some(()));
    assert_eq!((&task(&cell)["epoch"], &task(&cell)["machine"]), (&replaced, &"near".into()));
    assert_eq!(cell.json(&["audit"])["sound"], true);
}

#[test]
fn a_task_of_a_machine_that_is_cut_off_is_replaced_and_ended_when_it_comes_back() {
    cut_and_heal(Cut::Both, "71001", "");
}

#[test]
fn a_task_that_is_to_stop_ends_before_it_is_replaced_if_nothing_gets_through() {
    cut_and_heal(Cut::Both, "71002", "stop_after = \"2s\"");
}

#[test]
fn a_task_that_is_to_stop_ends_before_it_is_replaced_if_only_the_server_is_not_heard() {
    // Then the server even hears that it has ended.
    cut_and_heal(Cut::FromServer, "71003", "stop_after = \"2s\"");
}

#[test]
fn a_task_that_is_to_stop_ends_before_it_is_replaced_if_only_the_machine_is_not_heard() {
    cut_and_heal(Cut::ToServer, "71004", "stop_after = \"2s\"");
}

#[test]
fn a_short_cut_changes_nothing() {
    let Some(mut network) = Network::open() else { return };
    let cell = cell(&mut network);
    cell.write("web.toml", &job("71005", "stop_after = \"60s\""));
    cell.run(&["job", "run", "web.toml"]);
    runs_on(&cell, "far");
    network.cut(1, Cut::Both);
    network.heal(1, Cut::Both);
    cell.write(
        "more.toml",
        "name = \"more\"\nkind = \"service\"\n[[groups]]\nrun.command = \"true\"\nrestart.on = \"never\"\n",
    );
    cell.run(&["job", "run", "--wait", "more.toml"]);
    assert_eq!(task(&cell)["epoch"], 1);
    assert_eq!(running(&["sleep", "71005"]), 1);
}

/// Cuts a machine off until it is down, and lets it come back: its task stays where it is, with the same process.
fn cut_and_keep(cut: Cut, sleep: &str, lost_after: &str) {
    let Some(mut network) = Network::open() else { return };
    let cell = cell_cut(&mut network, cut, &job(sleep, lost_after));
    let state = |cell: &TestCell| cell.json(&["node", "status", "far"])["state"].clone();
    wait_for("the silence", || (state(&cell) == "down").then_some(()));
    let kept = task(&cell);
    assert_eq!((&kept["state"], &kept["machine"]), (&"running".into(), &"far".into()), "{kept}");
    network.heal(1, cut);
    wait_for("the return", || (state(&cell) == "ready").then_some(()));
    assert_eq!(running(&["sleep", sleep]), 1);
    let kept = task(&cell);
    assert_eq!((&kept["epoch"], &kept["state"]), (&1.into(), &"running".into()), "{kept}");
    assert_eq!(cell.json(&["audit"])["sound"], true);
    cell.run(&["job", "stop", "--yes", "web"]);
    assert_eq!(running(&["sleep", sleep]), 0);
}

#[test]
fn a_task_that_outlasts_the_silence_of_its_machine_is_kept_if_nothing_gets_through() {
    cut_and_keep(Cut::Both, "71006", "lost_after = \"1h\"");
}

#[test]
fn a_task_that_outlasts_the_silence_of_its_machine_is_kept_if_only_the_machine_is_not_heard() {
    cut_and_keep(Cut::ToServer, "71007", "lost_after = \"never\"");
}

#[test]
fn a_task_that_outlasts_the_silence_of_its_machine_is_kept_if_only_the_server_is_not_heard() {
    cut_and_keep(Cut::FromServer, "71008", "lost_after = \"1h\"");
}

#[test]
fn a_silence_that_is_too_long_for_a_task_ends_it_and_so_does_a_wish() {
    let Some(mut network) = Network::open() else { return };
    let mut cell = cell(&mut network);
    cell.write("web.toml", &job("71009", "lost_after = \"8s\""));
    cell.run(&["job", "run", "web.toml"]);
    cell.write("kept.toml", &job("71010", "lost_after = \"never\"").replace("\"web\"", "\"kept\""));
    cell.run(&["job", "run", "kept.toml"]);
    runs_on(&cell, "far");
    cell.agent("near", &["--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(2);
    network.cut(1, Cut::Both);
    runs_on(&cell, "near");
    assert_eq!(cell.json(&["job", "status", "kept"])["task_list"][0]["machine"], "far");
    // One that is asked to stop is not waited for.
    cell.run(&["job", "stop", "--yes", "kept"]);
    assert_eq!(cell.json(&["job", "status", "kept"])["task_list"][0]["state"], "stopped");
    cell.write("short.toml", &job("1", "lost_after = \"5s\"").replace("\"web\"", "\"short\""));
    let (_, told) = cell.refused(&["job", "run", "short.toml"]);
    assert!(told.contains("lost_after") && told.contains("--down-after"), "{told}");
}
