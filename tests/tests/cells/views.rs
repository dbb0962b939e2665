//! Schedulers that follow machines and their own jobs alone share a cell with each other and with one that follows
//! everything.

use cell_tests::test_cell::{TestCell, wait_for};

/// A job of simulated tasks that run until they are stopped, or end after a while.
fn job(name: &str, scheduler: &str, count: u32, cpu: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nscheduler = \"{scheduler}\"\nkind = \"batch\"\n{more}\n[[groups]]\nname = \"main\"\n\
         count = {count}\n[groups.run]\ndriver = \"simulated\"\nrun_for = \"{}\"\n[groups.resources]\ncpu = \"{cpu}\"\nmemory = \"16 MiB\"\n",
        if name.starts_with("short") { "200ms" } else { "1h" },
    )
}

fn counts(cell: &TestCell, name: &str) -> serde_json::Value {
    cell.json(&["job", "status", name])["tasks"].clone()
}

/// Three schedulers fill a cell together to the last slot, twice over: what ends makes room for what waits.
#[test]
fn schedulers_with_their_own_view_share_a_cell() {
    let mut cell = TestCell::start(&[]);
    for (seed, name) in ["left", "right", "late"].into_iter().enumerate() {
        cell.scheduler_with(name, "batch", name, seed as u64, &["--view", "own"]);
    }
    cell.scheduler("whole", "service", "whole", 9);
    cell.agent("sim-*", &["--simulate", "20", "--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(20);
    // 80 cores: 60 for those that end, and the same again for those that come after them.
    let names = ["left", "right", "whole"];
    for scheduler in names {
        cell.write(
            &format!("short-{scheduler}.toml"),
            &job(&format!("short-{scheduler}"), scheduler, 40, "500m", ""),
        );
        cell.run(&["job", "run", "--detach", &format!("short-{scheduler}.toml")]);
    }
    for scheduler in names {
        cell.write(
            &format!("long-{scheduler}.toml"),
            &job(&format!("long-{scheduler}"), scheduler, 53, "500m", ""),
        );
        cell.run(&["job", "run", "--detach", &format!("long-{scheduler}.toml")]);
    }
    for scheduler in names {
        wait_for("the short tasks to end", || {
            (counts(&cell, &format!("short-{scheduler}"))["completed"] == 40).then_some(())
        });
        wait_for("the long tasks to run", || {
            (counts(&cell, &format!("long-{scheduler}"))["running"] == 53).then_some(())
        });
    }
    // One slot is left of 160. A restarted server finds its schedulers again, and they it.
    cell.get("server").kill();
    cell.get("server").restart();
    cell.write("last.toml", &job("last", "left", 1, "500m", ""));
    wait_for("the server", || {
        cell.ohm(&["job", "run", "--detach", "last.toml"]).status.success().then_some(())
    });
    wait_for("the last slot", || (counts(&cell, "last")["running"] == 1).then_some(()));
    assert_eq!(cell.json(&["audit"])["sound"], true);
    assert_eq!(cell.json(&["status"])["divergences"], 0);
    let used = cell.json(&["state"]);
    assert_eq!(used["used"]["cpu"], used["limit"]["cpu"], "{used}");
    for (name, policy) in [("left", "batch, own view"), ("whole", "service")] {
        wait_for("schedulers to tell what they see", || {
            let all = cell.json(&["scheduler", "list"]);
            let all = all.as_array()?;
            all.iter().any(|s| s["name"] == name && s["policy"] == policy).then_some(())
        });
    }
    // Nothing is left, and others' tasks can't be preempted by who doesn't know them: it says so.
    cell.write("high.toml", &job("high", "late", 1, "500m", "priority = 250"));
    cell.run(&["job", "run", "--detach", "high.toml"]);
    let why = wait_for("the explanation", || {
        let why = cell.run(&["job", "why", "high"]);
        why.contains("--view own").then_some(why)
    });
    assert!(why.contains("cpu"), "{why}");
    assert_eq!(cell.json(&["job", "why", "high"])["processes_with_own_view"], 1);
}
