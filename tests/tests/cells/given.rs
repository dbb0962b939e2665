//! What tasks are given before they start: templates filled in, artifacts fetched and checked.

use std::path::Path;
use std::process::Command;

use cell_tests::file_host::{FileHost, sha256};
use cell_tests::test_cell::{TestCell, text, wait_for};

fn cell() -> TestCell {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    cell
}

fn agent(cell: &mut TestCell, name: &str, extra: &[&str]) {
    cell.agent(name, &[&["--cpu", "4", "--memory", "4 GiB"], extra].concat());
}

/// A job whose tasks say something with a shell.
fn job(name: &str, script: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\n[[groups]]\nrestart.on = \"never\"\n[groups.run]\ncommand = \"/bin/sh\"\n\
         args = [\"-c\", '''{script}''']\n{more}"
    )
}

/// Runs a job to its end, and returns how its only task ended.
fn ended(cell: &TestCell, name: &str, file: &str) -> String {
    cell.write("job.toml", file);
    cell.ohm(&["job", "run", "--wait", "job.toml"]);
    let status = cell.json(&["job", "status", name]);
    status["task_list"][0]["exit"].as_str().unwrap_or_default().to_owned()
}

fn artifact(source: &str, more: &str) -> String {
    format!("[[groups.artifacts]]\nsource = \"{source}\"\n{more}\n")
}

#[test]
fn templates_are_filled_in_with_what_the_task_got() {
    let mut cell = cell();
    agent(&mut cell, "m1", &["--attribute", "rack=r7", "--address", "10.1.2.3"]);
    cell.wait_ready(1);
    let file = "name = \"t\"\n[[groups]]\ncount = 2\n[groups.run]\ncommand = \"/bin/${attr.shell}\"\n\
                args = [\"-c\", '''echo \"$0 $URL $$ $${OHM_JOB} $OHM_PORT_WEB_UI\"''', \"${attr.rack}.${OHM_INDEX}of${OHM_COUNT}\"]\n\
                env = { URL = \"http://${OHM_HOST}:${OHM_PORT_WEB_UI}/\" }\n[[groups.ports]]\nname = \"web-ui\"\n";
    cell.write("t.toml", file);
    // No machine has that attribute yet: the task waits, and the reason is said.
    let output = cell.ohm(&["job", "run", "--timeout", "1s", "t.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let why = cell.run(&["job", "why", "t"]);
    assert!(why.contains("shell exists"), "{why}");
    agent(&mut cell, "m2", &["--attribute", "rack=r8", "--attribute", "shell=sh", "--address", "10.1.2.4"]);
    wait_for("both tasks", || (cell.json(&["job", "status", "t"])["tasks"]["completed"] == 2).then_some(()));
    for index in 0..2 {
        let said = cell.run(&["job", "logs", "t", &index.to_string()]);
        let words: Vec<&str> = said.split_whitespace().collect();
        // The shell's own dollars were left to it.
        let [name, url, process, job, port] = words[..] else { panic!("{said}") };
        assert_eq!((name, job), (format!("r8.{index}of2").as_str(), "t"), "{said}");
        assert_eq!(url, format!("http://10.1.2.4:{port}/"));
        assert!(process.parse::<u32>().is_ok() && port.parse::<u16>().is_ok(), "{said}");
    }
}

#[test]
fn artifacts_are_fetched_once_checked_and_put_in_place() {
    let host = FileHost::start();
    let mut cell = cell();
    let offered = cell.path("offered");
    std::fs::create_dir_all(offered.join("src/app/bin")).unwrap();
    std::fs::write(offered.join("src/app/bin/run"), "#!/bin/sh\necho unpacked $1\n").unwrap();
    Command::new("chmod").arg("755").arg(offered.join("src/app/bin/run")).status().unwrap();
    tar(&offered, &["-czf", "app.tar.gz", "-C", "src", "app"]);
    let archive = std::fs::read(offered.join("app.tar.gz")).unwrap();
    let url = host.offer("/files/app.tar.gz?v=1", &archive);
    let hash = sha256(&offered.join("app.tar.gz"));
    // The task's own user can read what it is given, in a view of files of its own.
    agent(&mut cell, "m1", &["--artifacts", &offered.to_string_lossy(), "--isolation", "standard"]);
    cell.wait_ready(1);
    let given = [
        artifact(&url, &format!("sha256 = \"{hash}\"\nunpack = \"tar.gz\"\ndestination = \"here\"")),
        artifact(&url, &format!("sha256 = \"{hash}\"\ndestination = \"as/it/is\"\nmode = \"600\"")),
        artifact(&offered.join("src/app/bin/run").to_string_lossy(), "mode = \"755\""),
    ];
    let script = "here/app/bin/run ${OHM_INDEX}; ./run local; stat -c %a as/it/is; sha256sum < as/it/is";
    cell.write("a.toml", &job("a", script, &given.concat()).replace("restart.on", "count = 3\nrestart.on"));
    cell.run(&["job", "run", "--wait", "a.toml"]);
    for index in 0..3 {
        let said = cell.run(&["job", "logs", "a", &index.to_string()]);
        assert_eq!(said, format!("unpacked {index}\nunpacked local\n600\n{hash}  -\n"));
    }
    assert_eq!(host.asked("/files/app.tar.gz?v=1"), 1, "three tasks, two artifacts, one fetch");
    let shown = cell.json(&["job", "status", "a"])["spec"]["groups"][0]["artifacts"][0].clone();
    assert_eq!((&shown["sha256"], &shown["unpack"]), (&hash.into(), &"tar.gz".into()), "{shown}");

    // What was kept is there for the next agent.
    cell.get("m1").kill();
    cell.get("m1").restart();
    let again = job("b", "./here/app/bin/run again", &given[0]);
    assert_eq!(ended(&cell, "b", &again), "exit 0");
    assert_eq!(host.asked("/files/app.tar.gz?v=1"), 1);
}

fn tar(dir: &Path, args: &[&str]) {
    let made = Command::new("tar").current_dir(dir).args(args).status().expect("tar is there");
    assert!(made.success());
}

#[test]
fn a_task_that_lacks_an_artifact_is_not_started_and_says_which_and_why() {
    let host = FileHost::start();
    let mut cell = cell();
    let offered = cell.path("offered");
    std::fs::create_dir(&offered).unwrap();
    std::fs::write(offered.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", offered.join("link")).unwrap();
    tar(&offered, &["-cPf", "evil.tar", "--transform", "s,^,../../,", "file"]);
    let offered = offered.to_string_lossy().into_owned();
    agent(&mut cell, "m1", &["--artifacts", &offered, "--artifact-cache", "15 kB"]);
    cell.wait_ready(1);
    let (url, large) = (host.offer("/file", b"content"), host.offer("/large", &[0; 20_000]));
    let (zeros, missing) = (format!("sha256 = \"{:064}\"", 0), host.url("/missing"));
    let table = [
        (artifact(&url, &zeros), "its bytes don't have that sha256"),
        (artifact(&missing, &zeros), "its host answered with HTTP status 404"),
        (artifact("http://127.0.0.1:1/file", &zeros), "its host can't be reached"),
        (artifact(&large, &zeros), "larger than the agent takes"),
        (artifact("/etc/passwd", ""), "the machine doesn't offer that path"),
        (artifact(&format!("{offered}/link"), ""), "the machine doesn't offer that path"),
        (artifact(&format!("{offered}/none"), ""), "no such file on the machine"),
        (artifact(&format!("{offered}/evil.tar"), "unpack = \"tar\""), "it can't be unpacked"),
        (artifact(&format!("{offered}/file"), "unpack = \"tar.gz\""), "it can't be unpacked"),
    ];
    for (i, (bad, why)) in table.iter().enumerate() {
        let good = artifact(&format!("{offered}/file"), "destination = \"good\"");
        let name = format!("bad{i}");
        let told = ended(&cell, &name, &job(&name, "echo ran", &format!("{good}{bad}")));
        assert_eq!(told, format!("not started: artifact 1: {why}"));
    }
    assert!(!cell.path("agents/m1/tasks/file").exists() && !cell.path("agents/m1/file").exists());

    // A machine that offers no paths isn't even tried.
    cell.get("m1").kill();
    agent(&mut cell, "m1", &[]);
    let name = "nowhere";
    cell.write("n.toml", &job(name, "true", &artifact(&format!("{offered}/file"), "")));
    wait_for("the machine without paths", || {
        let attributes = cell.json(&["node", "status", "m1"])["attributes"].clone();
        attributes["ohm.artifacts.path"].is_null().then_some(())
    });
    let output = cell.ohm(&["job", "run", "--timeout", "1s", "n.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let why = cell.run(&["job", "why", name]);
    assert!(why.contains("ohm.artifacts.path = yes"), "{why}");
}

#[test]
fn a_host_that_does_not_answer_holds_up_nobody_else() {
    let host = FileHost::start();
    let mut cell = cell();
    agent(&mut cell, "m1", &[]);
    cell.wait_ready(1);
    std::fs::write(cell.path("file"), "content").unwrap();
    let url = host.offer("/slow", b"content");
    host.hold("/slow");
    let given = artifact(&url, &format!("sha256 = \"{}\"", sha256(&cell.path("file"))));
    for name in ["stopped", "slow"] {
        cell.write("slow.toml", &job(name, "cat slow", &given));
        cell.run(&["job", "run", "--detach", "slow.toml"]);
    }
    wait_for("somebody to ask", || (host.asked("/slow") > 0).then_some(()));
    assert_eq!(ended(&cell, "quick", &job("quick", "true", "")), "exit 0");
    cell.run(&["job", "stop", "--yes", "stopped"]);
    assert_eq!(
        cell.json(&["job", "status", "stopped"])["task_list"][0]["exit"],
        "not started: stopped first"
    );
    assert_eq!(cell.json(&["job", "status", "slow"])["tasks"]["placed"], 1);
    host.release();
    wait_for("the slow one", || {
        (cell.json(&["job", "status", "slow"])["tasks"]["completed"] == 1).then_some(())
    });
    assert_eq!(cell.run(&["job", "logs", "slow", "0"]), "content");
    assert_eq!(host.asked("/slow"), 1);
}
