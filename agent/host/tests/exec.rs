//! The exec driver with real shims and real processes.

mod care;
mod isolation;
mod oci;
mod site;

use agent::Signal;
use agent_host::exec::Happened;
use cell_state::task::{Exit, NotStarted};
use site::{Site, exec, id, script};
use transport::message::{LogFrom, LogStream};

#[tokio::test]
async fn every_way_to_end_is_told_as_it_was() {
    let mut site = Site::new();
    let table = [
        (script("exit 0"), Some(Exit::Code(0))),
        (script("exit 7"), Some(Exit::Code(7))),
        (script("kill -9 $$"), Some(Exit::Signal(9))),
        (script("kill -TERM $$"), Some(Exit::Signal(15))),
        (exec("no-such-program", &[]), Some(Exit::NotStarted(NotStarted::CommandNotFound))),
        (exec("/no/such/program", &[]), Some(Exit::NotStarted(NotStarted::CommandNotFound))),
        (exec("/etc/passwd", &[]), Some(Exit::NotStarted(NotStarted::PermissionDenied))),
        (exec("/", &[]), Some(Exit::NotStarted(NotStarted::PermissionDenied))),
        (
            site::in_directory("/no/such/directory", script("exit 0")),
            Some(Exit::NotStarted(NotStarted::DirectoryNotFound)),
        ),
        (
            site::in_directory("/etc/passwd", script("exit 0")),
            Some(Exit::NotStarted(NotStarted::DirectoryNotFound)),
        ),
    ];
    for (n, (run, expected)) in (1..).zip(table) {
        site.start(n, run);
        let exit = site.end_of(n).await;
        assert_eq!(Some(exit), expected, "run {n}");
    }
}

#[tokio::test]
async fn a_task_knows_itself_and_runs_in_a_directory_of_its_own() {
    let mut site = Site::new();
    let run = script(
        "echo $OHM_TASK/$OHM_JOB/$OHM_GROUP/$OHM_INDEX/$OHM_EPOCH/$OHM_MACHINE/$OHM_PORT_WEB_1/$OHM_DEVICES/$OWN/$HOME; pwd; cat; echo gone >&2",
    );
    site.start(3, run);
    assert_eq!(site.end_of(3).await, Exit::Code(0));
    let work = site.root().join("j3.0.0-1/work");
    let expected = format!("j3.0.0/sums/all/0/1/m7/20007/gpu1/mine/\n{}\n", work.display());
    assert_eq!(site.log(3, LogStream::Stdout, LogFrom::Offset(0)), expected);
    assert_eq!(site.log(3, LogStream::Stderr, LogFrom::Offset(0)), "gone\n");
}

#[tokio::test]
async fn output_is_rotated_and_offsets_count_from_the_first_byte() {
    let mut site = Site::new();
    // 20,000 bytes in lines of ten; files of 1,000 bytes, three kept.
    site.start(1, script("i=0; while [ $i -lt 2000 ]; do printf '%09d\\n' $i; i=$((i+1)); done"));
    assert_eq!(site.end_of(1).await, Exit::Code(0));
    assert_eq!(site.log(1, LogStream::Stdout, LogFrom::Offset(19_990)), "000001999\n");
    assert_eq!(site.log(1, LogStream::Stdout, LogFrom::End(20)), "000001998\n000001999\n");
    let kept = site.piece(1, LogStream::Stdout, LogFrom::Offset(0));
    assert!(kept.offset >= 17_000 && kept.offset.is_multiple_of(1_000), "{}", kept.offset);
    assert_eq!(kept.offset as usize + kept.bytes.len(), 20_000);
    assert!(kept.ended);
}

#[tokio::test]
async fn what_a_task_leaves_behind_goes_with_it() {
    let mut site = Site::new();
    // One child in the task's group, one in a session of its own.
    site.start(
        1,
        script("sleep 1000 & echo $!; setsid sleep 1000 & sleep 0.2; pgrep -s $! sleep || echo $!; exit 3"),
    );
    assert_eq!(site.end_of(1).await, Exit::Code(3));
    let pids = site.log(1, LogStream::Stdout, LogFrom::Offset(0));
    assert!(pids.lines().count() >= 2, "{pids}");
    for pid in pids.lines() {
        assert!(!site::is_alive(pid.parse().unwrap()), "{pid} is left");
    }
}

#[tokio::test]
async fn a_polite_signal_reaches_the_whole_group() {
    let mut site = Site::new();
    site.start(1, script("trap 'echo bye; exit 5' TERM; sleep 1000 & echo ready; wait"));
    site.started(1).await;
    site.wait_for_log(1, "ready\n").await;
    site.driver.signal(id(1), Signal::Term);
    assert_eq!(site.end_of(1).await, Exit::Code(5));
    assert_eq!(site.log(1, LogStream::Stdout, LogFrom::Offset(0)), "ready\nbye\n");
}

#[tokio::test]
async fn one_that_ignores_the_polite_signal_is_killed() {
    let mut site = Site::new();
    site.start(1, script("trap '' TERM; echo ready; while :; do sleep 1000; done"));
    site.started(1).await;
    site.wait_for_log(1, "ready\n").await;
    site.driver.signal(id(1), Signal::Term);
    site.driver.signal(id(1), Signal::Kill);
    assert_eq!(site.end_of(1).await, Exit::Signal(9));
}

#[tokio::test]
async fn a_shim_that_does_not_obey_is_killed_with_its_task() {
    let mut site = Site::new();
    site.start(1, script("echo $$; sleep 1000"));
    site.started(1).await;
    let child = site.first_line(1).await;
    let live = site.live(1);
    site::signal(live.shim, "STOP");
    // The first goes through the shim, which is stopped; the second ends shim and task.
    site.driver.signal(id(1), Signal::Kill);
    site.driver.signal(id(1), Signal::Kill);
    assert_eq!(site.end_of(1).await, Exit::Unseen);
    assert!(!site::is_alive(child) && !site::is_alive(live.shim));
}

#[tokio::test]
async fn a_killed_nursery_takes_no_task_with_it_and_the_next_start_makes_another() {
    let mut site = Site::new();
    site.start(1, script("until [ -e ../go ]; do sleep 0.02; done; exit 8"));
    site.start(2, script("sleep 1000"));
    site.started(1).await;
    site.started(2).await;
    let nursery = site.parent(1);
    site::signal(nursery, "KILL");
    site::wait_until(|| !site::is_alive(nursery)).await;
    let mut next = 3;
    loop {
        site.start(next, script("exit 3"));
        match site.end_of(next).await {
            // What was asked of the dead one before the agent noticed.
            Exit::NotStarted(NotStarted::Os(32)) => next += 1,
            exit => break assert_eq!(exit, Exit::Code(3)),
        }
    }
    site.go(1);
    assert_eq!(site.end_of(1).await, Exit::Code(8));
    // Of this one nobody but the agent itself can notice that its shim is gone.
    let live = site.live(2);
    site::signal(live.shim, "KILL");
    assert_eq!(site.end_of(2).await, Exit::Unseen);
    assert!(!site::is_alive(live.child));
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_behind() {
    let mut site = Site::new();
    // A grandchild that left group and session as well.
    site.start(1, script("setsid sh -c 'echo $$; sleep 1000' & sleep 1000"));
    site.started(1).await;
    let hidden = site.first_line(1).await;
    let live = site.live(1);
    site::signal(live.shim, "KILL");
    assert_eq!(site.end_of(1).await, Exit::Unseen);
    assert!(!site::is_alive(live.child) && !site::is_alive(hidden));
    assert!(site.piece(1, LogStream::Stdout, LogFrom::Offset(0)).ended);
}

#[tokio::test]
async fn tasks_outlive_the_agent_and_are_found_again() {
    let mut site = Site::new();
    site.start(1, script("echo one; until [ -e ../go ]; do sleep 0.02; done; echo two; exit 4"));
    site.start(2, script("exit 0"));
    site.started(1).await;
    assert_eq!(site.end_of(2).await, Exit::Code(0));
    let found = site.restart();
    assert_eq!(found, [(1, None), (2, Some(Exit::Code(0)))]);
    site.go(1);
    assert_eq!(site.end_of(1).await, Exit::Code(4));
    assert_eq!(site.log(1, LogStream::Stdout, LogFrom::Offset(0)), "one\ntwo\n");
    assert_eq!(site.restart(), [(1, Some(Exit::Code(4))), (2, Some(Exit::Code(0)))]);
}

#[tokio::test]
async fn an_end_while_no_agent_was_there_is_found() {
    let mut site = Site::new();
    site.start(1, script("until [ -e ../go ]; do sleep 0.02; done; exit 9"));
    site.started(1).await;
    let live = site.live(1);
    site.stop();
    site.go(1);
    site::wait_until(|| !site::is_alive(live.shim)).await;
    assert_eq!(site.restart(), [(1, Some(Exit::Code(9)))]);
}

#[tokio::test]
async fn a_pid_that_was_given_to_another_process_is_not_the_shim() {
    let mut site = Site::new();
    site.start(1, script("sleep 1000"));
    site.started(1).await;
    let live = site.live(1);
    site.stop();
    // As if the shim had gone and its pid now belonged to a process that started at another time.
    let shims = format!("\"pid\":{}", live.shim);
    site.rewrite_live(1, |text| text.replace(&shims, "\"pid\":1"));
    site::signal(live.shim, "KILL");
    assert_eq!(site.restart(), [(1, None)]);
    assert_eq!(site.end_of(1).await, Exit::Unseen);
    assert!(!site::is_alive(live.child), "what is left is found by its variable");
}

#[tokio::test]
async fn another_boot_means_that_nothing_is_left() {
    let mut site = Site::new();
    site.start(1, exec("sleep", &["1000"]));
    site.started(1).await;
    let live = site.live(1);
    site.stop();
    site.rewrite_live(1, |text| text.replace(&site::boot_id(), "00000000-0000-0000-0000-000000000000"));
    assert_eq!(site.restart(), [], "its records will say: unseen");
    site::signal(live.shim, "KILL");
}

#[tokio::test]
async fn a_start_that_was_ruled_out_does_not_happen_any_more() {
    let mut site = Site::new();
    site.start(1, script("exit 0"));
    assert_eq!(site.end_of(1).await, Exit::Code(0));
    // A directory as the agent leaves it when it dies between making it and spawning the shim.
    site.unclaim(1);
    assert_eq!(site.restart(), [], "no shim had taken it");
    let late = site.run_shim(1);
    assert!(!late.status.success());
    assert!(String::from_utf8_lossy(&late.stderr).contains("ruled out"));
    assert_eq!(site.restart(), []);
}

#[tokio::test]
async fn a_start_that_happened_is_not_repeated_even_if_the_records_forgot_it() {
    let mut site = Site::new();
    let run = || script("echo once >> ../../count; exit 6");
    site.start(1, run());
    assert_eq!(site.end_of(1).await, Exit::Code(6));
    site.start(1, run());
    assert_eq!(site.end_of(1).await, Exit::Code(6));
    assert_eq!(site.count(), 1);
    // Under new records the same name is another placement.
    site.start_in(2, 1, run());
    assert_eq!(site.end_of(1).await, Exit::Code(6));
    assert_eq!(site.count(), 2);
}

#[tokio::test]
async fn many_at_once() {
    let mut site = Site::new();
    for n in 1..=60 {
        site.start(n, script(&format!("exit {}", n % 3)));
    }
    let mut ended = 0;
    while ended < 60 {
        if let Happened::Ended(id, exit) = site.next().await {
            assert_eq!(exit, Exit::Code((id.task.job.0 % 3) as i32));
            ended += 1;
        }
    }
}
