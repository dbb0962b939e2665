//! A task as a container runtime's `config.json`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::container::{Container, Image};
use super::{Confine, User, WORK, filter, privileges};
use crate::task_dir::{Launch, TEMPORARY, TaskDir};

/// Where commands are looked up, unless a bundle or the job says otherwise.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is hidden, and what can only be read, of the files that tell about the machine.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// With what names of hosts are resolved.
const RESOLVING: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// All that the runtime is told.
pub(crate) fn config(
    launch: &Launch,
    container: &Container,
    image: &Image,
    user: &User,
    dir: &TaskDir,
) -> Value {
    let confine = &launch.confine;
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": {"path": image.root, "readonly": true},
        "process": process(launch, image, user),
        "mounts": mounts(confine, container, image, dir),
        "linux": {
            "cgroupsPath": container.cgroup,
            "namespaces": namespaces(confine),
            "devices": devices(confine).iter().map(|device| device.node(user)).collect::<Vec<_>>(),
            "resources": {"devices": allowed(confine)},
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    if let Some(hostname) = &confine.hostname {
        config["hostname"] = json!(hostname);
    }
    if confine.filter {
        config["linux"]["seccomp"] = filter::profile();
    }
    config
}

/// Where the command works.
fn directory<'a>(launch: &'a Launch, image: &'a Image) -> &'a str {
    launch.directory.as_deref().or(image.directory.as_deref()).unwrap_or(WORK)
}

/// Whether the command's directory is there: a runtime makes one that isn't, in the root file system.
pub(crate) fn has_directory(launch: &Launch, image: &Image) -> bool {
    let directory = Path::new(directory(launch, image));
    let writable = launch.confine.view.iter().flat_map(|view| &view.writable).map(PathBuf::as_path);
    let mut made = [WORK, "/tmp", "/dev", "/proc", "/run", "/sys"].map(Path::new).into_iter().chain(writable);
    let inside = || {
        let real = fs::canonicalize(image.root.join(directory.strip_prefix("/").unwrap_or(directory)));
        real.is_ok_and(|real| real.starts_with(&image.root) && real.is_dir())
    };
    made.any(|at| directory.starts_with(at)) || inside()
}

fn process(launch: &Launch, image: &Image, user: &User) -> Value {
    let args: Vec<&String> = match launch.command.as_str() {
        "" => image.args.iter().collect(),
        _ => std::iter::once(&launch.command).chain(&launch.args).collect(),
    };
    let own = launch.env.iter().map(|(name, value)| format!("{name}={value}"));
    // Of a name that comes twice the last value holds.
    let env: Vec<String> = [format!("PATH={PATH}")].into_iter().chain(image.env.clone()).chain(own).collect();
    let capabilities: Vec<String> =
        launch.confine.capabilities.iter().map(|name| format!("CAP_{}", name.to_uppercase())).collect();
    let limits = launch.confine.limits.iter().filter_map(|(name, limit)| {
        let name = privileges::name_of_limit(name)?;
        Some(json!({"type": name, "hard": limit, "soft": limit}))
    });
    json!({
        "terminal": false,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": args,
        "env": env,
        "cwd": directory(launch, image),
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
            "inheritable": capabilities,
            "ambient": capabilities,
        },
        "rlimits": limits.collect::<Vec<_>>(),
        "noNewPrivileges": true,
    })
}

fn namespaces(confine: &Confine) -> Value {
    let all = [("mount", true), ("pid", true), ("ipc", confine.ipc), ("uts", confine.hostname.is_some())];
    all.into_iter().filter(|(_, own)| *own).map(|(kind, _)| json!({"type": kind})).collect()
}

fn mounts(confine: &Confine, container: &Container, image: &Image, dir: &TaskDir) -> Value {
    let new = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let bind = |from: &Path, at: &Path, more: &[&str]| {
        let options: Vec<&str> =
            ["rbind", "nosuid", "nodev"].into_iter().chain(more.iter().copied()).collect();
        json!({"destination": at, "type": "bind", "source": from, "options": options})
    };
    let mut all = vec![
        new("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        new("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        new("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        new("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        new("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        new("/run", "tmpfs", &["nosuid", "nodev", "mode=755", "size=1024k"]),
    ];
    if confine.ipc {
        all.push(new("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    all.push(bind(&dir.path().join(TEMPORARY), Path::new("/tmp"), &[]));
    all.push(bind(&dir.work(), Path::new(WORK), &[]));
    if image.root.join("etc").is_dir() {
        let there = RESOLVING.iter().map(Path::new).filter(|path| path.is_file());
        all.extend(there.map(|path| bind(path, path, &["ro"])));
    }
    all.extend(container.lent.iter().map(|(from, at)| bind(from, at, &["ro"])));
    let writable = confine.view.iter().flat_map(|view| &view.writable);
    all.extend(writable.map(|path| bind(path, path, &[])));
    Value::Array(all)
}

/// A device that the task was granted.
struct Device {
    path: PathBuf,
    kind: &'static str,
    number: (u32, u32),
}

impl Device {
    fn node(&self, user: &User) -> Value {
        let (major, minor) = self.number;
        json!({
            "path": self.path, "type": self.kind, "major": major, "minor": minor,
            "fileMode": 0o600, "uid": user.uid, "gid": user.gid,
        })
    }
}

fn devices(confine: &Confine) -> Vec<Device> {
    let granted = confine.view.iter().flat_map(|view| &view.devices);
    let device = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let kind = if found.file_type().is_block_device() { "b" } else { "c" };
        let number = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        Some(Device { path: path.clone(), kind, number })
    };
    granted.filter_map(device).collect()
}

/// No device but those of every container, and those that were granted.
fn allowed(confine: &Confine) -> Value {
    let granted = devices(confine).into_iter().map(|Device { kind, number: (major, minor), .. }| {
        json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": "rw"})
    });
    [json!({"allow": false, "access": "rwm"})].into_iter().chain(granted).collect()
}
