//! A plan: what a policy fills. Steps 4 (think) and 5 (propose) of a placement's life.
//!
//! It shows the cell as this process sees it, with everything this process has in flight already counted, and checks
//! each placement by the very code the server commits with. So what a plan accepts on an up-to-date copy is accepted
//! by the server, and what it refuses would have been refused. A finished plan becomes a [`Transaction`].

mod look;

use std::collections::{BTreeMap, BTreeSet};

use cell_state::bounds::{PLACE_MACHINES_MAX, PREEMPT_VICTIMS_MAX, TXN_ASSERTIONS_MAX, TXN_OPS_MAX};
use cell_state::fit::Demand;
use cell_state::job::{Band, GroupSpec, Job};
use cell_state::overlay::Overlay;
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::verdict::ConflictKind;
use cell_state::{Cell, JobId, MachineId, TaskId, Time, TxnId};
use rand_chacha::ChaCha8Rng;

use crate::columns::Columns;
use crate::exclude::{self, Exclusions};
use crate::sight::{Sight, Within};

/// The seeded source of chance of policies and queues: the same on every platform.
pub type Rng = ChaCha8Rng;

/// Why a plan doesn't take a change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// The server would refuse it.
    #[error("{0}")]
    Conflict(ConflictKind),
    /// The job lost on this machine a moment ago, or this process has work in flight there that coarse detection
    /// would trip over.
    #[error("the machine is avoided for now")]
    Avoided,
    /// No machine would do for this group in this plan: its team's quota is used up.
    #[error("the team's quota is used up")]
    Hopeless,
    /// The transaction is at a bound; the rest belongs into the next one.
    #[error("the transaction is full")]
    Full,
}

/// How a transaction is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Whether ops stand for themselves.
    pub atomicity: Atomicity,
    /// What counts as a conflict.
    pub detection: Detection,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { atomicity: Atomicity::Incremental, detection: Detection::Fit }
    }
}

/// Columns of the cell: lent by who keeps them up to date, or made for one plan.
enum Lent<'a> {
    Kept(&'a mut Columns),
    Own(Box<Columns>),
}

/// A plan for one job, being filled by a policy.
pub struct Plan<'a> {
    cell: &'a Cell,
    job: &'a Job,
    now: Time,
    overlay: &'a mut Overlay,
    columns: Lent<'a>,
    rng: &'a mut Rng,
    terms: Terms,
    exclusions: &'a Exclusions,
    /// Machines with work of this process in flight, to be avoided under coarse detection.
    crowded: Option<&'a BTreeMap<MachineId, u32>>,
    /// What is seen of machines, when that isn't the cell as it is.
    sight: Option<&'a dyn Sight>,
    within: Option<&'a Within>,
    ops: Vec<Op>,
    assertions: Vec<Assertion>,
    hopeless: BTreeSet<u16>,
    full: bool,
}

impl<'a> Plan<'a> {
    /// An empty plan for a job; `None` when the job isn't in the cell. Placements are recorded in `overlay`.
    pub fn new(
        cell: &'a Cell,
        job: JobId,
        now: Time,
        overlay: &'a mut Overlay,
        rng: &'a mut Rng,
    ) -> Option<Plan<'a>> {
        Some(Plan {
            cell,
            job: cell.job(job)?,
            now,
            overlay,
            columns: Lent::Own(Box::default()),
            rng,
            terms: Terms::default(),
            exclusions: &exclude::NONE,
            crowded: None,
            sight: None,
            within: None,
            ops: Vec::new(),
            assertions: Vec::new(),
            hopeless: BTreeSet::new(),
            full: false,
        })
    }

    /// The same plan under these terms.
    #[must_use]
    pub fn on_terms(mut self, terms: Terms) -> Plan<'a> {
        self.terms = terms;
        self
    }

    /// The same plan, avoiding machines the job lost on.
    #[must_use]
    pub fn excluding(mut self, exclusions: &'a Exclusions) -> Plan<'a> {
        self.exclusions = exclusions;
        self
    }

    /// The same plan, told on which machines this process has work in flight.
    #[must_use]
    pub fn with_in_flight(mut self, machines: &'a BTreeMap<MachineId, u32>) -> Plan<'a> {
        self.crowded = Some(machines);
        self
    }

    /// The same plan, seeing machines as this shows them.
    #[must_use]
    pub fn as_seen(mut self, sight: &'a dyn Sight) -> Plan<'a> {
        self.sight = Some(sight);
        self
    }

    /// The same plan, on these machines alone.
    #[must_use]
    pub fn within(mut self, machines: &'a Within) -> Plan<'a> {
        self.within = Some(machines);
        self
    }

    /// The same plan, with columns that follow this very cell and overlay, which spares it making its own.
    #[must_use]
    pub fn with_columns(mut self, columns: &'a mut Columns) -> Plan<'a> {
        self.columns = Lent::Kept(columns);
        self
    }

    /// The cell as this process sees it, without what is planned or in flight.
    pub fn cell(&self) -> &'a Cell {
        self.cell
    }

    /// The job the tasks belong to.
    pub fn job(&self) -> &'a Job {
        self.job
    }

    /// The group a task belongs to, as its job's current version describes it.
    pub fn group(&self, task: TaskId) -> Option<&'a GroupSpec> {
        self.job.spec().groups.get(usize::from(task.group))
    }

    /// What a task asks of a machine.
    pub fn demand(&self, task: TaskId) -> Option<&'a Demand> {
        self.job.current().demands.get(usize::from(task.group))
    }

    /// The band of the job's priority.
    pub fn band(&self) -> Band {
        Band::of(self.job.spec().priority)
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The source of chance. Use no other: a run must be reproducible by its seed.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Plans a task on a machine.
    ///
    /// # Errors
    /// Why not; then nothing is planned.
    pub fn place(&mut self, task: TaskId, machine: MachineId) -> Result<(), Unfit> {
        self.put(task, machine, &[], &[])
    }

    /// Plans a task on a machine, and names others the server may take in this order should it be lost. Room on the
    /// fallbacks isn't reserved.
    ///
    /// # Errors
    /// Why not on the first machine; then nothing is planned.
    pub fn place_with_fallbacks(
        &mut self,
        task: TaskId,
        machine: MachineId,
        fallbacks: &[MachineId],
    ) -> Result<(), Unfit> {
        self.put(task, machine, fallbacks, &[])
    }

    /// Plans a task on a machine where these tasks of lower priority must go first.
    ///
    /// # Errors
    /// Why not; then nothing is planned.
    pub fn preempt(&mut self, task: TaskId, machine: MachineId, victims: &[TaskId]) -> Result<(), Unfit> {
        if victims.len() > PREEMPT_VICTIMS_MAX {
            return Err(Unfit::Full);
        }
        self.put(task, machine, &[], victims)
    }

    /// Plans that a live task of this job leaves its machine, to be placed anew once it is gone.
    ///
    /// # Errors
    /// It isn't placed or running, or is asked to go already.
    pub fn evict(&mut self, task: TaskId) -> Result<(), Unfit> {
        self.room_for_an_op()?;
        let epoch = self.job.task(task).ok_or(Unfit::Conflict(ConflictKind::NoTask))?.epoch;
        self.overlay.leave(self.cell, task).map_err(Unfit::Conflict)?;
        self.ops.push(Op::Evict { task, epoch });
        Ok(())
    }

    /// Takes back what this plan has for a task.
    pub fn undo(&mut self, task: TaskId) {
        if let Some(at) = self.ops.iter().rposition(|op| op.task() == task) {
            let op = self.ops.remove(at);
            self.take_back(&op);
        }
    }

    /// Takes back the whole plan.
    pub fn undo_all(&mut self) {
        for op in std::mem::take(&mut self.ops) {
            self.take_back(&op);
        }
        self.assertions.clear();
    }

    /// Has the server check that at most `max` live tasks of the job are on machines whose attribute has this value
    /// once the transaction is applied; if not, none of it is. Asserting the same again changes nothing.
    ///
    /// # Errors
    /// The transaction is at its bound of assertions.
    pub fn assert_at_most(&mut self, attribute: &str, value: &str, max: u32) -> Result<(), Unfit> {
        let (attribute, value) = (attribute.to_owned(), value.to_owned());
        self.assert(Assertion::AtMost { job: self.job.id, attribute, value, max })
    }

    /// Has the server check that the job is still the version this plan was made for.
    ///
    /// # Errors
    /// The transaction is at its bound of assertions.
    pub fn assert_version(&mut self) -> Result<(), Unfit> {
        self.assert(Assertion::JobVersion { job: self.job.id, version: self.job.current().version })
    }

    /// Tasks placed so far, in the order they were.
    pub fn placed(&self) -> impl Iterator<Item = TaskId> {
        self.ops.iter().filter_map(|op| match op {
            Op::Place { task, .. } => Some(*task),
            Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
        })
    }

    /// True when nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// True when a bound of the transaction was met, so that more may be possible in the next one.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Groups that no machine would do for, since their team's quota is used up.
    pub fn hopeless(&self) -> &BTreeSet<u16> {
        &self.hopeless
    }

    /// The transaction, or `None` when nothing is planned.
    pub fn into_transaction(self, id: TxnId) -> Option<Transaction> {
        let Terms { atomicity, detection } = self.terms;
        let basis = self.basis();
        let (ops, assertions) = (self.ops, self.assertions);
        (!ops.is_empty()).then_some(Transaction { id, basis, atomicity, detection, ops, assertions })
    }

    fn put(
        &mut self,
        task: TaskId,
        machine: MachineId,
        fallbacks: &[MachineId],
        victims: &[TaskId],
    ) -> Result<(), Unfit> {
        self.room_for_an_op()?;
        if self.hopeless.contains(&task.group) {
            return Err(Unfit::Hopeless);
        }
        if self.cell.machine(machine).is_some_and(|m| self.avoids(m)) {
            return Err(Unfit::Avoided);
        }
        let placed = match self.sight.zip(self.cell.machine(machine)) {
            None => self.overlay.place(self.cell, task, machine, victims),
            Some((sight, now)) => {
                let seen = sight.machine(now);
                let withheld = sight.withheld(seen);
                self.overlay.place_as_seen(self.cell, task, seen, withheld.as_ref(), victims)
            }
        };
        if let Err(kind) = placed {
            if matches!(kind, ConflictKind::Quota { .. }) {
                self.hopeless.insert(task.group);
            }
            return Err(Unfit::Conflict(kind));
        }
        self.columns().touch(machine);
        let others = fallbacks.iter().copied().take(PLACE_MACHINES_MAX - 1);
        let machines = std::iter::once(machine).chain(others).collect();
        self.ops.push(Op::Place { task, machines, preempt: victims.to_vec() });
        Ok(())
    }

    /// Names machines the server may take should the first of the placement planned last be lost.
    pub(crate) fn fall_back_to(&mut self, fallbacks: impl IntoIterator<Item = MachineId>) {
        if let Some(Op::Place { machines, .. }) = self.ops.last_mut() {
            let room = PLACE_MACHINES_MAX - machines.len();
            *machines = machines.iter().copied().chain(fallbacks.into_iter().take(room)).collect();
        }
    }

    fn take_back(&mut self, op: &Op) {
        if let Some(machine) = self.overlay.machine_of(op.task()) {
            self.columns().touch(machine);
        }
        self.overlay.undo(op.task());
    }

    fn columns(&mut self) -> &mut Columns {
        match &mut self.columns {
            Lent::Kept(columns) => columns,
            Lent::Own(columns) => columns,
        }
    }

    fn room_for_an_op(&mut self) -> Result<(), Unfit> {
        if self.ops.len() < TXN_OPS_MAX {
            return Ok(());
        }
        self.full = true;
        Err(Unfit::Full)
    }

    fn assert(&mut self, assertion: Assertion) -> Result<(), Unfit> {
        if self.assertions.contains(&assertion) {
            return Ok(());
        }
        if self.assertions.len() >= TXN_ASSERTIONS_MAX {
            self.full = true;
            return Err(Unfit::Full);
        }
        self.assertions.push(assertion);
        Ok(())
    }
}
