//! How a task is looked after: the tables of health, restarts in place, hooks, and the limits beside them.

use cell_state::bounds;
use cell_state::job::RestartOn;
use cell_state::job::care::{Care, Check, Health, Hook, LocalRestart, LostAfter, StopSignal};

use super::JobFileError;
use super::convert::{duration, plain};
use super::section::{Given, Section};

/// The fields of a group that this module reads; all are for processes.
pub(super) const FIELDS: [&str; 8] = [
    "health",
    "local_restart",
    "max_run",
    "stop_signal",
    "pre_start",
    "post_stop",
    "stop_after",
    "lost_after",
];

/// Reads them.
pub(super) fn care(group: &Section<'_>) -> Result<Care, JobFileError> {
    let stop_signal = group.get("stop_signal").map(|given| given.word(&StopSignal::ALL)).transpose()?;
    Ok(Care {
        health: group.get("health").map(health).transpose()?,
        local_restart: group.get("local_restart").map(local_restart).transpose()?,
        max_run_us: duration(group.get("max_run"))?,
        stop_signal: stop_signal.unwrap_or_default(),
        pre_start: group.get("pre_start").map(|given| hook(given, "groups[].pre_start")).transpose()?,
        post_stop: group.get("post_stop").map(|given| hook(given, "groups[].post_stop")).transpose()?,
        stop_after_us: duration(group.get("stop_after"))?,
        lost_after: lost_after(group.get("lost_after"))?,
    })
}

fn lost_after(given: Option<Given<'_>>) -> Result<LostAfter, JobFileError> {
    match given {
        None => Ok(LostAfter::Down),
        Some(given) if given.text().is_ok_and(|text| text == "never") => Ok(LostAfter::Never),
        given => Ok(duration(given)?.map_or(LostAfter::Down, LostAfter::Silent)),
    }
}

fn health(given: Given<'_>) -> Result<Health, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].health")?;
    let check = match (section.get("command"), section.get("tcp"), section.get("http")) {
        (Some(command), None, None) => Check::Command { command: plain(&command)?, args: args(&section)? },
        (None, Some(port), None) => Check::Tcp { port: port.text()?.to_owned() },
        (None, None, Some(port)) => {
            Check::Http { port: port.text()?.to_owned(), path: section.text("path", "/")? }
        }
        _ => {
            return Err(
                given.error("needs exactly one of command = \"…\", tcp = \"PORT\" and http = \"PORT\"")
            );
        }
    };
    let stray = match &check {
        Check::Command { .. } => section.get("path"),
        Check::Tcp { .. } => section.get("path").or_else(|| section.get("args")),
        Check::Http { .. } => section.get("args"),
    };
    if let Some(stray) = stray {
        return Err(stray.error("path belongs to http, args to command; remove it"));
    }
    Ok(Health {
        check,
        every_us: positive(&section, "every", 10_000_000)?,
        timeout_us: positive(&section, "timeout", 5_000_000)?,
        failures: section.whole("failures", 1..=1_000, 3)? as u16,
        start_grace_us: duration(section.get("start_grace"))?.unwrap_or(10_000_000),
    })
}

fn local_restart(given: Given<'_>) -> Result<LocalRestart, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].local_restart")?;
    let words = [("always", RestartOn::Always), ("failure", RestartOn::Failure)];
    let on = section.get("on").map_or(Ok(RestartOn::Failure), |on| on.word(&words))?;
    Ok(LocalRestart {
        on,
        attempts: section.whole("attempts", 0..=i64::from(bounds::RESTARTS_MAX), 3)? as u16,
        delay_us: duration(section.get("delay"))?.unwrap_or(1_000_000),
    })
}

fn hook(given: Given<'_>, table: &str) -> Result<Hook, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, table)?;
    Ok(Hook {
        command: plain(&section.require("command", "command = \"/bin/true\"")?)?,
        args: args(&section)?,
        timeout_us: positive(&section, "timeout", 60_000_000)?,
    })
}

fn args(section: &Section<'_>) -> Result<Vec<String>, JobFileError> {
    section.list_of("args", "texts")?.iter().map(plain).collect()
}

fn positive(section: &Section<'_>, name: &str, default: u64) -> Result<u64, JobFileError> {
    match (duration(section.get(name))?, section.get(name)) {
        (Some(0), Some(given)) => Err(given.error("0 is too short; write a duration such as \"10s\"")),
        (given, _) => Ok(given.unwrap_or(default)),
    }
}
