//! Being a container's keeper: the forked child of a shim has the runtime make and start the container, adopts its first
//! process, passes signals on to it, and tells the shim how it ended.
//!
//! ```text
//! shim ──forks──▶ keeper ──runs──▶ runtime `run --detach` ──makes──▶ container's first process
//!                   ▲                (ends)                               │
//!                   └──────────────── adopts ─────────────────────────────┘
//! ```
//! So no program of the runtime stays beside the task. When the keeper dies, the shim adopts the container and kills it by
//! its control groups.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;

use cell_state::task::{Exit, NotStarted};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, waitpid,
};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use super::control::{Told, say};
use super::launch::{Why, os};
use crate::bounds::OWN_FILE_BYTES_MAX;
use crate::isolation::config::{config, has_directory};
use crate::isolation::container::{self, Container};
use crate::task_dir::{Launch, TaskDir};

/// What is passed on: every signal by which a job or a person may ask for something.
const PASSED_ON: [i32; 8] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH];

/// Runs the container to its end, which the shim has been told when this returns.
pub(super) fn keep(
    dir: &TaskDir,
    launch: &Launch,
    container: &Container,
    (stdout, stderr): (OwnedFd, OwnedFd),
    told: &File,
) -> Result<(), Why> {
    let failed = |error: io::Error| (os(&error), error.to_string());
    tell_runtime(dir, launch, container)?;
    // One of an earlier start in place.
    container::forget(dir);
    set_child_subreaper(Some(getpid())).map_err(|error| failed(error.into()))?;
    let mut signals = Signals::new(PASSED_ON.iter().chain(&[SIGCHLD])).map_err(failed)?;
    let pid = run(dir, container, stdout, stderr)?;
    // The shim can't be told only when it is gone, and then so is this process.
    let _ = say(told, Told::Started);
    loop {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => {
                let _ = say(told, Told::Ended(exit(status)));
                return Ok(());
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        for signal in signals.wait().filter(|signal| *signal != SIGCHLD) {
            // Fails when it has just ended.
            let _ = Signal::from_named_raw(signal).map(|signal| kill_process(pid, signal));
        }
    }
}

fn exit(status: WaitStatus) -> Exit {
    let code = status.exit_status().map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal)).unwrap_or(Exit::Unseen)
}

/// Writes what the runtime reads.
fn tell_runtime(dir: &TaskDir, launch: &Launch, container: &Container) -> Result<(), Why> {
    let image = container.image(dir).map_err(|error| {
        let words = format!("{} {:?}: {error}", container.source.field(), container.source.path());
        (NotStarted::NoImage, words)
    })?;
    let user = container.user(&image, launch.confine.user.as_ref());
    let user = user.ok_or_else(|| (NotStarted::NoUser, "no such user in the container".to_owned()))?;
    if user.uid == 0 && !container.may_be_root {
        let words = "the user is root, which needs an agent with --allow-privileged".to_owned();
        return Err((NotStarted::NotIsolated, words));
    }
    if launch.command.is_empty() && image.is_silent() {
        return Err((NotStarted::CommandNotFound, "neither job nor bundle name a command".to_owned()));
    }
    if !has_directory(launch, &image) {
        return Err((NotStarted::DirectoryNotFound, "the container has no such directory".to_owned()));
    }
    let written = || {
        chown(dir.work(), Some(user.uid), Some(user.gid))?;
        let bundle = container::bundle_of(dir);
        match DirBuilder::new().mode(0o700).create(&bundle) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Else it would be taken for that of this start.
        match fs::remove_file(container::pid_file(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let config = config(launch, container, &image, &user, dir);
        fs::write(bundle.join("config.json"), serde_json::to_vec(&config)?)
    };
    written().map_err(|error| (os(&error), error.to_string()))
}

/// Has the runtime start the container, and returns its first process, which is now a child of this one.
fn run(dir: &TaskDir, container: &Container, stdout: OwnedFd, stderr: OwnedFd) -> Result<Pid, Why> {
    let failed = |error: io::Error| (os(&error), format!("{}: {error}", container.runtime.display()));
    let mut command = container::runtime(container, dir);
    command.args(["run", "--detach", "--pid-file"]).arg(container::pid_file(dir));
    command.arg("--bundle").arg(container::bundle_of(dir)).arg(container::NAME);
    // A group of its own: what the task is asked meanwhile is passed on once it can hear it.
    let status = command.process_group(0).stdout(stdout).stderr(stderr).status().map_err(failed)?;
    // Its ends of the output.
    drop(command);
    if !status.success() {
        let complaint = complaint(dir);
        return Err((why(&complaint), format!("{}: {status}: {complaint}", container.runtime.display())));
    }
    let pid = fs::read_to_string(container::pid_file(dir)).map_err(failed)?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| failed(io::Error::other("the runtime named no process")))
}

/// The last that the runtime had to say.
fn complaint(dir: &TaskDir) -> String {
    let mut text = String::new();
    // Without a log there is nothing to be told.
    let _ = File::open(container::log_of(dir))
        .and_then(|log| log.take(OWN_FILE_BYTES_MAX).read_to_string(&mut text));
    text.lines().last().unwrap_or_default().to_owned()
}

/// What a complaint of the runtime means: it has no other way to say what went wrong.
fn why(complaint: &str) -> NotStarted {
    let says = |part: &str| complaint.contains(part);
    if says("chdir to cwd") {
        NotStarted::DirectoryNotFound
    } else if says("executable file not found") || (says("exec") && says("no such file or directory")) {
        NotStarted::CommandNotFound
    } else if says("exec") && says("permission denied") {
        NotStarted::PermissionDenied
    } else {
        NotStarted::NotIsolated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_runtimes_are_understood() {
        let init = "runc run failed: unable to start container process: ";
        let table = [
            ("exec: \"nope\": executable file not found in $PATH", NotStarted::CommandNotFound),
            ("exec: \"/nope\": stat /nope: no such file or directory", NotStarted::CommandNotFound),
            ("exec: \"/etc\": permission denied", NotStarted::PermissionDenied),
            (
                "chdir to cwd (\"/x\") set in config.json failed: not a directory",
                NotStarted::DirectoryNotFound,
            ),
            ("error mounting \"sysfs\" to rootfs: operation not permitted", NotStarted::NotIsolated),
        ];
        for (complaint, expected) in table {
            assert_eq!(why(&format!("{init}{complaint}")), expected, "{complaint}");
        }
        assert_eq!(why(""), NotStarted::NotIsolated);
    }
}
