//! What a committed transaction may do, as the history check understands it.

use std::collections::BTreeSet;

use cell_state::event::Committed;
use cell_state::job::Band;
use cell_state::machine::MachineState;
use cell_state::resources::Dimension;
use cell_state::task::StopReason;
use cell_state::transaction::Atomicity;
use cell_state::verdict::{Outcome, Placed};
use cell_state::{MachineId, Resources, TaskId};

use super::{Answered, History, Life, Wrong, must};

/// Thousandths of one device.
const WHOLE_DEVICE: u32 = 1_000;

impl History {
    pub(super) fn commit(&mut self, committed: &Committed) -> Result<(), Wrong> {
        let txn = committed.txn;
        let session = self.sessions.get(&txn.session).ok_or("a transaction of no session")?;
        must!(!session.answers.contains_key(&txn.number), "transaction {txn} was judged before");
        must!(committed.basis.0 < self.seq, "transaction {txn} was made on a later state");
        let accepted = committed.outcomes.iter().filter(|o| o.is_accepted()).count();
        let all = accepted == committed.outcomes.len() || accepted == 0;
        must!(
            all || committed.atomicity == Atomicity::Incremental,
            "transaction {txn} is all or nothing, and {accepted} of its ops were accepted"
        );
        must!(
            accepted == 0 || committed.failed_assertion.is_none(),
            "transaction {txn} took effect against its own assertion"
        );
        let scheduler = session.scheduler.clone();
        for outcome in committed.outcomes.iter() {
            self.outcome(&scheduler, outcome).map_err(|wrong| format!("transaction {txn}: {wrong}"))?;
        }
        self.transactions += 1;
        self.accepted += accepted as u64;
        let answer = Answered { at: self.seq(), outcomes: committed.outcomes.clone() };
        if let Some(session) = self.sessions.get_mut(&txn.session) {
            session.answers.insert(txn.number, answer);
        }
        Ok(())
    }

    fn outcome(&mut self, scheduler: &str, outcome: &Outcome) -> Result<(), Wrong> {
        let task = match outcome {
            Outcome::Placed(placed) => placed.task,
            Outcome::Stopping { task, .. } | Outcome::Resized { task, .. } => *task,
            Outcome::Conflict(_) | Outcome::Aborted => return Ok(()),
        };
        let job = self.jobs.get(&task.job).ok_or_else(|| format!("{task} is of no job"))?;
        must!(job.spec.scheduler == scheduler, "{task} is not {scheduler}'s to change");
        match outcome {
            Outcome::Placed(placed) => self.place(placed),
            Outcome::Stopping { task, reason } => self.stop(*task, *reason),
            Outcome::Resized { task, resources } => self.resize(*task, resources),
            Outcome::Conflict(_) | Outcome::Aborted => Ok(()),
        }
    }

    fn place(&mut self, placed: &Placed) -> Result<(), Wrong> {
        let id = placed.task;
        let job = self.jobs.get(&id.job).ok_or("of no job")?;
        let group = job.spec.groups.get(usize::from(id.group)).ok_or("of no group")?;
        must!(job.wanted && id.index < group.count, "{id} is placed and nobody wants it");
        must!(
            placed.version == job.version,
            "{id} is placed in version {} of {}",
            placed.version,
            job.version
        );
        let (wants, distinct, priority) = (group.resources, group.distinct_machines, job.spec.priority);
        let (ports, lost_after) = (group.ports.len(), group.run.lost_after());
        let machine = placed.machine;
        let state = self.machine(machine)?.state;
        must!(state == MachineState::Ready, "{id} is placed on a machine that is {state}");
        if distinct {
            let twin = self.machine(machine)?.tasks.iter().find(|other| other.job == id.job).copied();
            must!(twin.is_none(), "{id} is placed beside {twin:?}, which it must not be");
        }
        let extra = placed.extra.as_deref().cloned().unwrap_or_default();
        must!(extra.grant.ports.len() == ports, "{id} got {} ports of {ports}", extra.grant.ports.len());
        let victims: BTreeSet<TaskId> = extra.preempted.iter().copied().collect();
        for victim in &victims {
            self.may_preempt(id, priority, *victim, machine)?;
        }
        let task = self.tasks.get_mut(&id).ok_or_else(|| format!("{id} isn't there"))?;
        must!(task.life == Life::Pending, "{id} is placed while it is {:?}", task.life);
        must!(placed.epoch == task.epoch + 1, "{id} goes from epoch {} to {}", task.epoch, placed.epoch);
        (task.life, task.epoch, task.machine) = (Life::Placed, placed.epoch, Some(machine));
        (task.promised, task.grant, task.waits_for) = (wants, extra.grant, victims.clone());
        task.lost_after = lost_after;
        self.machine(machine)?.tasks.insert(id);
        victims.into_iter().for_each(|victim| self.ask_to_leave(victim));
        self.promise(id, |sum| sum.plus(&wants));
        self.within(machine)?;
        self.grants(machine)?;
        self.within_quota(id, &wants)
    }

    fn may_preempt(&self, id: TaskId, priority: u16, victim: TaskId, on: MachineId) -> Result<(), Wrong> {
        let task =
            self.tasks.get(&victim).ok_or_else(|| format!("{id} preempts {victim}, which isn't there"))?;
        must!(task.life.is_live() && task.machine == Some(on), "{id} preempts {victim}, which is elsewhere");
        let theirs = self.jobs.get(&victim.job).map_or(u16::MAX, |job| job.spec.priority);
        must!(theirs < priority, "{id} of priority {priority} preempts {victim} of {theirs}");
        Ok(())
    }

    fn stop(&mut self, id: TaskId, reason: StopReason) -> Result<(), Wrong> {
        let task = self.tasks.get(&id).ok_or_else(|| format!("{id} isn't there"))?;
        must!(!task.life.is_over(), "{id} is asked to stop and is {:?}", task.life);
        match reason {
            StopReason::Stop => self.stop_for_good(id),
            StopReason::Evict | StopReason::Drain => self.ask_to_leave(id),
        }
        Ok(())
    }

    fn resize(&mut self, id: TaskId, wants: &Resources) -> Result<(), Wrong> {
        let task = self.tasks.get_mut(&id).ok_or_else(|| format!("{id} isn't there"))?;
        let machine = task.machine.filter(|_| task.life.is_live());
        let machine = machine.ok_or_else(|| format!("{id} is resized and isn't on a machine"))?;
        let before = std::mem::replace(&mut task.promised, *wants);
        self.promise(id, |sum| sum.minus(&before).plus(wants));
        self.within(machine)?;
        self.within_quota(id, &wants.minus(&before))
    }

    /// What a machine's tasks are charged together: a newcomer and those it waits for, the larger of the two.
    pub(super) fn used(&self, machine: MachineId) -> Resources {
        let there = || self.machines[machine.index()].tasks.iter().map(|id| (*id, &self.tasks[id]));
        let mut counted = BTreeSet::new();
        let mut sum = Resources::ZERO;
        for (id, newcomer) in there().filter(|(_, t)| !t.waits_for.is_empty()) {
            let victims = newcomer.waits_for.iter().map(|v| &self.tasks[v].promised);
            let held = victims.fold(Resources::ZERO, |sum, r| sum.plus(r));
            sum = sum.plus(&newcomer.promised.max(&held));
            counted.insert(id);
            counted.extend(newcomer.waits_for.iter().copied());
        }
        let others = there().filter(|(id, _)| !counted.contains(id));
        others.fold(sum, |sum, (_, task)| sum.plus(&task.promised))
    }

    /// A machine holds no more than it may.
    pub(super) fn within(&self, machine: MachineId) -> Result<(), Wrong> {
        let used = self.used(machine);
        let spec = &self.machines[machine.index()].spec;
        let limit = self.config.overcommit.limit(&spec.capacity);
        let over = Dimension::all().find(|d| used.get(*d) > limit.get(*d));
        must!(over.is_none(), "{} is over its capacity in {over:?}: {used:?} of {limit:?}", spec.name);
        Ok(())
    }

    /// No machine holds more than it may.
    pub(super) fn none_over(&self) -> Result<(), Wrong> {
        (0..self.machines.len()).try_for_each(|machine| self.within(MachineId(machine as u32)))
    }

    /// No port is given twice, and no device more than whole.
    pub(super) fn grants(&self, machine: MachineId) -> Result<(), Wrong> {
        let machine = &self.machines[machine.index()];
        let mut ports = BTreeSet::new();
        let mut devices = vec![0; machine.spec.devices.len()];
        for id in &machine.tasks {
            let grant = &self.tasks[id].grant;
            let twice = grant.ports.iter().find(|port| !ports.insert(**port));
            must!(twice.is_none(), "port {twice:?} of {} is given twice", machine.spec.name);
            for (device, milli) in &grant.devices {
                let sum =
                    devices.get_mut(usize::from(*device)).ok_or("a device that isn't there is given")?;
                *sum += u32::from(*milli);
                must!(*sum <= WHOLE_DEVICE, "device {device} of {} is given twice", machine.spec.name);
            }
        }
        Ok(())
    }

    fn within_quota(&self, id: TaskId, more: &Resources) -> Result<(), Wrong> {
        let spec = &self.jobs[&id.job].spec;
        let team = (spec.team.clone(), Band::of(spec.priority));
        let Some(limit) = self.quotas.get(&team) else { return Ok(()) };
        let used = self.promised.get(&team).copied().unwrap_or_default();
        // A quota may be set below what is in use; then nothing more of it is given.
        let over = Dimension::all().find(|d| more.get(*d) > 0 && used.get(*d) > limit.get(*d));
        must!(over.is_none(), "{id} takes team {} over its quota in {over:?}", spec.team);
        Ok(())
    }
}
