//! The view of files of one task: the machine's, read-only, without the agent's data, and with `/tmp`, `/dev`, `/run`
//! and `/proc` of its own.
//!
//! ```text
//! a small file system in memory becomes the root; the old root hangs below it until all is in place
//!   /usr, /etc, /var, …   the machine's, read-only, without devices and set-user-id programs
//!   /task                 the task's working directory
//!   /tmp, /var/tmp        a directory that is removed with the task's
//!   /dev                  null, zero, full, random, urandom, tty, pseudo-terminals, shm, and the devices it was given
//!   /proc                 of its own processes, where it has process numbers of its own
//!   /run                  empty, but for what names are resolved with, and secrets
//! ```

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{pivot_root, umask};

use super::mount_table::{self, Mount};
use super::{View, WORK};
use crate::task_dir;

/// Where the old root hangs.
const OLD: &str = "/.old";

/// Devices that every task has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What is found below `/run` all the same.
const KEPT_OF_RUN: [&str; 2] = ["systemd/resolve", "resolvconf"];

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Makes the view of the task whose directory is `dir` the view of this process, which has mounts of its own already.
/// `put` adds its secrets before it is closed.
pub(super) fn enter(
    view: &View,
    dir: &Path,
    own_processes: bool,
    put: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    umask(Mode::from_raw_mode(0o022));
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Any directory will do that is surely there: what is below it is still reached through the old root.
    mount("tmpfs", "/tmp", "tmpfs", PLAIN, c"mode=0755,size=1m")?;
    fs::create_dir("/tmp/.old")?;
    pivot_root("/tmp", "/tmp/.old")?;
    std::env::set_current_dir("/")?;
    let mut open = Vec::new();
    system()?;
    devices(view)?;
    proc(own_processes)?;
    let temporary = old(&dir.join(task_dir::TEMPORARY));
    fs::create_dir("/tmp")?;
    bind(&temporary, Path::new("/tmp"), &mut open)?;
    if Path::new("/var/tmp").is_dir() {
        bind(&temporary, Path::new("/var/tmp"), &mut open)?;
    }
    run()?;
    put()?;
    fs::create_dir(WORK)?;
    bind(&old(&dir.join(task_dir::WORK)), Path::new(WORK), &mut open)?;
    for path in &view.writable {
        // A symbolic link would lead out of the old root.
        let real = fs::canonicalize(path)?;
        bind(&old(&real), &real, &mut open)?;
    }
    // After what is writable, which may be around it.
    for hidden in view.hidden.iter().filter(|hidden| hidden.is_dir()) {
        mount("tmpfs", hidden, "tmpfs", PLAIN | MountFlags::RDONLY, c"mode=0555,size=4k")?;
    }
    close(&open)?;
    unmount(OLD, UnmountFlags::DETACH)?;
    fs::remove_dir(OLD)?;
    Ok(mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | PLAIN, c"")?)
}

/// A path of the machine as it is reached for now.
fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(from: &Path, to: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
    mount_bind_recursive(from, to)?;
    open.push(to.to_owned());
    Ok(())
}

/// What the machine has at its root, but for what is made anew.
fn system() -> io::Result<()> {
    for entry in fs::read_dir(OLD)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let to = Path::new("/").join(&name);
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &to)?;
        } else if kind.is_dir() && !["proc", "dev", "run", "tmp", "task"].iter().any(|own| name == *own) {
            fs::create_dir(&to)?;
            mount_bind_recursive(entry.path(), &to)?;
        }
    }
    Ok(())
}

fn devices(view: &View) -> io::Result<()> {
    fs::create_dir("/dev")?;
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID, c"mode=0755,size=64k")?;
    for name in DEVICES {
        device(&Path::new("/dev").join(name))?;
    }
    for path in &view.devices {
        device(path)?;
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, Path::new("/dev").join(name))?;
    }
    fs::create_dir("/dev/pts")?;
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", "/dev/pts", "devpts", terminals, c"newinstance,ptmxmode=0666,mode=0620")?;
    fs::create_dir("/dev/shm")?;
    Ok(mount("tmpfs", "/dev/shm", "tmpfs", PLAIN, c"mode=1777")?)
}

fn device(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)?;
    Ok(mount_bind(old(path), path)?)
}

fn proc(own_processes: bool) -> io::Result<()> {
    fs::create_dir("/proc")?;
    if !own_processes {
        return Ok(mount_bind_recursive(old(Path::new("/proc")), "/proc")?);
    }
    mount("proc", "/proc", "proc", PLAIN | MountFlags::NOEXEC, None)?;
    // Switches of the whole machine.
    for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"] {
        if Path::new(path).exists() {
            mount_bind(path, path)?;
            mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | PLAIN | MountFlags::NOEXEC, c"")?;
        }
    }
    Ok(())
}

fn run() -> io::Result<()> {
    if old(Path::new("/run")).symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        return Ok(());
    }
    fs::create_dir("/run")?;
    for kept in KEPT_OF_RUN {
        let (from, to) = (Path::new(OLD).join("run").join(kept), Path::new("/run").join(kept));
        if from.is_dir() {
            fs::create_dir_all(&to)?;
            mount_bind(from, to)?;
        }
    }
    fs::create_dir("/run/lock")?;
    fs::set_permissions("/run", Permissions::from_mode(0o755))
}

/// Makes all mounts read-only but those that are to be written to, and what was made anew.
fn close(open: &[PathBuf]) -> io::Result<()> {
    let table = fs::read_to_string(Path::new(OLD).join("proc/self/mountinfo"))?;
    let own = ["/dev", "/proc"].map(Path::new);
    for mount in mount_table::parse(&table) {
        let Mount { at, .. } = &mount;
        let is_open = open.iter().any(|path| at.starts_with(path));
        let is_own =
            at == Path::new("/") || at.starts_with(OLD) || own.iter().any(|path| at.starts_with(path));
        if is_own {
            continue;
        }
        let mut flags = mount.flags() | MountFlags::BIND | PLAIN;
        flags.set(MountFlags::RDONLY, !is_open || flags.contains(MountFlags::RDONLY));
        match mount_remount(at, flags, c"") {
            Ok(()) => {}
            // Hidden below another mount: nobody reaches it any more.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
