//! Supervising one task: one thread, one loop over its output, its signals and its end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use agent::PlacementId;
use cell_state::task::{Exit, NotStarted};
use fork::Fork;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, setsid, wait, waitid, waitpid,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::launch::{Ends, become_command, os};
use super::output::Output;
use super::word::{What, Word, Words};
use crate::bounds::{EXIT_WRITES_MAX, OUTPUT_READ_BYTES};
use crate::process::{self, Identity};
use crate::task_dir::{Launch, Live, TaskDir};

/// Between two looks for what is left of a task while it dies.
const REAP_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Between two attempts to tell an agent that has too much to hear.
const TELL_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Whom a shim tells what happens.
#[derive(Clone)]
pub(super) struct Reporting {
    pub(super) id: PlacementId,
    pub(super) words: Words,
    /// The boot of this machine.
    pub(super) boot: String,
}

/// Runs the task of a directory to its end.
pub(super) fn run(dir: &TaskDir, reporting: Option<Reporting>) -> ExitCode {
    match begin(dir, reporting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shim of {}: {error}", dir.path().display());
            ExitCode::FAILURE
        }
    }
}

fn begin(dir: &TaskDir, reporting: Option<Reporting>) -> io::Result<()> {
    // Fails when this process leads a group, as in a shell: then it has a group of its own already.
    let _ = setsid();
    let signals = Signals::register()?;
    set_child_subreaper(Some(getpid()))?;
    let own = Identity::own().ok_or_else(|| io::Error::other("/proc doesn't know this process"))?;
    let boot = reporting.as_ref().map_or_else(process::boot_id, |reporting| reporting.boot.clone());
    if !dir.claim(&Live { boot, shim: Some(own) })? {
        return Err(io::Error::other("this start is taken, or ruled out"));
    }
    let exit = match Task::start(dir, own, reporting.as_ref()) {
        Ok(task) => task.follow(&signals),
        Err(error) => Exit::NotStarted(os(&error)),
    };
    write_exit(dir, exit)?;
    let told = reporting.map(|Reporting { id, words, .. }| words.say(Word { id, what: What::Ended(exit) }));
    match told {
        // The agent makes it durable, together with what else has ended.
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => dir.sync(),
    }
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
    /// From the child, until the command has taken over.
    control: Option<File>,
    /// The word that it has, until the agent has heard it.
    started: Option<Word>,
    words: Option<Words>,
    own: Identity,
    id: Option<PlacementId>,
    failed: Option<NotStarted>,
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
}

impl Task {
    fn start(dir: &TaskDir, own: Identity, reporting: Option<&Reporting>) -> io::Result<Task> {
        let launch = dir.launch()?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let ((control, told), (out, stdout), (err, stderr)) = (pipe()?, pipe()?, pipe()?);
        let child = match fork::fork()? {
            Fork::Parent(pid) => {
                Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))?
            }
            Fork::Child => {
                drop((control, out, err));
                become_command(dir, &launch, own, Ends { stdout, stderr, told });
                std::process::exit(127)
            }
        };
        drop((told, stdout, stderr));
        ioctl_fionbio(&control, true)?;
        let output = |stream| output(dir, stream, &launch);
        Ok(Task {
            child,
            control: Some(File::from(control)),
            started: None,
            words: reporting.map(|reporting| reporting.words.clone()),
            own,
            id: reporting.map(|reporting| reporting.id),
            failed: None,
            stdout: Stream::new(out, output("stdout"))?,
            stderr: Stream::new(err, output("stderr"))?,
            buffer: vec![0; OUTPUT_READ_BYTES],
        })
    }

    /// Follows the task until nothing of it is left, and returns how its main process ended.
    fn follow(mut self, signals: &Signals) -> Exit {
        loop {
            self.wait(signals, self.started.map(|_| &TELL_EVERY));
            self.tell_started();
            if came(&signals.term) {
                self.signal_group(Signal::TERM);
            }
            if came(&signals.kill) {
                self.signal_group(Signal::KILL);
            }
            self.take_output(false);
            self.listen();
            if came(&signals.child) {
                if let Some(exit) = self.peek() {
                    self.clear_up(signals);
                    self.listen();
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
    fn listen(&mut self) {
        let Some(control) = &mut self.control else { return };
        let mut told = Vec::new();
        match control.read_to_end(&mut told) {
            Err(error) if told.is_empty() && error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
        self.control = None;
        if told.is_empty() {
            self.started = self.id.map(|id| Word { id, what: What::Started(self.own) });
            self.tell_started();
        } else {
            self.failed = Some(serde_json::from_slice(&told).unwrap_or(NotStarted::Os(0)));
        }
    }

    /// Tells the agent without waiting for it: the task's output must not wait either.
    fn tell_started(&mut self) {
        let Some((word, words)) = self.started.zip(self.words.as_ref()) else { return };
        match words.try_say(word) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An agent that has gone meanwhile needn't be told.
            Ok(()) | Err(_) => self.started = None,
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

fn output(dir: &TaskDir, stream: &'static str, launch: &Launch) -> Output {
    Output::new(dir.path(), stream, launch.log_bytes_max, launch.log_files_max)
}
