//! A command beside a task: what comes from the other end goes to it, what it writes goes back, and when the other end
//! has gone it is killed.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use tokio::io::{AsyncReadExt, Interest};
use tokio::sync::{mpsc, watch};
use transport::bounds::CONVERSATION_WINDOW;
use transport::task::{FromTask, Terminal, ToTask};

use super::log::blocking;
use super::streams::{Ends, set_window};
use super::{Problem, Reader, Writer};
use crate::bounds::{ENTER_BYTES_MAX, TASK_LOOK_EVERY};
use crate::shim::{Plan, Told};
use crate::task_dir::TaskDir;

/// What is to be run.
pub(super) struct Wanted {
    pub(super) command: Vec<String>,
    pub(super) terminal: Option<Terminal>,
    pub(super) input: bool,
}

/// A command that was started.
struct Started {
    child: Child,
    control: UnixStream,
    ends: Raw,
}

/// This process's ends of its input and output.
enum Raw {
    Pipes { input: Option<OwnedFd>, output: OwnedFd, error: OwnedFd },
    Terminal(OwnedFd),
}

/// Runs the command to its end.
pub(super) async fn run(
    shim: &(PathBuf, Vec<OsString>),
    dir: TaskDir,
    wanted: Wanted,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    let (shim, at) = (shim.clone(), dir.clone());
    let failed = |error: io::Error| format!("can't start a command: {error}");
    let Started { mut child, control, ends } =
        blocking(move || start(&shim, &at, &wanted)).await?.map_err(failed)?;
    let held = async {
        let control = tokio::net::UnixStream::from_std(control)?;
        let ends = match ends {
            Raw::Pipes { input, output, error } => Ends::pipes(input, output, error)?,
            Raw::Terminal(master) => Ends::terminal(master)?,
        };
        io::Result::Ok((control, ends))
    };
    let ended = match held.await {
        Ok((control, ends)) => follow(control, &ends, &dir, writer, reader).await,
        Err(error) => Err(failed(error)),
    };
    // Its end of the control socket is closed by now, so it is about to end, or has.
    drop(tokio::task::spawn_blocking(move || child.wait()));
    ended
}

async fn follow(
    mut control: tokio::net::UnixStream,
    ends: &Ends,
    dir: &TaskDir,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    let (over, is_over) = watch::channel(false);
    let outputs = ends.copy_out(writer, is_over);
    let inputs = feed(ends, writer, reader);
    tokio::pin!(outputs, inputs);
    let mut written = false;
    let last = {
        let told = told(&mut control);
        let task_gone = task_gone(dir);
        tokio::pin!(told, task_gone);
        loop {
            tokio::select! {
                () = &mut outputs, if !written => written = true,
                () = &mut inputs => return Ok(None),
                told = &mut told => break told?,
                () = &mut task_gone => return Err("the task has ended, and the command with it".to_owned()),
            }
        }
    };
    // Nothing that isn't there yet will follow.
    over.send_replace(true);
    while !written {
        tokio::select! {
            () = &mut outputs => written = true,
            () = &mut inputs => return Ok(None),
        }
    }
    Ok(Some(last))
}

/// What the process that started the command says of its end.
async fn told(control: &mut tokio::net::UnixStream) -> Result<FromTask, Problem> {
    let mut told = Vec::new();
    // A socket that breaks has said what it could.
    let _ = control.take(ENTER_BYTES_MAX as u64).read_to_end(&mut told).await;
    match serde_json::from_slice(&told) {
        Ok(Told::Ended(exit)) => Ok(FromTask::Exited(exit)),
        Ok(Told::Failed(problem)) => Err(problem),
        Err(_) => Err("the command was killed, and nobody saw how it ended".to_owned()),
    }
}

/// Waits until the task itself has ended.
async fn task_gone(dir: &TaskDir) {
    loop {
        tokio::time::sleep(TASK_LOOK_EVERY).await;
        let look = dir.clone();
        if !matches!(blocking(move || look.exit()).await, Ok(Ok(None))) {
            return;
        }
    }
}

/// Gives the command what comes from the other end, until that has gone.
async fn feed(ends: &Ends, writer: &Writer, mut reader: Reader) {
    // More messages than the window holds of the shortest ones: it is never full while the other end keeps to the rules.
    // Without it a command that doesn't read its input would keep the credit from being read that its output needs.
    let (queue, mut queued) = mpsc::channel(CONVERSATION_WINDOW / 4);
    let read = async {
        while let Ok(Some(message)) = reader.next().await {
            if queue.try_send(message).is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((message, length)) = queued.recv().await {
            match message {
                ToTask::Input(bytes) => ends.input(&bytes).await,
                ToTask::InputEnd => ends.input_end().await,
                ToTask::Resize(window) => ends.resize(window),
            }
            // Fails when the other end has gone: then reading ends as well.
            let _ = writer.passed_on(length).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

fn start(shim: &(PathBuf, Vec<OsString>), dir: &TaskDir, wanted: &Wanted) -> io::Result<Started> {
    let (control, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&shim.0);
    command.arg0("ohm").args(&shim.1).arg("enter").arg(dir.path());
    command.current_dir("/").stdin(OwnedFd::from(theirs));
    let (child, input, ends) = match &wanted.terminal {
        Some(terminal) => {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = openpt(flags)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let slave = ioctl_tiocgptpeer(&master, flags)?;
            set_window(&master, terminal.window)?;
            let child = command.stdout(slave.try_clone()?).stderr(slave.try_clone()?).spawn()?;
            (child, slave, Raw::Terminal(master))
        }
        None => {
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let taken = child.stdout.take().zip(child.stderr.take());
            let (output, error) = taken.ok_or_else(|| io::Error::other("a child without pipes"))?;
            let (theirs, ours) = match wanted.input {
                true => {
                    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                    (read, Some(write))
                }
                false => (null()?, None),
            };
            (child, theirs, Raw::Pipes { input: ours, output: output.into(), error: error.into() })
        }
    };
    // From here on, dropping the control socket ends the child.
    drop(command);
    let plan = Plan {
        command: wanted.command.clone(),
        terminal: wanted.terminal.as_ref().map(|terminal| terminal.kind.clone()),
    };
    hand_over(&control, &plan, &input)?;
    control.set_nonblocking(true)?;
    Ok(Started { child, control, ends })
}

fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?)
}

fn hand_over(mut control: &UnixStream, plan: &Plan, input: &OwnedFd) -> io::Result<()> {
    let plan = serde_json::to_vec(plan)?;
    if plan.len() > ENTER_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the command is too long"));
    }
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = [input.as_fd()];
    let fits = rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits, "the space is made for it");
    sendmsg(control, &[IoSlice::new(b"i")], &mut rights, SendFlags::NOSIGNAL)?;
    control.write_all(&(plan.len() as u32).to_le_bytes())?;
    control.write_all(&plan)
}

/// What a terminal takes for the end of input at the beginning of a line.
pub(super) const END_OF_INPUT: u8 = 4;

/// Both directions of a descriptor.
pub(super) const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
