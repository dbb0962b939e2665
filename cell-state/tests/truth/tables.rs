//! Runs the commit tables in `tests/commit/`: every line's last column is what must come of it.
//!
//! With `UPDATE_GOLDEN=1` the last columns are rewritten; read the difference before you commit it.

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

macro_rules! tables {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { run(stringify!($name)); })+

        #[test]
        fn every_table_is_run() {
            let run: std::collections::BTreeSet<String> = [$(concat!(stringify!($name), ".txt").to_owned()),+].into();
            assert_eq!(golden::names("tests/commit"), run);
        }
    };
}

tables!(
    races,
    atomicity,
    detection,
    fallbacks,
    preemption,
    ports,
    devices,
    constraints,
    distinct,
    quotas,
    assertions,
    drain,
    stale_tasks,
    stop_and_evict,
    resize,
    resend,
    restarts,
    versions,
    overcommit,
    bad_requests,
);
