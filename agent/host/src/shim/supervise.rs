//! Supervising one task: one thread, one loop over its output, its signals and its end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

use super::control::{Control, Told};
use super::launch::{Ends, become_task, os};
use super::output::{Output, Rotation};
use super::signals::{Signals, came};
use super::word::{What, Word, Words};
use crate::bounds::{EXIT_WRITES_MAX, OUTPUT_READ_BYTES};
use crate::isolation;
use crate::isolation::cgroup::Cgroup;
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
    let exit = match Task::start(dir, reporting.as_ref(), own) {
        Ok(task) => {
            let cgroup = task.cgroup.clone();
            let exit = task.follow(&signals);
            clear_away(cgroup.as_ref());
            exit
        }
        Err(exit) => exit,
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

/// Removes control groups that nothing is in any more.
fn clear_away(cgroup: Option<&Cgroup>) {
    if let Some(Err(error)) = cgroup.map(Cgroup::remove) {
        eprintln!("can't remove the control groups: {error}");
    }
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
    /// The first process, not yet reaped: until then its pid, and so its group, can't be anybody else's.
    child: Pid,
    cgroup: Option<Cgroup>,
    /// Becomes readable when memory has run out.
    memory: Option<OwnedFd>,
    memory_ran_out: bool,
    /// From the child, until it has become the command; from the command's parent, until the end.
    control: Control,
    /// Whether the first process stays the parent of the command.
    is_parent: bool,
    outcome: Option<Told>,
    /// Whether the command is to be asked to stop as soon as it is there to hear it.
    asked_to_stop: bool,
    /// The word that it has, until the agent has heard it.
    started: Option<Word>,
    words: Option<Words>,
    own: Identity,
    id: Option<PlacementId>,
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
}

impl Task {
    fn start(dir: &TaskDir, reporting: Option<&Reporting>, own: Identity) -> Result<Task, Exit> {
        let of_os = |error: io::Error| Exit::NotStarted(os(&error));
        let launch = dir.launch().map_err(of_os)?;
        let cgroup = launch.confine.cgroup.as_ref();
        let isolated = cgroup.map_or(Ok(()), Cgroup::create);
        if let Err(error) = isolated.and_then(|()| isolation::split_processes(&launch.confine)) {
            eprintln!("shim of {}: can't isolate the task: {error}", dir.path().display());
            clear_away(cgroup);
            return Err(Exit::NotStarted(NotStarted::NotIsolated));
        }
        Task::fork(dir, &launch, reporting, own).map_err(|error| {
            clear_away(cgroup);
            of_os(error)
        })
    }

    fn fork(
        dir: &TaskDir,
        launch: &Launch,
        reporting: Option<&Reporting>,
        own: Identity,
    ) -> io::Result<Task> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let ((control, told), (out, stdout), (err, stderr)) = (pipe()?, pipe()?, pipe()?);
        let child = match fork::fork()? {
            Fork::Parent(pid) => {
                Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))?
            }
            Fork::Child => {
                drop((control, out, err));
                become_task(dir, launch, Ends { stdout, stderr, told });
                std::process::exit(127)
            }
        };
        drop((told, stdout, stderr));
        let output = |stream| Output::new(dir.path(), stream, Rotation::of(launch));
        let cgroup = launch.confine.cgroup.clone();
        Ok(Task {
            child,
            memory: cgroup.as_ref().and_then(Cgroup::watch_memory),
            memory_ran_out: false,
            cgroup,
            control: Control::new(control)?,
            is_parent: launch.confine.processes,
            outcome: None,
            asked_to_stop: false,
            started: None,
            words: reporting.map(|reporting| reporting.words.clone()),
            own,
            id: reporting.map(|reporting| reporting.id),
            stdout: Stream::new(out, output("stdout"))?,
            stderr: Stream::new(err, output("stderr"))?,
            buffer: vec![0; OUTPUT_READ_BYTES],
        })
    }

    /// Follows the task until nothing of it is left, and returns how its command ended.
    fn follow(mut self, signals: &Signals) -> Exit {
        loop {
            // While memory is short the kernel kills somebody soon, of which nothing else tells.
            let memory = self.memory_ran_out.then_some(&REAP_EVERY);
            self.wait(signals, memory.or(self.started.map(|_| &TELL_EVERY)));
            self.tell_started();
            if came(&signals.term) {
                self.asked_to_stop = true;
                self.signal_group(Signal::TERM);
            }
            if came(&signals.kill) {
                self.kill();
            }
            self.take_output(false);
            self.listen();
            self.mind_memory();
            if came(&signals.child) {
                if let Some(exit) = self.peek() {
                    self.clear_up(signals);
                    self.listen();
                    return self.exit(exit);
                }
                self.reap_adopted();
            }
        }
    }

    /// How the command ended, whose first process ended so.
    fn exit(&self, exit: Exit) -> Exit {
        if let Some(cgroup) = self.cgroup.as_ref().filter(|cgroup| cgroup.memory_kills() > 0) {
            return Exit::OutOfMemory(cgroup.memory_kill((exit == Exit::Signal(9)).then_some(self.child)));
        }
        match self.outcome {
            Some(Told::NotStarted(why, _)) => Exit::NotStarted(why),
            Some(Told::Ended(exit)) => exit,
            Some(Told::Started) | None => exit,
        }
    }

    /// A task of which the kernel has killed a process for want of memory ends with it.
    fn mind_memory(&mut self) {
        let told = self.memory.as_ref().is_some_and(|told| rustix::io::read(told, &mut [0; 8]).is_ok());
        self.memory_ran_out |= told;
        if self.memory_ran_out && self.cgroup.as_ref().is_some_and(|cgroup| cgroup.memory_kills() > 0) {
            self.memory_ran_out = false;
            self.kill();
        }
    }

    /// Waits for output, a signal, or word from the child.
    fn wait(&self, signals: &Signals, timeout: Option<&Timespec>) {
        let streams = [&self.stdout, &self.stderr].into_iter().filter_map(|s| s.pipe.as_ref());
        let memory = self.memory.as_ref().map(AsFd::as_fd);
        let all = streams.map(AsFd::as_fd).chain(self.control.fd()).chain(memory).chain(signals.fds());
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

    /// Hears what has become of the command.
    fn listen(&mut self) {
        let (said, closed) = self.control.hear();
        for told in said {
            match &told {
                Told::Started => self.has_started(),
                Told::NotStarted(_, words) => eprintln!("{words}"),
                Told::Ended(_) => {}
            }
            self.outcome = Some(told);
        }
        // One that closes it without a word has become the command.
        if closed && !self.is_parent && self.outcome.is_none() {
            self.outcome = Some(Told::Started);
            self.has_started();
        }
    }

    fn has_started(&mut self) {
        self.started = self.id.map(|id| Word { id, what: What::Started(self.own) });
        self.tell_started();
        if self.asked_to_stop && self.is_parent {
            // Its parent was deaf to what it was asked before.
            self.signal_group(Signal::TERM);
        }
    }

    /// Kills all of the task.
    fn kill(&self) {
        self.signal_group(Signal::KILL);
        self.kill_group();
    }

    fn kill_group(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
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
        self.kill();
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
            self.kill_group();
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
