//! The trial of one transaction: each op on top of those before it.
//!
//! Ops that were accepted the short way are not in the overlay until an op needs it: it catches up first.

use crate::cell::Cell;
use crate::fit::Misfit;
use crate::ids::{Epoch, JobId, MachineId, Seq, TaskId, TxnId};
use crate::machine::Machine;
use crate::overlay::Overlay;
use crate::resources::Resources;
use crate::task::{StopReason, Task, TaskState};
use crate::transaction::{Assertion, Detection, Op, Transaction};
use crate::verdict::{Conflict, ConflictKind, Outcome, Placed, PlacedExtra, Winner};

use super::Judge;
use super::plain::Plain;

pub(super) struct Trial<'a> {
    cell: &'a Cell,
    txn: &'a Transaction,
    overlay: &'a mut Overlay,
    /// One per op judged so far.
    outcomes: &'a mut Vec<Outcome>,
    plain: Plain<'a>,
    /// How many of the outcomes the overlay knows.
    caught_up: usize,
    /// A fallback was taken, so later ops of the plan may meet what their author could not foresee.
    fell_back: bool,
}

impl<'a> Trial<'a> {
    /// A trial in the judge's memory.
    pub(super) fn new(cell: &'a Cell, txn: &'a Transaction, memory: &'a mut Judge) -> Trial<'a> {
        let Judge { overlay, outcomes, touched } = memory;
        overlay.clear();
        outcomes.clear();
        let plain = Plain::new(cell, txn, touched);
        Trial { cell, txn, overlay, outcomes, plain, caught_up: 0, fell_back: false }
    }

    /// Judges all ops.
    pub(super) fn run(&mut self) {
        for op in &self.txn.ops {
            let short = match op {
                Op::Place { task, machines, preempt } if preempt.is_empty() => {
                    machines.first().and_then(|machine| self.plain.place(*task, *machine))
                }
                Op::Place { .. } | Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
            };
            let outcome = match short {
                Some(placed) => Outcome::Placed(placed),
                None => self.long(op),
            };
            self.outcomes.push(outcome);
        }
    }

    /// Judges an op the long way: on the cell and all that the ops before it plan.
    #[cold]
    fn long(&mut self, op: &Op) -> Outcome {
        self.catch_up();
        let outcome = match op {
            Op::Place { task, machines, preempt } => self.place(*task, machines, preempt),
            Op::Evict { task, epoch } => self.stop(*task, *epoch, StopReason::Evict),
            Op::Stop { task, epoch } => self.stop(*task, *epoch, StopReason::Stop),
            Op::Resize { task, epoch, resources } => self.resize(*task, *epoch, resources),
        };
        match &outcome {
            Outcome::Placed(placed) if placed.extra.as_ref().is_none_or(|e| e.preempted.is_empty()) => {
                self.plain.note(placed.task, placed.machine);
            }
            Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } => self.plain.close(),
            Outcome::Conflict(_) | Outcome::Aborted => {}
        }
        // The overlay knows it already.
        self.caught_up += 1;
        outcome
    }

    fn catch_up(&mut self) {
        for outcome in &self.outcomes[self.caught_up..] {
            let Outcome::Placed(Placed { task, machine, .. }) = outcome else { continue };
            self.overlay.note_plain(*task, *machine, &self.plain.amount(*task));
        }
        self.caught_up = self.outcomes.len();
    }

    fn place(&mut self, task: TaskId, machines: &[MachineId], preempt: &[TaskId]) -> Outcome {
        let mut first = None;
        for (choice, machine) in machines.iter().enumerate() {
            let victims = if choice == 0 { preempt } else { &[] };
            let conflict = match self.try_place(task, *machine, victims) {
                Ok(placed) => {
                    self.fell_back |= choice > 0;
                    return Outcome::Placed(placed);
                }
                Err(conflict) => first.get_or_insert(conflict),
            };
            if !depends_on_machine(&conflict.kind) {
                break;
            }
        }
        Outcome::Conflict(first.expect("a place op names at least one machine"))
    }

    fn try_place(
        &mut self,
        task: TaskId,
        machine: MachineId,
        victims: &[TaskId],
    ) -> Result<Placed, Box<Conflict>> {
        let changed = self.changed_since_basis(machine);
        if let (Detection::Version, Some(version)) = (self.txn.detection, changed) {
            let spurious = self.overlay.fits(self.cell, task, machine, victims).is_ok();
            let mut conflict = self.conflict(Some(task), Some(machine), ConflictKind::Changed { version });
            conflict.spurious = spurious;
            return Err(Box::new(conflict));
        }
        let placed = self.overlay.place(self.cell, task, machine, victims);
        let grant = placed.map_err(|kind| Box::new(self.conflict(Some(task), Some(machine), kind)))?;
        let found = self.cell.task(task).expect("the overlay found it");
        let plain = grant.is_empty() && victims.is_empty();
        Ok(Placed {
            task,
            machine,
            epoch: found.epoch + 1,
            version: self.cell.job(task.job).map_or(0, |job| job.current().version),
            extra: (!plain).then(|| Box::new(PlacedExtra { grant, preempted: victims.to_vec() })),
        })
    }

    fn stop(&mut self, id: TaskId, epoch: Epoch, reason: StopReason) -> Outcome {
        let task = match self.at_epoch(id, epoch) {
            Ok(task) => task,
            Err(conflict) => return conflict,
        };
        let asked = match reason {
            StopReason::Stop => self.overlay.stop(self.cell, id),
            StopReason::Evict | StopReason::Drain => self.overlay.leave(self.cell, id),
        };
        match asked {
            Ok(()) => Outcome::Stopping { task: id, reason },
            Err(kind) => Outcome::Conflict(Box::new(self.conflict(Some(id), task.machine, kind))),
        }
    }

    fn resize(&mut self, id: TaskId, epoch: Epoch, resources: &Resources) -> Outcome {
        let task = match self.at_epoch(id, epoch) {
            Ok(task) => task,
            Err(conflict) => return conflict,
        };
        match self.overlay.resize(self.cell, id, resources) {
            Ok(()) => Outcome::Resized { task: id, resources: Box::new(*resources) },
            Err(kind) => Outcome::Conflict(Box::new(self.conflict(Some(id), task.machine, kind))),
        }
    }

    fn at_epoch(&self, id: TaskId, epoch: Epoch) -> Result<Task, Outcome> {
        let lost = |kind, machine| Outcome::Conflict(Box::new(self.conflict(Some(id), machine, kind)));
        match self.cell.task(id) {
            None => Err(lost(ConflictKind::NoTask, None)),
            Some(task) if task.epoch != epoch => {
                Err(lost(ConflictKind::Epoch { epoch: task.epoch }, task.machine))
            }
            Some(task) => Ok(task),
        }
    }

    /// The machine's version, if that is later than the basis.
    fn changed_since_basis(&self, machine: MachineId) -> Option<Seq> {
        self.cell.machine(machine).map(|m| m.version).filter(|version| *version > self.txn.basis)
    }

    fn conflict(&self, task: Option<TaskId>, machine: Option<MachineId>, kind: ConflictKind) -> Conflict {
        let placed_by = || task.and_then(|id| self.cell.task(id)).and_then(|t| t.placed_by);
        let changed_by = || {
            let last = machine.and_then(|m| self.cell.machine(m)).and_then(Machine::changed_by);
            last.filter(|(seq, _)| *seq > self.txn.basis).map(|(_, txn)| txn)
        };
        let winner = match &kind {
            ConflictKind::TaskState(TaskState::Placed | TaskState::Running) | ConflictKind::Epoch { .. } => {
                placed_by()
            }
            // No transaction changes what a machine is, only what it holds.
            ConflictKind::Misfit(Misfit::State(_) | Misfit::Constraint(_)) => None,
            ConflictKind::Misfit(Misfit::SameJob(other)) => self.cell.task(*other).and_then(|t| t.placed_by),
            ConflictKind::Misfit(_)
            | ConflictKind::Changed { .. }
            | ConflictKind::Victim(_)
            | ConflictKind::Waiting(_)
            | ConflictKind::Assertion { .. } => changed_by(),
            ConflictKind::TaskState(_)
            | ConflictKind::NoTask
            | ConflictKind::NoMachine
            | ConflictKind::Unwanted
            | ConflictKind::Quota { .. } => None,
        };
        Conflict {
            task,
            machine,
            divergence: self.is_divergence(task, machine, &kind),
            kind,
            winner: winner.map(|txn| self.winner(txn)),
            stale_entries: self.cell.seq().0 - self.txn.basis.0,
            spurious: false,
        }
    }

    /// Whether the plan was wrong when it was made: the task doesn't fit a machine that has not changed since, under
    /// a spec that has not changed since.
    fn is_divergence(&self, task: Option<TaskId>, machine: Option<MachineId>, kind: &ConflictKind) -> bool {
        let (ConflictKind::Misfit(_), Some(task), Some(machine)) = (kind, task, machine) else {
            return false;
        };
        let same_spec = self.cell.job(task.job).is_some_and(|job| job.current().since <= self.txn.basis);
        same_spec && !self.fell_back && self.changed_since_basis(machine).is_none()
    }

    fn winner(&self, txn: TxnId) -> Winner {
        let session = self.cell.session(txn.session);
        Winner { txn, scheduler: session.map(|s| s.scheduler.clone()).unwrap_or_default() }
    }

    /// The first assertion that doesn't hold on top of what was accepted.
    pub(super) fn failed_assertion(&mut self) -> Option<Conflict> {
        if self.txn.assertions.is_empty() {
            return None;
        }
        self.catch_up();
        let mut assertions = self.txn.assertions.iter().enumerate();
        assertions.find_map(|(i, assertion)| self.assertion(i as u16, assertion))
    }

    fn assertion(&self, index: u16, assertion: &Assertion) -> Option<Conflict> {
        let (found, allowed, machine) = match assertion {
            Assertion::AtMost { job, attribute, value, max } => {
                (self.count(*job, attribute, value), u64::from(*max), None)
            }
            Assertion::JobVersion { job, version } => {
                let found = self.cell.job(*job).map_or(0, |job| u64::from(job.current().version));
                let wanted = u64::from(*version);
                return (found != wanted).then(|| {
                    self.conflict(None, None, ConflictKind::Assertion { index, found, allowed: wanted })
                });
            }
            Assertion::Unchanged { machine } => {
                let version = self.cell.machine(*machine).map_or(u64::MAX, |m| m.version.0);
                (version, self.txn.basis.0, Some(*machine))
            }
        };
        let kind = ConflictKind::Assertion { index, found, allowed };
        (found > allowed).then(|| self.conflict(None, machine, kind))
    }

    /// Live and planned tasks of the job on machines whose attribute has the value.
    fn count(&self, id: JobId, attribute: &str, value: &str) -> u64 {
        let there = |machine: Option<MachineId>| {
            machine.and_then(|m| self.cell.machine(m)).and_then(|m| m.attribute(attribute)) == Some(value)
        };
        let live = self.cell.job(id).into_iter().flat_map(|job| job.tasks());
        let live = live.filter(|(_, task)| task.state.is_live() && there(task.machine)).count();
        let planned =
            self.overlay.placements().filter(|(task, machine)| task.job == id && there(Some(*machine)));
        (live + planned.count()) as u64
    }
}

/// Whether another machine could have made a difference.
fn depends_on_machine(kind: &ConflictKind) -> bool {
    match kind {
        ConflictKind::Changed { .. }
        | ConflictKind::Misfit(_)
        | ConflictKind::NoMachine
        | ConflictKind::Victim(_)
        | ConflictKind::Waiting(_) => true,
        ConflictKind::TaskState(_)
        | ConflictKind::Epoch { .. }
        | ConflictKind::NoTask
        | ConflictKind::Unwanted
        | ConflictKind::Quota { .. }
        | ConflictKind::Assertion { .. } => false,
    }
}
