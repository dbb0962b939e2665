//! Isolation with real shims, real processes and real limits. What a machine can't do is not tested on it, and said so.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use agent_host::IsolationSettings;
use agent_host::exec::{Exec, ShimProgram};
use cell_state::Resources;
use cell_state::job::isolation::{Isolation, Share, attribute};
use cell_state::task::{Exit, NotStarted};
use transport::message::{LogFrom, LogStream};

use crate::site::{self, Site, confined, exec, script};

const MIB: u64 = 1 << 20;

/// Whether the machine has all of these, or a word on which it lacks.
pub(crate) fn able(site: &Site, attributes: &[&str]) -> bool {
    let here = site.driver.attributes();
    let missing = attributes.iter().find(|key| here.get(**key).is_none_or(|value| value != "yes"));
    if let Some(missing) = missing {
        eprintln!("SKIPPED: this machine has no {missing}");
    }
    missing.is_none()
}

fn promised(cpu_milli: u64, memory_mib: u64) -> Resources {
    Resources::cpu_memory(cpu_milli, memory_mib * MIB)
}

fn out(site: &Site, n: u32) -> String {
    site.log(n, LogStream::Stdout, LogFrom::Offset(0))
}

/// Runs a script to its end and returns what it said.
async fn said(site: &mut Site, n: u32, isolation: Isolation, text: &str) -> String {
    let run = confined(isolation, script(text));
    site.start_with(n, promised(100, 64), run);
    let exit = site.end_of(n).await;
    let told = format!("{}{}", out(site, n), site.log(n, LogStream::Stderr, LogFrom::Offset(0)));
    assert_eq!(exit, Exit::Code(0), "{told}{}", site.complaints());
    told
}

#[tokio::test]
async fn a_memory_hog_is_killed_alone_and_its_exit_says_so() {
    let mut site = Site::new();
    if !able(&site, &[attribute::MEMORY]) {
        return;
    }
    site.start_with(1, promised(100, 32), confined(Isolation::default(), script("echo up; sleep 1000")));
    site.started(1).await;
    site.wait_for_log(1, "up").await;
    // The hog is a child of the task's own process, which would outlive it.
    let hog =
        "(x=; while :; do x=$x$(head -c 1000000 /dev/zero | tr '\\0' x); done); echo survived; sleep 1000";
    let asked = Isolation { memory_limit_bytes: Some(48 * MIB), ..Isolation::default() };
    site.start_with(2, promised(100, 32), confined(asked, script(hog)));
    let Exit::OutOfMemory(kill) = site.end_of(2).await else { panic!("not told as what it was") };
    assert!(kill.peak_bytes() <= 48 * MIB && kill.peak_bytes() > 40 * MIB, "{kill:?}");
    if site::groups::can_read_kernel_messages() {
        assert!(kill.pid() > 1, "{kill:?}");
    }
    assert!(site::is_alive(site.live(1).child), "its neighbour lives on");
    site.driver.signal(site::id(1), agent::Signal::Term);
    assert_eq!(site.end_of(1).await, Exit::Signal(15));
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_removed() {
    let mut site = Site::new();
    if !able(&site, &[attribute::PIDS]) {
        return;
    }
    for (n, processes) in [(1, Share::Open), (2, Share::Host)] {
        let asked = Isolation { pids_max: Some(40), processes, ..Isolation::default() };
        // This shell tries again when it can't fork.
        let bomb = exec("bash", &["-c", "echo up; bomb() { bomb & bomb; }; bomb"]);
        site.start_with(n, promised(100, 64), confined(asked, bomb));
        site.started(n).await;
        site.wait_for_log(n, "up").await;
        let count = || site.processes(n).len();
        site::wait_until(|| count() > 20).await;
        assert!(count() <= 40, "{}", count());
        site.driver.signal(site::id(n), agent::Signal::Kill);
        site.end_of(n).await;
        assert_eq!(site.processes(n).len(), 0);
        assert_eq!(site.groups(n).len(), 0, "its control groups are gone");
    }
}

#[tokio::test]
async fn processor_time_is_shared_in_proportion_and_limited() {
    let mut site = Site::new();
    if !able(&site, &[attribute::CPU]) {
        return;
    }
    // As many hogs in each as there are processors, so that they compete everywhere.
    let hogs = "for i in $(seq $(nproc)); do while :; do :; done & done; echo up; wait";
    let limit = Isolation { cpu_limit_milli: Some(200), ..Isolation::default() };
    site.start_with(1, promised(900, 64), confined(Isolation::default(), script(hogs)));
    site.start_with(2, promised(300, 64), confined(Isolation::default(), script(hogs)));
    site.start_with(3, promised(200, 64), confined(limit, script(hogs)));
    for n in 1..=3 {
        site.started(n).await;
        site.wait_for_log(n, "up").await;
    }
    // Whatever else runs on the machine takes from one of them or the other, so one look may mislead; many don't.
    let mut looks = Vec::new();
    loop {
        let before = [1, 2].map(|n| site.processor_us(n));
        site::wait_until(|| site.processor_us(1) - before[0] > 1_500_000).await;
        let [large, small] = [1, 2].map(|n| (site.processor_us(n) - before[n as usize - 1]) as f64);
        looks.push(large / small);
        if (2.0..4.5).contains(&(large / small)) {
            break;
        }
        assert!(looks.len() < 20, "three to one was promised: {looks:?}");
    }
    for n in [1, 2] {
        site.driver.signal(site::id(n), agent::Signal::Kill);
        site.end_of(n).await;
    }
    // Alone it could have more than its limit, and comes to feel it.
    site::wait_until(|| site.throttled(3) > 0).await;
    site.driver.signal(site::id(3), agent::Signal::Kill);
    site.end_of(3).await;
}

#[tokio::test]
async fn a_task_sees_and_reaches_nothing_of_others() {
    let mut site = Site::new();
    if !able(&site, &[attribute::FILESYSTEM, attribute::PROCESSES]) {
        return;
    }
    let secret = "echo secret > file; echo secret > /tmp/file; echo up; sleep 1000";
    site.start_with(1, promised(100, 64), confined(Isolation::default(), script(secret)));
    site.started(1).await;
    site.wait_for_log(1, "up").await;
    let (other, work, data) = (site.live(1).child, site.work(1), site.root());
    let look = format!(
        "ls /proc | grep -c '^[0-9]'; kill -9 {other} 2>&1; kill -9 -1 2>/dev/null; ls {} {} /tmp 2>&1; pwd; \
         cat /proc/1/environ >/dev/null 2>&1 || echo closed; echo $OHM_TASK_DIR",
        work.display(),
        data.display()
    );
    let told = said(&mut site, 2, Isolation::default(), &look).await;
    assert!(!told.contains("secret") && !told.contains("file\n"), "{told}");
    assert!(told.contains("No such process"), "{told}");
    assert!(told.contains("/task\nclosed\n/task\n"), "{told}");
    let seen: u32 = told.lines().next().unwrap().parse().unwrap();
    assert!(seen <= 5, "{told}");
    assert!(site::is_alive(other));
    site.driver.signal(site::id(1), agent::Signal::Kill);
    site.end_of(1).await;
}

#[tokio::test]
async fn the_machines_files_are_read_only_and_its_own_are_not() {
    let mut site = Site::new();
    if !able(&site, &[attribute::FILESYSTEM]) {
        return;
    }
    let shared = tempfile::tempdir_in("/var").unwrap();
    std::fs::set_permissions(shared.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let path = shared.path().display().to_string();
    let tries = format!(
        "for d in /usr /etc /var /var/lib /proc/sys /sys /dev /task /tmp /dev/shm {path}; do \
           if (: > $d/probe) 2>/dev/null; then echo \"$d open\"; else echo \"$d closed\"; fi; done; \
         echo x > /dev/null && head -c 4 /dev/urandom | wc -c; ls /dev | tr '\\n' ' '"
    );
    let open = |told: &str| {
        told.lines().filter_map(|line| line.strip_suffix(" open").map(str::to_owned)).collect::<Vec<_>>()
    };
    let told = said(&mut site, 1, Isolation::default(), &tries).await;
    assert_eq!(open(&told), ["/task", "/tmp", "/dev/shm"], "{told}");
    assert!(
        told.ends_with("4\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero "),
        "{told}"
    );
    let writable = Isolation { writable: vec![path.clone()], ..Isolation::default() };
    let told = said(&mut site, 2, writable, &tries).await;
    assert_eq!(open(&told), ["/task", "/tmp", "/dev/shm", &path], "{told}");
    // Root without a view of files of its own could; with one it can't either.
    let root = Isolation { user: Some("root".into()), ..Isolation::default() };
    if able(&site, &[attribute::PRIVILEGED]) {
        let told = said(&mut site, 3, root, &tries).await;
        assert!(
            open(&told).iter().all(|d| ["/task", "/tmp", "/dev/shm", "/dev", &path].contains(&d.as_str())),
            "{told}"
        );
    }
}

#[tokio::test]
async fn users_rights_and_limits_are_what_was_asked_for() {
    let mut site = Site::new();
    let show =
        "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\n' ' '; ulimit -n";
    if !able(&site, &[attribute::USERS, attribute::SYSTEM_CALLS]) {
        return;
    }
    let limits = BTreeMap::from([("open_files".to_owned(), 77)]);
    let told = said(&mut site, 1, Isolation { limits, ..Isolation::default() }, show).await;
    let expected =
        "65534\nCapEff:\t0000000000000000 CapBnd:\t0000000000000000 NoNewPrivs:\t1 Seccomp:\t2 77\n";
    assert_eq!(told, expected);
    let bind = Isolation {
        user: Some("daemon".into()),
        capabilities: vec!["net_bind_service".into()],
        system_calls: Share::Host,
        ..Isolation::default()
    };
    let told = said(&mut site, 2, bind, show).await;
    assert!(
        told.starts_with("1\nCapEff:\t0000000000000400 CapBnd:\t0000000000000400 NoNewPrivs:\t1 Seccomp:\t0"),
        "{told}"
    );
    let nobody = Isolation { user: Some("no-such-user".into()), ..Isolation::default() };
    site.start_with(3, promised(100, 64), confined(nobody, exec("true", &[])));
    assert_eq!(site.end_of(3).await, Exit::NotStarted(NotStarted::NoUser));
}

#[tokio::test]
async fn system_calls_that_change_the_machine_fail() {
    let mut site = Site::new();
    if !able(&site, &[attribute::SYSTEM_CALLS, attribute::USERS]) {
        return;
    }
    // Every user may make a user namespace here, unless the filter is in the way.
    let table = [(Share::Open, "not permitted"), (Share::Private, "not permitted"), (Share::Host, "made")];
    for (n, (system_calls, expected)) in (1..).zip(table) {
        let isolation = Isolation { system_calls, ..Isolation::default() };
        let told = said(&mut site, n, isolation, "unshare --user echo made 2>&1; exit 0").await;
        assert!(told.contains(expected), "{system_calls:?} {told}");
    }
}

#[tokio::test]
async fn host_name_and_ipc_are_its_own() {
    let mut site = Site::new();
    if !able(&site, &[attribute::HOSTNAME, attribute::IPC]) {
        return;
    }
    let show = "hostname; readlink /proc/self/ns/ipc";
    let told = said(&mut site, 1, Isolation::default(), show).await;
    let of_machine = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    assert!(told.starts_with("sums-all-0\n") && !told.contains(of_machine.to_str().unwrap()), "{told}");
    let host = Isolation { hostname: Share::Host, ipc: Share::Host, ..Isolation::default() };
    let told = said(&mut site, 2, host, show).await;
    assert!(!told.starts_with("sums-all-0\n") && told.contains(of_machine.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_apart_in_every_isolation() {
    let mut site = Site::new();
    for (n, isolation) in [(1, Isolation::default()), (2, Isolation::none())] {
        site.start_with(n, promised(100, 64), confined(isolation.clone(), exec("no-such-program", &[])));
        assert_eq!(site.end_of(n).await, Exit::NotStarted(NotStarted::CommandNotFound));
        site.start_with(
            n + 10,
            promised(100, 64),
            confined(isolation.clone(), exec("sh", &["-c", "kill -9 $$"])),
        );
        assert_eq!(site.end_of(n + 10).await, Exit::Signal(9));
        let elsewhere = site::in_directory("/no/such", exec("true", &[]));
        site.start_with(n + 20, promised(100, 64), confined(isolation, elsewhere));
        assert_eq!(site.end_of(n + 20).await, Exit::NotStarted(NotStarted::DirectoryNotFound));
    }
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_of_an_isolated_task() {
    let mut site = Site::new();
    for (n, processes) in [(1, Share::Open), (2, Share::Host)] {
        let isolation = Isolation { processes, ..Isolation::default() };
        let run = script("setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & echo up; sleep 1000");
        site.start_with(n, promised(100, 64), confined(isolation, run));
        site.started(n).await;
        site.wait_for_log(n, "up").await;
        site::signal(site.live(n).shim, "KILL");
        assert_eq!(site.end_of(n).await, Exit::Unseen);
        assert_eq!((site.processes(n).len(), site.groups(n).len()), (0, 0));
    }
}

#[tokio::test]
async fn a_command_beside_a_task_has_no_more_rights_than_the_task() {
    let mut site = Site::new();
    if !able(&site, &[attribute::SYSTEM_CALLS, attribute::USERS]) {
        return;
    }
    let show = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\n' ' '; ulimit -n; \
                unshare --user echo made 2>&1; exit 5";
    let limits = BTreeMap::from([("open_files".to_owned(), 77)]);
    let open = Isolation { limits: limits.clone(), ..Isolation::default() };
    let unfiltered = Isolation { system_calls: Share::Host, limits, ..Isolation::default() };
    for (n, isolation, filter) in [(1, open, 2), (2, unfiltered, 0)] {
        site.start_with(n, promised(100, 64), confined(isolation, script("echo up; sleep 1000")));
        site.started(n).await;
        site.wait_for_log(n, "up").await;
        let (output, told) = site.enter(n, show);
        let expected = format!(
            "65534\nCapEff:\t0000000000000000 CapBnd:\t0000000000000000 NoNewPrivs:\t1 Seccomp:\t{filter} 77\n"
        );
        assert!(output.starts_with(&expected), "{output}{told}");
        assert_eq!(output.contains("made"), filter == 0, "{output}");
        assert_eq!(told, r#"{"Ended":{"Code":5}}"#);
        let (_, told) = site.enter_with(n, &["no-such-program"]);
        assert!(told.contains("no such command where the task is"), "{told}");
        site.driver.signal(site::id(n), agent::Signal::Kill);
        site.end_of(n).await;
    }
}

#[tokio::test]
async fn an_agent_whose_tasks_would_be_root_unasked_does_not_start() {
    let site = Site::new();
    if !able(&site, &[attribute::USERS]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("ohm");
    std::fs::copy(site::shim().path, &program).unwrap();
    let open = |mode: u32, settings: IsolationSettings| {
        std::fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        let shim = ShimProgram { path: program.clone(), args: Vec::new() };
        Exec::open(
            dir.path().join("data/tasks"),
            shim,
            &site::machine(),
            &settings,
            agent_host::GivenSettings::default(),
        )
        .map(drop)
    };
    let error = open(0o700, site::settings()).unwrap_err().to_string();
    let file = program.canonicalize().unwrap().display().to_string();
    for part in [&file, "0700", "nobody", "chmod 0755", "--task-user", "--isolation none"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    open(0o700, IsolationSettings { by_default: false, ..site::settings() }).unwrap();
    // The directory that it is in is closed to others, which doesn't matter.
    open(0o755, site::settings()).unwrap();
}

#[tokio::test]
async fn an_agent_that_stops_without_tasks_leaves_no_control_groups() {
    let mut site = Site::new();
    if !able(&site, &[attribute::PIDS]) {
        return;
    }
    site.start_with(1, promised(100, 64), confined(Isolation::default(), script("echo up; sleep 1000")));
    site.started(1).await;
    let groups: Vec<_> = site.groups(1).iter().map(|group| group.parent().unwrap().to_owned()).collect();
    assert!(!groups.is_empty());
    let there = || groups.iter().filter(|group| group.exists()).count();
    assert_eq!(site.restart().len(), 1);
    assert_eq!(there(), groups.len(), "a task is in them");
    // What an agent left that was killed and whose data was removed.
    let left = groups[0].with_file_name("m7@0123abcd");
    std::fs::create_dir(&left).unwrap();
    site.driver.signal(site::id(1), agent::Signal::Kill);
    site.end_of(1).await;
    site.restart();
    assert_eq!((there(), left.exists()), (groups.len(), false));
    drop(site);
    assert_eq!(there(), 0);
}
