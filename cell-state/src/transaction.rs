//! Transactions: what a scheduler saw and what it wants. Step 5 (propose) of a placement's life.

mod choices;

use serde::{Deserialize, Serialize};

pub use choices::Choices;

use crate::ids::{Epoch, JobId, MachineId, Seq, TaskId, TxnId};
use crate::resources::Resources;

/// What happens to the other ops when one loses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Atomicity {
    /// Each op stands for itself.
    Incremental,
    /// All or nothing.
    AllOrNothing,
}

/// What counts as a conflict on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Detection {
    /// The task no longer fits (the paper's fine-grained detection).
    Fit,
    /// The machine changed since the basis, whether the task still fits or not (the paper's coarse one).
    Version,
}

/// A proposal to change the cell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Author and number; a resend carries the same id and gets the same answer.
    pub id: TxnId,
    /// The position of the log the plan was made at.
    pub basis: Seq,
    /// What happens to the other ops when one loses.
    pub atomicity: Atomicity,
    /// What counts as a conflict.
    pub detection: Detection,
    /// The changes, judged in this order, each on top of those before it.
    pub ops: Vec<Op>,
    /// What must hold once the accepted ops are applied; if one fails the whole transaction is aborted.
    pub assertions: Vec<Assertion>,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Put a pending task on the first of these machines that takes it.
    Place {
        /// The task.
        task: TaskId,
        /// The first choice, then the fallbacks.
        machines: Choices,
        /// Tasks of lower priority on the first choice that must go to make room. Fallbacks preempt nobody.
        preempt: Vec<TaskId>,
    },
    /// Ask a task to leave its machine; it becomes pending again once it is gone.
    Evict {
        /// The task, of the author's own.
        task: TaskId,
        /// The placement that is meant.
        epoch: Epoch,
    },
    /// Ask a task to stop for good.
    Stop {
        /// The task, of the author's own.
        task: TaskId,
        /// The placement that is meant; 0 for one that was never placed.
        epoch: Epoch,
    },
    /// Change what a live task is promised.
    Resize {
        /// The task, of the author's own.
        task: TaskId,
        /// The placement that is meant.
        epoch: Epoch,
        /// The new promise.
        resources: Resources,
    },
}

impl Op {
    /// The task the op is about.
    pub fn task(&self) -> TaskId {
        match self {
            Op::Place { task, .. }
            | Op::Evict { task, .. }
            | Op::Stop { task, .. }
            | Op::Resize { task, .. } => *task,
        }
    }
}

/// What must hold once a transaction is applied. Judged by the writer, so two transactions that are each right
/// alone can't be wrong together (no write skew).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Assertion {
    /// At most this many live tasks of the job on machines whose attribute has this value.
    AtMost {
        /// The job.
        job: JobId,
        /// The attribute's key.
        attribute: String,
        /// Its value.
        value: String,
        /// How many.
        max: u32,
    },
    /// The job's current version is still this one.
    JobVersion {
        /// The job.
        job: JobId,
        /// Its version.
        version: u32,
    },
    /// The machine has not changed since the basis.
    Unchanged {
        /// The machine.
        machine: MachineId,
    },
}
