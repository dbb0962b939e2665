//! The record of one task: small, fixed size, one per instance.

mod lack;
mod memory_kill;
pub(crate) mod packed;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, MachineId, Time, TxnId};

pub use lack::{ArtifactProblem, Lack, SecretProblem};
pub use memory_kill::MemoryKill;
pub use packed::Tasks;

/// Where a task is in its life; the transitions are in [`crate::lifecycle`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TaskState {
    /// To be placed.
    Pending,
    /// Committed to a machine; its agent has not reported it started.
    Placed,
    /// Its agent reported it started.
    Running,
    /// Asked to stop; its agent has not reported it gone.
    Stopping(StopReason),
    /// Ended well.
    Completed,
    /// Ended badly, restarts used up.
    Failed,
    /// Stopped on request.
    Stopped,
}

impl TaskState {
    /// All of them, in the order of a task's life.
    pub const ALL: [TaskState; 9] = [
        TaskState::Pending,
        TaskState::Placed,
        TaskState::Running,
        TaskState::Stopping(StopReason::Stop),
        TaskState::Stopping(StopReason::Evict),
        TaskState::Stopping(StopReason::Drain),
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Stopped,
    ];
}

/// Why a task was asked to stop, which decides what it becomes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StopReason {
    /// Its job was stopped, or its group shrank: it becomes stopped.
    Stop,
    /// It made room for another: it becomes pending again.
    Evict,
    /// Its machine is being drained: it becomes pending again.
    Drain,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never started.
    NotStarted(NotStarted),
    /// Nobody saw how: its shim was killed, or the machine rebooted.
    Unseen,
    /// It used more memory than it may, and the kernel killed a process of it.
    OutOfMemory(MemoryKill),
}

/// Why a process never started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum NotStarted {
    /// No such program.
    CommandNotFound,
    /// Not executable, or not allowed.
    PermissionDenied,
    /// No such working directory.
    DirectoryNotFound,
    /// The agent has no driver for it.
    NoDriver,
    /// It was stopped before it was started.
    StoppedFirst,
    /// Another error of the operating system, by number.
    Os(i32),
    /// Its machine has changed since it was placed, and no longer fits it even when empty.
    Unfit,
    /// The machine has no such user.
    NoUser,
    /// The machine could not keep it apart or within its bounds as it was to be.
    NotIsolated,
    /// The machine has no such bundle or root file system.
    NoImage,
    /// Something that it is to be given could not be had.
    Lacks(Lack),
}

impl Exit {
    /// True for exit code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl TaskState {
    /// True while the task holds resources on a machine.
    pub fn is_live(self) -> bool {
        match self {
            TaskState::Placed | TaskState::Running | TaskState::Stopping(_) => true,
            TaskState::Pending | TaskState::Completed | TaskState::Failed | TaskState::Stopped => false,
        }
    }
}

/// One task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Where it is in its life.
    pub state: TaskState,
    /// Restarts so far, of those the spec allows.
    pub restarts: u16,
    /// The current or last placement; 0 before the first.
    pub epoch: Epoch,
    /// The machine of the current or last placement.
    pub machine: Option<MachineId>,
    /// The job version of the current or last placement.
    pub version: u32,
    /// How the last process ended, if one did.
    pub exit: Option<Exit>,
    /// When the state last changed.
    pub changed: Time,
    /// The transaction of the current or last placement.
    pub placed_by: Option<TxnId>,
}

impl Task {
    /// A new task, to be placed.
    pub fn pending(now: Time) -> Task {
        Task {
            state: TaskState::Pending,
            restarts: 0,
            epoch: 0,
            machine: None,
            version: 0,
            exit: None,
            changed: now,
            placed_by: None,
        }
    }
}
