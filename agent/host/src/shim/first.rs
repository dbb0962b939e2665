//! The first process of a command or hook: forked by the shim itself, or through a process between.
//!
//! The kernel lets a process split off process numbers once only. A shim that starts several commands one after the other,
//! each with numbers of its own, therefore forks a process between, which splits them off, forks, and ends:
//!
//! ```text
//! shim ──forks──▶ between ──splits off numbers, forks──▶ first   (waits until `go` closes)
//!   ▲                └── its pid, and ends                 │
//!   └──────────── adopts it, buries the one between, closes `go`, and only then it can die with the shim
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use cell_state::task::NotStarted;
use fork::Fork;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::control::Control;
use super::launch::{Ends, become_task, os};
use super::signals::Signals;
use crate::isolation;
use crate::task_dir::{Launch, TaskDir};

/// It, and the shim's ends of its pipes.
pub(super) struct First {
    pub(super) pid: Pid,
    pub(super) control: Control,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Starts it; `several` when this shim starts more than one.
pub(super) fn start(
    dir: &TaskDir,
    launch: &Launch,
    signals: &Signals,
    several: bool,
) -> Result<First, NotStarted> {
    let of_os = |error: io::Error| os(&error);
    let ((control, told), (out, stdout), (err, stderr)) =
        (pipe().map_err(of_os)?, pipe().map_err(of_os)?, pipe().map_err(of_os)?);
    let control = Control::new(control).map_err(of_os)?;
    let is_between = several && launch.confine.processes;
    if !is_between && let Err(error) = isolation::split_processes(&launch.confine) {
        return Err(not_isolated(dir, &error));
    }
    let forked = if is_between { fork_between(launch, signals) } else { fork_once(signals) };
    match forked {
        Ok(Forked::Shim(pid)) => Ok(First { pid, control, stdout: out, stderr: err }),
        Ok(Forked::First) => {
            drop((control, out, err));
            become_task(dir, launch, Ends { stdout, stderr, told });
            std::process::exit(127)
        }
        Err(error) if is_between => Err(not_isolated(dir, &error)),
        Err(error) => Err(os(&error)),
    }
}

fn not_isolated(dir: &TaskDir, error: &io::Error) -> NotStarted {
    eprintln!("shim of {}: can't isolate the task: {error}", dir.path().display());
    NotStarted::NotIsolated
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Which process this is after a fork.
enum Forked {
    Shim(Pid),
    First,
}

fn fork_once(signals: &Signals) -> io::Result<Forked> {
    match fork::fork()? {
        Fork::Parent(pid) => pid_of(pid).map(Forked::Shim),
        Fork::Child => {
            signals.leave_to_parent();
            Ok(Forked::First)
        }
    }
}

fn fork_between(launch: &Launch, signals: &Signals) -> io::Result<Forked> {
    let ((number, say_number), (wait_for_go, go)) = (pipe()?, pipe()?);
    match fork::fork()? {
        Fork::Parent(between) => {
            drop((say_number, wait_for_go));
            let mut first = [0; 4];
            let said = File::from(number).read_exact(&mut first);
            let _ = waitpid(Some(pid_of(between)?), WaitOptions::empty());
            drop(go);
            said.map_err(|_| io::Error::other("no process numbers of its own"))?;
            pid_of(i32::from_le_bytes(first)).map(Forked::Shim)
        }
        Fork::Child => {
            signals.leave_to_parent();
            drop((number, go));
            let forked = isolation::split_processes(&launch.confine).and_then(|()| fork::fork());
            match forked {
                Ok(Fork::Child) => {
                    drop(say_number);
                    // Also closed by the end of the shim, which is noticed afterwards.
                    let _ = File::from(wait_for_go).read(&mut [0]);
                    Ok(Forked::First)
                }
                Ok(Fork::Parent(pid)) => {
                    // Without a shim to hear it, the first process sees that for itself.
                    let _ = File::from(say_number).write_all(&pid.to_le_bytes());
                    std::process::exit(0)
                }
                Err(error) => {
                    eprintln!("can't split off process numbers: {error}");
                    std::process::exit(1)
                }
            }
        }
    }
}

fn pid_of(pid: i32) -> io::Result<Pid> {
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))
}
