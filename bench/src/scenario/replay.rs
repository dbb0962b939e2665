//! A scenario as a live cell is given it: machine specs, job specs, and when to submit them.
//!
//! What a job's spec has no word for (gang, recorded placement, machines going and coming) stays in the scenario.

use std::collections::BTreeMap;

use cell_state::bounds::{GROUP_TASKS_MAX, JOB_GROUPS_MAX};
use cell_state::job::{Band, GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};

use super::{Job, Scenario, Tasks, shown};
use crate::division::Division;
use crate::priority;
use crate::virtual_cell::{Placement, Submission};
use crate::workload::{self, Arrival, Workload};

impl Scenario {
    /// The load of the scenario for these schedulers. Tasks are simulated ones.
    ///
    /// Equal tasks become a group, whatever machine each was on; a job with more kinds of tasks than a job may have
    /// groups becomes several.
    pub fn workload(&self, mut division: Division) -> Workload {
        let (before, after) = self.jobs.split_at(self.initial_jobs());
        let mut initial: Vec<JobSpec> = before.iter().flat_map(specs).collect();
        workload::in_submission_order(&mut initial);
        let arrival = |job: &Job| {
            let at_us = job.submit_us.unwrap_or(0);
            specs(job).into_iter().map(move |job| Arrival { at_us, job })
        };
        let mut arrivals: Vec<Arrival> = after.iter().flat_map(arrival).collect();
        for job in initial.iter_mut().chain(arrivals.iter_mut().map(|a| &mut a.job)) {
            job.scheduler = division.assign(job.priority, workload::tasks(job));
        }
        Workload { machines: self.machines.clone(), initial, arrivals }
    }
}

/// The specs of a job, without a scheduler.
fn specs(job: &Job) -> Vec<JobSpec> {
    let (groups, _) = groups(job);
    let kind =
        if priority::is_production(Band::of(job.priority)) { JobKind::Service } else { JobKind::Batch };
    let part = |(part, groups): (usize, &[GroupSpec])| JobSpec {
        name: if part == 0 { job.name.clone() } else { format!("{}-part{part}", job.name) },
        kind,
        priority: job.priority,
        team: job.team.clone(),
        scheduler: String::new(),
        groups: groups.to_vec(),
    };
    groups.chunks(JOB_GROUPS_MAX).enumerate().map(part).collect()
}

/// A job as a simulated cell is given it: its specs, with all that those have no word for.
pub(crate) fn submissions(job: &Job) -> Vec<Submission> {
    let (_, group_of) = groups(job);
    let submission = |(part, spec): (usize, JobSpec)| {
        let there = job.tasks.iter().zip(&group_of).filter(|(_, group)| **group / JOB_GROUPS_MAX == part);
        let placed = there.filter_map(|(tasks, group)| {
            let machine = tasks.placed.filter(|_| job.submit_us.is_none())?.machine;
            Some(Placement { group: (group % JOB_GROUPS_MAX) as u16, count: tasks.count, machine })
        });
        let (at_us, label) = (job.submit_us.unwrap_or(0), job.class.clone());
        Submission { at_us, label, gang: job.gang, placed: placed.collect(), spec }
    };
    specs(job).into_iter().enumerate().map(submission).collect()
}

/// The groups of a job: its tasks by what they ask for and how they run; and the group of each entry of its tasks.
fn groups(job: &Job) -> (Vec<GroupSpec>, Vec<usize>) {
    let mut groups: Vec<GroupSpec> = Vec::new();
    let mut group_of = Vec::with_capacity(job.tasks.len());
    let mut at = BTreeMap::new();
    for tasks in &job.tasks {
        let conditions: Vec<String> = tasks.constraints.iter().map(shown).collect();
        let key = (tasks.ask.0, tasks.run_for_us, tasks.exit_code, conditions);
        let known = at.get(&key).copied().filter(|i: &usize| {
            let group: &GroupSpec = &groups[*i];
            group.count.saturating_add(tasks.count) <= GROUP_TASKS_MAX
        });
        match known {
            Some(i) => {
                groups[i].count += tasks.count;
                group_of.push(i);
            }
            None => {
                at.insert(key, groups.len());
                group_of.push(groups.len());
                groups.push(group(format!("g{}", groups.len()), job.distinct, tasks));
            }
        }
    }
    (groups, group_of)
}

fn group(name: String, distinct_machines: bool, tasks: &Tasks) -> GroupSpec {
    GroupSpec {
        name,
        count: tasks.count,
        resources: tasks.ask,
        constraints: tasks.constraints.clone(),
        distinct_machines,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 1_000_000,
        run: Run::Simulated { run_for_us: tasks.run_for_us, exit_code: tasks.exit_code },
    }
}
