//! How a task is looked after on its machine while it runs: health checks, restarts in place, a limit of its time, hooks,
//! how it is told to end, and what it does when its machine is cut off.

use serde::{Deserialize, Serialize};

use super::{PortAsk, RestartOn};
use crate::admit::Rejection;
use crate::bounds;

/// Everything of that; the default is nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Care {
    /// How it is found out whether the task does its work.
    pub health: Option<Health>,
    /// Restarts in place, before the end of the task is reported at all.
    pub local_restart: Option<LocalRestart>,
    /// Microseconds it may run, restarts in place included; then it is stopped, and that counts as a failure.
    pub max_run_us: Option<u64>,
    /// The signal that asks it to end.
    pub stop_signal: StopSignal,
    /// Runs before the task, in its directory; when it fails, the task isn't started and ends as the hook did.
    pub pre_start: Option<Hook>,
    /// Runs once nothing of the task is left, however it ended.
    pub post_stop: Option<Hook>,
    /// Microseconds without an answer from the server after which its agent stops it.
    pub stop_after_us: Option<u64>,
    /// How long the server may hear nothing of its machine before it is placed elsewhere.
    pub lost_after: LostAfter,
}

/// When a task of a machine that isn't heard of is given up, and so placed elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LostAfter {
    /// With its machine.
    #[default]
    Down,
    /// When its machine has been silent for so many microseconds.
    Silent(u64),
    /// Never: it waits for its machine.
    Never,
}

impl LostAfter {
    /// Whether a machine that is down means the end of the task. `None` is a machine that is down for another reason
    /// than its silence.
    pub fn is_over(self, silent_us: Option<u64>) -> bool {
        match (self, silent_us) {
            (LostAfter::Down, _) | (_, None) => true,
            (LostAfter::Silent(after), Some(silent)) => after <= silent,
            (LostAfter::Never, Some(_)) => false,
        }
    }
}

/// How it is found out whether a task does its work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Health {
    /// What is tried.
    pub check: Check,
    /// Microseconds between two tries.
    pub every_us: u64,
    /// Microseconds after which a try has failed.
    pub timeout_us: u64,
    /// Failures in a row after which the task is stopped.
    pub failures: u16,
    /// Microseconds from its start in which failures don't count.
    pub start_grace_us: u64,
}

/// What is tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Check {
    /// A command, as the task is run; 0 is healthy.
    Command {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// A connection to one of the task's ports.
    Tcp {
        /// The port's label.
        port: String,
    },
    /// A request to one of the task's ports; a status from 200 to 399 is healthy.
    Http {
        /// The port's label.
        port: String,
        /// The path, which begins with `/`.
        path: String,
    },
}

/// A command that runs before or after a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Microseconds after which it is stopped.
    pub timeout_us: u64,
}

/// Restarts on the same machine, without a new placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalRestart {
    /// Which ends are followed by another start.
    pub on: RestartOn,
    /// How many restarts before the end is reported.
    pub attempts: u16,
    /// Microseconds before the first restart; doubles each time, up to 64 times.
    pub delay_us: u64,
}

/// The signal that asks a task to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the signal of that name")]
pub enum StopSignal {
    #[default]
    Term,
    Int,
    Hup,
    Quit,
    Usr1,
    Usr2,
}

impl StopSignal {
    /// All of them, with their names.
    pub const ALL: [(&'static str, StopSignal); 6] = [
        ("SIGTERM", StopSignal::Term),
        ("SIGINT", StopSignal::Int),
        ("SIGHUP", StopSignal::Hup),
        ("SIGQUIT", StopSignal::Quit),
        ("SIGUSR1", StopSignal::Usr1),
        ("SIGUSR2", StopSignal::Usr2),
    ];
}

/// Checks it against all bounds. `at` is the path of the group.
pub(crate) fn check(at: &str, care: &Care, ports: &[PortAsk]) -> Result<(), Rejection> {
    let invalid = |field: &str, problem: String| Err(Rejection::invalid(format!("{at}.{field}"), problem));
    if let Some(health) = &care.health {
        if health.every_us == 0 || health.timeout_us == 0 || health.failures == 0 {
            return invalid("health", "every, timeout and failures must be more than 0".to_owned());
        }
        match &health.check {
            Check::Command { command, args } => commanded(&format!("{at}.health"), command, args)?,
            Check::Tcp { port } | Check::Http { port, .. } if !ports.iter().any(|p| p.name == *port) => {
                return invalid("health.port", format!("{port:?} is no port of the group; add it to ports"));
            }
            Check::Http { path, .. } if !path.starts_with('/') || path.contains(|c: char| c <= ' ') => {
                return invalid(
                    "health.path",
                    format!("{path:?} is no path; begin it with /, without blanks"),
                );
            }
            Check::Tcp { .. } | Check::Http { .. } => {}
        }
    }
    if care.local_restart.is_some_and(|restart| restart.attempts > bounds::RESTARTS_MAX) {
        return invalid("local_restart.attempts", format!("at most {}", bounds::RESTARTS_MAX));
    }
    for (name, hook) in [("pre_start", &care.pre_start), ("post_stop", &care.post_stop)] {
        let Some(hook) = hook else { continue };
        if hook.timeout_us == 0 {
            return invalid(&format!("{name}.timeout"), "must be more than 0".to_owned());
        }
        commanded(&format!("{at}.{name}"), &hook.command, &hook.args)?;
    }
    Ok(())
}

fn commanded(at: &str, command: &str, args: &[String]) -> Result<(), Rejection> {
    if command.is_empty() {
        return Err(Rejection::invalid(format!("{at}.command"), "it is empty; name a program"));
    }
    if args.len() > bounds::ARGS_MAX {
        let problem = format!("{} arguments; at most {}", args.len(), bounds::ARGS_MAX);
        return Err(Rejection::invalid(format!("{at}.args"), problem));
    }
    if args.iter().map(String::as_str).chain([command]).any(|text| text.contains('\0')) {
        let problem = "a NUL byte can't be part of a command or argument";
        return Err(Rejection::invalid(format!("{at}.command"), problem));
    }
    Ok(())
}
