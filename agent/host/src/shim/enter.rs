//! A command beside a task: this process takes the task's place in the machine, starts the command there, and stays with
//! it until it has ended or nobody wants it any more.
//!
//! ```text
//! agent ──spawns──▶ shim `enter DIR` (own session, terminal if there is one, reaps all that the command leaves)
//!   ▲                 │ joins the task's cgroups, namespaces and root directory
//!   │ control socket  └──forks──▶ a process that gives up what the task has given up (limits, user, capabilities,
//!   │                             system calls), and becomes the command, with the task's environment
//!   └── word how it ended; when the agent's end closes, the command is killed
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use cell_state::task::Exit;
use fork::Fork;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Dir, Mode, OFlags, open, openat};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, ioctl_tiocsctty, kill_process, set_child_subreaper, setsid,
    test_kill_process, wait, waitpid,
};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use super::context::Context;
use super::launch::is_anywhere;
use crate::bounds::{ENTER_BYTES_MAX, OUTPUT_READ_BYTES};
use crate::isolation::{self, Confine, container};
use crate::process;
use crate::task_dir::TaskDir;

/// What is to be started: sent through the control socket, after one byte that carries the command's standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) command: Vec<String>,
    /// The kind of terminal that standard input, output and error are; `None` when they are none.
    pub(crate) terminal: Option<String>,
}

/// How it ended: the last word on the control socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Ended(Exit),
    Failed(String),
}

/// Between two looks for what is left of a command while it dies.
const REAP_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Does what `enter DIR` is for. Standard input is the control socket.
pub(super) fn enter(dir: &TaskDir) -> ExitCode {
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let mut control = UnixStream::from(control);
    let told = match receive(&mut control).and_then(|(plan, input)| follow(dir, &plan, input, &control)) {
        Ok(Some(told)) => told,
        // Nobody is there to be told.
        Ok(None) => return ExitCode::FAILURE,
        Err(error) => Told::Failed(format!("can't enter the task: {error}")),
    };
    let told = serde_json::to_vec(&told).expect("an end encodes");
    match control.write_all(&told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The plan, and the command's standard input.
fn receive(control: &mut UnixStream) -> io::Result<(Plan, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    recvmsg(&*control, &mut parts, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let input = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let input = input.ok_or_else(|| io::Error::other("no input was handed over"))?;
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > ENTER_BYTES_MAX {
        return Err(io::Error::other("a plan over its bound"));
    }
    let mut plan = vec![0; length];
    control.read_exact(&mut plan)?;
    Ok((serde_json::from_slice(&plan)?, input))
}

/// Starts the command and stays with it; `None` when the agent has gone.
fn follow(dir: &TaskDir, plan: &Plan, input: OwnedFd, control: &UnixStream) -> io::Result<Option<Told>> {
    // Fails when this process leads a group: then it has a session of its own already.
    let _ = setsid();
    if plan.terminal.is_some() {
        ioctl_tiocsctty(&input)?;
    }
    let child_ended = signals()?;
    set_child_subreaper(Some(getpid()))?;
    let descendants = Descendants::of_this_process();
    let child = match start(dir, plan, input) {
        Ok(child) => child,
        Err(problem) => return Ok(Some(Told::Failed(problem))),
    };
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(child_ended.as_fd(), PollFlags::IN),
        ];
        // Interrupted by a signal is as good as woken by its pipe.
        let _ = poll(&mut watched, None);
        let gone = !watched[0].revents().is_empty();
        drain(&child_ended);
        let ended = waitpid(Some(child), WaitOptions::NOHANG)?;
        if ended.is_some() || gone {
            descendants.clear_up(child, &child_ended);
        }
        if let Some((_, status)) = ended {
            let by_signal = || Exit::Signal(status.terminating_signal().unwrap_or(0));
            return Ok(Some(Told::Ended(status.exit_status().map_or_else(by_signal, Exit::Code))));
        }
        if gone {
            return Ok(None);
        }
    }
}

/// Ends of children as bytes in a pipe. What the terminal signals is meant for the command alone; handlers, unlike
/// ignored signals, aren't inherited by it.
fn signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    for signal in [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn drain(mut pipe: &UnixStream) {
    while matches!(pipe.read(&mut [0; 64]), Ok(n) if n > 0) {}
}

fn start(dir: &TaskDir, plan: &Plan, input: OwnedFd) -> Result<Pid, String> {
    let failed = |what: &str, error: io::Error| format!("can't {what}: {error}");
    let (program, args) = plan.command.split_first().ok_or("no command was given")?;
    let child = process::main_process(dir).map_err(|error| failed("read the state of the task", error))?;
    let task = child.ok_or("the task has ended")?;
    let confine = dir
        .launch()
        .and_then(|launch| container::rights(&launch, dir))
        .map_err(|error| failed("read what the task may do", error))?;
    let outputs = io::stdout().as_fd().try_clone_to_owned().and_then(|out| {
        let err = io::stderr().as_fd().try_clone_to_owned()?;
        Ok((out, err))
    });
    let (out, err) = outputs.map_err(|error| failed("keep the output", error))?;
    let context = Context::of(task.pid).map_err(|error| failed("find out where the task is", error))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().stdin(input).stdout(out).stderr(err);
    let path = context.path();
    context.join(&mut command).map_err(|error| failed("go where the task is", error))?;
    if let Some(kind) = &plan.terminal {
        command.env("TERM", kind);
    }
    spawn(command, (program, &path), &confine).map_err(|error| failed("start a process", error))?
}

/// Starts the command in a process that has given up what the task has given up: this one keeps its rights, so that it
/// can clear up.
fn spawn(
    mut command: Command,
    (program, path): (&str, &str),
    confine: &Confine,
) -> io::Result<Result<Pid, String>> {
    let (told, telling) = pipe_with(PipeFlags::CLOEXEC)?;
    match fork::fork()? {
        Fork::Parent(pid) => {
            drop((telling, command));
            let mut problem = String::new();
            File::from(told).read_to_string(&mut problem)?;
            let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))?;
            // The end of the pipe without a word: it has become the command.
            Ok(if problem.is_empty() { Ok(pid) } else { Err(problem) })
        }
        Fork::Child => {
            drop(told);
            let problem = match isolation::give_up_rights(confine) {
                Ok(()) => refused(&command.exec(), program, path),
                Err(error) => format!("can't isolate the command: {error}"),
            };
            // Fails when nobody is left to hear it.
            let _ = File::from(telling).write_all(problem.as_bytes());
            std::process::exit(127)
        }
    }
}

/// Why it isn't the command, in words.
fn refused(error: &io::Error, program: &str, path: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{program}: no such command where the task is"),
        io::ErrorKind::PermissionDenied if !is_anywhere(program, path) => {
            format!("{program}: no such command where the task is")
        }
        _ => format!("{program}: {error}"),
    }
}

/// What this process has to clear away: what is in its session, wherever that has moved to, and what has lost its parent
/// to it. In a namespace of processes one that began a session of its own is left: it ends with the task.
struct Descendants {
    /// The machine's own `/proc`, opened before this process leaves it, and the list of this process's children there.
    proc: Option<OwnedFd>,
    children: Option<File>,
}

impl Descendants {
    fn of_this_process() -> Descendants {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let pid = getpid().as_raw_nonzero();
        Descendants {
            proc: open("/proc", flags, Mode::empty()).ok(),
            children: File::open(format!("/proc/{pid}/task/{pid}/children")).ok(),
        }
    }

    fn list(&self, child: Pid) -> Vec<Pid> {
        let own = getpid();
        let mut pids = self.of_session(own.as_raw_nonzero().get());
        let mut listed = [0; OUTPUT_READ_BYTES];
        match self.children.as_ref().map(|file| file.read_at(&mut listed, 0)) {
            Some(Ok(length)) => {
                let listed = String::from_utf8_lossy(&listed[..length]);
                pids.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
            // Without the list the command's own process is all that is known.
            Some(Err(_)) | None => pids.push(child.as_raw_nonzero().get()),
        }
        let pids = pids.into_iter().filter_map(Pid::from_raw);
        pids.filter(|pid| *pid != own && test_kill_process(*pid).is_ok()).collect()
    }

    /// Processes of the session that this process leads which haven't ended.
    fn of_session(&self, session: i32) -> Vec<i32> {
        let Some(entries) = self.proc.as_ref().and_then(|proc| Dir::read_from(proc).ok()) else {
            return Vec::new();
        };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
        pids.filter(|pid| self.stat(*pid).is_some_and(|stat| stat.session == session && !stat.is_dead()))
            .collect()
    }

    fn stat(&self, pid: i32) -> Option<process::Stat> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(self.proc.as_ref()?, format!("{pid}/stat"), flags, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).ok()?;
        process::parse(&text)
    }

    /// Kills and reaps all that is left.
    fn clear_up(&self, child: Pid, child_ended: &UnixStream) {
        loop {
            let left = self.list(child);
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            let mut watched = [PollFd::from_borrowed_fd(child_ended.as_fd(), PollFlags::IN)];
            let _ = poll(&mut watched, Some(&REAP_EVERY));
            drain(child_ended);
            while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        }
    }
}
