//! Fields that decide what a process is given and how it is kept apart, with real tasks.

use std::fs;

use cell_tests::test_cell::{TestCell, text, wait_for};

use super::{settled, submit};

/// A cell with one machine that isolates as far as it can, or `None` where tests don't run as root.
fn cell() -> Option<TestCell> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: users, views and limits of tasks need an agent that runs as root");
        return None;
    }
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    let size = ["--cpu", "8", "--memory", "4 GiB", "--ports", "21000-21099", "--attribute", "rack=r7"];
    cell.agent("m1", &[&size[..], &["--isolation", "standard", "--allow-privileged"]].concat());
    cell.wait_ready(1);
    Some(cell)
}

/// Whether the machine can enforce something.
fn able(cell: &TestCell, attribute: &str) -> bool {
    let able = cell.json(&["node", "status", "m1"])["attributes"][attribute] == "yes";
    if !able {
        eprintln!("SKIPPED in part: this machine has no {attribute}");
    }
    able
}

/// One group of a job: what it does, and what else is said of it.
fn group(name: &str, script: &str, more: &str) -> String {
    format!(
        "[[groups]]\nname = \"{name}\"\nrestart.on = \"never\"\nrun.command = \"/bin/sh\"\n\
         run.args = [\"-c\", '''{script}''']\n{more}\n"
    )
}

/// Runs groups to their end as one job, and returns what each said.
fn said<'a>(cell: &TestCell, job: &str, groups: &[(&'a str, &str, &str)]) -> Vec<(&'a str, String)> {
    let file: String = groups.iter().map(|(name, script, more)| group(name, script, more)).collect();
    cell.write("job.toml", &format!("name = \"{job}\"\n{file}"));
    cell.ohm(&["job", "run", "--wait", "job.toml"]);
    let log = |name: &str| {
        let task = format!("{job}/{name}/0");
        text(&cell.ohm(&["job", "logs", &task]).stdout)
            + &text(&cell.ohm(&["job", "logs", &task, "--stderr"]).stdout)
    };
    groups.iter().map(|(name, ..)| (*name, log(name))).collect()
}

#[test]
fn fields_of_what_a_process_is_given() {
    let Some(cell) = cell() else { return };
    let told = said(
        &cell,
        "given",
        &[
            ("command", "readlink /proc/$$/exe; echo \"$0 $1\"", ""),
            ("env", "echo $WORD", "run.env = { WORD = \"hi there\" }"),
            ("directory", "pwd", "run.directory = \"/usr\""),
            ("own-directory", "pwd; touch file && echo writable", ""),
            (
                "ports",
                "echo $OHM_PORT_WEB $OHM_PORT_ADMIN",
                "ports = [{ name = \"web\", number = 21007 }, { name = \"admin\" }]",
            ),
            (
                "logs",
                "i=0; while [ $i -lt 100 ]; do i=$((i+1)); printf '%099d\\n' $i; done",
                "run.log_size = \"1 KiB\"\nrun.log_files = 2",
            ),
        ],
    );
    let told: std::collections::BTreeMap<_, _> = told.into_iter().collect();
    assert!(told["command"].contains("sh"), "{told:?}");
    assert_eq!(told["env"], "hi there\n");
    assert_eq!(told["directory"], "/usr\n");
    assert_eq!(told["own-directory"], "/task\nwritable\n");
    let ports: Vec<u16> = told["ports"].split_whitespace().map(|port| port.parse().unwrap()).collect();
    assert!(ports[0] == 21007 && (21000..21100).contains(&ports[1]) && ports[1] != 21007, "{ports:?}");
    // Two files of a kilobyte, each whole lines of a hundred bytes.
    let kept = told["logs"].len();
    assert!((1_000..=2_300).contains(&kept) && told["logs"].ends_with("100\n"), "{kept}");
    // By age: the second line is in a file of its own, and only that one is kept.
    let age = said(
        &cell,
        "age",
        &[("main", "echo old; sleep 0.5; echo new", "run.log_age = \"100ms\"\nrun.log_files = 1")],
    );
    assert_eq!(age[0].1, "new\n");
}

#[test]
fn fields_of_how_a_process_is_stopped() {
    let Some(cell) = cell() else { return };
    let wait = "echo ready; while :; do sleep 0.05; done";
    let file = group("deaf", &format!("trap '' TERM; {wait}"), "stop_grace = \"100ms\"")
        + &group("tidy", &format!("trap 'sleep 0.5; exit 5' TERM; {wait}"), "stop_grace = \"10m\"");
    submit(&cell, &format!("name = \"stop\"\n{file}"));
    settled(&cell, "stop", &[("running", 2)]);
    for name in ["deaf", "tidy"] {
        wait_for("the trap", || {
            text(&cell.ohm(&["job", "logs", &format!("stop/{name}/0")]).stdout)
                .contains("ready")
                .then_some(())
        });
    }
    cell.run(&["job", "stop", "--yes", "stop"]);
    let status = settled(&cell, "stop", &[("stopped", 2)]);
    let exit = |task: usize| status["task_list"][task]["exit"].as_str().unwrap_or_default().to_owned();
    assert!(exit(0).contains('9') || exit(0).to_lowercase().contains("kill"), "{status}");
    assert_eq!(exit(1), "exit 5", "{status}");
}

#[test]
fn fields_of_how_long_is_waited_for_a_process() {
    let Some(cell) = cell() else { return };
    // A hook that never ends is stopped, and the task is over.
    let hook =
        |name: &str| format!("{name} = {{ command = \"sleep\", args = [\"1000\"], timeout = \"50ms\" }}");
    let told = said(
        &cell,
        "hooks",
        &[("post", "echo ran", &hook("post_stop")), ("pre", "echo ran", &hook("pre_start"))],
    );
    assert_eq!(told, [("post", "ran\n".to_owned()), ("pre", String::new())]);
    // A restart in place that is an hour away isn't seen.
    submit(
        &cell,
        &format!("name = \"later\"\n{}", group("main", "echo ran; exit 3", "local_restart.delay = \"1h\"")),
    );
    wait_for("its first run", || (cell.run(&["job", "logs", "later"]) == "ran\n").then_some(()));
    cell.run(&["job", "stop", "--yes", "later"]);
    settled(&cell, "later", &[("stopped", 1)]);
    assert_eq!(cell.run(&["job", "logs", "later"]), "ran\n");
}

#[test]
fn fields_of_how_a_process_is_kept_apart() {
    let Some(cell) = cell() else { return };
    if !["ohm.isolation.filesystem", "ohm.isolation.processes", "ohm.users"].iter().all(|a| able(&cell, a)) {
        return;
    }
    let shared = tempfile::tempdir_in("/var").unwrap();
    fs::set_permissions(shared.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let shared = shared.path().display().to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let ipc = fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
    let show = "hostname; readlink /proc/self/ns/ipc; ls -d /task 2>/dev/null; grep -c . /proc/1/cmdline; \
                grep Seccomp: /proc/self/status";
    let rights = "id -un; grep -E '^CapEff:' /proc/self/status";
    let write = format!("touch {shared}/x 2>/dev/null && echo open || echo closed");
    let told = said(
        &cell,
        "apart",
        &[
            ("standard", show, ""),
            ("none", show, "isolation.level = \"none\""),
            ("host-name", "hostname", "isolation.hostname = \"host\""),
            ("own-name", "hostname", "isolation.hostname = \"private\""),
            ("host-ipc", "readlink /proc/self/ns/ipc", "isolation.ipc = \"host\""),
            ("host-files", "ls -d /task 2>/dev/null || echo none", "isolation.filesystem = \"host\""),
            ("host-processes", "ls -d /proc/[0-9]* 2> /dev/null | wc -l", "isolation.processes = \"host\""),
            ("own-processes", "ls -d /proc/[0-9]* 2> /dev/null | wc -l", "isolation.processes = \"private\""),
            ("all-calls", "grep Seccomp: /proc/self/status", "isolation.system_calls = \"all\""),
            ("nobody", rights, ""),
            ("daemon", rights, "isolation.user = \"daemon\"\nisolation.capabilities = [\"kill\"]"),
            ("closed", &write, ""),
            ("open", &write, &format!("isolation.writable = [\"{shared}\"]")),
        ],
    );
    let told: std::collections::BTreeMap<_, _> = told.into_iter().collect();
    let (standard, none) = (&told["standard"], &told["none"]);
    assert!(standard.starts_with("apart-standard-0\n") && standard.contains("/task\n"), "{standard}");
    assert!(!standard.contains(&ipc) && standard.ends_with("Seccomp:\t2\n"), "{standard}");
    assert!(none.starts_with(&host) && none.contains(&ipc) && !none.contains("/task\n"), "{none}");
    assert_eq!(told["host-name"], host);
    assert_eq!(told["own-name"], "apart-own-name-0\n");
    assert_eq!(told["host-ipc"].trim(), ipc);
    assert_eq!(told["host-files"], "none\n");
    let count = |name: &str| told[name].trim().parse::<u32>().unwrap();
    assert!(count("own-processes") <= 4 && count("host-processes") > 10, "{told:?}");
    assert!(!told["all-calls"].contains('2'), "{told:?}");
    assert_eq!(told["nobody"], "nobody\nCapEff:\t0000000000000000\n");
    assert_eq!(told["daemon"], "daemon\nCapEff:\t0000000000000020\n");
    assert_eq!((told["closed"].as_str(), told["open"].as_str()), ("closed\n", "open\n"));
}

#[test]
fn fields_of_the_bounds_of_a_process() {
    let Some(cell) = cell() else { return };
    let limits = [
        ("open_files", "77", "Max open files", "77"),
        ("core_size", "\"1 MiB\"", "Max core file size", "1048576"),
        ("file_size", "\"2 MiB\"", "Max file size", "2097152"),
        ("locked_memory", "\"64 KiB\"", "Max locked memory", "65536"),
        ("stack_size", "\"4 MiB\"", "Max stack size", "4194304"),
        ("address_space", "\"2 GiB\"", "Max address space", "2147483648"),
    ];
    let asked: Vec<String> = limits.iter().map(|(name, value, ..)| format!("{name} = {value}")).collect();
    let asked = format!("isolation.limits = {{ {} }}", asked.join(", "));
    let told = said(&cell, "limits", &[("main", "cat /proc/self/limits", &asked)]);
    for (name, _, row, value) in limits {
        let line = told[0].1.lines().find(|line| line.starts_with(row)).unwrap_or_default();
        let numbers: Vec<&str> = line[row.len()..].split_whitespace().take(2).collect();
        assert_eq!(numbers, [value, value], "{name}: {}", told[0].1);
    }

    // Bounds of control groups, as the machine's files of the task's own group say.
    let bounds = [
        ("ohm.cgroup.cpu", "cpu_limit = \"1500m\""),
        ("ohm.cgroup.memory", "memory_limit = \"256 MiB\""),
        ("ohm.cgroup.pids", "pids = 33"),
        ("ohm.cgroup.io", "io_weight = 300"),
    ];
    for (attribute, field) in bounds {
        let name = attribute.rsplit('.').next().expect("a name");
        let file = group("main", "echo up; sleep 1000", &format!("isolation.{field}"));
        submit(&cell, &format!("name = \"{name}\"\n{file}"));
        if !able(&cell, attribute) {
            // Then nothing runs that could do without.
            let why = wait_for("a reason", || {
                let why = cell.run(&["job", "why", name]);
                why.contains(attribute).then_some(why)
            });
            assert!(why.contains(&format!("{attribute} = yes")), "{why}");
            continue;
        }
        let status = settled(&cell, name, &[("running", 1)]);
        let task = status["task_list"][0]["id"].as_str().expect("an id").to_owned();
        let found = files_of_groups(&task);
        let expected: &[&str] = match name {
            "cpu" => &["cpu.cfs_quota_us=150000", "cpu.max=150000 100000"],
            "memory" => &["memory.limit_in_bytes=268435456", "memory.max=268435456"],
            "pids" => &["pids.max=33", "pids.max=34"],
            _ => &[
                "blkio.weight=300",
                "blkio.bfq.weight=300",
                "io.weight=default 300",
                "io.bfq.weight=default 300",
            ],
        };
        assert!(expected.iter().any(|line| found.contains(&(*line).to_owned())), "{name}: {found:?}");
    }
}

/// `file=content` of the short files of the control groups of a task.
fn files_of_groups(task: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<std::path::PathBuf> = vec!["/sys/fs/cgroup".into()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(task))
                && let Ok(content) = fs::read_to_string(&path)
            {
                found.push(format!("{}={}", entry.file_name().to_string_lossy(), content.trim()));
            }
        }
    }
    found
}
