//! The life of a task under its shim: the hook before it, its command as often as it is restarted in place, the hook after it.
//!
//! ```text
//!                           ┌──── delay ◀── restarts left ──┐
//!   pre_start ──well──▶ command ──ended by itself───────────┤
//!      │                    │ asked to stop                 │ none left
//!      │ failed             ▼                               ▼
//!      └──────────────▶ post_stop ◀─────────────────────────┘ ──▶ the exit is written
//! ```

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cell_state::job::RestartOn;
use cell_state::job::care::{Hook, LocalRestart};
use cell_state::task::{Exit, NotStarted};
use rustix::event::{PollFd, PollFlags, poll};

use super::health::Watch;
use super::signals::{Signals, came};
use super::streams::Streams;
use super::supervise::{Over, Process, Reporting, timespec};
use crate::isolation;
use crate::isolation::cgroup::Cgroup;
use crate::process::Identity;
use crate::task_dir::{Launch, TaskDir};

/// How often the delay before a restart doubles at most.
const DOUBLINGS_MAX: u32 = 6;

pub(super) struct Life<'a> {
    dir: &'a TaskDir,
    launch: &'a Launch,
    own: Identity,
    /// Until something has started.
    reporting: Option<&'a Reporting>,
    streams: Streams,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        dir: &'a TaskDir,
        launch: &'a Launch,
        own: Identity,
        reporting: Option<&'a Reporting>,
    ) -> Life<'a> {
        Life { dir, launch, own, reporting, streams: Streams::new(dir, launch) }
    }

    /// Lives it, and returns how the task ended.
    pub(super) fn live(self, signals: &Signals) -> Exit {
        let confine = &self.launch.confine;
        let cgroup = confine.cgroup.as_ref();
        let isolated = cgroup.map_or(Ok(()), Cgroup::create).and_then(|()| isolation::may_split(confine));
        let exit = match isolated {
            Ok(()) => self.all(signals),
            Err(error) => {
                eprintln!("shim of {}: can't isolate the task: {error}", self.dir.path().display());
                Exit::NotStarted(NotStarted::NotIsolated)
            }
        };
        if let Some(Err(error)) = cgroup.map(Cgroup::remove) {
            eprintln!("can't remove the control groups: {error}");
        }
        exit
    }

    /// The hook before, the command, the hook after.
    fn all(mut self, signals: &Signals) -> Exit {
        let exit = match &self.launch.care.pre_start {
            None => self.command(signals),
            Some(hook) => match self.hook(signals, hook) {
                Over { exit, asked: false } if exit.is_success() => self.command(signals),
                Over { exit, .. } => exit,
            },
        };
        if let Some(hook) = &self.launch.care.post_stop {
            // How it ends changes nothing.
            self.hook(signals, hook);
        }
        exit
    }

    fn command(&mut self, signals: &Signals) -> Exit {
        let deadline = self.launch.care.max_run_us.map(|us| Instant::now() + Duration::from_micros(us));
        let mut restarts = 0;
        loop {
            let watch = Watch::of_task(self.launch, deadline);
            let Over { exit, asked } = self.process(signals, self.launch, watch);
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let again = self.launch.care.local_restart.filter(|restart| again(restart, restarts, exit));
            let Some(restart) = again.filter(|_| !asked && !late) else { return exit };
            if rest(signals, delay(&restart, restarts), deadline) {
                return exit;
            }
            restarts += 1;
        }
    }

    fn hook(&mut self, signals: &Signals, hook: &Hook) -> Over {
        let launch = Launch { command: hook.command.clone(), args: hook.args.clone(), ..self.launch.clone() };
        let deadline = Instant::now() + Duration::from_micros(hook.timeout_us);
        self.process(signals, &launch, Watch::of_hook(&launch, deadline))
    }

    fn process(&mut self, signals: &Signals, launch: &Launch, watch: Watch) -> Over {
        let care = &self.launch.care;
        let several = care.pre_start.is_some() || care.post_stop.is_some() || care.local_restart.is_some();
        let (dir, own, reporting) = (self.dir, self.own, self.reporting.take());
        Process { dir, launch, own, several, streams: &mut self.streams, reporting, watch }.run(signals)
    }
}

/// Whether an end is followed by another start in place.
fn again(restart: &LocalRestart, restarts: u16, exit: Exit) -> bool {
    let wanted = match restart.on {
        RestartOn::Always => true,
        RestartOn::Failure => !exit.is_success(),
        RestartOn::Never => false,
    };
    wanted && restarts < restart.attempts
}

fn delay(restart: &LocalRestart, restarts: u16) -> Duration {
    Duration::from_micros(restart.delay_us) * (1 << u32::from(restarts).min(DOUBLINGS_MAX))
}

/// Waits; true when the agent asked for the end meanwhile, or the task's time is over.
fn rest(signals: &Signals, delay: Duration, deadline: Option<Instant>) -> bool {
    let until = Instant::now() + delay;
    loop {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return true;
        }
        if now >= until {
            return false;
        }
        let wait = deadline.map_or(until, |deadline| deadline.min(until)).saturating_duration_since(now);
        let mut fds =
            [&signals.term, &signals.kill].map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        // Interrupted by a signal is as good as woken by its pipe.
        let _ = poll(&mut fds, Some(&timespec(wait)));
        if came(&signals.term) | came(&signals.kill) {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_and_their_delay_doubles_up_to_64_times() {
        let restart = |on| LocalRestart { on, attempts: 2, delay_us: 1_000 };
        let table = [
            (RestartOn::Failure, 0, Exit::Code(1), true),
            (RestartOn::Failure, 1, Exit::Signal(9), true),
            (RestartOn::Failure, 2, Exit::Code(1), false),
            (RestartOn::Failure, 0, Exit::Code(0), false),
            (RestartOn::Always, 0, Exit::Code(0), true),
            (RestartOn::Always, 2, Exit::Code(0), false),
            (RestartOn::Never, 0, Exit::Code(1), false),
        ];
        for (on, restarts, exit, expected) in table {
            assert_eq!(again(&restart(on), restarts, exit), expected, "{on:?} {restarts} {exit:?}");
        }
        let delays = [0, 1, 6, 7, 900].map(|n| delay(&restart(RestartOn::Always), n).as_millis());
        assert_eq!(delays, [1, 2, 64, 64, 64]);
    }
}
