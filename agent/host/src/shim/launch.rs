//! The stub: a process that waits until it is known, and then becomes the task's command.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use cell_state::task::NotStarted;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::task_dir::{Launch, TaskDir};

/// Becomes the command. Standard input is a socket to the shim: a byte from it is the word to go, and why the command
/// couldn't be started goes back through it. It closes by itself when the command has taken over.
pub(super) fn exec(dir: &TaskDir, shim: Option<OsString>) -> ExitCode {
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let mut control = UnixStream::from(control);
    let why = match prepare(dir, shim, &mut control) {
        Ok(Some(launch)) => become_command(dir, &launch),
        // The shim has gone: nobody may start this any more.
        Ok(None) => return ExitCode::FAILURE,
        Err(error) => os(&error),
    };
    let told = serde_json::to_vec(&why).expect("a reason encodes");
    match control.write_all(&told) {
        Ok(()) => ExitCode::from(127),
        Err(_) => ExitCode::FAILURE,
    }
}

fn prepare(dir: &TaskDir, shim: Option<OsString>, control: &mut UnixStream) -> io::Result<Option<Launch>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The shim may have died before that was set.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.map(OsString::from) != shim {
        return Ok(None);
    }
    let launch = dir.launch()?;
    match control.read(&mut [0])? {
        0 => Ok(None),
        _ => Ok(Some(launch)),
    }
}

/// Only returns when that fails.
fn become_command(dir: &TaskDir, launch: &Launch) -> NotStarted {
    let directory = launch.directory.as_ref().map_or_else(|| dir.work(), Into::into);
    if let Err(error) = std::env::set_current_dir(directory) {
        return match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NotStarted::DirectoryNotFound,
            _ => os(&error),
        };
    }
    let mut command = Command::new(&launch.command);
    command.args(&launch.args).env_clear().envs(&launch.env).stdin(Stdio::null());
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
