//! Reads: what people see of a cell, as rows and pages. Pure functions of a state.

use cell_state::admit::{Rejection, RejectionCode};
use cell_state::endpoint::{self, Meant};
use cell_state::job::{Band, Job, Run};
use cell_state::machine::{Machine, MachineState};
use cell_state::page::StateHash;
use cell_state::{Cell, JobId, MachineId, Resources, TaskId};
use transport::bounds::ROWS_MAX;
use transport::view::{Body, CellView, JobRow, JobView, MachineRow, MachineView, Query, ServiceRow, TaskRow};

use crate::bounds::CANDIDATES_MAX;

/// What a read may know beside the state.
pub(crate) struct Around<'a> {
    /// The hash of the state.
    pub(crate) hash: StateHash,
    /// Microseconds since a machine was last heard.
    pub(crate) silent_us: &'a dyn Fn(MachineId) -> Option<u64>,
}

/// Answers a query.
pub(crate) fn read(cell: &Cell, around: &Around<'_>, query: &Query) -> Result<Body, Rejection> {
    match query {
        Query::Cell => Ok(Body::Cell(Box::new(cell_view(cell, around.hash)))),
        Query::Jobs { from, limit } => {
            let ids = (from.0..cell.next_job().0).map(JobId);
            Ok(Body::Jobs(ids.filter_map(|id| cell.job(id)).map(job_row).take(rows(*limit)).collect()))
        }
        Query::Job { name, skip, limit } => {
            let job = find_job(cell, name)?;
            let tasks = job.tasks().skip(*skip as usize).take(rows(*limit));
            Ok(Body::Job(Box::new(JobView {
                row: job_row(job),
                spec: job.spec().clone(),
                groups: job.groups.iter().map(|group| group.counts).collect(),
                tasks_total: job.counts().total(),
                tasks: tasks.filter_map(|(id, _)| task_row(cell, id)).collect(),
            })))
        }
        Query::Machines { from, limit } => {
            let machines = cell.machines().iter().skip(from.index()).take(rows(*limit));
            Ok(Body::Machines(machines.map(|machine| machine_row(machine, around)).collect()))
        }
        Query::Services { limit } => Ok(Body::Services(
            endpoint::services(cell)
                .filter_map(|meant| service_row(cell, &meant))
                .take(rows(*limit))
                .collect(),
        )),
        Query::Endpoints { name } => match endpoint::meaning(cell, name) {
            Some(meant) => Ok(Body::Endpoints(endpoint::endpoints(cell, &meant))),
            None => {
                let problem = format!(
                    "{name:?} means nothing in the cell; write [PORT.]GROUP.JOB, [PORT.]TASK.JOB or JOB; `ohm service list` shows what is"
                );
                Err(Rejection::new(RejectionCode::NotFound, "name", problem))
            }
        },
        Query::Machine { name } => {
            let machine = find_machine(cell, name)?;
            let mut tasks = machine.load.tasks.clone();
            tasks.sort_unstable();
            tasks.truncate(ROWS_MAX as usize);
            Ok(Body::Machine(Box::new(MachineView {
                row: machine_row(machine, around),
                spec: (*machine.spec).clone(),
                tasks: tasks.into_iter().filter_map(|id| task_row(cell, id)).collect(),
            })))
        }
    }
}

/// The job of that name, of that unique beginning of a name, or of that number (`j17`).
pub(crate) fn find_job<'a>(cell: &'a Cell, name: &str) -> Result<&'a Job, Rejection> {
    if let Some(job) = cell.job_named(name) {
        return Ok(job);
    }
    let number = name.strip_prefix('j').and_then(|digits| digits.parse().ok()).map(JobId);
    if let Some(job) = number.and_then(|id| cell.job(id)) {
        return Ok(job);
    }
    let found = cell.jobs_with_prefix(name).take(CANDIDATES_MAX + 1).collect();
    let id = unique("job", name, found, "ohm job list")?;
    cell.job(id).ok_or_else(|| missing("job", name, "ohm job list"))
}

/// The machine of that name, or of that unique beginning of a name.
pub(crate) fn find_machine<'a>(cell: &'a Cell, name: &str) -> Result<&'a Machine, Rejection> {
    if let Some(machine) = cell.machine_named(name) {
        return Ok(machine);
    }
    let found = cell.machines_with_prefix(name).take(CANDIDATES_MAX + 1).collect();
    let id = unique("machine", name, found, "ohm node list")?;
    cell.machine(id).ok_or_else(|| missing("machine", name, "ohm node list"))
}

fn unique<T: Copy>(field: &str, prefix: &str, found: Vec<(&str, T)>, listing: &str) -> Result<T, Rejection> {
    match found[..] {
        [] => Err(missing(field, prefix, listing)),
        [(_, id)] if !prefix.is_empty() => Ok(id),
        _ => {
            let names: Vec<_> = found.iter().take(CANDIDATES_MAX).map(|(name, _)| *name).collect();
            let more = if found.len() > CANDIDATES_MAX { ", …" } else { "" };
            let problem = format!("{prefix:?} is the beginning of several names: {}{more}", names.join(", "));
            Err(Rejection::new(RejectionCode::Invalid, field, problem))
        }
    }
}

fn missing(field: &str, name: &str, listing: &str) -> Rejection {
    let problem = format!("{name:?} is not in the cell; `{listing}` shows what is");
    Rejection::new(RejectionCode::NotFound, field, problem)
}

fn rows(limit: u32) -> usize {
    limit.min(ROWS_MAX) as usize
}

fn cell_view(cell: &Cell, hash: StateHash) -> CellView {
    let mut view = CellView {
        name: cell.config().name.clone(),
        hash,
        time: cell.time(),
        machines: [0; 3],
        jobs: cell.job_count() as u32,
        tasks: cell.jobs().fold(Default::default(), |sum, job| job.counts().plus(&sum)),
        capacity: Resources::ZERO,
        limit: Resources::ZERO,
        used: Resources::ZERO,
        used_by_band: [Resources::ZERO; 4],
    };
    for machine in cell.machines() {
        let slot = match machine.state {
            MachineState::Ready => 0,
            MachineState::Draining => 1,
            MachineState::Down => 2,
        };
        view.machines[slot] += 1;
        if machine.state != MachineState::Down {
            view.capacity = view.capacity.plus(&machine.spec.capacity);
            view.limit = view.limit.plus(&machine.limit);
            view.used = view.used.plus(&machine.load.used);
        }
    }
    for (_, band, used) in cell.quotas().usage() {
        let at = Band::ALL.iter().position(|b| *b == band).unwrap_or(0);
        view.used_by_band[at] = view.used_by_band[at].plus(&used);
    }
    view
}

fn job_row(job: &Job) -> JobRow {
    let spec = job.spec();
    JobRow {
        id: job.id,
        name: spec.name.clone(),
        kind: spec.kind,
        priority: spec.priority,
        team: spec.team.clone(),
        scheduler: spec.scheduler.clone(),
        desired: job.desired,
        version: job.current().version,
        submitted: job.submitted,
        wanted: spec.groups.iter().map(|group| group.count).sum(),
        counts: job.counts(),
    }
}

fn task_row(cell: &Cell, id: TaskId) -> Option<TaskRow> {
    let job = cell.job(id.job)?;
    let task = job.task(id)?;
    let machine = task.machine.and_then(|machine| cell.machine(machine));
    let grant = machine.and_then(|machine| machine.load.extra().grants.get(&id));
    Some(TaskRow {
        id,
        task,
        machine: machine.map(|machine| machine.spec.name.clone()),
        job: job.spec().name.clone(),
        ports: grant.map(|grant| grant.ports.clone()).unwrap_or_default(),
        memory_limit: memory_limit(job, id),
    })
}

fn memory_limit(job: &Job, id: TaskId) -> Option<u64> {
    let group = job.spec().groups.get(usize::from(id.group))?;
    match &group.run {
        Run::Exec(exec) => Some(exec.isolation.memory_limit(&group.resources)),
        Run::Simulated { .. } => None,
    }
}

fn service_row(cell: &Cell, meant: &Meant) -> Option<ServiceRow> {
    let job = cell.job(meant.job)?;
    let group = usize::from(meant.group?);
    let running = job.groups.get(group)?.counts.running;
    (running > 0).then(|| ServiceRow {
        port: meant.port.clone().unwrap_or_default(),
        group: job.spec().groups.get(group).map_or_else(String::new, |group| group.name.clone()),
        job: job.spec().name.clone(),
        running,
    })
}

fn machine_row(machine: &Machine, around: &Around<'_>) -> MachineRow {
    MachineRow {
        id: machine.id,
        name: machine.spec.name.clone(),
        state: machine.state,
        tasks: machine.load.tasks.len() as u32,
        capacity: machine.spec.capacity,
        limit: machine.limit,
        used: machine.load.used,
        version: machine.version,
        silent_us: (around.silent_us)(machine.id),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cell_state::Time;
    use cell_state::event::Event;
    use cell_state::machine::{DEFAULT_PORTS, MachineSpec};

    use super::*;

    #[test]
    fn machines_are_found_by_a_unique_beginning_and_candidates_are_named() {
        let mut cell = Cell::new();
        for (n, name) in ["rack1-a", "rack1-b", "rack2-a", "rack2"].into_iter().enumerate() {
            let spec = MachineSpec {
                name: name.into(),
                capacity: Resources::cpu_memory(1, 1),
                attributes: BTreeMap::new(),
                devices: Vec::new(),
                ports: DEFAULT_PORTS,
            };
            let machine = MachineId(n as u32);
            cell.apply(
                cell.seq().next(),
                &Event::MachineRegistered { machine, spec: spec.into(), incarnation: 1, time: Time(1) },
            );
        }
        let rows = [
            ("rack1-b", "rack1-b"),
            ("rack2", "rack2"),
            ("rack2-", "rack2-a"),
            ("rack1", "machine: \"rack1\" is the beginning of several names: rack1-a, rack1-b"),
            ("x", "machine: \"x\" is not in the cell; `ohm node list` shows what is"),
        ];
        for (asked, expected) in rows {
            let found =
                find_machine(&cell, asked).map(|m| m.spec.name.clone()).unwrap_or_else(|e| e.to_string());
            assert_eq!(found, expected, "{asked}");
        }
    }
}
