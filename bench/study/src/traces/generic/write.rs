//! Writing a scenario as tables.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bench::Scenario;
use bench::scenario::{Change, shown};
use cell_state::{Dimension, Resources};

use super::{EVENTS, JOBS, MACHINES, TASKS, lists, tables};
use crate::traces::table::Field;

/// A table that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write {path}")]
pub struct WriteError {
    /// The file or directory.
    pub path: String,
    /// The reason.
    pub source: io::Error,
}

/// Writes the tables of a scenario into a directory, which is made if it isn't there. [`super::check`] reads the same
/// scenario from them.
///
/// # Errors
/// A file can't be written.
pub fn write(scenario: &Scenario, dir: &Path) -> Result<(), WriteError> {
    let at = |path: &Path, source| WriteError { path: path.display().to_string(), source };
    fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    let table = |name: &str, fields: &[Field], fill: &dyn Fn(&mut Table) -> csv::Result<()>| {
        let path = dir.join(name);
        // A table packed by hand would be read instead of the new one.
        let packed = dir.join(format!("{name}.gz"));
        let written = remove(&packed).and_then(|()| filled(&path, fields, fill));
        written.map_err(|e| at(&path, e))
    };
    table(MACHINES, &tables::MACHINE, &|rows| machines(scenario, rows))?;
    if scenario.changes.is_empty() {
        let path = dir.join(EVENTS);
        remove(&path).and_then(|()| remove(&dir.join(format!("{EVENTS}.gz")))).map_err(|e| at(&path, e))?;
    } else {
        table(EVENTS, &tables::EVENT, &|rows| events(scenario, rows))?;
    }
    table(JOBS, &tables::JOB, &|rows| jobs(scenario, rows))?;
    table(TASKS, &tables::TASK, &|rows| tasks(scenario, rows))
}

type Table = csv::Writer<BufWriter<File>>;

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn filled(path: &Path, fields: &[Field], fill: &dyn Fn(&mut Table) -> csv::Result<()>) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(BufWriter::new(File::create(path)?));
    table.write_record(fields.iter().map(|f| f.name))?;
    fill(&mut table)?;
    table.into_inner().map_err(|e| io::Error::other(e.to_string()))?.flush()
}

fn machines(scenario: &Scenario, rows: &mut Table) -> csv::Result<()> {
    scenario.machines.iter().try_for_each(|machine| {
        let [cpu, memory, disk, gpus, net] = amounts(&machine.capacity);
        let attributes =
            lists::joined(machine.attributes.iter().map(|(key, value)| format!("{key}={value}")));
        rows.write_record([machine.name.as_str(), &cpu, &memory, &disk, &gpus, &net, &attributes])
    })
}

fn events(scenario: &Scenario, rows: &mut Table) -> csv::Result<()> {
    scenario.changes.iter().try_for_each(|change| {
        let event = match change.change {
            Change::Down => "down",
            Change::Up => "up",
        };
        let machine = scenario.machines[change.machine as usize].name.as_str();
        rows.write_record([change.at_us.to_string().as_str(), machine, event])
    })
}

fn jobs(scenario: &Scenario, rows: &mut Table) -> csv::Result<()> {
    scenario.jobs.iter().try_for_each(|job| {
        let (submit, priority) = (optional(job.submit_us), job.priority.to_string());
        let flag = |set: bool| if set { "1" } else { "0" };
        let flags = (flag(job.distinct), flag(job.gang));
        rows.write_record([job.name.as_str(), &submit, &job.class, &priority, &job.team, flags.0, flags.1])
    })
}

fn tasks(scenario: &Scenario, rows: &mut Table) -> csv::Result<()> {
    let mut all =
        scenario.jobs.iter().flat_map(|job| job.tasks.iter().map(move |tasks| (job.name.as_str(), tasks)));
    all.try_for_each(|(job, tasks)| {
        let [cpu, memory, disk, gpus, net] = amounts(&tasks.ask);
        let (count, run_for) = (tasks.count.to_string(), optional(tasks.run_for_us));
        let exit_code = tasks.exit_code.to_string();
        let constraints = lists::joined(tasks.constraints.iter().map(shown));
        let machine = tasks.placed.map_or("", |p| scenario.machines[p.machine as usize].name.as_str());
        let placed = optional(tasks.placed.map(|p| p.at_us));
        rows.write_record([
            job,
            &count,
            &cpu,
            &memory,
            &disk,
            &gpus,
            &net,
            &run_for,
            &exit_code,
            &constraints,
            machine,
            &placed,
        ])
    })
}

/// Cpu, memory, disk, GPUs and net; of the last three nothing is written when there is none.
fn amounts(amounts: &Resources) -> [String; 5] {
    let some = |d: Dimension| optional(Some(amounts.get(d)).filter(|amount| *amount > 0));
    let milli = amounts.get(Dimension::GPU);
    let gpus = match (milli / 1_000, milli % 1_000) {
        (0, 0) => String::new(),
        (whole, 0) => whole.to_string(),
        (whole, share) => format!("{whole}.{share:03}"),
    };
    let always = |d: Dimension| amounts.get(d).to_string();
    [always(Dimension::CPU), always(Dimension::MEMORY), some(Dimension::DISK), gpus, some(Dimension::NET)]
}

fn optional(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}
