//! How tasks are looked after: each field of a job file that is about it, with its effect on real processes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use agent::Signal;
use cell_state::job::RestartOn;
use cell_state::job::care::{Care, Check, Health, Hook, LocalRestart, StopSignal};
use cell_state::job::isolation::{Isolation, attribute};
use cell_state::task::{Exit, NotStarted};
use transport::message::{LogFrom, LogStream};

use crate::isolation::able;
use crate::site::{Site, confined, exec, id, script, unconfined, wait_until, with_care};

const MS: u64 = 1_000;

fn health(check: Check) -> Care {
    let health = Health { check, every_us: 10 * MS, timeout_us: 20_000 * MS, failures: 2, start_grace_us: 0 };
    Care { health: Some(health), ..Care::default() }
}

fn hook(text: &str) -> Option<Hook> {
    Some(Hook { command: "sh".into(), args: vec!["-c".into(), text.into()], timeout_us: 20_000 * MS })
}

fn restart(on: RestartOn, attempts: u16) -> Care {
    Care { local_restart: Some(LocalRestart { on, attempts, delay_us: MS }), ..Care::default() }
}

#[tokio::test]
async fn a_task_whose_time_is_over_is_stopped_and_that_is_a_failure() {
    let mut site = Site::new();
    let care = Care { max_run_us: Some(50 * MS), ..restart(RestartOn::Always, 9) };
    site.start(1, with_care(care.clone(), exec("sleep", &["1000"])));
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
    // One that ends well when it is told to has not done its work all the same.
    site.start(2, with_care(care, script("trap 'exit 0' TERM; while :; do sleep 0.01; done")));
    assert_eq!(site.end_of(2).await, Exit::Signal(15));
}

#[tokio::test]
async fn the_stop_signal_is_the_one_that_was_asked_for_and_comes_once() {
    let mut site = Site::new();
    let care = Care { stop_signal: StopSignal::Usr2, ..Care::default() };
    for (n, isolation) in [(1, unconfined()), (2, Isolation::default())] {
        let text = "trap 'echo stop' USR2; echo ready; until [ -e go ]; do sleep 0.01; done; exit 5";
        site.start(n, confined(isolation, with_care(care.clone(), script(text))));
        site.started(n).await;
        site.wait_for_log(n, "ready\n").await;
        site.driver.signal(id(n), Signal::Term);
        site.wait_for_log(n, "stop\n").await;
        // Whatever followed it by itself would come at once.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        site.touch(n, "work/go");
        assert_eq!(site.end_of(n).await, Exit::Code(5));
        assert_eq!(site.log(n, LogStream::Stdout, LogFrom::Offset(0)), "ready\nstop\n");
    }
}

#[tokio::test]
async fn a_command_says_whether_a_task_is_healthy() {
    let mut site = Site::new();
    let check = Check::Command { command: "sh".into(), args: vec!["-c".into(), "test ! -e ../sick".into()] };
    site.start(1, with_care(health(check), script("echo ready; sleep 1000")));
    site.started(1).await;
    site.wait_for_log(1, "ready\n").await;
    site.touch(1, "sick");
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
}

#[tokio::test]
async fn failures_do_not_count_while_a_task_starts_and_only_in_a_row() {
    let mut site = Site::new();
    let fails_once = "if test -e ../failed; then exit 0; else touch ../failed; exit 1; fi";
    let check = Check::Command { command: "sh".into(), args: vec!["-c".into(), fails_once.into()] };
    site.start(1, with_care(health(check), script("until [ -e ../go ]; do sleep 0.01; done; exit 3")));
    let always = Check::Command { command: "false".into(), args: Vec::new() };
    let mut starting = health(always);
    starting.health.as_mut().unwrap().start_grace_us = 3_600_000 * MS;
    site.start(2, with_care(starting, script("until [ -e ../go ]; do sleep 0.01; done; exit 4")));
    site.started(2).await;
    wait_until(|| site.root().join("j1.0.0-1/failed").exists()).await;
    site.go(1);
    site.go(2);
    assert_eq!(site.end_of(1).await, Exit::Code(3));
    assert_eq!(site.end_of(2).await, Exit::Code(4));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unhealthy() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = Check::Tcp { port: "web-1".into() };
    site.start_on(port, 1, with_care(health(check), exec("sleep", &["1000"])));
    site.started(1).await;
    // It was asked at least once and lives.
    drop(listener.accept().unwrap());
    drop(listener);
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
}

#[tokio::test]
async fn a_bad_status_is_unhealthy() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (status, asked) = (Arc::new(AtomicU16::new(204)), Arc::new(AtomicU16::new(0)));
    let (says, counts) = (Arc::clone(&status), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).unwrap_or(0);
            let status = if request[..length].starts_with(b"GET /ready?x=1 HTTP/1.1\r\n") {
                says.load(Ordering::SeqCst)
            } else {
                404
            };
            counts.fetch_add(1, Ordering::SeqCst);
            stream.write_all(format!("HTTP/1.1 {status} Yes\r\n\r\n").as_bytes()).ok();
        }
    });
    let check = Check::Http { port: "web-1".into(), path: "/ready?x=1".into() };
    site.start_on(port, 1, with_care(health(check), exec("sleep", &["1000"])));
    site.started(1).await;
    wait_until(|| asked.load(Ordering::SeqCst) > 4).await;
    status.store(503, Ordering::SeqCst);
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
}

#[tokio::test]
async fn a_check_that_hangs_has_failed() {
    let mut site = Site::new();
    let mut care = health(Check::Command { command: "sleep".into(), args: vec!["1000".into()] });
    care.health.as_mut().unwrap().timeout_us = 20 * MS;
    site.start(1, with_care(care, exec("sleep", &["1000"])));
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
}

#[tokio::test]
async fn a_task_is_restarted_in_place_until_it_is_well_or_none_is_left() {
    let mut site = Site::new();
    let third = || script("echo run >> ../../count; [ $(wc -l < ../../count) -ge 3 ]");
    site.start(1, with_care(restart(RestartOn::Failure, 5), third()));
    assert_eq!(site.end_of(1).await, Exit::Code(0));
    assert_eq!(site.count(), 3);
    site.start(2, with_care(restart(RestartOn::Failure, 1), script("echo run >> ../../count; exit 7")));
    assert_eq!(site.end_of(2).await, Exit::Code(7));
    assert_eq!(site.count(), 5, "once, and one restart");
    site.start(3, with_care(restart(RestartOn::Always, 2), script("echo run >> ../../count; echo $PPID")));
    assert_eq!(site.end_of(3).await, Exit::Code(0));
    assert_eq!(site.count(), 8);
    let shims = site.log(3, LogStream::Stdout, LogFrom::Offset(0));
    let shims: Vec<&str> = shims.lines().collect();
    assert!(shims.len() == 3 && shims.iter().all(|shim| *shim == shims[0]), "under one shim: {shims:?}");
}

#[tokio::test]
async fn a_task_that_was_asked_to_stop_is_not_restarted() {
    let mut site = Site::new();
    let run = script("echo run >> ../../count; echo ready; while :; do sleep 0.01; done");
    site.start(1, with_care(restart(RestartOn::Always, 9), run));
    site.started(1).await;
    site.wait_for_log(1, "ready\n").await;
    site.driver.signal(id(1), Signal::Term);
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
    assert_eq!(site.count(), 1);
}

#[tokio::test]
async fn hooks_run_before_and_after_whatever_happens_between() {
    let mut site = Site::new();
    let care = || Care { pre_start: hook("echo before"), post_stop: hook("echo after"), ..Care::default() };
    let log = |site: &Site, n| site.log(n, LogStream::Stdout, LogFrom::Offset(0));
    site.start(1, with_care(care(), script("echo task; exit 6")));
    assert_eq!(site.end_of(1).await, Exit::Code(6));
    assert_eq!(log(&site, 1), "before\ntask\nafter\n");
    site.start(2, with_care(Care { pre_start: hook("echo no; exit 9"), ..care() }, script("echo task")));
    assert_eq!(site.end_of(2).await, Exit::Code(9));
    assert_eq!(log(&site, 2), "no\nafter\n");
    site.start(3, with_care(care(), exec("/no/such/program", &[])));
    assert_eq!(site.end_of(3).await, Exit::NotStarted(NotStarted::CommandNotFound));
    assert_eq!(log(&site, 3), "before\nafter\n");
    let mut slow = care();
    slow.pre_start = Some(Hook { command: "sleep".into(), args: vec!["1000".into()], timeout_us: 20 * MS });
    site.start(4, with_care(slow, script("echo task")));
    assert_eq!(site.end_of(4).await, Exit::Signal(15));
    assert_eq!(log(&site, 4), "after\n");
}

/// What a process may do and where it is, written to a file of its name.
const RIGHTS: &str = "(id -u; id -g; hostname; cat /proc/self/cgroup; ls /; touch /etc/made 2>&1
    grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapPrm):' /proc/self/status) > /tmp/$0.new
    readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/ipc > /tmp/$0-spaces.new
    mv /tmp/$0.new /tmp/$0; mv /tmp/$0-spaces.new /tmp/$0-spaces;";

#[tokio::test]
async fn hooks_restarts_and_checks_are_as_isolated_as_the_task() {
    let mut site = Site::new();
    let names = [attribute::FILESYSTEM, attribute::PROCESSES, attribute::SYSTEM_CALLS, attribute::USERS];
    if !able(&site, &names) {
        return;
    }
    let as_name = |name: &str, text: &str| vec!["-c".to_owned(), format!("{RIGHTS} {text}"), name.to_owned()];
    let hook = |name| Some(Hook { command: "sh".into(), args: as_name(name, ""), timeout_us: 20_000 * MS });
    let check = Check::Command { command: "sh".into(), args: as_name("check", "") };
    let restart = LocalRestart { on: RestartOn::Failure, attempts: 1, delay_us: MS };
    let care = Care {
        pre_start: hook("before"),
        post_stop: hook("after"),
        local_restart: Some(restart),
        ..health(check)
    };
    // The second time it ends when a check was where it is itself.
    let text = "if mkdir /tmp/again 2> /dev/null; then exit 3; fi
        until cmp -s /tmp/task-spaces /tmp/check-spaces; do sleep 0.01; done; echo well";
    let run = exec("sh", &as_name("task", text).iter().map(String::as_str).collect::<Vec<_>>());
    site.start(1, confined(Isolation::default(), with_care(care, run)));
    assert_eq!(site.end_of(1).await, Exit::Code(0), "{}", site.complaints());
    assert_eq!(site.log(1, LogStream::Stdout, LogFrom::Offset(0)), "well\n");
    let read = |name: &str| {
        std::fs::read_to_string(site.root().join("j1.0.0-1/tmp").join(name))
            .unwrap_or_else(|e| format!("{e}"))
    };
    let task = read("task");
    assert!(task.contains("NoNewPrivs:\t1") && task.contains("Seccomp:\t2"), "{task}");
    assert!(!task.starts_with("0\n") && task.contains("/etc/made"), "{task}");
    for name in ["before", "check", "after"] {
        assert_eq!(read(name), task, "{name}");
    }
    assert_eq!(site.groups(1).len(), 0, "its control groups are gone");
}

#[tokio::test]
async fn a_check_that_is_killed_leaves_nothing_behind() {
    let mut site = Site::new();
    for (n, isolation) in [(1, unconfined()), (2, Isolation::default())] {
        let command = Check::Command {
            command: "sh".into(),
            args: vec!["-c".into(), "echo run >> count; sleep 1000".into()],
        };
        let mut care = health(command);
        let health = care.health.as_mut().unwrap();
        (health.timeout_us, health.start_grace_us) = (700 * MS, 3_600_000 * MS);
        let run = exec("sh", &["-c", "until [ -e go ]; do sleep 0.01; done"]);
        site.start(n, confined(isolation, with_care(care, run)));
        site.started(n).await;
        let count = site.root().join(format!("{}/work/count", id(n)));
        wait_until(|| std::fs::read_to_string(&count).is_ok_and(|lines| lines.lines().count() > 2)).await;
        let sleeping = site.processes(n).len();
        assert!(sleeping <= 6, "{sleeping}: the task, its parent and one sleep each, and at most one check");
        site.touch(n, "work/go");
        assert_eq!(site.end_of(n).await, Exit::Code(0));
    }
}
