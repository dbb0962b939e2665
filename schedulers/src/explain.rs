//! Why tasks of a job are pending: pure data, computed from a copy by the same fit rule that places them.
//!
//! Each machine gets one verdict per group; equal kinds of verdicts are counted together, with the machines that came
//! closest. `Display` is what `ohm job why` prints.

mod reason;
mod text;

use cell_state::job::{Band, Desired, Job};
use cell_state::{Cell, Dimension, JobId, MachineId, Resources, Seq, TaskId, Time};

use crate::bounds::CLOSEST_MAX;
pub use reason::{Candidate, Reason, ReasonKind};

/// Why tasks of a job are pending, or that none is.
#[derive(Clone, PartialEq, Debug)]
pub struct Why {
    /// Where the copy was.
    pub at: Seq,
    /// The job.
    pub job: String,
    /// Its scheduler.
    pub scheduler: String,
    /// Live processes of that scheduler.
    pub processes: usize,
    /// What holds for the job as a whole.
    pub state: JobState,
    /// Its groups that have pending tasks.
    pub groups: Vec<GroupWhy>,
}

/// What holds for a job as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// It was asked to stop.
    Stopped,
    /// No task is pending.
    NothingPending,
    /// Tasks are pending, and no process of its scheduler is there to place them.
    NoScheduler,
    /// Tasks are pending.
    Pending,
}

/// Why tasks of one group are pending.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupWhy {
    /// The group.
    pub group: String,
    /// How many of its tasks are pending.
    pub pending: u32,
    /// How many of these wait out a restart delay.
    pub delayed: u32,
    /// Microseconds until the first of those is due.
    pub due_in_us: u64,
    /// The team's quota, when it is used up: team, band, dimension, what a task wants, what is left.
    pub quota: Option<QuotaShort>,
    /// Machines looked at: all of the cell, or the one asked about.
    pub machines: u32,
    /// Machines a task would fit on now.
    pub fits: u32,
    /// Names of some of those.
    pub fitting: Vec<String>,
    /// Why it doesn't fit the others, the most frequent reason first.
    pub reasons: Vec<Reason>,
}

/// A quota that is used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaShort {
    /// The team.
    pub team: String,
    /// The band.
    pub band: Band,
    /// The name of the dimension.
    pub dimension: String,
    /// What a task wants.
    pub wanted: u64,
    /// What is left.
    pub free: u64,
}

/// Explains a job at `now`; with `only`, for that machine alone. `None` when the job isn't in the cell.
pub fn explain(cell: &Cell, job: JobId, now: Time, only: Option<MachineId>) -> Option<Why> {
    let job = cell.job(job)?;
    let scheduler = job.spec().scheduler.clone();
    let processes = cell.sessions().live().filter(|s| s.scheduler == scheduler).count();
    let state = match job.desired {
        Desired::Stop => JobState::Stopped,
        Desired::Run if job.counts().pending == 0 => JobState::NothingPending,
        Desired::Run if processes == 0 => JobState::NoScheduler,
        Desired::Run => JobState::Pending,
    };
    let pending = (0..job.groups.len() as u16).filter(|g| job.groups[usize::from(*g)].counts.pending > 0);
    let groups = pending.map(|group| explain_group(cell, job, group, now.max(cell.time()), only)).collect();
    Some(Why { at: cell.seq(), job: job.spec().name.clone(), scheduler, processes, state, groups })
}

fn explain_group(cell: &Cell, job: &Job, group: u16, now: Time, only: Option<MachineId>) -> GroupWhy {
    let tasks: Vec<TaskId> = job.pending().filter(|task| task.group == group).collect();
    let due: Vec<Time> = tasks.iter().filter_map(|t| cell.eligible_at(*t)).filter(|due| *due > now).collect();
    let task = tasks.first().copied().unwrap_or(TaskId { job: job.id, group, index: 0 });
    let mut why = GroupWhy {
        group: job.spec().groups.get(usize::from(group)).map(|g| g.name.clone()).unwrap_or_default(),
        pending: tasks.len() as u32,
        delayed: due.len() as u32,
        due_in_us: due.iter().min().map_or(0, |first| first.since(now)),
        quota: quota_short(cell, job, group),
        machines: 0,
        fits: 0,
        fitting: Vec::new(),
        reasons: Vec::new(),
    };
    let mut tally = reason::Tally::new(cell, job, group);
    let machines = cell.machines().iter().filter(|m| only.is_none_or(|id| m.id == id));
    for machine in machines {
        why.machines += 1;
        match reason::of(cell, job, task, machine, tally.limits()) {
            None => {
                why.fits += 1;
                if why.fitting.len() < CLOSEST_MAX {
                    why.fitting.push(machine.spec.name.clone());
                }
            }
            Some(found) => tally.add(machine, found),
        }
    }
    why.reasons = tally.into_reasons();
    why
}

fn quota_short(cell: &Cell, job: &Job, group: u16) -> Option<QuotaShort> {
    let (team, band) = (&job.spec().team, Band::of(job.spec().priority));
    let wanted = job.current().demands.get(usize::from(group))?.resources;
    let over = cell.quotas().first_over(team, band, &wanted, &(Resources::ZERO, Resources::ZERO));
    let (dimension, wanted, free) = over?;
    let dimension = cell.config().schema.name(dimension);
    Some(QuotaShort { team: team.clone(), band, dimension, wanted, free })
}

/// The dimension's name in this cell.
pub(crate) fn dimension_name(cell: &Cell, dimension: Dimension) -> String {
    cell.config().schema.name(dimension)
}
