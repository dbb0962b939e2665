//! Machines a job avoids for a while because it lost there. A verdict is newer than the copy it was planned on, so
//! until the copy has caught up the fit rule would choose the same machine again.

use std::collections::BTreeMap;

use cell_state::machine::Machine;
use cell_state::{MachineId, Seq};

use crate::bounds::EXCLUSIONS_MAX;

/// Until when a machine is avoided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// The copy has reached this position: what the verdict saw is then visible to the fit rule, which keeps the job
    /// off the machine for as long as it stays so.
    Copy(Seq),
    /// The machine has changed after this position: for refusals that the fit rule doesn't explain.
    Changed(Seq),
}

/// The machines one job avoids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exclusions {
    by_machine: BTreeMap<MachineId, Until>,
}

/// No exclusions, for jobs that have lost nothing.
pub static NONE: Exclusions = Exclusions { by_machine: BTreeMap::new() };

impl Exclusions {
    /// Avoids a machine. The newest word on a machine counts; over the bound the lowest machine is forgiven.
    pub fn add(&mut self, machine: MachineId, until: Until) {
        self.by_machine.insert(machine, until);
        if self.by_machine.len() > EXCLUSIONS_MAX {
            self.by_machine.pop_first();
        }
    }

    /// Whether `machine` is to be avoided by a copy that stands at `at`.
    pub fn excludes(&self, machine: &Machine, at: Seq) -> bool {
        match self.by_machine.get(&machine.id) {
            None => false,
            Some(Until::Copy(seq)) => at < *seq,
            Some(Until::Changed(seq)) => machine.version <= *seq,
        }
    }

    /// Drops what no longer holds.
    pub fn prune(&mut self, machines: &[Machine], at: Seq) {
        self.by_machine.retain(|id, until| match until {
            Until::Copy(seq) => at < *seq,
            Until::Changed(seq) => machines.get(id.index()).is_some_and(|m| m.version <= *seq),
        });
    }

    /// Forgives everything.
    pub fn clear(&mut self) {
        self.by_machine.clear();
    }

    /// True when a machine is avoided only until the copy has caught up: waiting a moment may be all that is needed.
    pub fn will_pass(&self) -> bool {
        self.by_machine.values().any(|until| matches!(until, Until::Copy(_)))
    }

    /// True when no machine is avoided.
    pub fn is_empty(&self) -> bool {
        self.by_machine.is_empty()
    }

    /// How many machines are avoided.
    pub fn len(&self) -> usize {
        self.by_machine.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use cell_state::Resources;
    use cell_state::machine::{DEFAULT_PORTS, MachineSpec};

    use super::*;

    fn machine(id: u32, version: u64) -> Machine {
        let spec = MachineSpec {
            name: format!("m{id}"),
            capacity: Resources::ZERO,
            attributes: BTreeMap::new(),
            devices: Vec::new(),
            ports: DEFAULT_PORTS,
        };
        let mut machine = Machine::new(MachineId(id), Arc::new(spec), Resources::ZERO);
        machine.version = Seq(version);
        machine
    }

    #[test]
    fn each_kind_ends_by_its_own_rule() {
        let table = [
            (Until::Copy(Seq(9)), 3, 8, true),
            (Until::Copy(Seq(9)), 3, 9, false),
            (Until::Changed(Seq(9)), 9, 20, true),
            (Until::Changed(Seq(9)), 10, 20, false),
        ];
        for (until, version, at, expected) in table {
            let mut exclusions = Exclusions::default();
            exclusions.add(MachineId(0), until);
            let machines = [machine(0, version)];
            assert_eq!(exclusions.excludes(&machines[0], Seq(at)), expected, "{until:?} {version} {at}");
            exclusions.prune(&machines, Seq(at));
            assert_eq!(exclusions.is_empty(), !expected, "{until:?} {version} {at}");
        }
    }

    #[test]
    fn the_bound_holds() {
        let mut exclusions = Exclusions::default();
        for id in 0..2 * EXCLUSIONS_MAX as u32 {
            exclusions.add(MachineId(id), Until::Copy(Seq(1)));
        }
        assert_eq!(exclusions.len(), EXCLUSIONS_MAX);
    }
}
