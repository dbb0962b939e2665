//! The overlay: planned changes on top of a cell, owned and cheap to undo. Step 4 (think) of a placement's life.
//!
//! A policy plans on one, the judge judges on one, and a scheduler keeps what it has in flight in one: the very same
//! checks, so what is feasible on an up-to-date copy is accepted. It holds differences, never a copy of the cell, so
//! it stays valid while the cell underneath moves on.

use std::collections::{BTreeMap, BTreeSet};

use crate::cell::Cell;
use crate::fit::{self, Delta, Demand, Misfit};
use crate::ids::{MachineId, TaskId};
use crate::job::Band;
use crate::lifecycle::{self, Trigger};
use crate::machine::{Grant, Machine};
use crate::resources::Resources;
use crate::task::{StopReason, TaskState};
use crate::verdict::ConflictKind;

/// A planned placement, or a planned change of a live task's promise.
#[derive(Clone, Debug)]
struct Planned {
    machine: MachineId,
    added: Resources,
    removed: Resources,
    /// What counts against the team's quota.
    promised: Resources,
    /// Whose quota, when it has a limit.
    team: Option<(String, Band)>,
    victims: Vec<TaskId>,
    is_placement: bool,
}

/// Planned changes on top of a cell.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    machines: BTreeMap<MachineId, Delta>,
    planned: BTreeMap<TaskId, Planned>,
    /// Tasks that are asked to go, or stopped.
    leaving: BTreeSet<TaskId>,
    /// Promised on top of what the cell counts, and taken back from it; only for teams that have a limit.
    promised: BTreeMap<(String, Band), (Resources, Resources)>,
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

    /// Forgets everything planned.
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

    /// All planned placements.
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
        self.check_task(cell, task)?;
        let demand = cell.demand(task).ok_or(ConflictKind::NoTask)?;
        let target = cell.machine(machine).ok_or(ConflictKind::NoMachine)?;
        let freed = self.check_victims(cell, task, target, preempt)?;
        let grant = fit::fit(task, demand, target, self.machines.get(&machine), &freed)
            .map_err(ConflictKind::Misfit)?;
        self.check_quota(cell, task, &demand.resources)?;
        Ok(grant)
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
        let grant = self.fits(cell, task, machine, preempt)?;
        let promised = cell.demand(task).map_or(Resources::ZERO, |d| d.resources);
        let freed = held(cell, preempt);
        self.leaving.extend(preempt);
        let planned = Planned {
            machine,
            added: promised.minus(&freed),
            removed: Resources::ZERO,
            promised,
            team: None,
            victims: preempt.to_vec(),
            is_placement: true,
        };
        self.record(cell, task, planned, Some(grant.clone()));
        Ok(grant)
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
        if !self.leaving.insert(task) {
            return Err(ConflictKind::TaskState(TaskState::Stopping(reason)));
        }
        Ok(())
    }

    /// Plans that a live task is promised something else.
    ///
    /// # Errors
    /// It isn't placed or running, waits for others, or the larger promise doesn't fit.
    pub fn resize(&mut self, cell: &Cell, task: TaskId, wanted: &Resources) -> Result<(), ConflictKind> {
        let found = cell.task(task).ok_or(ConflictKind::NoTask)?;
        let live = matches!(found.state, TaskState::Placed | TaskState::Running);
        let (true, Some(machine)) = (live, found.machine) else {
            return Err(ConflictKind::TaskState(found.state));
        };
        let target = cell.machine(machine).ok_or(ConflictKind::NoMachine)?;
        let paired =
            target.load.waiting.iter().any(|w| w.task == task || w.victims.iter().any(|(v, _)| *v == task));
        if paired || self.leaving.contains(&task) || self.planned.contains_key(&task) {
            return Err(ConflictKind::Waiting(task));
        }
        let before = cell.charge(task);
        let (added, removed) = (wanted.minus(&before), before.minus(wanted));
        fit::resources_fit(&added, target, self.machines.get(&machine)).map_err(ConflictKind::Misfit)?;
        self.check_quota(cell, task, &added)?;
        let (team, victims) = (None, Vec::new());
        let planned =
            Planned { machine, added, removed, promised: added, team, victims, is_placement: false };
        self.record(cell, task, planned, None);
        Ok(())
    }

    /// Forgets what was planned for a task.
    pub fn undo(&mut self, task: TaskId) {
        self.leaving.remove(&task);
        let Some(planned) = self.planned.remove(&task) else { return };
        for victim in &planned.victims {
            self.leaving.remove(victim);
        }
        if let Some(delta) = self.machines.get_mut(&planned.machine) {
            delta.added = delta.added.minus(&planned.added);
            delta.removed = delta.removed.minus(&planned.removed);
            delta.tasks.retain(|(t, _)| *t != task);
            if *delta == Delta::default() {
                self.machines.remove(&planned.machine);
            }
        }
        if let Some((added, removed)) = planned.team.and_then(|team| self.promised.get_mut(&team)) {
            *added = added.minus(&planned.promised);
            *removed = removed.minus(&planned.removed);
        }
    }

    fn record(&mut self, cell: &Cell, task: TaskId, mut planned: Planned, grant: Option<Grant>) {
        let delta = self.machines.entry(planned.machine).or_default();
        delta.added = delta.added.plus(&planned.added);
        delta.removed = delta.removed.plus(&planned.removed);
        delta.tasks.extend(grant.map(|grant| (task, grant)));
        if let Some(job) = cell.job(task.job) {
            let (team, band) = (&job.spec().team, Band::of(job.spec().priority));
            if cell.quotas().limit(team, band).is_some() {
                let key = (team.clone(), band);
                let (added, removed) = self.promised.entry(key.clone()).or_default();
                *added = added.plus(&planned.promised);
                *removed = removed.plus(&planned.removed);
                planned.team = Some(key);
            }
        }
        self.planned.insert(task, planned);
    }

    fn check_task(&self, cell: &Cell, id: TaskId) -> Result<(), ConflictKind> {
        let task = cell.task(id).ok_or(ConflictKind::NoTask)?;
        if task.state != TaskState::Pending {
            return Err(ConflictKind::TaskState(task.state));
        }
        if self.planned.contains_key(&id) {
            return Err(ConflictKind::TaskState(TaskState::Placed));
        }
        if self.leaving.contains(&id) {
            return Err(ConflictKind::TaskState(TaskState::Stopped));
        }
        if !cell.is_wanted(id) {
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
            if machine.load.is_waiting(*id) || self.leaving.contains(id) || self.planned.contains_key(id) {
                return Err(ConflictKind::Waiting(*id));
            }
        }
        Ok(held(cell, victims))
    }

    fn check_quota(&self, cell: &Cell, task: TaskId, wanted: &Resources) -> Result<(), ConflictKind> {
        let Some(job) = cell.job(task.job) else { return Err(ConflictKind::NoTask) };
        let (team, band) = (&job.spec().team, Band::of(job.spec().priority));
        if cell.quotas().limit(team, band).is_none() {
            return Ok(());
        }
        let planned = self.promised.get(&(team.clone(), band)).copied().unwrap_or_default();
        match cell.quotas().first_over(team, band, wanted, &planned) {
            None => Ok(()),
            Some((dimension, wanted, free)) => {
                Err(ConflictKind::Quota { team: team.clone(), band, dimension, wanted, free })
            }
        }
    }
}

fn held(cell: &Cell, victims: &[TaskId]) -> Resources {
    victims.iter().fold(Resources::ZERO, |sum, victim| sum.plus(&cell.charge(*victim)))
}
