//! How the model judges a transaction: each op is tried on a copy of everything, one after the other.

use std::collections::BTreeSet;

use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::{MachineId, Resources, TaskId};

use super::{Life, Model};

/// What the model says of an op.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Accepted,
    Lost,
    /// Coarse detection only: lost, though it would have fitted.
    LostForNothing,
    Aborted,
}

/// A transaction under way: the copy it is tried on, and what it has touched.
struct Trial<'a> {
    before: &'a Model,
    after: Model,
    txn: &'a Transaction,
    /// Tasks it has placed or promised something else: neither is done twice, and they are nobody's victims.
    touched: BTreeSet<TaskId>,
    placed: BTreeSet<TaskId>,
}

impl Model {
    /// Judges a transaction of a session that is known, within all bounds, about tasks of the author's own; applies
    /// what is accepted. A number that was used before gets its first answer.
    pub(crate) fn judge(&mut self, txn: &Transaction) -> Vec<Told> {
        let session = txn.id.session.0 as usize;
        if let Some(known) = self.sessions[session].answers.get(&txn.id.number) {
            return known.clone();
        }
        let mut after = self.clone();
        after.seq += 1;
        let mut trial = Trial { before: self, after, txn, touched: BTreeSet::new(), placed: BTreeSet::new() };
        let mut told: Vec<Told> = txn.ops.iter().map(|op| trial.op(op)).collect();
        let holds = txn.assertions.iter().all(|assertion| trial.holds(assertion));
        let lost = told.iter().any(|t| *t != Told::Accepted);
        let after = trial.after;
        if !holds || (lost && txn.atomicity == Atomicity::AllOrNothing) {
            told.iter_mut().filter(|t| **t == Told::Accepted).for_each(|t| *t = Told::Aborted);
            self.seq += 1;
        } else {
            *self = after;
        }
        self.sessions[session].answers.insert(txn.id.number, told.clone());
        told
    }
}

impl Trial<'_> {
    fn op(&mut self, op: &Op) -> Told {
        let done = match op {
            Op::Place { task, machines, preempt } => return self.place(*task, machines, preempt),
            Op::Evict { task, epoch } => self.stop(*task, *epoch, false),
            Op::Stop { task, epoch } => self.stop(*task, *epoch, true),
            Op::Resize { task, epoch, resources } => self.resize(*task, *epoch, resources),
        };
        if done.is_some() { Told::Accepted } else { Told::Lost }
    }

    fn place(&mut self, task: TaskId, machines: &[MachineId], preempt: &[TaskId]) -> Told {
        if !self.after.may_place(task) {
            return Told::Lost;
        }
        let mut first = None;
        for (choice, machine) in machines.iter().enumerate() {
            let victims = if choice == 0 { preempt } else { &[] };
            let touched = victims.iter().any(|v| self.touched.contains(v));
            let fits = if touched { None } else { self.after.fits(task, machine.index(), victims) };
            let version = self.before.machines.get(machine.index()).map_or(0, |m| m.changed_at);
            if self.txn.detection == Detection::Version && version > self.txn.basis.0 {
                first.get_or_insert(if fits.is_some() && !self.after.over_quota(task) {
                    Told::LostForNothing
                } else {
                    Told::Lost
                });
                continue;
            }
            let Some(grant) = fits else {
                first.get_or_insert(Told::Lost);
                continue;
            };
            if self.after.over_quota(task) {
                return first.unwrap_or(Told::Lost);
            }
            self.after.put(task, machine.index(), grant, victims);
            self.touched.insert(task);
            self.placed.insert(task);
            return Told::Accepted;
        }
        first.unwrap_or(Told::Lost)
    }

    /// `None` is a lost op.
    fn stop(&mut self, id: TaskId, epoch: u32, for_good: bool) -> Option<()> {
        let before = self.before.tasks.get(&id).filter(|t| t.epoch == epoch)?;
        let now = self.after.tasks.get(&id)?;
        // What this very transaction placed has a new epoch, which its author could not know.
        if self.placed.contains(&id) {
            return None;
        }
        let may = match now.life {
            Life::Placed | Life::Running => true,
            Life::Leaving => for_good && before.life == Life::Leaving,
            Life::Pending => for_good,
            Life::StoppingForGood | Life::Completed | Life::Failed | Life::Stopped => false,
        };
        if !may {
            return None;
        }
        if for_good {
            self.after.stop_for_good(id)
        } else {
            self.after.ask_to_leave(id)
        }
        Some(())
    }

    fn resize(&mut self, id: TaskId, epoch: u32, wanted: &Resources) -> Option<()> {
        let task = self.after.tasks.get(&id).filter(|t| t.epoch == epoch)?;
        let machine = task.machine?;
        let promised = task.promised;
        let runs = matches!(task.life, Life::Placed | Life::Running);
        if !runs || self.touched.contains(&id) || self.after.is_paired(id) {
            return None;
        }
        let more = wanted.minus(&promised);
        if !self.after.room(machine, &more) || self.after.over_quota_by(id, &more) {
            return None;
        }
        self.after.tasks.get_mut(&id)?.promised = *wanted;
        self.after.touch(machine);
        self.touched.insert(id);
        Some(())
    }

    fn holds(&self, assertion: &Assertion) -> bool {
        match assertion {
            Assertion::AtMost { job, attribute, value, max } => {
                let there = |machine: &Option<usize>| {
                    machine.is_some_and(|m| {
                        let spec = &self.after.machines[m].spec;
                        let found = if attribute == "name" {
                            Some(&spec.name)
                        } else {
                            spec.attributes.get(attribute)
                        };
                        found == Some(value)
                    })
                };
                let tasks = self.after.tasks.iter().filter(|(id, _)| id.job == *job);
                tasks.filter(|(_, t)| t.life.is_live() && there(&t.machine)).count() as u32 <= *max
            }
            Assertion::JobVersion { job, version } => {
                self.after.jobs.get(job).map_or(0, |j| j.version) == *version
            }
            Assertion::Unchanged { machine } => {
                self.before.machines.get(machine.index()).is_some_and(|m| m.changed_at <= self.txn.basis.0)
            }
        }
    }
}
