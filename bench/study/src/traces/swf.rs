//! Logs in the standard workload format of the Parallel Workloads Archive: header comments with `;`, then 18 numbers a
//! line, of which -1 is unknown.
//!
//! A job of n processors becomes n tasks of one core, to be placed together. The machines are those of the header
//! (`MaxNodes`, `MaxProcs`), each with as much memory as the hungriest job asks for on all its cores, for the format
//! doesn't tell. Jobs that never ran, and lines that describe a part of a job, are left out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use bench::Scenario;
use bench::bounds::{SCENARIO_JOBS_MAX, SCENARIO_MACHINES_MAX};
use bench::scenario::{Job, Tasks, machine};
use cell_state::Resources;
use cell_state::bounds::GROUP_TASKS_MAX;

use super::Traced;
use crate::rows::{self, TraceError};

const FIELDS: [&str; 18] = [
    "job number",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average cpu time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
];

/// Batch work, all of it.
const PRIORITY: u16 = 150;

/// What the header says.
#[derive(Default)]
struct Header {
    nodes: Option<u64>,
    processors: Option<u64>,
}

/// A log being read.
struct Reading<'a> {
    path: &'a Path,
    header: Header,
    scenario: Scenario,
    memory_max: u64,
    never_ran: u64,
    partial: u64,
}

/// Reads a log, packed with gzip or not.
pub(super) fn read(path: &Path) -> Result<Traced, TraceError> {
    let shown = path.display().to_string();
    let bytes = rows::unpacked(path).map_err(|source| TraceError::Open { path: shown.clone(), source })?;
    let mut reading = Reading {
        path,
        header: Header::default(),
        scenario: Scenario::default(),
        memory_max: 0,
        never_ran: 0,
        partial: 0,
    };
    let mut reader = BufReader::new(bytes);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        let read = read.map_err(|e| reading.row_error(number, format!("can't read on: {e}")))?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        match text.trim().strip_prefix(';') {
            Some(comment) => reading.comment(comment),
            None if text.trim().is_empty() => {}
            None => reading.line(number, text.trim())?,
        }
    }
    Ok(reading.finish())
}

impl Reading<'_> {
    fn comment(&mut self, comment: &str) {
        let Some((key, value)) = comment.split_once(':') else { return };
        let number = value.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).filter(|n| *n > 0);
        match key.trim() {
            "MaxNodes" => self.header.nodes = number,
            "MaxProcs" => self.header.processors = number,
            _ => {}
        }
    }

    fn line(&mut self, number: u64, text: &str) -> Result<(), TraceError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(self.row_error(number, format!("{} fields, expected {}", fields.len(), FIELDS.len())));
        }
        let mut numbers = [0i64; 18];
        for (i, field) in fields.iter().enumerate() {
            // Some logs give averages as decimals; nothing here needs their fractions.
            let parsed = field
                .parse::<i64>()
                .ok()
                .or_else(|| field.parse::<f64>().ok().filter(|n| n.abs() < 1e15).map(|n| n as i64));
            numbers[i] = parsed.ok_or_else(|| {
                self.field_error(
                    number,
                    i,
                    format!("{:?} is not a number; unknown ones are -1", rows::clip(field)),
                )
            })?;
        }
        self.job(number, &numbers)
    }

    fn job(&mut self, number: u64, fields: &[i64; 18]) -> Result<(), TraceError> {
        let known = |i: usize| u64::try_from(fields[i]).ok();
        // 2, 3 and 4 are parts of a job that was checkpointed; another line has the whole.
        if matches!(fields[10], 2..=4) {
            self.partial += 1;
            return Ok(());
        }
        let count = known(7).filter(|n| *n > 0).or_else(|| known(4).filter(|n| *n > 0));
        let run_for_s = known(3).filter(|s| *s > 0 || fields[10] == 1);
        let (Some(count), Some(run_for_s)) = (count, run_for_s) else {
            self.never_ran += 1;
            return Ok(());
        };
        let submit_s = known(1).ok_or_else(|| {
            self.field_error(number, 1, format!("{} is no time; write seconds from the start", fields[1]))
        })?;
        let count = u32::try_from(count).ok().filter(|n| *n <= GROUP_TASKS_MAX).ok_or_else(|| {
            self.field_error(number, 7, format!("{count} processors; at most {GROUP_TASKS_MAX}"))
        })?;
        if self.scenario.jobs.len() >= SCENARIO_JOBS_MAX {
            return Err(self.row_error(number, format!("more than {SCENARIO_JOBS_MAX} jobs, the bound")));
        }
        let memory = known(9).or_else(|| known(6)).unwrap_or(0).saturating_mul(1 << 10);
        self.memory_max = self.memory_max.max(memory);
        let class = known(14).map_or_else(|| "batch".to_owned(), |queue| format!("queue-{queue}"));
        // The line is in the name too: some logs number jobs twice.
        let name = format!("swf-{}-{number}", fields[0].max(0));
        let mut job = Job::new(name, Some(submit_s.saturating_mul(1_000_000)), &class, PRIORITY);
        job.gang = count > 1;
        let run_for_us = Some(run_for_s.saturating_mul(1_000_000));
        let exit_code = i32::from(fields[10] == 0 || fields[10] == 5);
        job.tasks
            .push(Tasks { exit_code, ..Tasks::new(count, Resources::cpu_memory(1_000, memory), run_for_us) });
        self.scenario.jobs.push(job);
        Ok(())
    }

    fn finish(mut self) -> Traced {
        let processors = self.header.processors.or(self.header.nodes);
        let mut notes = Vec::new();
        if let Some(processors) = processors.filter(|n| *n <= SCENARIO_MACHINES_MAX as u64) {
            let nodes = self.header.nodes.unwrap_or(processors).min(processors);
            for i in 0..nodes {
                // Processors that don't divide evenly go to the first nodes.
                let cores = processors / nodes + u64::from(i < processors % nodes);
                let capacity = Resources::cpu_memory(cores * 1_000, cores.saturating_mul(self.memory_max));
                self.scenario.machines.push(machine(format!("n-{i}"), capacity, BTreeMap::new()));
            }
            notes.push(format!("{nodes} machines with {processors} cores, as the header says"));
        }
        for (count, what) in [(self.never_ran, "jobs that never ran"), (self.partial, "parts of jobs")] {
            if count > 0 {
                notes.push(format!("{count} {what} were left out"));
            }
        }
        self.scenario.put_in_order();
        Traced { scenario: self.scenario, notes }
    }

    fn row_error(&self, line: u64, problem: String) -> TraceError {
        TraceError::Row { path: self.path.display().to_string(), line, problem }
    }

    fn field_error(&self, line: u64, field: usize, problem: String) -> TraceError {
        let (path, name) = (self.path.display().to_string(), FIELDS[field].to_owned());
        TraceError::Field { path, line, column: field + 1, name, problem }
    }
}
