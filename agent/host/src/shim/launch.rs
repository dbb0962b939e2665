//! Becoming the task: what the forked child of a shim does before it is the command, or the command's parent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cell_state::task::{Exit, NotStarted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, setpgid, wait};

use super::container;
use super::control::{Told, say};
use crate::isolation;
use crate::secrets;
use crate::task_dir::{Launch, TaskDir};

/// The child's ends of its pipes.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// What becomes of the command goes into it. It closes by itself when the command has taken over.
    pub(super) told: OwnedFd,
}

/// Why a command doesn't start, for the cell and in words.
pub(super) type Why = (NotStarted, String);

/// Becomes the command, or its parent; returns when that fails, or when the command has ended, and has told the shim.
pub(super) fn become_task(dir: &TaskDir, launch: &Launch, ends: Ends) {
    let Ends { stdout, stderr, told } = ends;
    let told = File::from(told);
    let outcome = match (prepare(dir, launch, &told), &launch.container) {
        (Ok(true), Some(container)) => container::keep(dir, launch, container, (stdout, stderr), &told),
        (Ok(true), None) => {
            let mut command = Command::new(&launch.command);
            command.args(&launch.args).env_clear().envs(&launch.env);
            command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
            match launch.confine.processes {
                true => be_parent(command, launch, &told),
                false => Err(of_command(launch, &command.exec())),
            }
        }
        // The shim has gone: nobody may start this any more.
        (Ok(false), _) => return,
        (Err(why), _) => Err(why),
    };
    if let Err((why, words)) = outcome {
        // Fails when nobody is left to hear it.
        let _ = say(&told, Told::NotStarted(why, words));
    }
}

/// Confines this process and sees to it that it dies with the shim; false when the shim is gone already.
fn prepare(dir: &TaskDir, launch: &Launch, told: &File) -> Result<bool, Why> {
    let failed = |error: io::Error| (os(&error), error.to_string());
    setpgid(None, None).map_err(|error| failed(error.into()))?;
    if !dies_with_shim(told).map_err(failed)? {
        return Ok(false);
    }
    if launch.container.is_some() {
        // The runtime does the rest.
        return Ok(true);
    }
    let confine = &launch.confine;
    let secrets = secrets::read(&confine.secrets)?;
    isolation::enter(confine, dir.path(), &secrets).map_err(not_isolated)?;
    drop(secrets);
    // Before the rights go: without a view of its own the way there may be closed to the task's user.
    if let Err(error) = std::env::set_current_dir(directory(dir, launch)) {
        let why = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NotStarted::DirectoryNotFound,
            _ => os(&error),
        };
        return Err((why, error.to_string()));
    }
    isolation::give_up_rights(confine).map_err(not_isolated)?;
    // Another user has forgotten to die with the shim.
    dies_with_shim(told).map_err(failed)
}

/// Where the task works, as it sees it.
pub(super) fn directory(dir: &TaskDir, launch: &Launch) -> PathBuf {
    let own = if launch.confine.view.is_some() { Path::new(isolation::WORK).into() } else { dir.work() };
    launch.directory.as_ref().map_or(own, Into::into)
}

/// Sees to it that this process dies with the shim; false when the shim, the only reader of the pipe, is gone already.
fn dies_with_shim(told: &File) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut other_end = [PollFd::new(told, PollFlags::empty())];
    poll(&mut other_end, Some(&Timespec::default()))?;
    Ok(!other_end[0].revents().contains(PollFlags::ERR))
}

fn not_isolated(error: io::Error) -> Why {
    (NotStarted::NotIsolated, format!("can't isolate the task: {error}"))
}

/// What an error of the operating system means for a command.
fn of_command(launch: &Launch, error: &io::Error) -> Why {
    let why = match error.kind() {
        io::ErrorKind::NotFound => NotStarted::CommandNotFound,
        io::ErrorKind::PermissionDenied if !is_anywhere(&launch.command, path_of(&launch.env)) => {
            NotStarted::CommandNotFound
        }
        _ => os(error),
    };
    (why, error.to_string())
}

/// Whether the command is a path, or in a directory of `PATH` that this user may look into: one that it may not is no
/// reason to say that the command may not be run.
pub(super) fn is_anywhere(command: &str, path: &str) -> bool {
    command.contains('/') || path.split(':').any(|place| Path::new(place).join(command).exists())
}

pub(super) fn path_of(env: &BTreeMap<String, String>) -> &str {
    env.get("PATH").map_or("", String::as_str)
}

/// What an error of the operating system means for a start.
pub(super) fn os(error: &io::Error) -> NotStarted {
    match error.kind() {
        io::ErrorKind::PermissionDenied => NotStarted::PermissionDenied,
        _ => NotStarted::Os(error.raw_os_error().unwrap_or(0)),
    }
}

/// Starts the command, and buries whatever loses its parent until the command ends. When this process ends, which is
/// the first of the task's own process numbers, the kernel kills all that is left of the task.
fn be_parent(mut command: Command, launch: &Launch, told: &File) -> Result<(), Why> {
    let child = command.spawn().map_err(|error| of_command(launch, &error))?;
    // Its ends of the output.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The shim can't be told only when it is gone, and then so is this process.
    let _ = say(told, Told::Started);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == pid => {
                let code = status.exit_status().map(Exit::Code);
                let signal = status.terminating_signal().map(Exit::Signal);
                let _ = say(told, Told::Ended(code.or(signal).unwrap_or(Exit::Unseen)));
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((os(&error.into()), error.to_string())),
        }
    }
}
