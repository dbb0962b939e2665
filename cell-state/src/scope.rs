//! Scoped states: the machines of a cell with the jobs of one scheduler. Of what is anybody else's they have no record,
//! only what it takes up: the sum on each machine, its ports and devices, and what is used of each team's quota.
//!
//! ```text
//!                 entries that concern the scheduler, as they are ─▶ Cell::follow ─┐
//!   the log ─▶ Digest                                                              ├─▶ scoped Cell
//!                 machines touched by any entry ─▶ Loads ─▶ Cell::apply_loads ─────┘
//! ```
//!
//! Who plans the scheduler's jobs on such a state gets the answers of the whole one: whether a task fits a machine, what
//! is free there, when it last changed. Preempting others' tasks takes the whole state, since here they have no names.
//!
//! Loads are amounts, not differences: however many entries lie between two of them, and whatever the entries in between
//! made of the scoped state's own sums, what they say holds. A scoped state is at rest only after the last of the loads
//! of a position; in between its sums are of no position at all.

mod digest;

use serde::{Deserialize, Serialize};

use crate::ids::{MachineId, Seq, TaskId, Time};
use crate::job::Band;
use crate::machine::MachineState;
use crate::resources::Resources;

pub use digest::Digest;

/// What one machine holds, whosever it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineLoad {
    /// The machine.
    pub machine: MachineId,
    /// Whether it takes tasks.
    pub state: MachineState,
    /// The last entry that changed its state or its load.
    pub version: Seq,
    /// The sum of what its live tasks are charged.
    pub used: Resources,
    /// Ports given to its tasks, in order.
    pub ports: Vec<u16>,
    /// Thousandths given of each device.
    pub devices: Vec<u16>,
    /// Placements on it that wait for others to go.
    pub waiting: Vec<TaskId>,
}

/// What a scoped state needs to know besides the entries that concern its scheduler.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Loads {
    /// The time of the last entry that carries one.
    pub time: Time,
    /// Machines that changed.
    pub machines: Vec<MachineLoad>,
    /// More follow before the state is at rest; quotas are in the last of them alone.
    pub more: bool,
    /// What is used of quotas that have a limit, where that changed.
    pub quotas: Vec<(String, Band, Resources)>,
}
