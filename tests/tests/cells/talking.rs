//! Talking to tasks through the cell: their output as it comes, commands beside them, their files, signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use cell_tests::binary;
use cell_tests::test_cell::{TestCell, running, text, wait_for};
use transport::Role;

/// A cell whose server, agents and people are apart: `machines` agents, one task of `script` on each.
fn cell(machines: &[&str], script: &str) -> TestCell {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("service", "service", "service", 1);
    for machine in machines {
        cell.agent(machine, &["--cpu", "2", "--memory", "1 GiB"]);
    }
    cell.wait_ready(machines.len());
    let job = format!(
        "name = \"web\"\nkind = \"service\"\n[[groups]]\nname = \"main\"\ncount = {}\ndistinct_machines = true\n\
         [groups.run]\ncommand = \"/bin/sh\"\nargs = [\"-c\", '''{script}''']\nlog_size = \"16 KiB\"\nlog_files = 3\n\
         [groups.resources]\ncpu = \"200m\"\nmemory = \"256 MiB\"\n[groups.restart]\non = \"never\"\n",
        machines.len()
    );
    cell.write("web.toml", &job);
    cell.run(&["job", "run", "web.toml"]);
    wait_for("all running", || {
        let running = &cell.json(&["job", "status", "web"])["tasks"]["running"];
        (*running == machines.len()).then_some(())
    });
    cell
}

fn command(cell: &TestCell, args: &[&str]) -> Command {
    let mut command = Command::new(binary::ohm());
    command.args(args).envs(cell.environment()).current_dir(cell.path(""));
    command
}

#[test]
fn output_is_followed_across_rotations_and_agents_and_a_finished_tasks_stays_readable() {
    // Batches of a hundred lines of a hundred bytes each, the next one when it is let go: so the reader keeps up, however
    // slow, and sees each of the files before it goes.
    let script = "i=0; b=0; while [ $b -lt 12 ]; do b=$((b+1)); while [ ! -e go-$b ]; do sleep 0.02; done; \
                  j=0; while [ $j -lt 100 ]; do j=$((j+1)); i=$((i+1)); printf '%099d\\n' $i; done; done; \
                  echo oops >&2; while [ ! -e go ]; do sleep 0.02; done; echo last";
    let mut cell = cell(&["m1", "m2"], script);
    let mut follow = command(&cell, &["job", "logs", "-f", "web/main/0"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ohm");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    let mut next = 0;
    for batch in 1..=12 {
        if batch == 6 {
            // The agents are replaced meanwhile: tasks go on, and so does whoever follows.
            for machine in ["m1", "m2"] {
                cell.get(machine).kill();
                cell.get(machine).restart();
            }
        }
        let go = format!("go-{batch}");
        wait_for("a command beside the task", || {
            cell.ohm(&["task", "exec", "web/0", "--", "touch", &go]).status.success().then_some(())
        });
        for line in lines.by_ref().take(100) {
            next += 1;
            assert_eq!(line.expect("text").trim_start_matches('0').parse(), Ok(next));
        }
    }
    assert_eq!(next, 1_200);
    cell.wait_ready(2);
    wait_for("a command beside the task", || {
        cell.ohm(&["task", "exec", "web/0", "--", "touch", "go"]).status.success().then_some(())
    });
    assert_eq!(lines.next().expect("a line").expect("text"), "last");
    assert!(lines.next().is_none(), "following ends with the task");
    assert!(follow.wait().expect("it ends").success());

    // Rotated: the end is there, and a task that has ended is read as before.
    let numbers: Vec<String> = [1198, 1199, 1200].map(|n| format!("{n:099}\n")).into();
    assert_eq!(cell.run(&["job", "logs", "-n", "4", "web/main/0"]), numbers.concat() + "last\n");
    assert_eq!(cell.run(&["job", "logs", "--tail", "5 B", "web", "main.0"]), "last\n");
    assert_eq!(cell.run(&["job", "logs", "--stderr", "web/0"]), "oops\n");
    assert!(cell.run(&["job", "logs", "--since", "1h", "web/0"]).ends_with("last\n"));
    wait_for("a silence", || cell.run(&["job", "logs", "--since", "1ms", "web/0"]).is_empty().then_some(()));
    let (_, problem) = cell.refused(&["job", "logs", "--since", "soon", "web/0"]);
    assert!(
        problem.contains("--since") && problem.contains("\"soon\"") && problem.contains("10m"),
        "{problem}"
    );
    let (_, problem) = cell.refused(&["job", "logs", "web/main/7"]);
    assert!(problem.contains("web/main/0 to web/main/1"), "{problem}");
}

/// More input than any buffer holds comes back through a command that reads and writes.
fn input_comes_back(cell: &TestCell) {
    let mut cat = command(cell, &["task", "exec", "-i", "web", "--", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ohm");
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut input, bytes) = (cat.stdin.take().expect("a pipe"), sent.clone());
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let mut back = Vec::new();
    cat.stdout.take().expect("a pipe").read_to_end(&mut back).expect("output");
    writing.join().expect("no panic").expect("all is taken");
    assert!(cat.wait().expect("it ends").success());
    assert!(back == sent, "{} bytes came back of {}", back.len(), sent.len());
}

#[test]
fn a_command_runs_where_the_task_is_and_ends_with_whoever_wanted_it() {
    let cell = cell(
        &["m1"],
        "echo secret > own; mkdir out; echo 7 > out/n; trap 'echo hup' HUP; while :; do sleep 0.1; done",
    );
    // Its directory, its environment, its exit code, and both outputs apart.
    let output = cell.ohm(&["task", "exec", "web", "--", "sh", "-c", "cat own; echo $OHM_TASK >&2; exit 7"]);
    assert_eq!(
        (output.status.code(), &*text(&output.stdout)),
        (Some(7), "secret\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stderr), "j0.0.0\n");
    let output = cell.ohm(&["task", "exec", "web", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(137));
    let (code, problem) = cell.refused(&["task", "exec", "web", "--", "no-such-program"]);
    assert!(code == 1 && problem.contains("no-such-program"), "{problem}");

    input_comes_back(&cell);

    // A terminal: what is typed is echoed, its size is known, and the end of input is a key.
    let mut sh = command(
        &cell,
        &["task", "exec", "-t", "web", "--", "sh", "-c", "[ -t 0 ] && echo yes; stty size; echo $TERM"],
    );
    let output = sh.env("TERM", "vt100").stdin(Stdio::null()).output().expect("ohm");
    let printed = text(&output.stdout);
    assert!(printed.contains("yes\r\n24 80\r\nvt100\r\n"), "{printed}");
    let (_, problem) = cell.refused(&["task", "exec", "-it", "web", "--", "sh"]);
    assert!(problem.contains("--tty"), "{problem}");

    // When whoever wanted it is gone, so is the command, and what it started.
    let mut sleep = command(&cell, &["task", "exec", "web", "--", "sh", "-c", "sleep 48151 & sleep 48152"]);
    let mut sleep = sleep.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("ohm");
    wait_for("both", || (running(&["sleep", "48151"]) + running(&["sleep", "48152"]) == 2).then_some(()));
    sleep.kill().expect("it runs");
    sleep.wait().expect("it ends");
    wait_for("none", || (running(&["sleep", "48151"]) + running(&["sleep", "48152"]) == 0).then_some(()));

    // A signal reaches the task's own process.
    cell.run(&["task", "signal", "web", "SIGHUP"]);
    wait_for("the word", || cell.run(&["job", "logs", "web"]).contains("hup").then_some(()));
    let (_, problem) = cell.refused(&["task", "signal", "web", "LOUD"]);
    assert!(
        problem.contains("SIGNAL") && problem.contains("\"LOUD\"") && problem.contains("HUP"),
        "{problem}"
    );

    // Commands end with the task.
    let mut sleep = command(&cell, &["task", "exec", "web", "--", "sleep", "48153"]);
    let mut sleep = sleep.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ohm");
    wait_for("it", || (running(&["sleep", "48153"]) == 1).then_some(()));
    cell.run(&["job", "stop", "--yes", "web"]);
    // Of the kernel, with the task's own process numbers, or of the agent: whoever was first.
    let code = sleep.wait().expect("it ends").code();
    assert!(matches!(code, Some(1 | 137)), "{code:?}");
    assert_eq!(running(&["sleep", "48153"]), 0);
    let (_, problem) = cell.refused(&["task", "exec", "web", "--", "true"]);
    assert!(problem.contains("not running"), "{problem}");
}

#[test]
fn files_are_shown_from_the_tasks_directory_and_from_nowhere_else() {
    let script = "mkdir -p out/deep; echo 7 > out/deep/n; ln -s /etc/passwd away; ln -s / root; ln -s out inner; \
                  mkfifo pipe; head -c 300000 /dev/zero > big; echo ready; sleep 1000";
    let cell = cell(&["m1"], script);
    wait_for("the files", || cell.run(&["job", "logs", "web"]).contains("ready").then_some(()));
    let rows = cell.json(&["task", "fs", "ls", "web"]);
    let kinds: Vec<(&str, &str)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["name"].as_str().unwrap(), r["kind"].as_str().unwrap()))
        .collect();
    let expected = [
        ("away", "link"),
        ("big", "file"),
        ("inner", "link"),
        ("out", "directory"),
        ("pipe", "other"),
        ("root", "link"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(cell.run(&["task", "fs", "ls", "-o", "name", "web", "/out/deep"]), "n\n");
    assert_eq!(cell.run(&["task", "fs", "cat", "web", "out/deep/n"]), "7\n");
    assert_eq!(cell.ohm(&["task", "fs", "cat", "web", "big"]).stdout.len(), 300_000);
    let table = [
        ("../spec.json", "\"..\""),
        ("out/../../spec.json", "\"..\""),
        ("away", "symbolic link"),
        ("root/etc/passwd", "symbolic link"),
        ("inner/deep/n", "symbolic link"),
        ("/etc/passwd", "not there"),
        ("pipe", "named pipe"),
        ("out", "directory"),
        ("nothing", "not there"),
    ];
    for (path, why) in table {
        let (code, problem) = cell.refused(&["task", "fs", "cat", "web", path]);
        assert!(code == 1 && problem.contains("path") && problem.contains(why), "{path}: {problem}");
        assert!(!problem.contains("root:"), "{path}: {problem}");
    }

    // Readers read output; commands, files and signals are for users.
    cell.issue(Role::Reader, "eve");
    cell.issue(Role::User, "ann");
    let role = |role: &str, args: &[&str]| {
        let output = cell.ohm(&[args, &["--role", role]].concat());
        (output.status.success(), text(&output.stderr))
    };
    assert!(role("reader", &["job", "logs", "web"]).0);
    for args in [
        &["task", "fs", "ls", "web"][..],
        &["task", "fs", "cat", "web", "big"],
        &["task", "signal", "web", "HUP"],
    ] {
        let (went_well, problem) = role("reader", args);
        assert!(!went_well && problem.contains("role reader may not"), "{args:?}: {problem}");
    }
    assert!(role("user", &["task", "fs", "ls", "web"]).0);
    let user =
        command(&cell, &["task", "exec", "--role", "user", "web", "--", "true"]).status().expect("ohm");
    let reader =
        command(&cell, &["task", "exec", "--role", "reader", "web", "--", "true"]).output().expect("ohm");
    assert!(user.success() && text(&reader.stderr).contains("role reader may not TaskExec"));
}

#[test]
fn readers_that_stand_still_hold_up_neither_task_nor_cell() {
    let cell =
        cell(&["m1"], "yes 0123456789012345678901234567890 | head -c 50000000 >&2; echo done; sleep 1000");
    // As many as an agent takes, none of which reads: the task writes on, and the next one is refused in words.
    let mut readers = Vec::new();
    for _ in 0..transport::bounds::CONVERSATIONS_MAX {
        let mut reader = command(&cell, &["task", "exec", "web", "--", "cat", "/dev/zero"]);
        readers.push(reader.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ohm"));
    }
    wait_for("all of them", || (running(&["cat", "/dev/zero"]) == readers.len()).then_some(()));
    let (_, problem) = cell.refused(&["job", "logs", "web"]);
    assert!(problem.contains("conversations") && problem.contains("m1"), "{problem}");
    // Reports and the log of this very agent go on.
    cell.write(
        "other.toml",
        "name = \"other\"\nkind = \"service\"\n[[groups]]\nname = \"main\"\n[groups.run]\ncommand = \"/bin/true\"\n\
         [groups.resources]\ncpu = \"100m\"\nmemory = \"16 MiB\"\n[groups.restart]\non = \"never\"\n",
    );
    cell.run(&["job", "run", "--wait", "other.toml"]);
    for reader in &mut readers {
        reader.kill().expect("it runs");
        reader.wait().expect("it ends");
    }
    wait_for("room", || cell.ohm(&["job", "logs", "web"]).status.success().then_some(()));
    wait_for("the task's word", || (cell.run(&["job", "logs", "web"]) == "done\n").then_some(()));
}
