//! Finding a machine by its name: a table of numbers that hashes each through the machine's own record, so a name is
//! kept once, where the machine is described.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::ids::MachineId;
use crate::machine::Machine;

/// Machines by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MachineNames {
    table: HashTable<MachineId>,
}

fn hash(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

fn name_of(machines: &[Machine], id: MachineId) -> &str {
    machines.get(id.index()).map_or("", |machine| &machine.spec.name)
}

impl MachineNames {
    pub(crate) fn get(&self, name: &str, machines: &[Machine]) -> Option<MachineId> {
        self.table.find(hash(name), |id| name_of(machines, *id) == name).copied()
    }

    /// Adds a machine, which is in the table of machines already; of two with one name the later is found.
    pub(crate) fn insert(&mut self, id: MachineId, machines: &[Machine]) {
        let name = name_of(machines, id);
        let same = |other: &MachineId| name_of(machines, *other) == name;
        match self.table.find_mut(hash(name), same) {
            Some(found) => *found = id,
            None => {
                self.table.insert_unique(hash(name), id, |other| hash(name_of(machines, *other)));
            }
        }
    }
}
