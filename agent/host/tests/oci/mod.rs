//! Containers with a real runtime, from the machine's own static busybox. A machine without either doesn't run these, and
//! says so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agent::Signal;
use cell_state::job::Exec as Run;
use cell_state::job::container::{Container, RUNTIME};
use cell_state::job::isolation::{Isolation, Share, attribute};
use cell_state::task::{Exit, NotStarted};
use cell_state::{JobId, Resources};
use transport::message::{LogFrom, LogStream};

use crate::site::{self, Site, confined, exec, in_directory};

const MIB: u64 = 1 << 20;

/// A root file system that others can't look into from outside, or a word why there is none.
fn image(site: &Site) -> Option<(tempfile::TempDir, PathBuf)> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    let (Some(busybox), true) = (busybox, site.driver.attributes().contains_key(RUNTIME)) else {
        eprintln!("SKIPPED: this machine has no {RUNTIME}, or no static busybox");
        return None;
    };
    let at = tempfile::tempdir().expect("a temporary directory");
    let root = at.path().join("rootfs");
    for dir in ["bin", "etc", "srv"] {
        fs::create_dir_all(root.join(dir)).expect("a temporary directory");
    }
    fs::copy(busybox, root.join("bin/busybox")).expect("a temporary directory");
    for name in [
        "sh", "cat", "ls", "id", "sleep", "head", "tr", "grep", "hostname", "kill", "echo", "mount",
        "unshare",
    ] {
        symlink("busybox", root.join("bin").join(name)).expect("a temporary directory");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1234:1235::/:/bin/sh\n")
        .expect("a temporary directory");
    fs::write(root.join("etc/mark"), "of the image\n").expect("a temporary directory");
    Some((at, root))
}

fn contained(container: Container, run: Run) -> Run {
    let open = Box::new(Isolation::default());
    Run { container: Some(Box::new(container)), isolation: open, log_bytes_max: 1 << 20, ..run }
}

fn script(root: &Path, text: &str) -> Run {
    contained(Container::Rootfs(root.display().to_string()), exec("sh", &["-c", text]))
}

fn promised() -> Resources {
    Resources::cpu_memory(100, 64 * MIB)
}

fn told(site: &Site, n: u32) -> String {
    let of = |stream| site.log(n, stream, LogFrom::Offset(0));
    format!("{}{}", of(LogStream::Stdout), of(LogStream::Stderr))
}

/// Runs it to its end, and returns what it said.
async fn said(site: &mut Site, n: u32, run: Run) -> String {
    site.start_with(n, promised(), run);
    let exit = site.end_of(n).await;
    let told = told(site, n);
    assert_eq!(exit, Exit::Code(0), "{told}{}", site.complaints());
    told
}

/// Every trace of a container that is over.
fn traces(site: &Site, n: u32) -> Vec<PathBuf> {
    let dir = site.root().join(site::id(n).to_string());
    let mut left: Vec<PathBuf> = [dir.join("runtime")].into_iter().filter(|path| path.exists()).collect();
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let Some(group) = site.groups_of_agent(n) else { return left };
    left.extend(hierarchies.map(|at| at.path().join(&group)).filter(|path| path.exists()));
    left
}

#[tokio::test]
async fn a_container_ends_as_its_command_does_and_sees_its_own_files_alone() {
    let mut site = Site::new();
    let Some((_image, root)) = image(&site) else { return };
    let look = "cat /etc/mark; pwd; id -u; ls /; ls /root /home /work 2>/dev/null; cat /etc/debian_version; \
                echo x > /etc/x; echo x > /task/x && cat /task/x; echo y > /tmp/y && echo kept; \
                hostname; echo $PATH $OHM_JOB $OWN $OHM_PORT_WEB_1; ls /proc | grep -c '^[0-9]'; exit 0";
    let told = said(&mut site, 1, script(&root, look)).await;
    for part in [
        "of the image\n/task\n65534\nbin\ndev\netc\nproc\nrun\nsrv\nsys\ntask\ntmp\n",
        "can't open '/etc/debian_version'",
        "can't create /etc/x: Read-only file system",
        "x\nkept\nsums-all-0\n",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sums mine 20007\n3\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(fs::read_to_string(site.work(1).join("x")).unwrap(), "x\n");
    let table = [
        (script(&root, "exit 7"), Exit::Code(7)),
        // The first process of a container dies of no signal of its own.
        (script(&root, "kill -9 $$; exit 3"), Exit::Code(3)),
        (
            contained(Container::Rootfs(root.display().to_string()), exec("nope", &[])),
            Exit::NotStarted(NotStarted::CommandNotFound),
        ),
        (
            contained(Container::Rootfs(root.display().to_string()), exec("/nope", &[])),
            Exit::NotStarted(NotStarted::CommandNotFound),
        ),
        (
            contained(Container::Rootfs(root.display().to_string()), exec("/etc/mark", &[])),
            Exit::NotStarted(NotStarted::PermissionDenied),
        ),
        (in_directory("/no/such", script(&root, "exit 0")), Exit::NotStarted(NotStarted::DirectoryNotFound)),
        (script(Path::new("/no/such/image"), "exit 0"), Exit::NotStarted(NotStarted::NoImage)),
        (script(&site.root(), "exit 0"), Exit::NotStarted(NotStarted::NoImage)),
    ];
    for (n, (run, expected)) in (2..).zip(table) {
        site.start_with(n, promised(), run);
        assert_eq!(site.end_of(n).await, expected, "{n}: {}{}", self::told(&site, n), site.complaints());
        assert_eq!(traces(&site, n), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn users_rights_and_system_calls_of_a_container_are_what_was_asked_for() {
    let mut site = Site::new();
    let Some((_image, root)) = image(&site) else { return };
    let show = "id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\n' ' '; \
                ulimit -n; mount -t tmpfs none /tmp 2>&1; unshare -U echo made 2>&1; exit 0";
    let limits = BTreeMap::from([("open_files".to_owned(), 77)]);
    let open = Isolation { limits: limits.clone(), ..Isolation::default() };
    let told = said(&mut site, 1, confined(open, script(&root, show))).await;
    let expected =
        "65534\n65534\nCapEff:\t0000000000000000 CapBnd:\t0000000000000000 NoNewPrivs:\t1 Seccomp:\t2 77\n";
    assert!(told.starts_with(expected) && told.contains("not permitted") && !told.contains("made"), "{told}");
    let named = Isolation {
        user: Some("app".into()),
        capabilities: vec!["net_bind_service".into()],
        system_calls: Share::Host,
        limits,
        ..Isolation::default()
    };
    let told = said(&mut site, 2, confined(named, script(&root, show))).await;
    let expected =
        "1234\n1235\nCapEff:\t0000000000000400 CapBnd:\t0000000000000400 NoNewPrivs:\t1 Seccomp:\t0 77\n";
    assert!(told.starts_with(expected) && told.contains("made"), "{told}");
    let none = Isolation { user: Some("daemon".into()), ..Isolation::default() };
    site.start_with(3, promised(), confined(none, script(&root, show)));
    assert_eq!(
        site.end_of(3).await,
        Exit::NotStarted(NotStarted::NoUser),
        "the container has none of that name"
    );
}

#[tokio::test]
async fn a_container_beyond_its_memory_is_told_as_out_of_memory() {
    let mut site = Site::new();
    let Some((_image, root)) = image(&site) else { return };
    if !site.driver.attributes().contains_key(attribute::MEMORY) {
        return eprintln!("SKIPPED: this machine has no limits of memory");
    }
    let hog =
        "(x=; while :; do x=$x$(head -c 1000000 /dev/zero | tr '\\0' x); done); echo survived; sleep 1000";
    let asked = Isolation { memory_limit_bytes: Some(48 * MIB), ..Isolation::default() };
    site.start_with(1, Resources::cpu_memory(100, 32 * MIB), confined(asked, script(&root, hog)));
    let Exit::OutOfMemory(kill) = site.end_of(1).await else { panic!("{}", told(&site, 1)) };
    assert!(kill.peak_bytes() <= 48 * MIB && kill.peak_bytes() > 40 * MIB, "{kill:?}");
    assert_eq!(traces(&site, 1), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn a_container_is_asked_then_killed_and_survives_its_agent() {
    let mut site = Site::new();
    let Some((_image, root)) = image(&site) else { return };
    let polite = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done";
    site.start_with(1, promised(), script(&root, polite));
    // Its first process has no ear for being asked.
    site.start_with(2, promised(), script(&root, "echo up; sleep 1000 & exec sleep 1000"));
    for n in [1, 2] {
        site.started(n).await;
        site.wait_for_log(n, "up").await;
    }
    assert_eq!(site.restart(), [(1, None), (2, None)]);
    let (output, told) = site.enter(1, "id -u; cat /etc/mark; cat /proc/1/cmdline | tr '\\0' ' '; exit 6");
    assert!(output.starts_with("65534\nof the image\nsh -c trap"), "{output}{told}");
    assert_eq!(told, r#"{"Ended":{"Code":6}}"#);
    site.driver.signal(site::id(1), Signal::Term);
    assert_eq!(site.end_of(1).await, Exit::Code(5));
    let count = site.processes(2).len();
    assert!(count >= 2, "{count}");
    site.driver.signal(site::id(2), Signal::Term);
    site.driver.signal(site::id(2), Signal::Kill);
    assert_eq!(site.end_of(2).await, Exit::Signal(9));
    for n in [1, 2] {
        assert_eq!(traces(&site, n), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn a_killed_shim_or_keeper_leaves_nothing_of_a_container() {
    let mut site = Site::new();
    let Some((_image, root)) = image(&site) else { return };
    for n in [1, 2] {
        site.start_with(n, promised(), script(&root, "echo up; sleep 1000 & sleep 1000"));
        site.started(n).await;
        site.wait_for_log(n, "up").await;
    }
    let inside = [1, 2].map(|n| site.processes(n));
    assert!(inside.iter().all(|pids| pids.len() >= 2), "{inside:?}");
    site::signal(site.live(1).shim, "KILL");
    assert_eq!(site.end_of(1).await, Exit::Unseen);
    site::signal(site.live(2).child, "KILL");
    assert_eq!(site.end_of(2).await, Exit::Signal(9));
    for (n, pids) in (1..).zip(inside) {
        assert!(pids.iter().all(|pid| !site::is_alive(*pid)), "{n}");
        assert_eq!(traces(&site, n), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn a_bundle_says_what_to_run_and_the_job_may_say_otherwise() {
    let mut site = Site::new();
    let Some((at, _root)) = image(&site) else { return };
    let config = r#"{
        "ociVersion": "1.0.2",
        "process": {"args": ["sh", "-c", "echo $FROM; pwd; id -u"], "env": ["FROM=bundle", "PATH=/bin"], "cwd": "/srv",
                    "user": {"uid": 77, "gid": 78}, "capabilities": {"bounding": ["CAP_SYS_ADMIN"]}},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/srv", "type": "bind", "source": "/etc", "options": ["rbind"]}],
        "hooks": {"prestart": [{"path": "/bin/false"}]}
    }"#;
    fs::write(at.path().join("config.json"), config).unwrap();
    let bundle = || Container::Bundle(at.path().display().to_string());
    let silent = Run { command: String::new(), args: Vec::new(), ..contained(bundle(), exec("", &[])) };
    assert_eq!(said(&mut site, 1, silent).await, "bundle\n/srv\n77\n");
    let other =
        contained(bundle(), exec("sh", &["-c", "echo $FROM; ls /srv; grep CapBnd /proc/self/status"]));
    assert_eq!(said(&mut site, 2, other).await, "bundle\nCapBnd:\t0000000000000000\n");
}

#[tokio::test]
async fn a_machine_without_a_runtime_is_no_place_for_a_container() {
    let group = site::group_of(contained(Container::Rootfs("/srv/image".into()), exec("sh", &[])));
    let conditions: Vec<String> = group.conditions().iter().map(ToString::to_string).collect();
    assert!(conditions.contains(&"driver.oci exists".to_owned()), "{conditions:?}");
    assert_eq!(site::id(1).task.job, JobId(1));
}
