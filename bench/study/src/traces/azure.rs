//! Azure's virtual machines in batches: one row per machine that a tenant asked for. What a tenant asked for at once is
//! a job, placed as a whole or not at all. The trace names no machines of the provider's own.
//!
//! How long a virtual machine ran is given as a range, of which the middle is taken. Where the end wasn't seen the
//! task runs on.

use std::path::{Path, PathBuf};

use bench::Scenario;
use bench::bounds::SCENARIO_JOBS_MAX;
use bench::scenario::{Gathered, Job, Tasks};
use cell_state::Resources;

use super::Traced;
use crate::rows::{Rows, TraceError};

const COLUMNS: [&str; 10] =
    ["split", "t", "batch", "flavor", "vcpu", "mem_gb", "censored", "durbin", "dur_lo", "dur_hi"];

/// The class of all jobs.
const CLASS: &str = "vm";

/// The priority of all jobs: the trace says nothing of it, and tenants' machines aren't evicted for each other.
const PRIORITY: u16 = 200;

/// Reads tables, one after another.
pub(super) fn read(paths: &[PathBuf]) -> Result<Traced, TraceError> {
    let mut scenario = Scenario::default();
    let mut running_on = 0;
    for (number, path) in paths.iter().enumerate() {
        running_on += table(path, number, &mut scenario)?;
    }
    let start = scenario.jobs.iter().filter_map(|j| j.submit_us).min().unwrap_or(0);
    for job in &mut scenario.jobs {
        job.submit_us = job.submit_us.map(|at| at - start);
    }
    scenario.put_in_order();
    let notes = vec![
        format!("time 0 is {} s of the trace, its first request", start / 1_000_000),
        format!("{running_on} of the virtual machines run on: their end wasn't seen"),
    ];
    Ok(Traced { scenario, notes })
}

/// A batch: rows that follow each other with the same split, time and number.
type Key = (String, u64, u64);

fn table(path: &Path, number: usize, scenario: &mut Scenario) -> Result<u64, TraceError> {
    let mut rows = Rows::open(path, &COLUMNS, true)?;
    let mut batch: Option<(Key, Gathered)> = None;
    let mut running_on = 0;
    while rows.next()? {
        let key: Key = (rows.text(0).to_owned(), rows.number(1)?, rows.number(2)?);
        if batch.as_ref().is_none_or(|(open, _)| *open != key) {
            finish(batch.take(), number, scenario);
            if scenario.jobs.len() >= SCENARIO_JOBS_MAX {
                return Err(rows.field_error(2, format!("more than {SCENARIO_JOBS_MAX} batches, the bound")));
            }
        }
        let tasks = task(&rows)?;
        running_on += u64::from(tasks.run_for_us.is_none());
        batch.get_or_insert_with(|| (key, Gathered::default())).1.add(tasks);
    }
    finish(batch, number, scenario);
    Ok(running_on)
}

fn task(rows: &Rows) -> Result<Tasks, TraceError> {
    let ask = Resources::cpu_memory(rows.amount(4, 1_000)?, rows.amount(5, 1 << 30)?);
    let run_for_us = match rows.text(6) {
        "C" => None,
        "U" => {
            let (low, high) = (rows.number::<u32>(8)?, rows.number::<u32>(9)?);
            if low > high {
                return Err(rows.field_error(9, format!("{high} is below dur_lo, {low}")));
            }
            Some((u64::from(low) + u64::from(high)) * 500_000)
        }
        other => {
            return Err(
                rows.field_error(6, format!("{other:?} is neither U (its end was seen) nor C (it wasn't)"))
            );
        }
    };
    Ok(Tasks::new(1, ask, run_for_us))
}

fn finish(batch: Option<(Key, Gathered)>, number: usize, scenario: &mut Scenario) {
    let Some(((split, at_s, batch), tasks)) = batch else { return };
    let plain: String = split.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    // Several tables may have the same batch.
    let file = if number == 0 { String::new() } else { format!("-{number}") };
    let name = format!("vm{file}-{plain}-{at_s}-{batch}");
    let mut job = Job::new(name, Some(at_s.saturating_mul(1_000_000)), CLASS, PRIORITY);
    job.tasks = tasks.finish();
    job.gang = job.count() > 1;
    scenario.jobs.push(job);
}
