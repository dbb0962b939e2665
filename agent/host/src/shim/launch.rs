//! Becoming the task: what the forked child of a shim does before it is the command.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use cell_state::task::NotStarted;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::process::Identity;
use crate::task_dir::{Launch, TaskDir};

/// The child's ends of its pipes.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Why the command couldn't be started goes into it. It closes by itself when the command has taken over.
    pub(super) told: OwnedFd,
}

/// Becomes the command; returns only when that fails, and has told the shim why.
pub(super) fn become_command(dir: &TaskDir, launch: &Launch, shim: Identity, ends: Ends) {
    let Ends { stdout, stderr, told } = ends;
    let why = match prepare(shim) {
        Ok(true) => take_over(dir, launch, stdout, stderr),
        // The shim has gone: nobody may start this any more.
        Ok(false) => return,
        Err(error) => os(&error),
    };
    let text = serde_json::to_vec(&why).expect("a reason encodes");
    // Fails when nobody is left to hear it.
    let _ = File::from(told).write_all(&text);
}

/// Has this process die with the shim; false when the shim is gone already.
fn prepare(shim: Identity) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(getppid() == shim.pid())
}

/// Only returns when that fails.
fn take_over(dir: &TaskDir, launch: &Launch, stdout: OwnedFd, stderr: OwnedFd) -> NotStarted {
    let directory = launch.directory.as_ref().map_or_else(|| dir.work(), Into::into);
    if let Err(error) = std::env::set_current_dir(directory) {
        return match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NotStarted::DirectoryNotFound,
            _ => os(&error),
        };
    }
    let mut command = Command::new(&launch.command);
    command.args(&launch.args).env_clear().envs(&launch.env).process_group(0);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let error = command.exec();
    match error.kind() {
        io::ErrorKind::NotFound => NotStarted::CommandNotFound,
        _ => os(&error),
    }
}

/// What an error of the operating system means for a start.
pub(super) fn os(error: &io::Error) -> NotStarted {
    match error.kind() {
        io::ErrorKind::PermissionDenied => NotStarted::PermissionDenied,
        _ => NotStarted::Os(error.raw_os_error().unwrap_or(0)),
    }
}
