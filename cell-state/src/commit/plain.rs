//! The short way to a verdict. Almost every op places a task of a plain group (it asks for sums alone, and no quota limits
//! its team) that no earlier op is about on a machine that no earlier op is about. Whether that is accepted can be seen in
//! the cell: what earlier ops plan doesn't matter to it. Whatever is not so goes the long way, which alone knows how to lose.

use crate::cell::Cell;
use crate::fit;
use crate::ids::{JobId, MachineId, TaskId};
use crate::job::Desired;
use crate::resources::Resources;
use crate::task::packed::Packed;
use crate::transaction::{Detection, Transaction};
use crate::verdict::Placed;

/// Machines and tasks that the ops of one transaction were about.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The first tasks, as keys that are equal if the tasks are, and very seldom else.
    tasks: Vec<u64>,
    /// The highest task. Plans mostly go upwards, and then none names a task twice.
    highest: Option<TaskId>,
    /// The first few, to be looked through.
    few: Vec<MachineId>,
    /// By machine, the last transaction of more than a few ops that touched it.
    turns: Vec<u32>,
    turn: u32,
    many: bool,
}

/// Machines that are looked through: four lines of memory at most.
const FEW: usize = 64;

/// Tasks that are looked through, in a transaction whose tasks don't go upwards. Later ones go the long way.
const TASKS: usize = 128;

impl Touched {
    /// The next transaction begins, of so many ops.
    pub(super) fn begin(&mut self, machines: usize, ops: usize) {
        self.few.clear();
        self.tasks.clear();
        self.highest = None;
        self.many = ops > FEW;
        if self.many {
            self.turn = self.turn.wrapping_add(1);
            if self.turn == 0 || self.turns.len() < machines {
                (self.turns, self.turn) = (vec![0; machines], 1);
            }
        }
    }

    /// Whether an earlier op may have been about this task.
    #[inline]
    fn may_contain(&self, task: TaskId) -> bool {
        if self.highest < Some(task) {
            return false;
        }
        let sought = key(task);
        self.tasks.len() == TASKS || self.tasks.iter().fold(false, |found, task| found | (*task == sought))
    }

    #[inline]
    fn contains(&self, machine: MachineId) -> bool {
        if self.many {
            return self.turns.get(machine.index()) == Some(&self.turn);
        }
        // All of them at once: four to an instruction.
        self.few.iter().fold(false, |found, touched| found | (*touched == machine))
    }

    #[inline]
    fn insert(&mut self, task: TaskId, machine: MachineId) {
        self.highest = self.highest.max(Some(task));
        if self.tasks.len() < TASKS {
            self.tasks.push(key(task));
        }
        if self.many {
            if let Some(turn) = self.turns.get_mut(machine.index()) {
                *turn = self.turn;
            }
        } else {
            self.few.push(machine);
        }
    }
}

/// A task as one number.
#[inline]
fn key(task: TaskId) -> u64 {
    let group = task.job.0 ^ u32::from(task.group).rotate_right(16);
    u64::from(group) << 32 | u64::from(task.index)
}

/// The group that the last op placed a task of, if it is plain.
struct Group<'a> {
    tasks: &'a [Packed],
    /// How many of them the job wants to run.
    wanted: u32,
    amount: &'a Resources,
    version: u32,
}

impl<'a> Group<'a> {
    fn of(cell: &'a Cell, id: TaskId) -> Option<Group<'a>> {
        let (job, at) = (cell.job(id.job)?, usize::from(id.group));
        let (current, group) = (job.current(), job.groups.get(at)?);
        let demand = current.demands.get(at)?;
        let free = job.desired == Desired::Run && cell.quotas().limited(job.account).is_none();
        let (tasks, amount) = (group.tasks.records(), &demand.resources);
        let plain = Group { tasks, wanted: group.wanted, amount, version: current.version };
        (free && demand.is_plain()).then_some(plain)
    }
}

/// Judges ops the short way, for as long as that is open to the transaction.
pub(super) struct Plain<'a> {
    cell: &'a Cell,
    txn: &'a Transaction,
    touched: &'a mut Touched,
    at: Option<(JobId, u16)>,
    group: Option<Group<'a>>,
    /// Nothing but placements was accepted, and none of them has victims.
    open: bool,
}

impl<'a> Plain<'a> {
    pub(super) fn new(cell: &'a Cell, txn: &'a Transaction, touched: &'a mut Touched) -> Plain<'a> {
        touched.begin(cell.machines().len(), txn.ops.len());
        Plain { cell, txn, touched, at: None, group: None, open: true }
    }

    /// The placement, if it is a plain one and accepted.
    #[inline]
    pub(super) fn place(&mut self, id: TaskId, machine: MachineId) -> Option<Placed> {
        if !self.open || self.touched.may_contain(id) || self.touched.contains(machine) {
            return None;
        }
        if self.at != Some((id.job, id.group)) {
            (self.at, self.group) = (Some((id.job, id.group)), Group::of(self.cell, id));
        }
        let group = self.group.as_ref()?;
        let task = group.tasks.get(id.index as usize).filter(|task| task.is_pending())?;
        let target = self.cell.machine(machine)?;
        let unchanged = self.txn.detection == Detection::Fit || target.version <= self.txn.basis;
        if id.index >= group.wanted || !unchanged || !fit::fits_plainly(group.amount, target) {
            return None;
        }
        let (epoch, version) = (task.epoch() + 1, group.version);
        self.note(id, machine);
        Some(Placed { task: id, machine, epoch, version, extra: None })
    }

    /// An op the long way placed this task on this machine, without victims.
    pub(super) fn note(&mut self, id: TaskId, machine: MachineId) {
        self.touched.insert(id, machine);
    }

    /// An op did what later ones can't leave out of account.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// What the task of a plain placement asks for.
    pub(super) fn amount(&self, id: TaskId) -> Resources {
        self.cell.demand(id).map_or(Resources::ZERO, |demand| demand.resources)
    }
}
