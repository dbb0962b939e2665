//! Where running tasks can be reached: what names of services mean, from a state of the cell.
//!
//! ```text
//! [PORT.]GROUP.JOB[.CELL]     the tasks of a group
//! [PORT.]TASK.JOB[.CELL]      one task, where TASK is GROUP-INDEX, or INDEX when the job has one group
//! JOB[.CELL]                  all tasks of a job
//! ```
//!
//! Pure, so that the server, a copy and whoever answers names of the domain name system say the same of the same state.

use serde::{Deserialize, Serialize};

use crate::bounds::ENDPOINTS_MAX;
use crate::cell::Cell;
use crate::ids::{JobId, TaskId};
use crate::job::Job;
use crate::machine::Machine;
use crate::task::TaskState;

/// The attribute of a machine that says at which address its tasks can be reached.
pub const ADDRESS_ATTRIBUTE: &str = "address";

/// A running task, or one of its ports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The task.
    pub task: TaskId,
    /// The name of its job.
    pub job: String,
    /// The name of its group.
    pub group: String,
    /// The name and number of the port; `None` for the task itself.
    pub port: Option<(String, u16)>,
    /// The name of its machine.
    pub machine: String,
    /// Where the machine can be reached, as its attribute `address` says.
    pub address: Option<String>,
}

/// What a name means in a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meant {
    /// The job.
    pub job: JobId,
    /// The group; `None` is all of them.
    pub group: Option<u16>,
    /// The instance; `None` is all of them.
    pub index: Option<u32>,
    /// The port; `None` is the tasks themselves.
    pub port: Option<String>,
}

/// What a name means; `None` when nothing of the kind is in the cell.
pub fn meaning(cell: &Cell, name: &str) -> Option<Meant> {
    let name = name.trim_end_matches('.');
    let within = name.strip_suffix(cell.config().name.as_str()).and_then(|rest| rest.strip_suffix('.'));
    within.and_then(|name| in_cell(cell, name)).or_else(|| in_cell(cell, name))
}

fn in_cell(cell: &Cell, name: &str) -> Option<Meant> {
    // Names of jobs may have dots as well: the longest that is one counts.
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    for start in starts {
        if let Some(job) = cell.job_named(&name[start..]) {
            let before = name[..start].trim_end_matches('.');
            if let Some(meant) = in_job(job, before) {
                return Some(meant);
            }
        }
    }
    None
}

fn in_job(job: &Job, labels: &str) -> Option<Meant> {
    let all = Meant { job: job.id, group: None, index: None, port: None };
    if labels.is_empty() {
        return Some(all);
    }
    // SRV names may be written the way of RFC 2782, `_port._tcp`.
    let labels = labels.split('.').filter(|label| !matches!(*label, "_tcp" | "_udp"));
    let labels: Vec<&str> = labels.map(|label| label.strip_prefix('_').unwrap_or(label)).collect();
    let groups = &job.spec().groups;
    let group_named = |name: &str| groups.iter().position(|group| group.name == name).map(|at| at as u16);
    let tasks = |label: &str| {
        if let Some(group) = group_named(label) {
            return Some(Meant { group: Some(group), ..all.clone() });
        }
        if let Some((group, index)) = label.rsplit_once('-')
            && let (Some(group), Ok(index)) = (group_named(group), index.parse())
        {
            return Some(Meant { group: Some(group), index: Some(index), ..all.clone() });
        }
        let index = label.parse().ok().filter(|_| groups.len() == 1)?;
        Some(Meant { group: Some(0), index: Some(index), ..all.clone() })
    };
    match labels[..] {
        [label] => tasks(label),
        [port, label] => {
            let meant = tasks(label)?;
            let of = &groups[usize::from(meant.group?)];
            let known = of.ports.iter().any(|ask| ask.name == port);
            known.then(|| Meant { port: Some(port.to_owned()), ..meant })
        }
        _ => None,
    }
}

/// The running tasks that are meant, lowest first, up to the bound; with all their ports, or with the one that is meant.
pub fn endpoints(cell: &Cell, meant: &Meant) -> Vec<Endpoint> {
    let Some(job) = cell.job(meant.job) else { return Vec::new() };
    let is_meant = |id: &TaskId| {
        meant.group.is_none_or(|group| group == id.group) && meant.index.is_none_or(|index| index == id.index)
    };
    let running = job.tasks().filter(|(id, task)| is_meant(id) && task.state == TaskState::Running);
    let mut found = Vec::new();
    for (id, task) in running {
        let Some(machine) = task.machine.and_then(|machine| cell.machine(machine)) else { continue };
        of_task(job, id, machine, meant.port.as_deref(), &mut found);
        if found.len() >= ENDPOINTS_MAX {
            found.truncate(ENDPOINTS_MAX);
            break;
        }
    }
    found
}

fn of_task(job: &Job, id: TaskId, machine: &Machine, port: Option<&str>, found: &mut Vec<Endpoint>) {
    let Some(group) = job.spec().groups.get(usize::from(id.group)) else { return };
    let endpoint = |port| Endpoint {
        task: id,
        job: job.spec().name.clone(),
        group: group.name.clone(),
        port,
        machine: machine.spec.name.clone(),
        address: machine.spec.attributes.get(ADDRESS_ATTRIBUTE).cloned(),
    };
    let grant = machine.load.extra().grants.get(&id);
    let numbers = grant.map(|grant| grant.ports.as_slice()).unwrap_or_default();
    let ports = group.ports.iter().zip(numbers).map(|(ask, number)| (ask.name.clone(), *number));
    let wanted: Vec<_> = ports.filter(|(name, _)| port.is_none_or(|port| port == name)).collect();
    if wanted.is_empty() && port.is_none() {
        found.push(endpoint(None));
    }
    found.extend(wanted.into_iter().map(|port| endpoint(Some(port))));
}

/// The services of the cell: each port of each group that has running tasks, by job.
pub fn services(cell: &Cell) -> impl Iterator<Item = Meant> {
    let with_ports = cell.jobs().filter(|job| job.counts().running > 0);
    with_ports.flat_map(|job| {
        let groups = job.spec().groups.iter().enumerate();
        groups.flat_map(move |(at, group)| {
            group.ports.iter().map(move |ask| Meant {
                job: job.id,
                group: Some(at as u16),
                index: None,
                port: Some(ask.name.clone()),
            })
        })
    })
}
