//! An agent that is killed again and again, at random moments and at chosen ones: no task is lost, doubled or orphaned.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cell_tests::test_cell::{PATIENCE, TestCell, running, wait_for};

/// A cell of one machine, whose agent is the one that is killed.
fn cell() -> TestCell {
    let mut cell = TestCell::start(&["--down-after", "60s"]);
    cell.scheduler("batch", "batch", "batch", 3);
    cell.agent("m1", &["--cpu", "8", "--memory", "8 GiB"]);
    cell.wait_ready(1);
    cell
}

/// Submits a job whose tasks write down when they start and when they are done.
fn submit(cell: &TestCell, name: &str, count: usize, sleep: &str) {
    let journal = cell.path("journal");
    let script = format!(
        "echo $OHM_TASK $OHM_EPOCH start >> {0}; sleep {sleep}; echo $OHM_TASK $OHM_EPOCH done >> {0}",
        journal.display()
    );
    let job = format!(
        "name = \"{name}\"\nkind = \"batch\"\n[[groups]]\ncount = {count}\n\
         restart = {{ on = \"failure\", attempts = 1000, delay = \"1ms\" }}\n[groups.run]\n\
         command = \"/bin/sh\"\nargs = [\"-c\", \"{script}\"]\n"
    );
    cell.write("job.toml", &job);
    cell.run(&["job", "run", "job.toml"]);
}

/// Waits for the end of a job, and holds what its tasks wrote down against what the cell says of them.
fn account(cell: &TestCell, name: &str, count: usize) {
    let status = wait_for(name, || {
        let status = cell.json(&["job", "status", name]);
        (status["tasks"]["completed"] == count).then_some(status)
    });
    let journal = std::fs::read_to_string(cell.path("journal")).expect("tasks ran");
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    journal.lines().for_each(|line| *lines.entry(line).or_default() += 1);
    let doubled: Vec<_> = lines.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "started or done twice in one epoch: {doubled:?}");
    for task in status["task_list"].as_array().expect("tasks") {
        let of_it = |what| format!("{} {} {what}", task["id"].as_str().expect("an id"), task["epoch"]);
        for what in ["start", "done"] {
            assert!(lines.contains_key(of_it(what).as_str()), "completed, but without {:?}", of_it(what));
        }
    }
    // Of an epoch that was given up nothing is left that could still write.
    let tasks = cell.path("agents").join("m1").join("tasks");
    wait_for("the end of all shims", || {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut processes = entries.map(|entry| entry.path());
        // Shims are where their nursery is, which stays, and are called after their placements.
        let is_of_a_task = |process: PathBuf| {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            let place = std::fs::read_link(process.join("cwd")).unwrap_or_default();
            place.starts_with(&tasks) && (place != tasks || name.starts_with('j'))
        };
        (!processes.any(is_of_a_task)).then_some(())
    });
    assert_eq!(cell.json(&["audit"])["sound"], true);
}

#[test]
fn an_agent_that_is_killed_at_random_moments_loses_doubles_and_orphans_nothing() {
    let mut cell = cell();
    submit(&cell, "many", 40, "0.2");
    // Moments of no pattern, the same in each run.
    let mut seed = 0x9e37_79b9_u32;
    for _ in 0..10 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(seed >> 24)));
        cell.get("m1").kill();
        cell.get("m1").restart();
    }
    account(&cell, "many", 40);
}

/// Waits without a pause, for what is waited for may last less than a millisecond.
fn spin(holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// The directories of placements of a job.
fn placements(cell: &TestCell, job: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cell.path("agents").join("m1").join("tasks"));
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(job))).collect()
}

/// Whether there is such a file of a placement of the job; also a link that leads nowhere.
fn has(cell: &TestCell, job: &str, name: &str) -> bool {
    placements(cell, job).iter().any(|path| path.join(name).symlink_metadata().is_ok())
}

#[test]
fn an_agent_that_is_killed_at_each_step_of_a_start_loses_doubles_and_orphans_nothing() {
    let mut cell = cell();
    for round in 0..12 {
        let name = format!("one-{round}");
        submit(&cell, &name, 1, "0.1");
        let id = cell.json(&["job", "status", &name])["id"].as_str().expect("an id").to_owned();
        match round % 4 {
            // Before the intent is written, as a rule.
            0 => {}
            // The intent is written, and the shim is about to be forked.
            1 => spin(|| !placements(&cell, &format!("{id}.")).is_empty()),
            // The shim has it, and has not said so, or the report is not sent.
            2 => spin(|| has(&cell, &format!("{id}."), "live.json")),
            // It has ended, and that is not reported.
            _ => spin(|| has(&cell, &format!("{id}."), "exit.json")),
        }
        cell.get("m1").kill();
        cell.get("m1").restart();
        account(&cell, &name, 1);
    }
}

#[test]
fn a_thousand_tasks_on_one_agent_outlive_it_and_end_when_told() {
    let mut cell = cell();
    cell.write(
        "crowd.toml",
        "name = \"crowd\"\nkind = \"batch\"\n[[groups]]\ncount = 1000\nresources = { cpu = \"1m\", memory = \"1 MiB\" }\n\
         [groups.run]\ncommand = \"sleep\"\nargs = [\"72001\"]\n",
    );
    cell.run(&["job", "run", "crowd.toml"]);
    let counts = |cell: &TestCell| cell.json(&["job", "status", "crowd"])["tasks"].clone();
    wait_for("a thousand tasks", || (counts(&cell)["running"] == 1_000).then_some(()));
    assert_eq!(running(&["sleep", "72001"]), 1_000);
    cell.get("m1").kill();
    cell.get("m1").restart();
    cell.run(&["job", "stop", "--yes", "crowd"]);
    assert_eq!(counts(&cell)["stopped"], 1_000);
    assert_eq!(running(&["sleep", "72001"]), 0);
}

#[test]
fn an_agent_without_room_on_its_disk_says_so_and_goes_on_when_there_is_room_again() {
    let mut cell = TestCell::start(&[]);
    let data = cell.path("agents").join("m1");
    std::fs::create_dir(&data).expect("the directory is the test's");
    let Some(disk) = Disk::mount(&data) else { return };
    cell.scheduler("batch", "batch", "batch", 3);
    cell.agent("m1", &["--cpu", "8", "--memory", "8 GiB"]);
    cell.wait_ready(1);
    let job = |name: &str, command: &str, restart: &str| {
        format!(
            "name = \"{name}\"\nkind = \"batch\"\n[[groups]]\nrestart.on = \"{restart}\"\n\
             [groups.run]\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"{command}\"]\n"
        )
    };
    cell.write("before.toml", &job("before", "sleep 100000", "never"));
    cell.run(&["job", "run", "before.toml"]);
    let state = |cell: &TestCell, name: &str| cell.json(&["job", "status", name])["task_list"][0].clone();
    wait_for("the first task", || (state(&cell, "before")["state"] == "running").then_some(()));
    disk.fill();
    cell.write("full.toml", &job("full", "true", "never"));
    // It may be seen to fail at once, which is no success.
    cell.ohm(&["job", "run", "full.toml"]);
    let failed = wait_for("the end of the second", || {
        let task = state(&cell, "full");
        (task["state"] == "failed").then_some(task)
    });
    assert!(failed["exit"].to_string().contains("No space left"), "{failed}");
    assert!(cell.get("m1").is_running());
    assert_eq!(state(&cell, "before")["state"], "running");
    // It also starts with a full disk.
    cell.get("m1").kill();
    cell.get("m1").restart();
    wait_for("the next agent", || {
        let printed = cell.ohm(&["job", "logs", "before", "0"]);
        printed.status.success().then_some(())
    });
    disk.clear();
    cell.write("after.toml", &job("after", "true", "never"));
    cell.run(&["job", "run", "--wait", "after.toml"]);
    assert_eq!(state(&cell, "before")["epoch"], 1);
    cell.run(&["job", "stop", "--yes", "before"]);
    drop(cell);
}

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it; `None` when this process may not.
    fn mount(at: &std::path::Path) -> Option<Disk> {
        let made = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "ohm-test"])
            .arg(at)
            .output();
        if made.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Disk(at.to_owned()));
        }
        println!("skipped: no right to mount a small disk: {made:?}");
        None
    }

    /// Takes all that is free.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("filling")).expect("there is room for a name");
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filling")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
