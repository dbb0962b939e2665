//! Supervising one task: one thread, one loop over its output, its signals and its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::PlacementId;
use cell_state::task::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, setsid, wait, waitid, waitpid,
};

use super::control::{Control, Told};
use super::first::{self, First};
use super::health::{Act, Watch};
use super::launch::os;
use super::life::Life;
use super::signals::{Signals, came};
use super::streams::Streams;
use super::word::{What, Word, Words};
use crate::bounds::EXIT_WRITES_MAX;
use crate::isolation::cgroup::Cgroup;
use crate::isolation::container::forget;
use crate::process::{self, Identity};
use crate::task_dir::{Launch, Live, TaskDir};

/// Between two looks for what is left of a task while it dies.
const REAP_EVERY: Duration = Duration::from_millis(20);

/// Between two attempts to tell an agent that has too much to hear.
const TELL_EVERY: Duration = Duration::from_millis(50);

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
    let exit = match dir.launch() {
        Ok(launch) => Life::new(dir, &launch, own, reporting.as_ref()).live(&signals),
        Err(error) => Exit::NotStarted(os(&error)),
    };
    forget(dir);
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

/// One process of a task with all that comes of it: a hook, or the command, once.
pub(super) struct Process<'a> {
    pub(super) dir: &'a TaskDir,
    pub(super) launch: &'a Launch,
    pub(super) own: Identity,
    /// Whether this shim starts others as well.
    pub(super) several: bool,
    pub(super) streams: &'a mut Streams,
    /// Whom to tell once it has taken over.
    pub(super) reporting: Option<&'a Reporting>,
    pub(super) watch: Watch,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) exit: Exit,
    /// Whether the agent asked for it.
    pub(super) asked: bool,
}

struct Task<'a> {
    /// The first process, not yet reaped: until then its pid, and so its group, can't be anybody else's.
    child: Pid,
    cgroup: Option<&'a Cgroup>,
    /// Becomes readable when memory has run out.
    memory: Option<OwnedFd>,
    memory_ran_out: bool,
    /// Kills for want of memory before this process.
    memory_kills: u64,
    /// From the child, until it has become the command; from the command's parent, until the end.
    control: Control,
    outcome: Option<Told>,
    /// Whether the agent asked for its end.
    asked: bool,
    /// The word that it has started, until the agent has heard it.
    started: Option<Word>,
    process: Process<'a>,
}

impl<'a> Process<'a> {
    /// Runs it until nothing of it is left.
    pub(super) fn run(self, signals: &Signals) -> Over {
        let never = |why| Over { exit: Exit::NotStarted(why), asked: false };
        let cgroup = self.launch.confine.cgroup.as_ref();
        let (memory, memory_kills) =
            (cgroup.and_then(Cgroup::watch_memory), cgroup.map_or(0, Cgroup::memory_kills));
        let First { pid, control, stdout, stderr } =
            match first::start(self.dir, self.launch, signals, self.several) {
                Ok(first) => first,
                Err(why) => return never(why),
            };
        if let Err(error) = self.streams.open(stdout, stderr) {
            // Of an open pipe that is not to be expected; without its output the process isn't followed.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            return never(os(&error));
        }
        let task = Task {
            child: pid,
            cgroup,
            memory,
            memory_ran_out: false,
            memory_kills,
            control,
            outcome: None,
            asked: false,
            started: None,
            process: self,
        };
        task.follow(signals)
    }
}

impl Task<'_> {
    /// Follows the process until nothing of it is left, and returns how its command ended.
    fn follow(mut self, signals: &Signals) -> Over {
        loop {
            self.wait(signals, self.patience());
            self.tell_started();
            if came(&signals.term) {
                self.asked = true;
                self.signal_group(self.process.watch.stop_signal());
            }
            if came(&signals.kill) {
                self.asked = true;
                self.kill();
            }
            self.process.streams.take(false);
            self.listen();
            self.mind_memory();
            self.look_after();
            if came(&signals.child) {
                if let Some(exit) = self.peek() {
                    self.clear_up(signals);
                    self.listen();
                    return Over { exit: self.process.watch.verdict(self.exit(exit)), asked: self.asked };
                }
                self.reap_adopted();
            }
        }
    }

    /// How long nothing is to be done unless something happens.
    fn patience(&self) -> Option<Duration> {
        // While memory is short the kernel kills somebody soon, of which nothing else tells.
        let memory = self.memory_ran_out.then_some(REAP_EVERY);
        let tell = self.started.map(|_| TELL_EVERY);
        let timer = self.process.watch.next().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(tell).chain(memory).min()
    }

    /// Does what health and time ask for.
    fn look_after(&mut self) {
        let Process { dir, launch, watch, .. } = &mut self.process;
        match watch.due(Instant::now(), dir, launch, self.child) {
            None => {}
            Some(Act::Stop) => self.signal_group(self.process.watch.stop_signal()),
            Some(Act::Kill) => self.kill(),
        }
    }

    /// How the command ended, whose first process ended so.
    fn exit(&self, exit: Exit) -> Exit {
        if let Some(cgroup) = self.cgroup.filter(|_| self.was_killed_for_memory()) {
            return Exit::OutOfMemory(cgroup.memory_kill((exit == Exit::Signal(9)).then_some(self.child)));
        }
        match self.outcome {
            Some(Told::NotStarted(why, _)) => Exit::NotStarted(why),
            Some(Told::Ended(exit)) => exit,
            Some(Told::Started) | None => exit,
        }
    }

    fn was_killed_for_memory(&self) -> bool {
        self.cgroup.is_some_and(|cgroup| cgroup.memory_kills() > self.memory_kills)
    }

    /// A task of which the kernel has killed a process for want of memory ends with it.
    fn mind_memory(&mut self) {
        let told = self.memory.as_ref().is_some_and(|told| rustix::io::read(told, &mut [0; 8]).is_ok());
        self.memory_ran_out |= told;
        if self.memory_ran_out && self.was_killed_for_memory() {
            self.memory_ran_out = false;
            self.kill();
        }
    }

    /// Waits for output, a signal, or word from the child.
    fn wait(&self, signals: &Signals, timeout: Option<Duration>) {
        let memory = self.memory.as_ref().map(AsFd::as_fd);
        let all = self.process.streams.fds().chain(self.control.fd()).chain(memory).chain(signals.fds());
        let mut fds: Vec<PollFd<'_>> =
            all.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // Interrupted by a signal is as good as woken by its pipe.
        let _ = poll(&mut fds, timeout.map(timespec).as_ref());
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
        if closed && !self.process.launch.confine.processes && self.outcome.is_none() {
            self.outcome = Some(Told::Started);
            self.has_started();
        }
    }

    fn has_started(&mut self) {
        self.process.watch.started(Instant::now());
        let own = self.process.own;
        self.started = self.process.reporting.map(|to| Word { id: to.id, what: What::Started(own) });
        self.tell_started();
        if self.asked {
            // What became the command, or its parent, was deaf to what it was asked before.
            self.signal_group(self.process.watch.stop_signal());
        }
    }

    /// Kills all of the task.
    fn kill(&self) {
        self.signal_group(Signal::KILL);
        self.kill_group();
    }

    fn kill_group(&self) {
        if let Some(cgroup) = self.cgroup {
            cgroup.kill();
        }
    }

    /// Tells the agent without waiting for it: the task's output must not wait either.
    fn tell_started(&mut self) {
        let Some((word, to)) = self.started.zip(self.process.reporting) else { return };
        match to.words.try_say(word) {
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

    /// Reaps orphans of the task that ended before it, and checks of its health.
    fn reap_adopted(&mut self) {
        for pid in children().filter(|pid| *pid != self.child) {
            if let Ok(Some((pid, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
                self.process.watch.ended(Instant::now(), pid, status.exit_status() == Some(0));
            }
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
                        self.process.streams.take(true);
                        return;
                    }
                }
            }
            for pid in children() {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.kill_group();
            self.wait(signals, Some(REAP_EVERY));
            came(&signals.child);
            self.process.streams.take(true);
        }
    }
}

/// Children of this process: the main one, and orphans of the task, wherever they moved themselves.
fn children() -> impl Iterator<Item = Pid> {
    process::children(getpid().as_raw_nonzero().get()).into_iter().filter_map(Pid::from_raw)
}

/// For the kernel.
pub(super) fn timespec(wait: Duration) -> Timespec {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(wait.subsec_nanos()) }
}
