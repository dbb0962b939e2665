//! Whether the model lets a task onto a machine, and how it puts it there.

use std::collections::BTreeSet;

use cell_state::constraint::{Constraint, Test};
use cell_state::job::{Band, GroupSpec};
use cell_state::machine::{Grant, MachineState};
use cell_state::resources::Dimension;
use cell_state::{Resources, TaskId};

use super::{Life, Model};

impl Model {
    fn group(&self, id: TaskId) -> Option<&GroupSpec> {
        self.jobs.get(&id.job)?.spec.groups.get(usize::from(id.group))
    }

    /// Whether the task is there, to be placed, and wanted.
    pub(crate) fn may_place(&self, id: TaskId) -> bool {
        let pending = self.tasks.get(&id).is_some_and(|t| t.life == Life::Pending);
        let wanted = self.group(id).is_some_and(|g| id.index < g.count);
        pending && wanted && self.jobs[&id.job].wanted
    }

    /// What the task would be granted on the machine, or `None` when it doesn't fit.
    pub(crate) fn fits(&self, id: TaskId, machine: usize, victims: &[TaskId]) -> Option<Grant> {
        let found = self.machines.get(machine).filter(|m| m.state == MachineState::Ready)?;
        let group = self.group(id)?;
        let mut held = Resources::ZERO;
        for (i, victim) in victims.iter().enumerate() {
            let task = self.tasks.get(victim)?;
            let runs = matches!(task.life, Life::Placed | Life::Running) && task.machine == Some(machine);
            let lower = self.jobs[&victim.job].spec.priority < self.jobs[&id.job].spec.priority;
            if !runs || !lower || victims[..i].contains(victim) || !task.waits_for.is_empty() {
                return None;
            }
            held = held.plus(&task.promised);
        }
        let holds = |c: &Constraint| holds(c, &found.spec.name, found.spec.attributes.get(&c.attribute));
        if !self.room(machine, &group.resources.minus(&held)) || !group.constraints.iter().all(holds) {
            return None;
        }
        if group.distinct_machines && self.on(machine).iter().any(|t| t.job == id.job) {
            return None;
        }
        let ports = self.choose_ports(group, machine)?;
        let devices = self.choose_devices(group.resources.get(Dimension::GPU), machine)?;
        Some(Grant { ports, devices })
    }

    /// Whether this much more may be committed to the machine.
    pub(crate) fn room(&self, machine: usize, more: &Resources) -> bool {
        let (used, limit) = (self.used(machine), self.limit(machine));
        Dimension::all().all(|d| more.get(d) == 0 || used.get(d) + more.get(d) <= limit.get(d))
    }

    fn choose_ports(&self, group: &GroupSpec, machine: usize) -> Option<Vec<u16>> {
        let mut taken: BTreeSet<u16> =
            self.on(machine).iter().flat_map(|t| self.tasks[t].grant.ports.clone()).collect();
        for fixed in group.ports.iter().filter_map(|p| p.number) {
            if !taken.insert(fixed) {
                return None;
            }
        }
        let (first, last) = self.machines[machine].spec.ports;
        let mut chosen = Vec::new();
        for port in &group.ports {
            let number = port.number.or_else(|| (first..=last).find(|p| !taken.contains(p)))?;
            taken.insert(number);
            chosen.push(number);
        }
        Some(chosen)
    }

    /// The first whole devices that are idle, or for a fraction the fullest device that has room.
    fn choose_devices(&self, milli: u64, machine: usize) -> Option<Vec<(u8, u16)>> {
        let devices = self.machines[machine].spec.devices.len() as u8;
        let given = |device: u8| -> u64 {
            let grants = self.on(machine).into_iter().flat_map(|t| self.tasks[&t].grant.devices.clone());
            grants.filter(|(d, _)| *d == device).map(|(_, milli)| u64::from(milli)).sum()
        };
        if milli == 0 {
            return Some(Vec::new());
        }
        if milli < 1000 {
            let fullest =
                (0..devices).filter(|d| given(*d) + milli <= 1000).rev().max_by_key(|d| given(*d))?;
            return Some(vec![(fullest, milli as u16)]);
        }
        let idle: Vec<u8> = (0..devices).filter(|d| given(*d) == 0).take((milli / 1000) as usize).collect();
        let enough = idle.len() as u64 * 1000 == milli;
        enough.then(|| idle.into_iter().map(|d| (d, 1000)).collect())
    }

    pub(crate) fn over_quota(&self, id: TaskId) -> bool {
        let wanted = self.group(id).map_or(Resources::ZERO, |g| g.resources);
        self.over_quota_by(id, &wanted)
    }

    /// Whether this much more for the task is more than its team has left.
    pub(crate) fn over_quota_by(&self, id: TaskId, more: &Resources) -> bool {
        let spec = &self.jobs[&id.job].spec;
        let band = Band::of(spec.priority);
        let Some(limit) = self.quotas.get(&(spec.team.clone(), band)) else { return false };
        let used = self.team_used(&spec.team, band);
        Dimension::all().any(|d| more.get(d) > 0 && used.get(d) + more.get(d) > limit.get(d))
    }

    /// Whether the task waits for others to go, or others for it.
    pub(crate) fn is_paired(&self, id: TaskId) -> bool {
        !self.tasks[&id].waits_for.is_empty() || self.tasks.values().any(|t| t.waits_for.contains(&id))
    }

    /// Puts a task that fits on a machine.
    pub(crate) fn put(&mut self, id: TaskId, machine: usize, grant: Grant, victims: &[TaskId]) {
        let promised = self.group(id).expect("it fits").resources;
        let task = self.tasks.get_mut(&id).expect("it fits");
        task.life = Life::Placed;
        task.epoch += 1;
        task.machine = Some(machine);
        task.promised = promised;
        task.grant = grant;
        task.waits_for = victims.iter().copied().collect();
        victims.iter().for_each(|victim| self.ask_to_leave(*victim));
        self.touch(machine);
    }
}

fn holds(constraint: &Constraint, name: &str, value: Option<&String>) -> bool {
    let value = if constraint.attribute == "name" { Some(name) } else { value.map(String::as_str) };
    let Some(value) = value else { return matches!(constraint.test, Test::NotEqual(_)) };
    match &constraint.test {
        Test::Equal(wanted) => value == wanted,
        Test::NotEqual(unwanted) => value != unwanted,
        Test::In(values) => values.iter().any(|v| v == value),
        Test::Less(bound) => value.parse::<i64>().is_ok_and(|n| n < *bound),
        Test::Greater(bound) => value.parse::<i64>().is_ok_and(|n| n > *bound),
        Test::Exists => true,
        // The random cells use no patterns but a plain beginning.
        Test::Regex(pattern) => value.starts_with(pattern.trim_start_matches('^')),
    }
}
