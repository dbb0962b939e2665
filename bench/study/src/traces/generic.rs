//! The generic format: a scenario as three or four tables in a directory. docs/workload-format.md describes it.

mod lists;
mod tables;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bench::Scenario;
use bench::bounds::{SCENARIO_CHANGES_MAX, SCENARIO_JOBS_MAX, SCENARIO_MACHINES_MAX, SCENARIO_TASKS_MAX};
use bench::scenario::MachineChange;

use super::table::{Problem, Problems, Table};

pub use write::{WriteError, write};

/// The names of the tables.
pub const MACHINES: &str = "machines.csv";
/// The changes of machines; may be missing.
pub const EVENTS: &str = "machine_events.csv";
/// The jobs.
pub const JOBS: &str = "jobs.csv";
/// Their tasks.
pub const TASKS: &str = "tasks.csv";

/// A scenario as it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// The scenario, without the rows that are wrong.
    pub scenario: Scenario,
    /// What is wrong.
    pub problems: Problems,
}

/// Reads the tables in a directory, packed (`.gz`) or not, and finds whatever is wrong with them.
pub fn check(dir: &Path) -> Checked {
    let mut reading = Reading::default();
    reading.machines(&file(dir, MACHINES));
    let events = file(dir, EVENTS);
    if events.exists() {
        reading.events(&events);
    }
    reading.jobs(&file(dir, JOBS));
    reading.tasks(&file(dir, TASKS));
    reading.whole(&file(dir, JOBS));
    reading.scenario.put_in_order();
    Checked { scenario: reading.scenario, problems: reading.problems }
}

/// Reads a table of machines by itself, for a trace that has none.
pub fn machines(path: &Path) -> Checked {
    let mut reading = Reading::default();
    reading.machines(path);
    Checked { scenario: reading.scenario, problems: reading.problems }
}

/// The path of a table: packed if it is there so.
fn file(dir: &Path, name: &str) -> PathBuf {
    let packed = dir.join(format!("{name}.gz"));
    if packed.is_file() { packed } else { dir.join(name) }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    scenario: Scenario,
    problems: Problems,
    machines_by_name: BTreeMap<String, u32>,
    /// Each job's position and the line it is described in.
    jobs_by_name: BTreeMap<String, (u32, u64)>,
    tasks: usize,
}

impl Reading {
    fn machines(&mut self, path: &Path) {
        let Some(mut table) = Table::open(path, &tables::MACHINE, &mut self.problems) else { return };
        while table.next() {
            let Some(spec) = tables::machine(&mut table) else { continue };
            let number = self.scenario.machines.len();
            if number >= SCENARIO_MACHINES_MAX {
                table.wrong_because(0, "is one machine too many", "a cell has at most a million");
                return;
            }
            if self.machines_by_name.contains_key(&spec.name) {
                table.wrong_because(0, "is there twice", "give each machine a name of its own");
                continue;
            }
            self.machines_by_name.insert(spec.name.clone(), number as u32);
            self.scenario.machines.push(spec);
        }
    }

    fn events(&mut self, path: &Path) {
        let Some(mut table) = Table::open(path, &tables::EVENT, &mut self.problems) else { return };
        while table.next() {
            let machine = known_machine(&mut table, 1, &self.machines_by_name);
            let change = tables::change(&mut table);
            let (Some(at_us), Some(machine), Some(change)) = (table.number(0), machine, change) else {
                continue;
            };
            if self.scenario.changes.len() >= SCENARIO_CHANGES_MAX {
                table.wrong_because(0, "is one event too many", "a scenario has at most 5 million");
                return;
            }
            self.scenario.changes.push(MachineChange { at_us, machine, change });
        }
    }

    fn jobs(&mut self, path: &Path) {
        let Some(mut table) = Table::open(path, &tables::JOB, &mut self.problems) else { return };
        while table.next() {
            let Some(job) = tables::job(&mut table) else { continue };
            let number = self.scenario.jobs.len();
            if number >= SCENARIO_JOBS_MAX {
                table.wrong_because(0, "is one job too many", "a scenario has at most 5 million");
                return;
            }
            if self.jobs_by_name.contains_key(&job.name) {
                table.wrong_because(0, "is there twice", "give each job a name of its own");
                continue;
            }
            self.jobs_by_name.insert(job.name.clone(), (number as u32, table.line()));
            self.scenario.jobs.push(job);
        }
    }

    fn tasks(&mut self, path: &Path) {
        let Some(mut table) = Table::open(path, &tables::TASK, &mut self.problems) else { return };
        while table.next() {
            let job = self.jobs_by_name.get(table.text(0)).map(|(number, _)| *number as usize);
            if job.is_none() {
                table.wrong_because(0, "is no job of jobs.csv", "add the job there, or leave this row out");
            }
            let machine = match table.text(tables::TASK_MACHINE) {
                "" => Some(None),
                _ => known_machine(&mut table, tables::TASK_MACHINE, &self.machines_by_name).map(Some),
            };
            let submit_us = job.map(|job| self.scenario.jobs[job].submit_us);
            let tasks = tables::tasks(&mut table, submit_us.flatten(), machine.flatten());
            let (Some(job), Some(_), Some(tasks)) = (job, machine, tasks) else { continue };
            self.tasks += 1;
            if self.tasks > SCENARIO_TASKS_MAX {
                table.wrong_because(0, "is one row too many", "a scenario has at most 40 million");
                return;
            }
            self.scenario.jobs[job].tasks.push(tasks);
        }
    }

    /// What no row alone can be blamed for.
    fn whole(&mut self, jobs: &Path) {
        // Rows that are wrong are told already, and then a job without tasks is no news.
        if self.problems.count > 0 {
            return;
        }
        for job in self.scenario.jobs.iter().filter(|j| j.tasks.is_empty()) {
            let line = self.jobs_by_name.get(&job.name).map_or(0, |(_, line)| *line);
            self.problems.add(Problem {
                file: jobs.display().to_string(),
                line,
                column: None,
                field: Some("job".to_owned()),
                value: Some(job.name.clone()),
                problem: "has no tasks".to_owned(),
                way_out: "add a row to tasks.csv, or leave the job out".to_owned(),
            });
        }
    }
}

fn known_machine(table: &mut Table<'_>, field: usize, known: &BTreeMap<String, u32>) -> Option<u32> {
    let machine = known.get(table.text(field)).copied();
    if machine.is_none() {
        table.wrong_because(
            field,
            "is no machine of machines.csv",
            "add the machine there, or leave the row out",
        );
    }
    machine
}

#[cfg(test)]
mod tests;
