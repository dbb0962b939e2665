//! Runs the commit tables in `tests/commit/`: every line's last column is what must come of it.
//!
//! With `UPDATE_GOLDEN=1` the last columns are rewritten; read the difference before you commit it.

use std::collections::BTreeSet;

use cell_state::Cell;

use crate::golden;
use crate::script::{Came, Stage};

/// Column at which a rewritten verdict starts, when the line isn't longer.
const VERDICT_COLUMN: usize = 56;

fn run(name: &str) {
    let path = format!("tests/commit/{name}.txt");
    let written = golden::read(&path);
    let mut stage = Stage::new();
    let mut lines: Vec<String> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    for (number, line) in written.lines().enumerate() {
        let act = line.split_once(" | ").map_or(line, |(act, _)| act).trim_end();
        if act.trim_start().starts_with('#') || act.trim().is_empty() {
            lines.push(act.to_owned());
            continue;
        }
        match stage.line(act) {
            Came::Now(came) => lines.push(with_verdict(act, &came)),
            Came::WithCommit => {
                // The line of an op gets its verdict later; begin and assert lines have none.
                if !act.contains(" begin") && !act.contains(" assert ") {
                    waiting.push(lines.len());
                }
                lines.push(act.to_owned());
            }
            Came::Committed { ops, whole } => {
                for (at, came) in waiting.drain(..).zip(&ops) {
                    lines[at] = with_verdict(&lines[at].clone(), came);
                }
                waiting.clear();
                lines.push(with_verdict(act, &whole));
            }
        }
        assert_eq!(lines.len(), number + 1);
    }
    golden::compare(&path, &(lines.join("\n") + "\n"));
    replay(&mut stage);
}

fn with_verdict(act: &str, came: &str) -> String {
    format!("{act:VERDICT_COLUMN$} | {came}")
}

/// The log alone gives the same state.
fn replay(stage: &mut Stage) {
    let mut fresh = Cell::new();
    for event in &stage.log {
        fresh.apply(fresh.seq().next(), event);
    }
    assert_eq!(fresh.hash(), stage.cell.hash(), "a replay of the log gives another state");
}

/// Every table, each run by the test of its name.
const TABLES: [&str; 21] = [
    "races",
    "atomicity",
    "detection",
    "fallbacks",
    "preemption",
    "ports",
    "devices",
    "constraints",
    "distinct",
    "quotas",
    "assertions",
    "drain",
    "stale_tasks",
    "stop_and_evict",
    "resize",
    "resend",
    "restarts",
    "endpoints",
    "versions",
    "overcommit",
    "bad_requests",
];

#[test]
fn races() {
    run("races");
}

#[test]
fn atomicity() {
    run("atomicity");
}

#[test]
fn detection() {
    run("detection");
}

#[test]
fn fallbacks() {
    run("fallbacks");
}

#[test]
fn preemption() {
    run("preemption");
}

#[test]
fn ports() {
    run("ports");
}

#[test]
fn devices() {
    run("devices");
}

#[test]
fn constraints() {
    run("constraints");
}

#[test]
fn distinct() {
    run("distinct");
}

#[test]
fn quotas() {
    run("quotas");
}

#[test]
fn assertions() {
    run("assertions");
}

#[test]
fn drain() {
    run("drain");
}

#[test]
fn stale_tasks() {
    run("stale_tasks");
}

#[test]
fn stop_and_evict() {
    run("stop_and_evict");
}

#[test]
fn resize() {
    run("resize");
}

#[test]
fn resend() {
    run("resend");
}

#[test]
fn endpoints() {
    run("endpoints");
}

#[test]
fn restarts() {
    run("restarts");
}

#[test]
fn versions() {
    run("versions");
}

#[test]
fn overcommit() {
    run("overcommit");
}

#[test]
fn bad_requests() {
    run("bad_requests");
}

#[test]
fn every_table_is_run() {
    let known: BTreeSet<String> = TABLES.iter().map(|name| format!("{name}.txt")).collect();
    assert_eq!(golden::names("tests/commit"), known);
    let source = include_str!("tables.rs");
    assert!(TABLES.iter().all(|name| source.contains(&format!("run(\"{name}\")"))));
}
