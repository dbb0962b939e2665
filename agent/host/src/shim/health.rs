//! What a shim looks after while a process of its task runs: whether it is healthy, and whether its time is over.
//!
//! A check is a child of the shim whose exit status says healthy or not, so that none can hold the shim up. It has no right
//! that the task hasn't; one that runs a command goes where the task is first.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cell_state::job::care::{Check, Health, StopSignal};
use cell_state::task::Exit;
use fork::Fork;
use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process_group, set_parent_process_death_signal, setpgid,
};

use super::context::Context;
use super::launch::directory;
use crate::bounds::HTTP_STATUS_BYTES_MAX;
use crate::isolation::{self, container};
use crate::process;
use crate::task_dir::{Launch, TaskDir};

/// What is to be done to the process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Ask it to end.
    Stop,
    /// End it.
    Kill,
}

pub(super) struct Watch {
    stop_signal: Signal,
    grace: Duration,
    /// When its time is over.
    deadline: Option<Instant>,
    /// When it is killed, once it was stopped from here.
    kill_at: Option<Instant>,
    health: Option<Health>,
    /// From when on failures count; `None` until the command has taken over.
    counts_from: Option<Instant>,
    next_check: Option<Instant>,
    /// The check under way, and when it has failed.
    check: Option<(Pid, Instant)>,
    failures: u16,
}

impl Watch {
    /// Of the task's command.
    pub(super) fn of_task(launch: &Launch, deadline: Option<Instant>) -> Watch {
        Watch {
            stop_signal: number(launch.care.stop_signal),
            grace: Duration::from_micros(launch.intent.stop_grace_us),
            deadline,
            kill_at: None,
            health: launch.care.health.clone(),
            counts_from: None,
            next_check: None,
            check: None,
            failures: 0,
        }
    }

    /// Of a hook, which is not asked for its health.
    pub(super) fn of_hook(launch: &Launch, deadline: Instant) -> Watch {
        let task = Watch::of_task(launch, Some(deadline));
        Watch { stop_signal: Signal::TERM, health: None, ..task }
    }

    pub(super) fn stop_signal(&self) -> Signal {
        self.stop_signal
    }

    /// The command has taken over.
    pub(super) fn started(&mut self, now: Instant) {
        if let Some(health) = &self.health {
            self.counts_from = Some(now + Duration::from_micros(health.start_grace_us));
            self.next_check = Some(now + Duration::from_micros(health.every_us));
        }
    }

    /// When something is to be done though nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        let check = match &self.check {
            Some((_, late)) => Some(*late),
            None => self.next_check,
        };
        match self.kill_at {
            Some(kill_at) => Some(kill_at),
            None => self.deadline.into_iter().chain(check).min(),
        }
    }

    /// Does what is due; what it returns is for the whole process group.
    pub(super) fn due(&mut self, now: Instant, dir: &TaskDir, launch: &Launch, task: Pid) -> Option<Act> {
        if let Some(kill_at) = self.kill_at {
            let due = now >= kill_at;
            if due {
                // Again, should that have had no effect.
                self.kill_at = Some(now + Duration::from_secs(1));
            }
            return due.then_some(Act::Kill);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Some(self.stop(now));
        }
        if let Some((check, late)) = self.check {
            if now >= late {
                // It is reaped like every other child, and is not counted twice.
                let _ = kill_process_group(check, Signal::KILL);
                self.check = None;
                return self.count(now, false);
            }
        } else if self.next_check.is_some_and(|at| now >= at) {
            return self.begin_check(now, dir, launch, task);
        }
        None
    }

    /// A child of the shim has ended that isn't the task's.
    pub(super) fn ended(&mut self, now: Instant, pid: Pid, well: bool) {
        if self.check.is_some_and(|(check, _)| check == pid) {
            self.check = None;
            // What follows from too many failures is done at once: it is due.
            if let Some(Act::Stop | Act::Kill) = self.count(now, well) {
                self.kill_at = None;
                self.deadline = Some(now);
            }
        }
    }

    /// What an end means: one that was forced from here is a failure, whatever the process made of it.
    pub(super) fn verdict(&self, exit: Exit) -> Exit {
        match self.kill_at {
            Some(_) if exit.is_success() => Exit::Signal(self.stop_signal.as_raw()),
            _ => exit,
        }
    }

    fn stop(&mut self, now: Instant) -> Act {
        self.kill_at = Some(now + self.grace);
        Act::Stop
    }

    fn begin_check(&mut self, now: Instant, dir: &TaskDir, launch: &Launch, task: Pid) -> Option<Act> {
        let health = self.health.clone()?;
        let timeout = Duration::from_micros(health.timeout_us);
        self.next_check = Some(now + Duration::from_micros(health.every_us));
        let shim = getpid();
        match fork::fork() {
            Ok(Fork::Child) => {
                let well = try_once(&health.check, timeout, dir, launch, Beside { task, shim });
                std::process::exit(match well {
                    Ok(well) => i32::from(!well),
                    Err(error) => {
                        eprintln!("can't check the health of the task: {error}");
                        1
                    }
                })
            }
            Ok(Fork::Parent(pid)) => {
                self.check = Pid::from_raw(pid).map(|pid| {
                    // By whoever comes first: it is killed as a group.
                    let _ = setpgid(Some(pid), Some(pid));
                    (pid, now + timeout)
                });
                None
            }
            Err(_) => self.count(now, false),
        }
    }

    fn count(&mut self, now: Instant, well: bool) -> Option<Act> {
        let counts = self.counts_from.is_some_and(|from| now >= from);
        self.failures = if well || !counts { 0 } else { self.failures + 1 };
        let most = self.health.as_ref()?.failures;
        (self.failures >= most).then(|| {
            eprintln!("{} checks of health failed in a row; the task is stopped", self.failures);
            self.stop(now)
        })
    }
}

/// Whom a check belongs to.
#[derive(Clone, Copy)]
struct Beside {
    /// The first process of the task.
    task: Pid,
    shim: Pid,
}

/// Tries it, in a process of its own. Returns whether the task is healthy.
fn try_once(
    check: &Check,
    timeout: Duration,
    dir: &TaskDir,
    launch: &Launch,
    Beside { task, shim }: Beside,
) -> io::Result<bool> {
    let _ = setpgid(None, None);
    let rights = container::rights(launch, dir)?;
    let there = matches!(check, Check::Command { .. });
    if there && launch.container.is_some() {
        let main =
            process::main_process(dir)?.ok_or_else(|| io::Error::other("the container is not there"))?;
        Context::of(main.pid)?.go()?;
    } else if there {
        Context::of(task.as_raw_nonzero().get())?.go()?;
        std::env::set_current_dir(directory(dir, launch))?;
    }
    isolation::give_up_rights(&rights)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // From among process numbers of the task's own, the shim can't be seen; whoever adopts a child of it can.
    if getppid().is_some_and(|parent| parent != shim) {
        return Err(io::Error::other("its shim is gone"));
    }
    Ok(match check {
        Check::Command { command, args } => {
            let mut command = Command::new(command);
            command.args(args).env_clear();
            if launch.container.is_some() {
                command.env("PATH", isolation::config::PATH);
            }
            command.envs(&launch.env);
            // What it says is nobody's output.
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status()?.success()
        }
        Check::Tcp { port } => connect(launch, port, timeout).is_some(),
        Check::Http { port, path } => {
            http(launch, port, path, timeout).is_some_and(|status| (200..400).contains(&status))
        }
    })
}

fn connect(launch: &Launch, port: &str, timeout: Duration) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *launch.ports.get(port)?));
    TcpStream::connect_timeout(&address, timeout).ok()
}

/// The status of the answer to a GET.
fn http(launch: &Launch, port: &str, path: &str, timeout: Duration) -> Option<u16> {
    let mut stream = connect(launch, port, timeout)?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ohm\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = Vec::new();
    let mut piece = [0; 256];
    while !head.contains(&b'\n') && head.len() < HTTP_STATUS_BYTES_MAX {
        match stream.read(&mut piece).ok()? {
            0 => break,
            length => head.extend_from_slice(&piece[..length]),
        }
    }
    status(&head)
}

/// The status in the first line of an answer: `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

fn number(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_line_only() {
        let table: [(&[u8], Option<u16>); 6] = [
            (b"HTTP/1.1 200 OK\r\n", Some(200)),
            (b"HTTP/1.0 503 Service Unavailable\r\nX: 200\r\n", Some(503)),
            (b"HTTP/1.1 204", Some(204)),
            (b"SSH-2.0-x\r\n", None),
            (b"HTTP/1.1 ok\r\n", None),
            (b"", None),
        ];
        for (head, expected) in table {
            assert_eq!(status(head), expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
