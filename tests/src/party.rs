//! One process of a test cell: started, killed without warning, started again with the same arguments.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::binary;

/// A process that is part of a cell.
pub struct Party {
    /// What it is started through, if not by itself.
    launcher: Vec<OsString>,
    program: PathBuf,
    args: Vec<OsString>,
    log: PathBuf,
    child: Option<Child>,
}

impl Party {
    /// Starts `ohm` with these arguments; what it prints goes to the file.
    pub fn start(args: Vec<OsString>, log: PathBuf) -> Party {
        Party::start_through(Vec::new(), args, log)
    }

    /// Starts it through another program, which must become `ohm` in the same process.
    pub fn start_through(launcher: Vec<OsString>, args: Vec<OsString>, log: PathBuf) -> Party {
        let program = binary::ohm().to_owned();
        let mut party = Party { launcher, program, args, log, child: None };
        party.restart();
        party
    }

    /// Starts it again, if it isn't running.
    pub fn restart(&mut self) {
        if self.is_running() {
            return;
        }
        let open = |path: &Path| -> std::io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open(&self.log).expect("the test's directory is writable");
        let ohm = self.program.as_os_str().to_owned();
        let mut words = self.launcher.iter().chain([&ohm]).chain(&self.args);
        let child = Command::new(words.next().expect("at least ohm"))
            .args(words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .env("OHM_LOG", "info")
            .spawn()
            .expect("ohm can be started");
        self.child = Some(child);
    }

    /// Has another program in the place of `ohm` from the next start on.
    pub fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Replaces an argument's value from the next start on.
    pub fn set_value(&mut self, flag: &str, value: impl Into<OsString>) {
        let at = self.args.iter().position(|a| a == flag).expect("the flag is there");
        self.args[at + 1] = value.into();
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL: no last words.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        rustix::process::kill_process(pid, signal).expect("it is our child");
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(90)).expect("it stops when asked to")
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + at_most;
        let child = self.child.as_mut()?;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().expect("it is our child") {
                self.child = None;
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.kill();
    }
}
