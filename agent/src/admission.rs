//! Admission: whether a placement fits beside what physically runs here. Part of step 10 (run) of a placement's life.
//!
//! The cell has already made room for it in its books; here the same rule is asked about the machine itself, so that
//! a newcomer never starts while what it replaces is still going.

use std::borrow::Cow;
use std::sync::Arc;

use cell_state::fit::{DEVICE_MILLI, Demand, Misfit, fit};
use cell_state::job::PortAsk;
use cell_state::machine::{Grant, Machine, MachineSpec};
use cell_state::resources::Dimension;
use cell_state::{MachineId, Resources};

use crate::placement::PlacementId;

/// Why a placement isn't started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Obstacle {
    /// Something that is here must go first.
    Occupied(Misfit),
    /// It wouldn't fit if the machine were empty.
    Unfit(Misfit),
}

/// The machine as it is, with what physically runs on it.
pub(crate) struct Room {
    machine: Machine,
}

impl Room {
    pub(crate) fn new(id: MachineId, spec: &Arc<MachineSpec>, limit: Resources) -> Room {
        Room { machine: Machine::new(id, spec.clone(), limit) }
    }

    /// Adds something that runs here.
    pub(crate) fn take(&mut self, id: PlacementId, resources: &Resources, grant: &Grant) {
        self.machine.load.add(id.task, resources, Some(grant));
    }

    /// Asks the one fit rule about a placement with the ports and devices it was given.
    pub(crate) fn admit(
        &self,
        id: PlacementId,
        demand: &Demand,
        resources: &Resources,
        grant: &Grant,
    ) -> Result<(), Obstacle> {
        let demand = as_granted(demand, resources, grant);
        let Err(misfit) = self.check(&self.machine, id, &demand, grant) else { return Ok(()) };
        let empty = Machine::new(self.machine.id, self.machine.spec.clone(), self.machine.limit);
        match self.check(&empty, id, &demand, grant) {
            Ok(()) => Err(Obstacle::Occupied(misfit)),
            Err(misfit) => Err(Obstacle::Unfit(misfit)),
        }
    }

    fn check(
        &self,
        machine: &Machine,
        id: PlacementId,
        demand: &Demand,
        grant: &Grant,
    ) -> Result<(), Misfit> {
        fit(id.task, demand, machine, None, &Resources::ZERO)?;
        // The rule chooses devices by itself; those that were given must be free as well.
        let held = |device: u8| machine.load.extra().devices.get(usize::from(device)).copied().unwrap_or(0);
        let taken = grant.devices.iter().find(|(device, milli)| held(*device) + milli > DEVICE_MILLI);
        match taken {
            None => Ok(()),
            Some((device, milli)) => Err(Misfit::Devices {
                wanted_milli: u64::from(*milli),
                largest_free_milli: u64::from(DEVICE_MILLI.saturating_sub(held(*device))),
            }),
        }
    }
}

/// The demand with the promise and the very ports of this placement.
fn as_granted<'a>(demand: &'a Demand, resources: &Resources, grant: &Grant) -> Cow<'a, Demand> {
    // A resize never changes devices, and the rule only counts whole ones or one fraction.
    let resources = resources.with(Dimension::GPU, demand.resources.get(Dimension::GPU));
    if demand.ports.is_empty() && demand.resources == resources {
        return Cow::Borrowed(demand);
    }
    let asks = demand.ports.iter().zip(&grant.ports);
    let ports = asks.map(|(ask, port)| PortAsk { name: ask.name.clone(), number: Some(*port) }).collect();
    Cow::Owned(Demand { resources, ports, ..demand.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::{JobId, TaskId};
    use std::collections::BTreeMap;

    fn id(index: u32) -> PlacementId {
        PlacementId { task: TaskId { job: JobId(index), group: 0, index: 0 }, epoch: 1 }
    }

    fn demand(cpu: u64, ports: usize) -> Demand {
        let ask = |i: usize| PortAsk { name: format!("p{i}"), number: None };
        Demand {
            resources: Resources::cpu_memory(cpu, 0),
            matchers: Vec::new(),
            distinct_machines: false,
            ports: (0..ports).map(ask).collect(),
        }
    }

    fn room() -> Room {
        let capacity = Resources::cpu_memory(4_000, 0).with(Dimension::GPU, 2_000);
        let spec = MachineSpec {
            name: "m".into(),
            capacity,
            attributes: BTreeMap::new(),
            devices: vec!["gpu0".into(), "gpu1".into()],
            ports: (20_000, 20_010),
        };
        Room::new(MachineId(0), &Arc::new(spec), capacity)
    }

    fn ports(ports: &[u16]) -> Grant {
        Grant { ports: ports.to_vec(), devices: Vec::new() }
    }

    #[test]
    fn what_is_here_counts_and_what_can_never_fit_is_told_apart() {
        let mut room = room();
        let cpu = |n| Resources::cpu_memory(n, 0);
        room.take(id(1), &cpu(3_000), &Grant::default());
        let admit = |n| room.admit(id(2), &demand(n, 0), &cpu(n), &Grant::default());
        assert_eq!(admit(1_000), Ok(()));
        assert!(matches!(admit(2_000), Err(Obstacle::Occupied(_))));
        assert!(matches!(admit(5_000), Err(Obstacle::Unfit(_))));
        // Resized below its spec: the promise counts.
        assert_eq!(room.admit(id(2), &demand(2_000, 0), &cpu(1_000), &Grant::default()), Ok(()));
    }

    #[test]
    fn the_given_ports_must_be_free_not_just_any() {
        let mut room = room();
        room.take(id(1), &Resources::ZERO, &ports(&[20_000]));
        let admit = |port| room.admit(id(2), &demand(1, 1), &Resources::cpu_memory(1, 0), &ports(&[port]));
        assert_eq!(admit(20_001), Ok(()));
        assert_eq!(admit(20_000), Err(Obstacle::Occupied(Misfit::Port(20_000))));
    }

    #[test]
    fn the_given_device_must_be_free_not_just_any() {
        let mut room = room();
        let half = |device| Grant { ports: Vec::new(), devices: vec![(device, 600)] };
        let gpu = Resources::ZERO.with(Dimension::GPU, 600);
        room.take(id(1), &gpu, &half(0));
        let demand = Demand { resources: gpu, ..demand(0, 0) };
        assert_eq!(room.admit(id(2), &demand, &gpu, &half(1)), Ok(()));
        assert!(matches!(room.admit(id(2), &demand, &gpu, &half(0)), Err(Obstacle::Occupied(_))));
    }
}
