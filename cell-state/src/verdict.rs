//! Verdicts: the answer to each op of a transaction. A lost race is a value here, never an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::fit::Misfit;
use crate::ids::{Epoch, MachineId, Seq, TaskId, TxnId};
use crate::job::Band;
use crate::machine::Grant;
use crate::resources::{Dimension, Resources, Schema};
use crate::task::{StopReason, TaskState};

/// What became of one op. The accepted ones are also what `apply` applies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The task is on the machine.
    Placed(Placed),
    /// The task was asked to leave, for this reason.
    Stopping {
        /// The task.
        task: TaskId,
        /// Stop for good, or evict.
        reason: StopReason,
    },
    /// The task's promise was changed.
    Resized {
        /// The task.
        task: TaskId,
        /// The new promise.
        resources: Box<Resources>,
    },
    /// The op lost.
    Conflict(Box<Conflict>),
    /// The op would have been accepted, but its transaction was not.
    Aborted,
}

impl Outcome {
    /// True when the op took effect.
    pub fn is_accepted(&self) -> bool {
        match self {
            Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } => true,
            Outcome::Conflict(_) | Outcome::Aborted => false,
        }
    }

    /// The machine of which more or less is used for it, in a state that has applied it. What is asked to go holds its
    /// place until it is gone, and victims sit on the machine of their newcomer.
    pub fn loads(&self, cell: &Cell) -> Option<MachineId> {
        match self {
            Outcome::Placed(placed) => Some(placed.machine),
            Outcome::Resized { task, .. } => cell.task(*task).and_then(|task| task.machine),
            Outcome::Stopping { .. } | Outcome::Conflict(_) | Outcome::Aborted => None,
        }
    }
}

/// An accepted placement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// The task.
    pub task: TaskId,
    /// Its machine.
    pub machine: MachineId,
    /// Its new epoch.
    pub epoch: Epoch,
    /// The job version it runs.
    pub version: u32,
    /// What few placements have, kept apart so that the rest stay small.
    pub extra: Option<Box<PlacedExtra>>,
}

/// The rarer parts of a placement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlacedExtra {
    /// Ports and devices.
    pub grant: Grant,
    /// Tasks that must go first.
    pub preempted: Vec<TaskId>,
}

/// A lost race, as data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// The op's task; for a failed assertion, `None`.
    pub task: Option<TaskId>,
    /// The machine it was lost on: the first choice, when all fallbacks were lost too.
    pub machine: Option<MachineId>,
    /// What stood in the way.
    pub kind: ConflictKind,
    /// Who changed that last, when it was a transaction.
    pub winner: Option<Winner>,
    /// Entries between the basis and the commit.
    pub stale_entries: u64,
    /// Only for [`ConflictKind::Changed`]: the task would have fitted all the same.
    pub spurious: bool,
    /// Nothing relevant changed since the basis: the author's plan was wrong when it was made. An alarm, never
    /// to be retried silently.
    pub divergence: bool,
}

/// The transaction that won, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Winner {
    /// The transaction.
    pub txn: TxnId,
    /// The name of its author's scheduler.
    pub scheduler: String,
}

/// What stood in the way of an op.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ConflictKind {
    /// The machine changed since the basis (coarse detection).
    Changed {
        /// Its version now.
        version: Seq,
    },
    /// The task doesn't fit.
    Misfit(Misfit),
    /// The task is in another state than the op needs: placed already, stopped, gone.
    TaskState(TaskState),
    /// The task has been placed anew since.
    Epoch {
        /// The current epoch.
        epoch: Epoch,
    },
    /// The task or its job is no longer in the cell.
    NoTask,
    /// The machine isn't in the cell.
    NoMachine,
    /// The job has been stopped, or its group has shrunk.
    Unwanted,
    /// The team's quota in this band is used up.
    Quota {
        /// The team.
        team: String,
        /// The band.
        band: Band,
        /// The dimension.
        dimension: Dimension,
        /// What the task asks for.
        wanted: u64,
        /// What is left.
        free: u64,
    },
    /// A victim can't be preempted by this task: it is gone, elsewhere, or of no lower priority.
    Victim(TaskId),
    /// Another transaction already claims or waits for this task's resources.
    Waiting(TaskId),
    /// An assertion doesn't hold, by its position in the transaction.
    Assertion {
        /// The position.
        index: u16,
        /// What was found (a count, a version, or a seq).
        found: u64,
        /// What was allowed.
        allowed: u64,
    },
}

impl ConflictKind {
    /// A short stable word for counting.
    pub fn word(&self) -> &'static str {
        match self {
            ConflictKind::Changed { .. } => "changed",
            ConflictKind::Misfit(misfit) => match misfit {
                Misfit::State(_) => "machine-state",
                Misfit::Resource { .. } => "resource",
                Misfit::Constraint(_) => "constraint",
                Misfit::SameJob(_) => "same-job",
                Misfit::Port(_) | Misfit::Ports { .. } => "port",
                Misfit::Devices { .. } => "device",
            },
            ConflictKind::TaskState(_) => "task-state",
            ConflictKind::Epoch { .. } => "epoch",
            ConflictKind::NoTask => "no-task",
            ConflictKind::NoMachine => "no-machine",
            ConflictKind::Unwanted => "unwanted",
            ConflictKind::Quota { .. } => "quota",
            ConflictKind::Victim(_) => "victim",
            ConflictKind::Waiting(_) => "waiting",
            ConflictKind::Assertion { .. } => "assertion",
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConflictKind::Changed { version } => write!(f, "the machine changed at {version}"),
            ConflictKind::Misfit(misfit) => misfit.fmt(f),
            ConflictKind::TaskState(state) => write!(f, "the task is {}", state.word()),
            ConflictKind::Epoch { epoch } => write!(f, "the task is at epoch {epoch}"),
            ConflictKind::NoTask => write!(f, "the task is not in the cell"),
            ConflictKind::NoMachine => write!(f, "the machine is not in the cell"),
            ConflictKind::Unwanted => write!(f, "the job no longer wants the task"),
            ConflictKind::Quota { team, band, dimension, wanted, free } => {
                let name = Schema::default().name(*dimension);
                write!(f, "quota of team {team} in band {band}: {name} wanted {wanted}, free {free}")
            }
            ConflictKind::Victim(task) => write!(f, "task {task} can't be preempted"),
            ConflictKind::Waiting(task) => write!(f, "task {task} waits for others to go, or is waited for"),
            ConflictKind::Assertion { index, found, allowed } => {
                write!(f, "assertion {index}: found {found}, allowed {allowed}")
            }
        }
    }
}

impl TaskState {
    /// The state in one word, as people read it.
    pub fn word(self) -> &'static str {
        match self {
            TaskState::Pending => "pending",
            TaskState::Placed => "placed",
            TaskState::Running => "running",
            TaskState::Stopping(_) => "stopping",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
            TaskState::Stopped => "stopped",
        }
    }
}
