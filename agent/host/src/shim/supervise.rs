//! Supervising one task: one thread, one loop over its output, its signals and its end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use cell_state::task::{Exit, NotStarted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, setsid, wait, waitid, waitpid,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::launch::os;
use super::output::Output;
use crate::bounds::{EXIT_WRITES_MAX, OUTPUT_READ_BYTES};
use crate::process::{self, Identity};
use crate::task_dir::{Launch, Live, TaskDir};

/// What the agent reads from the shim's standard output once the command has taken over.
pub(crate) const STARTED: &[u8] = b"started\n";

/// Between two looks for what is left of a task while it dies.
const REAP_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Runs the task of a directory to its end.
pub(super) fn run(dir: TaskDir, prefix: Vec<OsString>) -> ExitCode {
    match begin(&dir, prefix) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shim of {}: {error}", dir.path().display());
            ExitCode::FAILURE
        }
    }
}

fn begin(dir: &TaskDir, prefix: Vec<OsString>) -> io::Result<()> {
    // Fails when this process leads a group, as in a shell: then it has a group of its own already.
    let _ = setsid();
    let signals = Signals::register()?;
    set_child_subreaper(Some(getpid()))?;
    let own = Identity::own().ok_or_else(|| io::Error::other("/proc doesn't know this process"))?;
    let live = Live { boot: process::boot_id(), shim: Some(own), child: None };
    if !dir.claim(&live)? {
        return Err(io::Error::other("this start is taken, or ruled out"));
    }
    let exit = match Task::start(dir, live, &prefix) {
        Ok(task) => task.follow(&signals),
        Err(error) => Exit::NotStarted(os(&error)),
    };
    write_exit(dir, exit)
}

/// Says how it ended. The disk may be full for a while; nobody but this process knows what it holds.
fn write_exit(dir: &TaskDir, exit: Exit) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match dir.write_exit(exit) {
            Ok(()) => return Ok(()),
            Err(error) if tries == EXIT_WRITES_MAX => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
        tries += 1;
    }
}

/// Signals as bytes in pipes.
struct Signals {
    child: UnixStream,
    term: UnixStream,
    kill: UnixStream,
}

impl Signals {
    fn register() -> io::Result<Signals> {
        let pipe = |signals: &[i32]| -> io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        Ok(Signals {
            child: pipe(&[SIGCHLD])?,
            term: pipe(&[SIGTERM, SIGINT, SIGHUP])?,
            kill: pipe(&[SIGUSR1])?,
        })
    }
}

/// Whether a signal came since the last look.
fn came(mut pipe: &UnixStream) -> bool {
    let mut came = false;
    while matches!(pipe.read(&mut [0; 64]), Ok(n) if n > 0) {
        came = true;
    }
    came
}

/// One stream of the task's output, until its last writer is gone.
struct Stream {
    pipe: Option<File>,
    output: Output,
}

impl Stream {
    fn new(pipe: OwnedFd, output: Output) -> io::Result<Stream> {
        ioctl_fionbio(&pipe, true)?;
        Ok(Stream { pipe: Some(File::from(pipe)), output })
    }

    /// Takes what is there; with `all`, until nothing more is.
    fn take(&mut self, buffer: &mut [u8], all: bool) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.output.write(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
            if !all {
                return;
            }
        }
    }
}

struct Task {
    /// The main process, not yet reaped: until then its pid, and so its group, can't be anybody else's.
    child: Pid,
    _child: Child,
    /// To the stub, until the command has taken over.
    control: Option<UnixStream>,
    failed: Option<NotStarted>,
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
}

impl Task {
    fn start(dir: &TaskDir, live: Live, prefix: &[OsString]) -> io::Result<Task> {
        let launch = dir.launch()?;
        let output = |stream| output(dir, stream, &launch);
        let (stdout, stderr) = (output("stdout")?, output("stderr")?);
        let (control, stubs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.args(prefix).arg("exec").arg(dir.path()).arg(std::process::id().to_string());
        command.process_group(0).stdin(OwnedFd::from(stubs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        drop(command);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let pid = i32::try_from(child.id()).ok();
        let identity = pid.and_then(Identity::of);
        let (Some(out), Some(err), Some(pid)) = (out, err, pid.and_then(Pid::from_raw)) else {
            return Err(io::Error::other("a child without pid and pipes"));
        };
        let task = Task {
            child: pid,
            _child: child,
            control: Some(control),
            failed: None,
            stdout: Stream::new(out.into(), stdout)?,
            stderr: Stream::new(err.into(), stderr)?,
            buffer: vec![0; OUTPUT_READ_BYTES],
        };
        // Only once the agent could find it does the stub get the word to go.
        dir.update_live(&Live { child: identity, ..live })?;
        if let Some(mut control) = task.control.as_ref() {
            control.write_all(b"g")?;
        }
        Ok(task)
    }

    /// Follows the task until nothing of it is left, and returns how its main process ended.
    fn follow(mut self, signals: &Signals) -> Exit {
        loop {
            self.wait(signals, None);
            if came(&signals.term) {
                self.signal_group(Signal::TERM);
            }
            if came(&signals.kill) {
                self.signal_group(Signal::KILL);
            }
            self.take_output(false);
            self.listen(false);
            if came(&signals.child) {
                if let Some(exit) = self.peek() {
                    self.clear_up(signals);
                    self.listen(true);
                    return self.failed.map_or(exit, Exit::NotStarted);
                }
                self.reap_adopted();
            }
        }
    }

    /// Waits for output, a signal, or word from the stub.
    fn wait(&self, signals: &Signals, timeout: Option<&Timespec>) {
        let streams = [&self.stdout, &self.stderr].into_iter().filter_map(|s| s.pipe.as_ref());
        let control = self.control.as_ref().map(AsFd::as_fd);
        let signals = [&signals.child, &signals.term, &signals.kill].map(AsFd::as_fd);
        let all = streams.map(AsFd::as_fd).chain(control).chain(signals);
        let mut fds: Vec<PollFd<'_>> =
            all.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // Interrupted by a signal is as good as woken by its pipe.
        let _ = poll(&mut fds, timeout);
    }

    fn take_output(&mut self, all: bool) {
        let Task { stdout, stderr, buffer, .. } = self;
        stdout.take(buffer, all);
        stderr.take(buffer, all);
    }

    /// Hears whether the command has taken over.
    fn listen(&mut self, ended: bool) {
        let Some(control) = &mut self.control else { return };
        if control.set_nonblocking(!ended).is_err() {
            return;
        }
        let mut told = Vec::new();
        match control.read_to_end(&mut told) {
            Err(error) if told.is_empty() && error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
        self.control = None;
        if told.is_empty() {
            // An agent that has gone meanwhile needn't be told.
            let mut stdout = io::stdout();
            let _ = stdout.write_all(STARTED).and_then(|()| stdout.flush());
        } else {
            self.failed = Some(serde_json::from_slice(&told).unwrap_or(NotStarted::Os(0)));
        }
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only when nobody is left to hear it.
        let _ = kill_process_group(self.child, signal);
    }

    /// How the main process ended, if it did, without reaping it.
    fn peek(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.child), options).ok().flatten()?;
        let code = status.exit_status().map(Exit::Code);
        code.or_else(|| status.terminating_signal().map(Exit::Signal))
    }

    /// Reaps orphans of the task that ended before it.
    fn reap_adopted(&self) {
        for pid in children().filter(|pid| *pid != self.child) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// Kills and reaps all that is left. Every descendant that loses its parent becomes a child of this process, so
    /// having no child left means that nothing is.
    fn clear_up(&mut self, signals: &Signals) {
        self.signal_group(Signal::KILL);
        let _ = waitpid(Some(self.child), WaitOptions::empty());
        loop {
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) | Err(Errno::INTR) => {}
                    Ok(None) => break,
                    Err(_) => {
                        self.take_output(true);
                        return;
                    }
                }
            }
            for pid in children() {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.wait(signals, Some(&REAP_EVERY));
            came(&signals.child);
            self.take_output(true);
        }
    }
}

/// Children of this process: the main one, and orphans of the task, wherever they moved themselves.
fn children() -> impl Iterator<Item = Pid> {
    process::children(getpid().as_raw_nonzero().get()).into_iter().filter_map(Pid::from_raw)
}

fn output(dir: &TaskDir, stream: &'static str, launch: &Launch) -> io::Result<Output> {
    Output::create(dir.path(), stream, launch.log_bytes_max, launch.log_files_max)
}
