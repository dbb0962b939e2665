//! Values as people read them: amounts, times, states, ends, conflicts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cell_state::fit::Misfit;
use cell_state::job::{Counts, Desired, JobKind};
use cell_state::resources::Schema;
use cell_state::task::{Exit, NotStarted, StopReason, TaskState};
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{Conflict, ConflictKind};
use cell_state::{Dimension, Resources, TaskId, Time};

use super::Tone;

/// The time now, on this machine's clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A span of time in one or two units: `12s`, `3m20s`, `2h`, `5d`.
pub(crate) fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0 if micros == 0 => "0s".to_owned(),
        0 => format!("{}ms", (micros / 1_000).max(1)),
        1..=119 => format!("{seconds}s"),
        120..=7_199 if seconds.is_multiple_of(60) || seconds >= 600 => format!("{}m", seconds / 60),
        120..=7_199 => format!("{}m{}s", seconds / 60, seconds % 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number of things: `1 task`, `2 tasks`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How long ago something was.
pub(crate) fn ago(then: Time, now: Time) -> String {
    if then.0 == 0 { "never".to_owned() } else { format!("{} ago", span(now.since(then))) }
}

/// A time as programs read it: RFC 3339, UTC.
pub(crate) fn instant(time: Time) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(time.0)).to_string()
}

/// An amount with its unit.
pub(crate) fn amount(dimension: Dimension, amount: u64) -> String {
    match dimension {
        Dimension::CPU => thousandths(amount),
        Dimension::MEMORY | Dimension::DISK => bytes(amount),
        Dimension::GPU => thousandths(amount),
        Dimension::NET => format!("{amount} Mbit/s"),
        Dimension(_) => amount.to_string(),
    }
}

fn thousandths(amount: u64) -> String {
    match (amount / 1_000, amount % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}

/// Bytes in the largest unit that leaves a number below 1024.
pub(crate) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && amount >= 1 << (10 * (unit + 1)) {
        unit += 1;
    }
    let scale = 1u64 << (10 * unit);
    if amount.is_multiple_of(scale) {
        return format!("{} {}", amount / scale, UNITS[unit]);
    }
    format!("{:.1} {}", amount as f64 / scale as f64, UNITS[unit])
}

/// All amounts that aren't zero.
pub(crate) fn resources(amounts: &Resources, schema: &Schema) -> String {
    let asked = Dimension::all().filter(|d| amounts.get(*d) > 0);
    let shown: Vec<String> =
        asked.map(|d| format!("{} {}", schema.name(d), amount(d, amounts.get(d)))).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

/// `used / limit` of one dimension.
pub(crate) fn share(dimension: Dimension, used: &Resources, limit: &Resources) -> String {
    format!("{} / {}", amount(dimension, used.get(dimension)), amount(dimension, limit.get(dimension)))
}

/// A fraction in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

/// The word of a job's kind.
pub(crate) fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Service => "service",
        JobKind::Batch => "batch",
    }
}

/// The word of what a job is meant to do.
pub(crate) fn desired(desired: Desired) -> &'static str {
    match desired {
        Desired::Run => "run",
        Desired::Stop => "stop",
    }
}

/// A job's status in one word, and how good it is.
pub(crate) fn status(desired: Desired, counts: &Counts) -> (&'static str, Tone) {
    if desired == Desired::Stop {
        return if counts.live() == 0 { ("stopped", Tone::Plain) } else { ("stopping", Tone::Notable) };
    }
    if counts.pending > 0 {
        return ("pending", Tone::Notable);
    }
    if counts.placed > 0 {
        return ("starting", Tone::Notable);
    }
    if counts.live() > 0 {
        return ("running", Tone::Good);
    }
    if counts.failed > 0 { ("failed", Tone::Bad) } else { ("completed", Tone::Good) }
}

/// How good a task's state is.
pub(crate) fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Pending | TaskState::Placed | TaskState::Stopping(_) => Tone::Notable,
        TaskState::Running | TaskState::Completed => Tone::Good,
        TaskState::Failed => Tone::Bad,
        TaskState::Stopped => Tone::Plain,
    }
}

/// The word of a reason to stop.
pub(crate) fn reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Stop => "stop",
        StopReason::Evict => "evict",
        StopReason::Drain => "drain",
    }
}

/// How a process ended.
pub(crate) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::NotStarted(why) => format!("not started: {}", not_started(why)),
        Exit::Unseen => "unseen".to_owned(),
        Exit::OutOfMemory(kill) => {
            let peak = amount(Dimension::MEMORY, kill.peak_bytes());
            format!("out of memory: process {} killed at {peak}", kill.pid())
        }
    }
}

fn not_started(why: NotStarted) -> String {
    match why {
        NotStarted::CommandNotFound => "no such command".to_owned(),
        NotStarted::PermissionDenied => "permission denied".to_owned(),
        NotStarted::DirectoryNotFound => "no such directory".to_owned(),
        NotStarted::NoDriver => "the agent has no driver for it".to_owned(),
        NotStarted::Unfit => "it no longer fitted the machine".to_owned(),
        NotStarted::NoUser => "the machine has no such user".to_owned(),
        NotStarted::NotIsolated => "the machine could not isolate it".to_owned(),
        NotStarted::NoImage => "the machine has no such bundle or root file system".to_owned(),
        NotStarted::Lacks(lack) => lack.to_string(),
        NotStarted::StoppedFirst => "stopped first".to_owned(),
        NotStarted::Os(code) => std::io::Error::from_raw_os_error(code).to_string(),
    }
}

/// A task within its job: `main.3`.
pub(crate) fn task(id: TaskId, groups: &[impl AsRef<str>]) -> String {
    match groups.get(usize::from(id.group)) {
        Some(name) => format!("{}.{}", name.as_ref(), id.index),
        None => format!("{}.{}", id.group, id.index),
    }
}

/// The word of an atomicity.
pub(crate) fn atomicity(atomicity: Atomicity) -> &'static str {
    match atomicity {
        Atomicity::Incremental => "incremental",
        Atomicity::AllOrNothing => "all-or-nothing",
    }
}

/// The word of a detection.
pub(crate) fn detection(detection: Detection) -> &'static str {
    match detection {
        Detection::Fit => "fit",
        Detection::Version => "version",
    }
}

/// What stood in the way, with units.
pub(crate) fn obstacle(kind: &ConflictKind, schema: &Schema) -> String {
    match kind {
        ConflictKind::Misfit(misfit) => self::misfit(misfit, schema),
        ConflictKind::Quota { team, band, dimension, wanted, free } => format!(
            "quota of team {team} in band {band}: {}",
            wanted_free(&schema.name(*dimension), *dimension, *wanted, *free)
        ),
        ConflictKind::Changed { .. }
        | ConflictKind::TaskState(_)
        | ConflictKind::Epoch { .. }
        | ConflictKind::NoTask
        | ConflictKind::NoMachine
        | ConflictKind::Unwanted
        | ConflictKind::Victim(_)
        | ConflictKind::Waiting(_)
        | ConflictKind::Assertion { .. } => kind.to_string(),
    }
}

/// Why a task doesn't fit, with units.
pub(crate) fn misfit(misfit: &Misfit, schema: &Schema) -> String {
    match misfit {
        Misfit::Resource { dimension, wanted, free } => {
            wanted_free(&schema.name(*dimension), *dimension, *wanted, *free)
        }
        Misfit::Devices { wanted_milli, largest_free_milli } => format!(
            "gpu wanted {}, most free on one device {}",
            thousandths(*wanted_milli),
            thousandths(*largest_free_milli)
        ),
        Misfit::State(_)
        | Misfit::Constraint(_)
        | Misfit::SameJob(_)
        | Misfit::Port(_)
        | Misfit::Ports { .. } => misfit.to_string(),
    }
}

fn wanted_free(name: &str, dimension: Dimension, wanted: u64, free: u64) -> String {
    format!("{name} wanted {}, free {}", amount(dimension, wanted), amount(dimension, free))
}

/// The rest of a conflict: who won, how stale the loser was, and whether it was needless.
pub(crate) fn circumstances(conflict: &Conflict) -> String {
    let mut parts = Vec::new();
    if let Some(winner) = &conflict.winner {
        parts.push(format!("won by {} (txn {})", winner.scheduler, winner.txn));
    }
    parts.push(match conflict.stale_entries {
        0 => "basis up to date".to_owned(),
        1 => "basis 1 entry stale".to_owned(),
        n => format!("basis {n} entries stale"),
    });
    if conflict.spurious {
        parts.push("spurious: it would have fitted".to_owned());
    }
    if conflict.divergence {
        parts.push("DIVERGENCE: nothing had changed, please report it".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        let table = [
            (Dimension::CPU, 500, "0.5"),
            (Dimension::CPU, 2_000, "2"),
            (Dimension::CPU, 1_250, "1.25"),
            (Dimension::MEMORY, 512 << 20, "512 MiB"),
            (Dimension::MEMORY, 3 << 29, "1.5 GiB"),
            (Dimension::MEMORY, 1_000, "1000 B"),
            (Dimension::NET, 100, "100 Mbit/s"),
            (Dimension(6), 7, "7"),
        ];
        for (dimension, value, expected) in table {
            assert_eq!(amount(dimension, value), expected);
        }
    }

    #[test]
    fn spans_read_well() {
        let second = 1_000_000;
        for (micros, expected) in [
            (0, "0s"),
            (1_500, "1ms"),
            (90 * second, "90s"),
            (200 * second, "3m20s"),
            (3_600 * second, "60m"),
            (7_300 * second, "2h"),
            (86_400 * 5 * second, "5d"),
        ] {
            assert_eq!(span(micros), expected);
        }
    }
}
