//! What the proposers and the machines of a load share: who may propose which task, and what is placed where.
//!
//! Both locks are taken once for all the answers that came together, never for each of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use cell_state::{Epoch, MachineId, TaskId};

use super::board::Board;
use super::settings::Settings;
use super::skew::Chooser;
use super::wires::Wires;

/// What all who take part share.
pub(super) struct Field {
    pub(super) settings: Settings,
    /// The machines' numbers, in the order of their names.
    pub(super) machines: Vec<MachineId>,
    pub(super) chooser: Chooser,
    pub(super) board: Board,
    /// The connections of all who take part.
    pub(super) wires: Wires,
    places: BTreeMap<MachineId, usize>,
    /// What is placed on each machine and not yet reported.
    held: Mutex<Vec<Vec<Placement>>>,
    /// For each scheduler, tasks that are pending again.
    free: Vec<Mutex<VecDeque<TaskId>>>,
}

/// A placement, and which scheduler's it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placement {
    pub(super) owner: u32,
    pub(super) task: TaskId,
    pub(super) epoch: Epoch,
}

impl Field {
    pub(super) fn new(settings: Settings, machines: Vec<MachineId>) -> Field {
        Field {
            chooser: Chooser::new(settings.skew, machines.len()),
            board: Board::default(),
            wires: Wires::default(),
            places: machines.iter().enumerate().map(|(place, machine)| (*machine, place)).collect(),
            held: Mutex::new(machines.iter().map(|_| Vec::new()).collect()),
            free: (0..settings.schedulers).map(|_| Mutex::default()).collect(),
            settings,
            machines,
        }
    }

    /// The place of a machine among those of this load.
    pub(super) fn place_of(&self, machine: MachineId) -> Option<usize> {
        self.places.get(&machine).copied()
    }

    /// What is placed on each machine, in the order of their names.
    pub(super) fn held(&self) -> MutexGuard<'_, Vec<Vec<Placement>>> {
        self.held.lock().expect("no panic while it is held")
    }

    /// The pending tasks of a scheduler that it has not taken yet.
    pub(super) fn free(&self, owner: usize) -> MutexGuard<'_, VecDeque<TaskId>> {
        self.free[owner].lock().expect("no panic while it is held")
    }
}
