//! Tables of jobs: `id,submit_s,tasks,duration_s,cpus_per_task,mem_gb_per_task`, a class per file, named like it.

use std::path::{Path, PathBuf};

use bench::Scenario;
use bench::bounds::SCENARIO_JOBS_MAX;
use bench::scenario::{Job, Tasks};
use cell_state::bounds::GROUP_TASKS_MAX;
use cell_state::{Resources, validate};

use super::Traced;
use crate::rows::{Rows, TraceError};

const COLUMNS: [&str; 6] = ["id", "submit_s", "tasks", "duration_s", "cpus_per_task", "mem_gb_per_task"];

/// The priority of jobs of the class `service`, and of all others.
const SERVICE: u16 = 250;
const BATCH: u16 = 150;

/// Reads tables.
pub(super) fn read(paths: &[PathBuf]) -> Result<Traced, TraceError> {
    let mut traced = Traced::default();
    for path in paths {
        let class = class(path);
        let priority = if class == "service" { SERVICE } else { BATCH };
        traced.notes.push(format!("{}: class {class}, priority {priority}", path.display()));
        table(path, &class, priority, &mut traced.scenario)?;
    }
    traced.scenario.put_in_order();
    Ok(traced)
}

/// The name of a file without its endings, if that is a name; else `batch`.
fn class(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    if validate::name("class", stem).is_ok() { stem.to_owned() } else { "batch".to_owned() }
}

fn table(path: &Path, class: &str, priority: u16, scenario: &mut Scenario) -> Result<(), TraceError> {
    let mut rows = Rows::open(path, &COLUMNS, true)?;
    while rows.next()? {
        let name = format!("{class}-{}", rows.number::<u64>(0)?);
        let count = rows.number::<u32>(2)?;
        if !(1..=GROUP_TASKS_MAX).contains(&count) {
            return Err(rows.field_error(2, format!("{count} is not between 1 and {GROUP_TASKS_MAX} tasks")));
        }
        if scenario.jobs.len() >= SCENARIO_JOBS_MAX {
            return Err(rows.field_error(0, format!("more than {SCENARIO_JOBS_MAX} jobs, the bound")));
        }
        let us = |seconds: f64| (seconds * 1e6).round() as u64;
        let ask = Resources::cpu_memory(
            (rows.decimal(4)? * 1e3).round() as u64,
            (rows.decimal(5)? * (1u64 << 30) as f64).round() as u64,
        );
        let mut job = Job::new(name, Some(us(rows.decimal(1)?)), class, priority);
        job.tasks.push(Tasks::new(count, ask, Some(us(rows.decimal(3)?))));
        scenario.jobs.push(job);
    }
    Ok(())
}
