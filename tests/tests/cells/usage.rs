//! What tasks use, as people see it: sampled from processes, kept beside the log, shown live or once.

use cell_tests::test_cell::{TestCell, wait_for};
use transport::Role;

#[test]
fn what_tasks_use_is_sampled_and_shown_and_stays_out_of_the_log() {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    cell.agent(
        "m1",
        &["--cpu", "2", "--memory", "1 GiB", "--usage-every", "200ms", "--attribute", "rack=r1"],
    );
    cell.wait_ready(1);
    // One works, with a child, and holds 20 MB; the other sleeps.
    let job = |name: &str, script: &str| {
        format!(
            "name = \"{name}\"\nkind = \"batch\"\n[[groups]]\nname = \"main\"\n[groups.run]\ncommand = \"/bin/sh\"\n\
             args = [\"-c\", '''{script}''']\n[groups.resources]\ncpu = \"200m\"\nmemory = \"64 MiB\"\n"
        )
    };
    cell.write(
        "busy.toml",
        &job("busy", "x=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done & wait"),
    );
    cell.write("idle.toml", &job("idle", "sleep 1000"));
    cell.run(&["job", "run", "busy.toml"]);
    cell.run(&["job", "run", "idle.toml"]);
    let of = |view: &serde_json::Value, task: &str, what: &str| {
        let tasks = view["tasks"].as_array().unwrap();
        let row = tasks.iter().find(|row| row["task"] == task);
        row.map_or(0, |row| row["usage"][what].as_u64().unwrap())
    };
    let view = wait_for("samples", || {
        let view = cell.json(&["top"]);
        let seen = of(&view, "busy/main/0", "cpu") > 0
            && of(&view, "busy/main/0", "memory") > 19_000_000
            && of(&view, "idle/main/0", "memory") > 0;
        seen.then_some(view)
    });
    assert_eq!(view["tasks"][0]["task"], "busy/main/0", "who uses most comes first: {view}");
    assert!(of(&view, "busy/main/0", "memory_peak") >= of(&view, "busy/main/0", "memory"), "{view}");
    assert!(of(&view, "busy/main/0", "processes") >= 2, "{view}");
    assert_eq!(view["tasks_total"], 2);
    let machine = &view["machines"][0];
    assert_eq!((&machine["machine"], &machine["promised"]["cpu"]), (&"m1".into(), &400.into()), "{view}");
    assert!(machine["usage"]["memory"].as_u64() >= Some(19_000_000), "{view}");

    shown_in_every_form(&cell);

    // Many samples later the log is where it was.
    let before = cell.json(&["status"])["seq"].clone();
    let used = |view: &serde_json::Value| of(view, "busy/main/0", "cpu_us");
    let first = used(&cell.json(&["top"]));
    wait_for("more samples", || (used(&cell.json(&["top"])) > first).then_some(()));
    assert_eq!(cell.json(&["status"])["seq"], before);

    // What has ended uses nothing, and is not shown.
    cell.run(&["job", "stop", "--yes", "busy"]);
    wait_for("its row to go", || (cell.json(&["top"])["tasks_total"] == 1).then_some(()));
}

/// What is seen in JSON is seen by people and readers too, and mistakes are told.
fn shown_in_every_form(cell: &TestCell) {
    // The machine by itself, with its attributes, tasks and what they use.
    let node = cell.json(&["node", "status", "m1"]);
    assert_eq!(node["attributes"]["rack"], "r1");
    assert_eq!(node["task_usage"].as_array().map(Vec::len), Some(2), "{node}");
    assert!(node["usage"]["usage"]["processes"].as_u64() >= Some(3), "{node}");
    assert!(cell.run(&["node", "status", "m1"]).contains("busy/main/0"));

    // Without a terminal it is printed once; a reader may look; mistakes are told.
    let printed = cell.run(&["top"]);
    assert!(printed.contains("MACHINE") && printed.contains("busy/main/0"), "{printed}");
    assert_eq!(cell.run(&["top", "-o", "name", "--tasks", "1"]), "busy/main/0\n");
    cell.issue(Role::Reader, "eve");
    cell.run(&["top", "--role", "reader", "--machine", "m1"]);
    for (args, words) in [
        (&["top", "--every", "soon"][..], ["--every", "\"soon\""]),
        (&["top", "--machine", "m9"], ["machine", "\"m9\""]),
    ] {
        let (_, problem) = cell.refused(args);
        assert!(words.iter().all(|word| problem.contains(word)), "{args:?}: {problem}");
    }
}

#[test]
fn simulated_tasks_pretend_to_use_a_part_of_what_they_are_promised() {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    let simulated = ["--simulate", "3", "--prefix", "sim-", "--usage", "25", "--usage-every", "200ms"];
    cell.agent("sim-*", &simulated);
    cell.wait_ready(3);
    cell.write(
        "many.toml",
        "name = \"many\"\nkind = \"batch\"\n[[groups]]\nname = \"main\"\ncount = 30\n[groups.run]\ndriver = \"simulated\"\n\
         [groups.resources]\ncpu = 2\nmemory = \"1 GiB\"\n",
    );
    cell.run(&["job", "run", "many.toml"]);
    let view = wait_for("all samples", || {
        let view = cell.json(&["top", "--tasks", "5"]);
        (view["tasks_total"] == 30).then_some(view)
    });
    assert_eq!(view["tasks"].as_array().map(Vec::len), Some(5));
    for row in view["tasks"].as_array().unwrap() {
        assert_eq!(
            (&row["usage"]["cpu"], &row["usage"]["memory"]),
            (&500.into(), &(1u64 << 28).into()),
            "{row}"
        );
    }
    let sum = |what: &str| -> u64 {
        view["machines"].as_array().unwrap().iter().map(|m| m["usage"][what].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("cpu"), sum("memory")), (15_000, 30 << 28));
}
