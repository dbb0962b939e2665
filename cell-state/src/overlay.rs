//! The overlay: planned changes on top of a cell, owned and cheap to undo. Step 4 (think) of a placement's life.
//!
//! A policy plans on one, the judge judges on one, and a scheduler keeps what it has in flight in one: the very same
//! checks, so what is feasible on an up-to-date copy is accepted. It holds differences, never a copy of the cell, so
//! it stays valid while the cell underneath moves on.

mod few;
mod seen;

use std::sync::Arc;

use crate::cell::Cell;
use crate::fit::{self, Delta, Demand, Misfit};
use crate::ids::{MachineId, TaskId};
use crate::job::{Band, Job};
use crate::lifecycle::{self, Trigger};
use crate::machine::{Grant, Machine};
use crate::resources::Resources;
use crate::task::packed::Packed;
use crate::task::{StopReason, TaskState};
use crate::verdict::ConflictKind;

use few::Few;

/// A planned placement, or a planned change of a live task's promise.
#[derive(Clone, Debug)]
struct Planned {
    machine: MachineId,
    /// What is added to the machine.
    added: Resources,
    /// What only few plans have.
    extra: Option<Box<PlannedExtra>>,
    is_placement: bool,
}

/// The rarer parts of a plan.
#[derive(Clone, Debug, Default)]
struct PlannedExtra {
    /// What is taken from the machine.
    removed: Resources,
    /// What counts against the team's quota.
    promised: Resources,
    /// Whose quota, when it has a limit.
    team: Option<(Arc<str>, Band)>,
    victims: Vec<TaskId>,
}

/// What a team is promised on top of what the cell counts, and what is taken back from it.
#[derive(Clone, Debug)]
struct Promise {
    team: Arc<str>,
    band: Band,
    sums: (Resources, Resources),
}

/// Planned changes on top of a cell.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    machines: Few<MachineId, Delta>,
    planned: Few<TaskId, Planned>,
    /// Tasks that are asked to go, or stopped.
    leaving: Few<TaskId, ()>,
    /// Only for teams that have a limit, which are few.
    promised: Vec<Promise>,
}

/// A placement that would be accepted.
struct Accepted<'a> {
    job: &'a Job,
    demand: &'a Demand,
    grant: Grant,
    /// What its victims hold.
    freed: Resources,
}

impl Overlay {
    /// An overlay without any change.
    pub fn new() -> Overlay {
        Overlay::default()
    }

    /// True when nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.leaving.is_empty()
    }

    /// Forgets everything planned, and keeps the memory for the next plan.
    pub fn clear(&mut self) {
        self.machines.clear();
        self.planned.clear();
        self.leaving.clear();
        self.promised.clear();
    }

    /// The machine a task is planned to be placed on.
    pub fn machine_of(&self, task: TaskId) -> Option<MachineId> {
        self.planned.get(&task).filter(|p| p.is_placement).map(|p| p.machine)
    }

    /// All planned placements, in the order they were planned unless some were undone.
    pub fn placements(&self) -> impl Iterator<Item = (TaskId, MachineId)> {
        self.planned.iter().filter(|(_, p)| p.is_placement).map(|(task, p)| (*task, p.machine))
    }

    /// What may still be committed to a machine, the plan included.
    pub fn free(&self, machine: &Machine) -> Resources {
        match self.machines.get(&machine.id) {
            Some(delta) => machine.limit.minus(&machine.load.used.plus(&delta.added).minus(&delta.removed)),
            None => machine.free(),
        }
    }

    /// The fit rule alone, the plan included: for scans, which check the task once and then many machines.
    ///
    /// # Errors
    /// Why it doesn't fit.
    pub fn fit_demand(&self, task: TaskId, demand: &Demand, machine: &Machine) -> Result<Grant, Misfit> {
        fit::fit(task, demand, machine, self.machines.get(&machine.id), &Resources::ZERO)
    }

    /// Whether the commit would accept this placement: the task, the fit rule, the victims and the quota.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn fits(
        &self,
        cell: &Cell,
        task: TaskId,
        machine: MachineId,
        preempt: &[TaskId],
    ) -> Result<Grant, ConflictKind> {
        let target = cell.machine(machine).ok_or(ConflictKind::NoMachine);
        self.check(cell, task, target, None, preempt).map(|accepted| accepted.grant)
    }

    /// Plans a placement.
    ///
    /// # Errors
    /// As [`Overlay::fits`]; then nothing is planned.
    pub fn place(
        &mut self,
        cell: &Cell,
        task: TaskId,
        machine: MachineId,
        preempt: &[TaskId],
    ) -> Result<Grant, ConflictKind> {
        let target = cell.machine(machine).ok_or(ConflictKind::NoMachine);
        let accepted = self.check(cell, task, target, None, preempt)?;
        Ok(self.record(cell, task, machine, preempt, accepted))
    }

    #[inline]
    fn record(
        &mut self,
        cell: &Cell,
        task: TaskId,
        machine: MachineId,
        preempt: &[TaskId],
        accepted: Accepted<'_>,
    ) -> Grant {
        let Accepted { job, demand, grant, freed } = accepted;
        let promised = demand.resources;
        let added = if preempt.is_empty() { promised } else { promised.minus(&freed) };
        for victim in preempt {
            self.leaving.insert(*victim, ());
        }
        let delta = self.machines.entry(machine);
        delta.added = delta.added.plus(&added);
        delta.tasks.push(task);
        if !grant.is_empty() {
            delta.grants.push((task, grant.clone()));
        }
        let team = self.promise(cell, job, &promised, &Resources::ZERO);
        let extra = (team.is_some() || !preempt.is_empty()).then(|| {
            Box::new(PlannedExtra { removed: Resources::ZERO, promised, team, victims: preempt.to_vec() })
        });
        self.planned.insert(task, Planned { machine, added, extra, is_placement: true });
        grant
    }

    /// Notes a plain placement, which was found to fit while nothing else was planned on the machine.
    pub(crate) fn note_plain(&mut self, task: TaskId, machine: MachineId, amount: &Resources) {
        let delta = self.machines.entry(machine);
        delta.added = delta.added.plus(amount);
        delta.tasks.push(task);
        self.planned.insert(task, Planned { machine, added: *amount, extra: None, is_placement: true });
    }

    fn check<'a>(
        &self,
        cell: &'a Cell,
        id: TaskId,
        target: Result<&Machine, ConflictKind>,
        withheld: Option<&Resources>,
        preempt: &[TaskId],
    ) -> Result<Accepted<'a>, ConflictKind> {
        let job = cell.job(id.job).ok_or(ConflictKind::NoTask)?;
        self.check_task(job, id)?;
        let demand = job.current().demands.get(usize::from(id.group)).ok_or(ConflictKind::NoTask)?;
        let target = target?;
        let freed = match preempt {
            [] => Resources::ZERO,
            victims => self.check_victims(cell, id, target, victims)?,
        };
        let planned = self.machines.get(&target.id);
        let beside = withheld.map(|withheld| {
            let planned = planned.cloned().unwrap_or_default();
            Delta { added: planned.added.plus(withheld), ..planned }
        });
        let grant = fit::fit(id, demand, target, beside.as_ref().or(planned), &freed)
            .map_err(ConflictKind::Misfit)?;
        self.check_quota(cell, job, &demand.resources)?;
        Ok(Accepted { job, demand, grant, freed })
    }

    /// Plans that a live task is asked to go, to be placed anew.
    ///
    /// # Errors
    /// It isn't placed or running, or is asked to go already.
    pub fn leave(&mut self, cell: &Cell, task: TaskId) -> Result<(), ConflictKind> {
        self.ask_to_stop(cell, task, StopReason::Evict)
    }

    /// Plans that a task is stopped for good.
    ///
    /// # Errors
    /// It has ended, or is asked to stop for good already.
    pub fn stop(&mut self, cell: &Cell, task: TaskId) -> Result<(), ConflictKind> {
        self.ask_to_stop(cell, task, StopReason::Stop)
    }

    fn ask_to_stop(&mut self, cell: &Cell, task: TaskId, reason: StopReason) -> Result<(), ConflictKind> {
        let state = cell.task(task).ok_or(ConflictKind::NoTask)?.state;
        if lifecycle::next(state, Trigger::Stop(reason)).is_none() {
            return Err(ConflictKind::TaskState(state));
        }
        // A task that this plan places is at an epoch its author can't name yet.
        if self.machine_of(task).is_some() {
            return Err(ConflictKind::TaskState(TaskState::Placed));
        }
        if !self.leaving.insert(task, ()) {
            return Err(ConflictKind::TaskState(TaskState::Stopping(reason)));
        }
        Ok(())
    }

    /// Plans that a live task is promised something else.
    ///
    /// # Errors
    /// It isn't placed or running, waits for others, or the larger promise doesn't fit.
    pub fn resize(&mut self, cell: &Cell, task: TaskId, wanted: &Resources) -> Result<(), ConflictKind> {
        let job = cell.job(task.job).ok_or(ConflictKind::NoTask)?;
        let found = job.task(task).ok_or(ConflictKind::NoTask)?;
        let live = matches!(found.state, TaskState::Placed | TaskState::Running);
        let (true, Some(machine)) = (live, found.machine) else {
            return Err(ConflictKind::TaskState(found.state));
        };
        let target = cell.machine(machine).ok_or(ConflictKind::NoMachine)?;
        let planned = self.leaving.contains(&task) || self.planned.contains(&task);
        if target.load.is_paired(task) || planned {
            return Err(ConflictKind::Waiting(task));
        }
        let before = cell.charge(task);
        let (added, removed) = (wanted.minus(&before), before.minus(wanted));
        fit::resources_fit(&added, target, self.machines.get(&machine)).map_err(ConflictKind::Misfit)?;
        self.check_quota(cell, job, &added)?;
        let delta = self.machines.entry(machine);
        delta.added = delta.added.plus(&added);
        delta.removed = delta.removed.plus(&removed);
        let team = self.promise(cell, job, &added, &removed);
        let extra = PlannedExtra { removed, promised: added, team, victims: Vec::new() };
        self.planned
            .insert(task, Planned { machine, added, extra: Some(Box::new(extra)), is_placement: false });
        Ok(())
    }

    /// Forgets what was planned for a task.
    pub fn undo(&mut self, task: TaskId) {
        self.leaving.remove(&task);
        let Some(planned) = self.planned.remove(&task) else { return };
        let extra = planned.extra.unwrap_or_default();
        for victim in &extra.victims {
            self.leaving.remove(victim);
        }
        if let Some(delta) = self.machines.get_mut(&planned.machine) {
            delta.added = delta.added.minus(&planned.added);
            delta.removed = delta.removed.minus(&extra.removed);
            delta.tasks.retain(|t| *t != task);
            delta.grants.retain(|(t, _)| *t != task);
            if *delta == Delta::default() {
                self.machines.remove(&planned.machine);
            }
        }
        let Some((team, band)) = extra.team else { return };
        if let Some(promise) = self.promised.iter_mut().find(|p| p.team == team && p.band == band) {
            let (added, removed) = &mut promise.sums;
            *added = added.minus(&extra.promised);
            *removed = removed.minus(&extra.removed);
        }
    }

    /// Counts a promise against the quota of the job's team, if it has one.
    fn promise(
        &mut self,
        cell: &Cell,
        job: &Job,
        added: &Resources,
        removed: &Resources,
    ) -> Option<(Arc<str>, Band)> {
        let (team, band) = cell.quotas().limited(job.account)?;
        let known = self.promised.iter().position(|p| p.team == *team && p.band == band);
        let at = known.unwrap_or_else(|| {
            self.promised.push(Promise { team: team.clone(), band, sums: Default::default() });
            self.promised.len() - 1
        });
        let sums = &mut self.promised[at].sums;
        *sums = (sums.0.plus(added), sums.1.plus(removed));
        Some((team.clone(), band))
    }

    fn check_task(&self, job: &Job, id: TaskId) -> Result<(), ConflictKind> {
        let state = job.record(id).map(Packed::state).ok_or(ConflictKind::NoTask)?;
        if state != TaskState::Pending {
            return Err(ConflictKind::TaskState(state));
        }
        if self.planned.contains(&id) {
            return Err(ConflictKind::TaskState(TaskState::Placed));
        }
        if !self.leaving.is_empty() && self.leaving.contains(&id) {
            return Err(ConflictKind::TaskState(TaskState::Stopped));
        }
        if !job.wants(id) {
            return Err(ConflictKind::Unwanted);
        }
        Ok(())
    }

    /// What the victims hold, when each of them may be preempted by the task on that machine.
    fn check_victims(
        &self,
        cell: &Cell,
        task: TaskId,
        machine: &Machine,
        victims: &[TaskId],
    ) -> Result<Resources, ConflictKind> {
        for (i, id) in victims.iter().enumerate() {
            let victim = cell.task(*id).ok_or(ConflictKind::Victim(*id))?;
            let there = victim.machine == Some(machine.id);
            let runs = matches!(victim.state, TaskState::Placed | TaskState::Running);
            let lower = cell.priority(*id) < cell.priority(task);
            if !(there && runs && lower) || victims[..i].contains(id) {
                return Err(ConflictKind::Victim(*id));
            }
            if machine.load.is_waiting(*id) || self.leaving.contains(id) || self.planned.contains(id) {
                return Err(ConflictKind::Waiting(*id));
            }
        }
        Ok(held(cell, victims))
    }

    fn check_quota(&self, cell: &Cell, job: &Job, wanted: &Resources) -> Result<(), ConflictKind> {
        let Some((team, band)) = cell.quotas().limited(job.account) else { return Ok(()) };
        let planned = self.promised.iter().find(|p| p.team == *team && p.band == band);
        let planned = planned.map(|p| p.sums).unwrap_or_default();
        match cell.quotas().first_over(team, band, wanted, &planned) {
            None => Ok(()),
            Some((dimension, wanted, free)) => {
                Err(ConflictKind::Quota { team: team.to_string(), band, dimension, wanted, free })
            }
        }
    }
}

fn held(cell: &Cell, victims: &[TaskId]) -> Resources {
    victims.iter().fold(Resources::ZERO, |sum, victim| sum.plus(&cell.charge(*victim)))
}
