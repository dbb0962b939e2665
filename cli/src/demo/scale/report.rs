//! How the figures of `ohm scale` are shown.

use serde_json::json;

use super::growth::Row;
use super::measured::{Idle, Latency, Measured};
use crate::demo::checks::Checks;
use crate::show::table::facts;
use crate::show::text::bytes;
use crate::show::{Column, Listing, colours};

/// Everything as JSON.
pub(super) fn json(measured: &Measured, checks: &Checks) -> String {
    pretty(&json!({"measured": measured, "checks": checks.json()}))
}

/// The growth table as JSON.
pub(super) fn growth_json(rows: &[Row], checks: &Checks) -> String {
    pretty(&json!({"growth": rows, "checks": checks.json()}))
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).expect("measurements serialize")
}

/// Everything for people.
pub(super) fn text(measured: &Measured, checks: &Checks) -> String {
    let lines = [memory(measured), copies(measured), rest(measured)].concat();
    format!("{}\n\n{}", facts(&lines), checks.listing().table(false, colours()))
}

fn seconds(s: f64) -> String {
    format!("{s:.2} s")
}

fn memory(m: &Measured) -> Vec<(&'static str, String)> {
    let machines = m.server_bytes_machines.saturating_sub(m.server_bytes_empty);
    vec![
        ("cell", format!("{} machines, {} tasks in {} jobs", m.machines, m.tasks, m.jobs)),
        (
            "filling",
            format!(
                "{}, {:.0} placements/s; {} for the reports of their start",
                seconds(m.placing_seconds),
                m.placements_per_second,
                seconds(m.reporting_seconds)
            ),
        ),
        (
            "server memory",
            format!(
                "{}: {} empty, {} for machines, {:.0} bytes each, and {:.0} bytes per task",
                bytes(m.server_bytes),
                bytes(m.server_bytes_empty),
                bytes(machines),
                m.server_bytes_per_machine,
                m.server_bytes_per_task
            ),
        ),
        (
            "  after a restart",
            format!(
                "{}: {:.0} bytes per task",
                bytes(m.server_bytes_restarted),
                m.server_bytes_per_task_restarted
            ),
        ),
        (
            "scheduler memory",
            format!(
                "{} ({} in an empty cell), with none of the tasks its own; there after {}",
                bytes(m.scheduler_bytes),
                bytes(m.scheduler_bytes_empty),
                seconds(m.scheduler_seconds)
            ),
        ),
        (
            "  with its own view",
            format!(
                "{} following machines and its own jobs; there after {}",
                bytes(m.scheduler_own_bytes),
                seconds(m.scheduler_own_seconds)
            ),
        ),
    ]
}

fn copies(m: &Measured) -> Vec<(&'static str, String)> {
    let commits =
        |l: &Latency| format!("{} µs p50, {} µs p99, {} µs at most, of {}", l.p50, l.p99, l.max, l.count);
    vec![
        ("snapshot", format!("{} received in {}", bytes(m.snapshot_bytes), seconds(m.snapshot_seconds))),
        ("first full copy", format!("{} until restored and its hash compared", seconds(m.copy_seconds))),
        ("commits", commits(&m.commit_alone)),
        (
            "  meanwhile",
            format!(
                "{}, beside the first checkpoint and {} snapshots",
                commits(&m.commit_beside),
                m.snapshots_beside
            ),
        ),
        (
            "checkpoint",
            format!(
                "{} on disk, {} after the last report",
                bytes(m.checkpoint_bytes),
                seconds(m.checkpoint_seconds)
            ),
        ),
        ("log", format!("{} on disk, {} entries since the first", bytes(m.log_bytes), m.log_entries)),
    ]
}

fn rest(m: &Measured) -> Vec<(&'static str, String)> {
    let idle = |i: &Idle| {
        let (server, peers) = i.kb_each();
        format!(
            "{}: {server:.0} kB and {:.1} µs of CPU a second each in the server ({:.1} ms/s in all, {:.1} with nobody), \
             {peers:.0} kB each and {:.1} ms/s in all in their own process; connected in {}",
            i.count,
            i.server_cpu_us_each(),
            i.server_cpu_ms_per_s,
            i.server_cpu_ms_per_s_before,
            i.peers_cpu_ms_per_s,
            seconds(i.connecting_seconds)
        )
    };
    vec![
        ("idle subscribers", idle(&m.subscribers)),
        ("idle agents", idle(&m.agents)),
        (
            "entries",
            format!("{} since the checkpoint, {:.0} committed per second", m.entries, m.entries_per_second),
        ),
        (
            "restart",
            format!("{} from kill -9 to the first answer: {}", seconds(m.restart_seconds), m.recovery),
        ),
    ]
}

/// The growth table for people.
pub(super) fn growth_text(rows: &[Row], checks: &Checks) -> String {
    const COLUMNS: [Column; 5] = [
        Column::text("AXIS"),
        Column::text("COST"),
        Column::text("SIZES"),
        Column::text("COSTS"),
        Column::number("EXPONENT"),
    ];
    let mut listing = Listing::new(&COLUMNS);
    for row in rows {
        let all = |pick: fn(&(f64, f64)) -> f64| {
            row.points.iter().map(|p| figure(pick(p))).collect::<Vec<_>>().join(" ")
        };
        let exponent = row.exponent.map_or_else(|| "-".to_owned(), |e| format!("{e:.2}"));
        let cells =
            vec![row.axis.into(), row.cost.into(), all(|p| p.0).into(), all(|p| p.1).into(), exponent.into()];
        listing.push(row.cost, cells, serde_json::Value::Null);
    }
    format!("{}\n\n{}", listing.table(false, colours()), checks.listing().table(false, colours()))
}

/// Three digits that count, or whole numbers.
fn figure(f: f64) -> String {
    match f {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        _ => format!("{f:.2}"),
    }
}
