//! What a cell weighs: bytes per machine and per task of one state, by the resident memory of this process.
//!
//! Specs and remembered answers are shared by all states of
//! a process, so what a second state beside the first takes (a server keeps two) stands in a row of its own.

use cell_state::Cell;
use cell_state::commit::Judge;

use crate::stage::{JOB_TASKS, OPS, commit, transactions};

const MACHINES: u32 = 100_000;
const TASKS: u32 = 2_000_000;

/// Transactions made and judged at a time, so that they hardly count themselves.
const CHUNK: u32 = 1_000;

fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<i64>().ok()).unwrap_or(0) * 1024
}

pub(crate) fn print() {
    let mut before = resident_bytes();
    let mut grown = |what: &str, count: u32| {
        let now = resident_bytes();
        let each = (now - before) as f64 / f64::from(count);
        println!("{what:<52} {count:>9} {:>8.1} MB {each:>7.1} B each", (now - before) as f64 / 1e6);
        before = now;
    };
    let machines = crate::stage::cell(MACHINES, 0);
    grown("machines of a first state, with their specs", MACHINES);
    let second = machines.clone();
    grown("machines of a second state, specs shared", MACHINES);
    let mut cell = machines;
    crate::stage::submit(&mut cell, TASKS);
    grown("pending tasks", TASKS);
    let (mut judge, mut accepted) = (Judge::new(), 0);
    for chunk in 0..TASKS / OPS / CHUNK {
        let txns = transactions(&cell, chunk * CHUNK..(chunk + 1) * CHUNK);
        accepted += commit(&mut cell, &mut judge, &txns);
    }
    grown("the same tasks placed: lists of machines, answers", TASKS);
    let copy: Cell = cell.clone();
    grown("tasks and machines of a second state", TASKS);
    cell.hash();
    grown("hashes of the pages", TASKS);
    println!(
        "{accepted} tasks of {JOB_TASKS} per job on {} machines",
        copy.machines().len().max(second.machines().len())
    );
}
