//! The job files of docs/examples, run as they are by a cell of real processes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use cell_tests::source::root;
use cell_tests::test_cell::{TestCell, wait_for};

const PYTHON: &str = "/usr/bin/python3";

fn cell() -> TestCell {
    let mut cell = TestCell::start(&[]);
    for policy in ["batch", "service", "gang"] {
        cell.scheduler(policy, policy, policy, 1);
    }
    cell
}

/// An agent of this host with a range of ports of its own.
fn agent(cell: &mut TestCell, name: &str, ports: &str, extra: &[&str]) {
    let rack = format!("rack={name}");
    let own = ["--cpu", "2", "--memory", "2 GiB", "--ports", ports, "--attribute", &rack];
    cell.agent(name, &[&own[..], extra].concat());
}

fn example(name: &str) -> String {
    root().join("docs/examples").join(name).display().to_string()
}

fn no_python() -> bool {
    let missing = !Path::new(PYTHON).exists();
    if missing {
        eprintln!("skipped: {PYTHON} is not there, which this example runs");
    }
    missing
}

#[test]
fn a_web_service_answers_on_the_ports_it_was_given() {
    if no_python() {
        return;
    }
    let mut cell = cell();
    agent(&mut cell, "m1", "20000-25999", &[]);
    agent(&mut cell, "m2", "26000-31999", &[]);
    cell.wait_ready(2);
    cell.run(&["job", "run", &example("web.toml")]);
    let status = cell.json(&["job", "status", "web-example"]);
    let tasks = status["task_list"].as_array().expect("a list");
    assert_ne!(tasks[0]["machine"], tasks[1]["machine"], "spread over the racks");
    for task in tasks {
        let port = task["ports"][0].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let answer = wait_for("the server", || get(port));
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
    cell.run(&["job", "stop", "--yes", "web-example"]);
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

#[test]
fn a_batch_array_divides_the_work_by_task() {
    let mut cell = cell();
    agent(&mut cell, "m1", "20000-31999", &[]);
    cell.wait_ready(1);
    cell.run(&["job", "run", "--wait", &example("array.toml")]);
    let found = (0..8u32).map(|index| cell.run(&["job", "logs", "primes", &index.to_string()]));
    let found: usize = found.map(|said| said.trim().parse::<usize>().expect("a number")).sum();
    let is_prime = |n: &u32| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    assert_eq!(found, (2..2_000).filter(is_prime).count());
}

#[test]
fn a_gang_waits_until_all_of_it_fits_and_then_meets() {
    if no_python() {
        return;
    }
    let mut cell = cell();
    agent(&mut cell, "m1", "20000-25999", &[]);
    cell.wait_ready(1);
    cell.run(&["job", "run", "--detach", &example("gang.toml")]);
    wait_for("the reason why it waits", || {
        cell.run(&["job", "why", "meeting"]).contains("role = leader").then_some(())
    });
    let status = cell.json(&["job", "status", "meeting"]);
    assert_eq!(status["tasks"]["pending"], 4, "three would fit, and wait for the fourth: {status}");
    agent(&mut cell, "m2", "26000-31999", &["--attribute", "role=leader"]);
    wait_for("the meeting", || {
        (cell.json(&["job", "status", "meeting"])["tasks"]["completed"] == 4).then_some(())
    });
    assert_eq!(cell.run(&["job", "logs", "meeting", "leader.0"]), "met member.0 member.1 member.2\n");
    assert_eq!(cell.run(&["job", "logs", "meeting", "member.1"]), "member.1 heard go\n");
    let txns = cell.json(&["txn", "list", "--job", "meeting"]);
    assert_eq!(txns.as_array().map(Vec::len), Some(1), "all of it in one transaction: {txns}");
}
