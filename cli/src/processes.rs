//! Child processes of this program: start, find, kill, restart and stop them, and notice when one dies.
//!
//! Every child is this very executable with other arguments. Its output goes to `<logs>/<name>.log`, its standard
//! input is a pipe whose end tells it that its parent is gone (see `--stop-with-stdin`), so a parent that is
//! killed leaves no strays. Children have a process group of their own: Ctrl-C reaches only the parent, which
//! stops them in its own order.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::bounds::{LOG_TAIL_BYTES, POLL_EVERY, PROCESSES_MAX, STOP_GRACE};

/// A child that could not be started, found or signalled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// The operating system refused to start it.
    #[error("can't start {name} ({program})")]
    Start {
        /// Its name.
        name: String,
        /// The executable.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// Its log can't be opened.
    #[error("can't open the log {path} of {name}")]
    Log {
        /// Its name.
        name: String,
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// No child has this name.
    #[error("there is no process named {0:?}")]
    Unknown(String),
    /// A running child has this name already.
    #[error("a process named {0:?} is running already")]
    Running(String),
    /// Over the bound.
    #[error("{PROCESSES_MAX} processes are started already, the bound")]
    TooMany,
    /// The operating system refused to signal or reap it.
    #[error("can't signal {name} (pid {pid})")]
    Signal {
        /// Its name.
        name: String,
        /// Its process id.
        pid: u32,
        /// The reason.
        source: io::Error,
    },
}

/// A child that ended without having been asked to.
#[derive(Debug)]
pub(crate) struct Died {
    /// Its name.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// The file its output went to.
    pub(crate) log: PathBuf,
}

/// One child, running or ended, with all that is needed to start it again.
struct Process {
    name: String,
    args: Vec<OsString>,
    child: Child,
    ended: Option<ExitStatus>,
    /// Its end was asked for, or has been told already.
    told: bool,
}

/// The children of this process, in the order of their first start.
pub(crate) struct Processes {
    program: PathBuf,
    logs: PathBuf,
    list: Vec<Process>,
}

impl Processes {
    /// No children yet. `program` is the executable to run, `logs` an existing directory.
    pub(crate) fn new(program: PathBuf, logs: PathBuf) -> Processes {
        Processes { program, logs, list: Vec::new() }
    }

    /// Starts `program args…` under a name that no running child has, and returns its process id.
    ///
    /// # Errors
    /// The log can't be opened, the operating system refuses, or the bound is reached.
    pub(crate) fn start<A: Into<OsString>>(
        &mut self,
        name: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<u32, ProcessError> {
        if self.is_running(name) {
            return Err(ProcessError::Running(name.to_owned()));
        }
        self.list.retain(|p| p.name != name);
        if self.list.len() >= PROCESSES_MAX {
            return Err(ProcessError::TooMany);
        }
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let child = self.launch(name, &args)?;
        let pid = child.id();
        self.list.push(Process { name: name.to_owned(), args, child, ended: None, told: false });
        Ok(pid)
    }

    fn launch(&self, name: &str, args: &[OsString]) -> Result<Child, ProcessError> {
        let path = self.log(name);
        let log_error =
            |source| ProcessError::Log { name: name.to_owned(), path: path.display().to_string(), source };
        let out = OpenOptions::new().create(true).append(true).open(&path).map_err(log_error)?;
        let err = out.try_clone().map_err(log_error)?;
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::piped()).stdout(out).stderr(err).process_group(0);
        command.spawn().map_err(|source| ProcessError::Start {
            name: name.to_owned(),
            program: self.program.display().to_string(),
            source,
        })
    }

    /// The file a child's output goes to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// The end of a child's output, for an error message.
    pub(crate) fn log_tail(&self, name: &str) -> String {
        log_tail(&self.log(name)).unwrap_or_default()
    }

    /// The names of all children, in the order of their first start.
    pub(crate) fn names(&self) -> Vec<String> {
        self.list.iter().map(|p| p.name.clone()).collect()
    }

    /// The process id of a running child.
    pub(crate) fn pid(&mut self, name: &str) -> Option<u32> {
        let process = self.list.iter_mut().find(|p| p.name == name)?;
        process.poll().is_none().then(|| process.child.id())
    }

    /// Whether the child is running.
    pub(crate) fn is_running(&mut self, name: &str) -> bool {
        self.pid(name).is_some()
    }

    /// Kills a child with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// There is no such child, or the operating system refuses.
    pub(crate) fn kill(&mut self, name: &str) -> Result<(), ProcessError> {
        let process = self.find(name)?;
        process.told = true;
        process.kill()
    }

    /// Asks a child to stop (SIGTERM); [`Processes::wait`] waits for it.
    ///
    /// # Errors
    /// There is no such child, or the operating system refuses.
    pub(crate) fn ask_to_stop(&mut self, name: &str) -> Result<(), ProcessError> {
        let process = self.find(name)?;
        process.told = true;
        process.terminate()
    }

    /// Starts a child again with the arguments it had, killing it first when it runs.
    ///
    /// # Errors
    /// As for [`Processes::start`] and [`Processes::kill`].
    pub(crate) fn restart(&mut self, name: &str) -> Result<u32, ProcessError> {
        self.kill(name)?;
        let args = self.find(name)?.args.clone();
        let child = self.launch(name, &args)?;
        let process = self.find(name)?;
        (process.child, process.ended, process.told) = (child, None, false);
        Ok(process.child.id())
    }

    /// Changes the arguments that the next [`Processes::restart`] uses.
    ///
    /// # Errors
    /// There is no such child.
    pub(crate) fn set_args(&mut self, name: &str, args: Vec<OsString>) -> Result<(), ProcessError> {
        self.find(name)?.args = args;
        Ok(())
    }

    /// The children that ended by themselves since the last call; each is told once.
    pub(crate) fn died(&mut self) -> Vec<Died> {
        let logs = self.logs.clone();
        let ended = self.list.iter_mut().filter(|p| !p.told).filter_map(|p| {
            let status = p.poll()?;
            p.told = true;
            Some(Died { name: p.name.clone(), status, log: logs.join(format!("{}.log", p.name)) })
        });
        ended.collect()
    }

    /// Waits until a child has ended, or until the grace is over; then it is killed. Says how it ended.
    ///
    /// # Errors
    /// There is no such child, or the operating system refuses to kill it.
    pub(crate) async fn wait(&mut self, name: &str) -> Result<ExitStatus, ProcessError> {
        let until = Instant::now() + STOP_GRACE;
        loop {
            let process = self.find(name)?;
            if let Some(status) = process.poll() {
                return Ok(status);
            }
            if Instant::now() >= until {
                process.kill()?;
            } else {
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
    }

    /// Stops all children, last started first: SIGTERM to each, and SIGKILL to those that outlast the grace.
    pub(crate) async fn stop_all(&mut self) {
        let names: Vec<String> = self.names().into_iter().rev().collect();
        for name in &names {
            // An error here means that it is gone already, which is what we want.
            if self.ask_to_stop(name).is_ok() {
                self.wait(name).await.ok();
            }
        }
    }

    fn find(&mut self, name: &str) -> Result<&mut Process, ProcessError> {
        let found = self.list.iter_mut().find(|p| p.name == name);
        found.ok_or_else(|| ProcessError::Unknown(name.to_owned()))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.list.iter_mut().rev() {
            // Nothing can be done about a child that can't be killed while unwinding.
            process.kill().ok();
        }
    }
}

impl Process {
    /// How it ended, if it has. The exit status is kept: the system gives it only once.
    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    fn terminate(&mut self) -> Result<(), ProcessError> {
        if self.poll().is_some() {
            return Ok(());
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|e| self.signal_error(e.into()))
    }

    fn kill(&mut self) -> Result<(), ProcessError> {
        if self.poll().is_some() {
            return Ok(());
        }
        let done = self.child.kill().and_then(|()| self.child.wait());
        let status = done.map_err(|e| self.signal_error(e))?;
        self.ended = Some(status);
        Ok(())
    }

    fn signal_error(&self, source: io::Error) -> ProcessError {
        ProcessError::Signal { name: self.name.clone(), pid: self.child.id(), source }
    }
}

/// The last lines of a file.
pub(crate) fn log_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shells(dir: &Path) -> Processes {
        Processes::new(PathBuf::from("/bin/sh"), dir.to_owned())
    }

    #[test]
    fn a_killed_child_is_gone_and_can_be_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = shells(dir.path());
        let first = processes.start("a", ["-c", "exec sleep 1000"]).unwrap();
        assert!(matches!(processes.start("a", ["-c", "true"]), Err(ProcessError::Running(_))));
        let second = processes.restart("a").unwrap();
        assert_ne!(first, second);
        assert_eq!(processes.pid("a"), Some(second));
        processes.kill("a").unwrap();
        assert_eq!(processes.pid("a"), None);
        assert!(processes.died().is_empty(), "a death that was asked for is no news");
    }

    #[test]
    fn a_death_is_told_once_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = shells(dir.path());
        processes.start("b", ["-c", "echo last words >&2; exit 7"]).unwrap();
        let died = loop {
            let died = processes.died();
            if !died.is_empty() {
                break died;
            }
            std::thread::yield_now();
        };
        assert_eq!((died[0].name.as_str(), died[0].status.code()), ("b", Some(7)));
        assert_eq!(processes.log_tail("b"), "last words");
        assert!(processes.died().is_empty());
    }

    #[tokio::test]
    async fn stopping_all_ends_every_child() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = shells(dir.path());
        for name in ["a", "b", "c"] {
            processes.start(name, ["-c", "exec sleep 1000"]).unwrap();
        }
        processes.stop_all().await;
        assert!(["a", "b", "c"].iter().all(|n| !processes.is_running(n)));
    }

    #[test]
    fn a_child_sees_its_parent_go_at_the_end_of_its_standard_input() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = shells(dir.path());
        processes.start("c", ["-c", "cat; echo parent is gone"]).unwrap();
        drop(processes.find("c").unwrap().child.stdin.take());
        while processes.is_running("c") {
            std::thread::yield_now();
        }
        assert_eq!(processes.log_tail("c"), "parent is gone");
    }
}
