//! What a machine holds when not all of its tasks are known: sums that somebody else has added up.

use crate::resources::Resources;
use crate::scope::MachineLoad;

use super::Machine;

impl Machine {
    /// What the machine holds, whosever it is.
    pub fn amounts(&self) -> MachineLoad {
        let extra = self.load.extra();
        MachineLoad {
            machine: self.id,
            state: self.state,
            version: self.version,
            used: self.load.used,
            ports: extra.ports.iter().copied().collect(),
            devices: extra.devices.clone(),
            waiting: extra.waiting.iter().map(|waiting| waiting.task).collect(),
        }
    }

    /// Takes these amounts for its own, whatever its own tasks add up to.
    pub(crate) fn set_amounts(&mut self, amounts: &MachineLoad) {
        (self.state, self.version) = (amounts.state, amounts.version);
        let load = &mut self.load;
        load.used = amounts.used;
        let plain = amounts.ports.is_empty() && amounts.devices.iter().all(|milli| *milli == 0);
        if plain && load.extra.is_none() {
            return;
        }
        let extra = load.extra_mut();
        extra.ports = amounts.ports.iter().copied().collect();
        extra.devices.clone_from(&amounts.devices);
        extra.waiting.retain(|waiting| amounts.waiting.contains(&waiting.task));
        if plain && extra.is_empty() {
            load.extra = None;
        }
    }
}

impl MachineLoad {
    /// Whether this is less, in any respect, than what the machine held so far: who waits for room may have it now.
    pub fn frees(&self, before: &Machine) -> bool {
        let Resources(used) = self.used;
        let extra = before.load.extra();
        let devices = extra.devices.iter().enumerate();
        self.state != before.state
            || before.load.used.0.iter().zip(used).any(|(before, now)| now < *before)
            || extra.ports.iter().any(|port| !self.ports.contains(port))
            || devices.into_iter().any(|(i, before)| self.devices.get(i).is_none_or(|now| now < before))
    }
}
