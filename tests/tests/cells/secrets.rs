//! Secrets: files in memory that only their task sees, and values that are nowhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use cell_tests::file_host::sha256;
use cell_tests::test_cell::{TestCell, text, wait_for};

/// What must be nowhere but in the operator's file and in the task.
const VALUE: &str = "correct-horse-battery-staple-4711";

/// A cell with an agent that keeps secrets of the team `default`, or `None` where tests don't run as root.
fn cell() -> Option<TestCell> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only an agent that runs as root keeps secrets");
        return None;
    }
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    let dir = cell.path("secrets");
    for path in [dir.clone(), dir.join("default"), dir.join("others")] {
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(dir.join("default/db"), VALUE).unwrap();
    fs::write(dir.join("default/large"), [0; (1 << 20) + 1]).unwrap();
    fs::write(dir.join("others/theirs"), VALUE).unwrap();
    let size = ["--cpu", "4", "--memory", "4 GiB", "--isolation", "standard", "--log", "debug"];
    cell.agent("m1", &[&size[..], &["--secrets", &dir.to_string_lossy()]].concat());
    cell.wait_ready(1);
    Some(cell)
}

/// A job whose tasks say something with a shell, and have these secrets: name and file.
fn job(name: &str, script: &str, secrets: &[(&str, &str)]) -> String {
    let table =
        |(name, file): &(&str, &str)| format!("[[groups.secrets]]\nname = \"{name}\"\nfile = \"{file}\"\n");
    let secrets: String = secrets.iter().map(table).collect();
    format!(
        "name = \"{name}\"\n[[groups]]\nrestart.on = \"never\"\n[groups.run]\ncommand = \"/bin/sh\"\n\
         args = [\"-c\", '''{script}''']\n{secrets}"
    )
}

fn exit(cell: &TestCell, name: &str) -> String {
    let status = cell.json(&["job", "status", name]);
    status["task_list"][0]["exit"].as_str().unwrap_or_default().to_owned()
}

/// Files below a directory that have the value in them.
fn holding(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => holding(&path, found),
            Ok(kind) if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_default();
                if bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
            // The agent's own small files are links whose target is the text.
            Ok(_) | Err(_) => {
                let target = fs::read_link(&path).unwrap_or_default();
                if target.to_string_lossy().contains(VALUE) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
}

#[test]
fn a_secret_is_a_file_in_memory_that_only_its_task_sees_and_its_value_is_nowhere_else() {
    let Some(mut cell) = cell() else { return };
    let secrets = cell.path("secrets");
    // The script is part of the job, so it must not say the value itself.
    let script = format!(
        "cd /run/secrets; stat -c '%n %a %U' *; stat -f -c %T .; id -un; sha256sum < db.txt; echo $OHM_SECRETS; \
         touch x 2>/dev/null || echo closed; ls {} 2>/dev/null || echo hidden; sleep 1000",
        secrets.display()
    );
    cell.write("s.toml", &job("s", &script, &[("db", "db.txt")]));
    cell.run(&["job", "run", "--detach", "s.toml"]);
    let said = wait_for("the task to look around", || {
        let said = text(&cell.ohm(&["job", "logs", "s"]).stdout);
        said.ends_with("hidden\n").then_some(said)
    });
    let hash = sha256(&secrets.join("default/db"));
    let expected = format!("db.txt 400 nobody\ntmpfs\nnobody\n{hash}  -\n/run/secrets\nclosed\nhidden\n");
    assert_eq!(said, expected);

    // Neither the machine nor a task beside it sees the file.
    assert!(!Path::new("/run/secrets/db.txt").exists());
    let look = "ls /run/secrets 2>&1; for p in /proc/[0-9]*; do cat $p/root/run/secrets/db.txt 2>/dev/null; done; true";
    cell.write("n.toml", &job("neighbour", look, &[]));
    cell.run(&["job", "run", "--wait", "n.toml"]);
    let said = cell.run(&["job", "logs", "neighbour"]);
    assert!(said.contains("No such file") && !said.contains(VALUE), "{said}");

    // Nobody who asks about it is told its value.
    for output in [
        &["job", "status", "s", "-o", "json"][..],
        &["job", "status", "s"],
        &["job", "why", "s"],
        &["txn", "list", "--job", "s", "-o", "json"],
        &["node", "status", "m1", "-o", "json"],
        &["state", "-o", "json"],
    ] {
        let output = cell.ohm(output);
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(!told.contains(VALUE), "{told}");
    }
    cell.run(&["job", "stop", "--yes", "s"]);
    wait_for("the task to stop", || {
        (cell.json(&["job", "status", "s"])["tasks"]["stopped"] == 1).then_some(())
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/run/secrets"), "{mounts}");
    // The log of the cell, the agent's records, the tasks' directories, what every process printed.
    for name in cell.names() {
        cell.get(&name).kill();
    }
    let mut found = Vec::new();
    holding(&cell.path(""), &mut found);
    found.sort();
    assert_eq!(
        found,
        [secrets.join("default/db"), secrets.join("others/theirs")].map(|p| p.display().to_string())
    );
}

#[test]
fn a_task_that_lacks_a_secret_is_not_started_and_says_which_and_why() {
    let Some(mut cell) = cell() else { return };
    let table = [
        ("none", "the machine has none of that name for the team"),
        ("theirs", "the machine has none of that name for the team"),
        ("large", "larger than a secret may be"),
    ];
    for (name, why) in table {
        cell.write("job.toml", &job(name, "echo ran", &[("db", "db"), (name, "second")]));
        cell.ohm(&["job", "run", "--wait", "job.toml"]);
        assert_eq!(exit(&cell, name), format!("not started: secret 1: {why}"));
        assert_eq!(cell.run(&["job", "logs", name]), "");
    }

    // A machine without secrets isn't even tried.
    cell.get("m1").kill();
    cell.agent("m1", &["--cpu", "4", "--memory", "4 GiB"]);
    wait_for("the machine without secrets", || {
        cell.json(&["node", "status", "m1"])["attributes"]["ohm.secrets"].is_null().then_some(())
    });
    cell.write("job.toml", &job("nowhere", "true", &[("db", "db")]));
    let output = cell.ohm(&["job", "run", "--timeout", "1s", "job.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let why = cell.run(&["job", "why", "nowhere"]);
    assert!(why.contains("ohm.secrets = yes"), "{why}");
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let Some(mut cell) = cell() else { return };
    cell.get("m1").kill();
    let dir = cell.path("open");
    fs::create_dir(&dir).unwrap();
    let data = cell.path("agents/m1").display().to_string();
    let refused = |dir: &Path| {
        let dir = dir.display().to_string();
        cell.refused(&["agent", "--name", "m1", "--data", &data, "--secrets", &dir]).1
    };
    for mode in [0o755, 0o710, 0o701] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        let told = refused(&dir);
        assert!(told.contains("must be a directory that only root can enter"), "{told}");
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&dir, Some(65_534), None).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().uid(), 65_534);
    assert!(refused(&dir).contains("chown root:"));
    assert!(refused(&cell.path("absent")).contains("can't read"));
}
