//! Fields that decide where tasks go and what follows their end, on simulated machines.

use cell_tests::test_cell::{TestCell, wait_for};

use super::{machines, settled, submit};

/// Two machines in each of two racks, of 2 cores each.
const SHAPES: &str = "[[shapes]]\ncount = 2\ncpu = 2\nmemory = \"4 GiB\"\nattributes = { rack = \"a\" }\n\
                      [[shapes]]\ncount = 2\ncpu = 2\nmemory = \"4 GiB\"\nattributes = { rack = \"b\" }\n";

fn cell() -> TestCell {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    cell.scheduler("service", "service", "service", 2);
    let shapes = cell.write("shapes.toml", SHAPES).display().to_string();
    cell.agent("sim-*", &["--simulate", "4", "--prefix", "sim-", "--shapes", &shapes]);
    cell.wait_ready(4);
    cell
}

/// A job of one group of simulated tasks: what is said at its top, and of its group.
fn job(name: &str, top: &str, group: &str) -> String {
    format!("name = \"{name}\"\n{top}\n[[groups]]\nrun.driver = \"simulated\"\n{group}\n")
}

fn stop(cell: &TestCell, name: &str) {
    cell.run(&["job", "stop", "--yes", name]);
}

#[test]
fn fields_of_where_tasks_go() {
    let cell = cell();
    // One name, groups of their own names and counts, each on machines that meet its constraints.
    submit(
        &cell,
        "name = \"many\"\n[[groups]]\nname = \"one\"\ncount = 3\nconstraints = [\"rack = a\"]\n\
         run.driver = \"simulated\"\n[[groups]]\nname = \"two\"\nconstraints = [\"rack = b\"]\n\
         run.driver = \"simulated\"\n",
    );
    let status = settled(&cell, "many", &[("running", 4)]);
    for (group, count) in [("one", 3), ("two", 1)] {
        let of_group = |g: &serde_json::Value| g["name"] == group && g["tasks"]["running"] == count;
        assert!(status["groups"].as_array().unwrap().iter().any(of_group), "{status}");
    }
    let racks: Vec<_> = machines(&status).iter().map(|machine| rack(&cell, machine)).collect();
    assert_eq!(racks.iter().filter(|rack| *rack == "a").count(), 3, "{racks:?}");
    stop(&cell, "many");

    submit(&cell, &job("apart", "", "count = 5\ndistinct_machines = true"));
    let status = settled(&cell, "apart", &[("running", 4), ("pending", 1)]);
    let mut different = machines(&status);
    different.dedup();
    assert_eq!(different.len(), 4, "{status}");
    stop(&cell, "apart");

    submit(&cell, &job("even", "kind = \"service\"", "count = 4\n[groups.spread]\nattribute = \"rack\""));
    let status = settled(&cell, "even", &[("running", 4)]);
    let racks: Vec<_> = machines(&status).iter().map(|machine| rack(&cell, machine)).collect();
    assert_eq!(racks.iter().filter(|rack| *rack == "a").count(), 2, "{racks:?}");
    stop(&cell, "even");

    let limited = "count = 3\nspread = { attribute = \"rack\", max_per_value = 1 }";
    submit(&cell, &job("limited", "kind = \"service\"", limited));
    settled(&cell, "limited", &[("running", 2), ("pending", 1)]);
    stop(&cell, "limited");

    // Of each resource one job that asks for more than any machine has, and one for what there is.
    for (dimension, more) in
        [("cpu", "3"), ("memory", "\"5 GiB\""), ("disk", "\"1 GiB\""), ("gpu", "1"), ("net", "10")]
    {
        let name = format!("much-{dimension}");
        submit(&cell, &job(&name, "", &format!("resources.{dimension} = {more}")));
        let why = wait_for("a reason", || {
            let why = cell.json(&["job", "why", &name]);
            (why["groups"][0]["reasons"][0]["dimension"] == dimension).then_some(why)
        });
        assert_eq!(why["groups"][0]["fits"], 0, "{why}");
    }
    submit(&cell, &job("fits", "", "count = 8\nresources = { cpu = 1, memory = \"1 GiB\" }"));
    settled(&cell, "fits", &[("running", 8)]);
}

fn rack(cell: &TestCell, machine: &str) -> String {
    cell.json(&["node", "status", machine])["attributes"]["rack"].as_str().expect("a rack").to_owned()
}

#[test]
fn fields_of_whose_a_job_is_and_how_much_it_matters() {
    let mut cell = cell();
    // Each kind has its scheduler; one that is named has to be there.
    for kind in ["batch", "service"] {
        submit(&cell, &job(kind, &format!("kind = \"{kind}\""), ""));
        assert_eq!(settled(&cell, kind, &[("running", 1)])["scheduler"], kind);
        stop(&cell, kind);
    }
    submit(&cell, &job("named", "scheduler = \"third\"", ""));
    wait_for("nobody to place it", || {
        (cell.json(&["job", "why", "named"])["scheduler_processes"] == 0).then_some(())
    });
    assert_eq!(cell.json(&["job", "status", "named"])["tasks"]["pending"], 1);
    cell.scheduler("third", "batch", "third", 3);
    settled(&cell, "named", &[("running", 1)]);
    stop(&cell, "named");

    // A team gets what its quota allows, and others are not held up.
    cell.run(&["quota", "set", "red", "batch", "--cpu", "1", "--memory", "1 GiB"]);
    for (team, running) in [("red", 2), ("blue", 3)] {
        submit(&cell, &job(team, &format!("team = \"{team}\""), "count = 3\nresources.cpu = \"500m\""));
        settled(&cell, team, &[("running", running), ("pending", 3 - running)]);
    }
    for team in ["red", "blue"] {
        stop(&cell, team);
    }

    // Of two jobs that want what a third has, the one that matters more gets it.
    submit(&cell, &job("full", "priority = 100", "count = 4\nresources.cpu = 2"));
    settled(&cell, "full", &[("running", 4)]);
    submit(&cell, &job("same", "kind = \"service\"\npriority = 100", "resources.cpu = 2"));
    submit(&cell, &job("more", "kind = \"service\"\npriority = 200", "resources.cpu = 2"));
    settled(&cell, "more", &[("running", 1)]);
    settled(&cell, "full", &[("running", 3), ("pending", 1)]);
    settled(&cell, "same", &[("pending", 1)]);
}

#[test]
fn fields_of_what_follows_the_end_of_a_task() {
    let cell = cell();
    let ends = |more: &str| format!("run.run_for = \"10ms\"\n{more}\nrestart.delay = \"1ms\"");
    let restarted = |name: &str, more: &str, states: &[(&str, u32)]| {
        submit(&cell, &job(name, "", &ends(more)));
        settled(&cell, name, states)["task_list"][0].clone()
    };
    let failing = "run.exit_code = 7\n";
    let task = restarted("fails", &format!("{failing}restart.attempts = 2"), &[("failed", 1)]);
    assert_eq!((&task["restarts"], &task["exit"]), (&2.into(), &"exit 7".into()), "{task}");
    let task = restarted("never", &format!("{failing}restart.on = \"never\""), &[("failed", 1)]);
    assert_eq!(task["restarts"], 0, "{task}");
    let task = restarted("well", "restart.on = \"failure\"\nrestart.attempts = 2", &[("completed", 1)]);
    assert_eq!((&task["restarts"], &task["exit"]), (&0.into(), &"exit 0".into()), "{task}");
    submit(&cell, &job("always", "", &ends("restart.on = \"always\"\nrestart.attempts = 3")));
    wait_for("three restarts", || {
        (cell.json(&["job", "status", "always"])["task_list"][0]["restarts"] == 3).then_some(())
    });
    // The delay is waited for.
    submit(&cell, &job("later", "", "run.run_for = \"10ms\"\nrun.exit_code = 1\nrestart.delay = \"1h\""));
    let due =
        wait_for("the delay", || cell.json(&["job", "why", "later"])["groups"][0]["due_in_us"].as_u64());
    assert!(due > 3_000_000_000, "{due}");
    // Nothing ends what runs until it is stopped.
    submit(&cell, &job("endless", "", ""));
    settled(&cell, "endless", &[("running", 1)]);
}
