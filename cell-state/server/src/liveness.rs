//! Liveness: which machines have been silent for too long.
//!
//! A machine holds a lease that every heartbeat and every request of its agent renews. A closed connection ends
//! nothing by itself: the agent may be back before the lease ends. When this server was not looking (it has just
//! started, or stood still), every machine gets a full lease first. And however many leases end at once, only a part
//! of the cell is declared down per look, since the loss of everything is more likely a fault on this side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cell_state::machine::{Machine, MachineState};
use cell_state::{Cell, MachineId};

use crate::bounds::{CARE_EVERY, MACHINES_LOST_AT_ONCE, MACHINES_LOST_PERCENT};
use crate::connection::Parties;

/// What a look at the machines leads to.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Findings {
    /// Names of machines to declare down, or whose silence now is too long for tasks that had outlasted it; for how many
    /// microseconds each has been silent.
    pub(crate) down: Vec<(String, u64)>,
    /// How many more are silent, and have to wait for the next look.
    pub(crate) deferred: usize,
    /// Connections whose agent speaks for a machine that is down, and has not registered it again for a whole lease.
    pub(crate) stale: Vec<(u64, String)>,
}

/// What the looks remember.
pub(crate) struct Liveness {
    down_after: Duration,
    /// Every machine has a lease from here on.
    granted: Instant,
    looked: Instant,
    /// Machines that are down and heard all the same, with when that was first seen.
    heard_though_down: BTreeMap<MachineId, Instant>,
}

impl Liveness {
    /// Every machine has a full lease from `now` on.
    pub(crate) fn new(down_after: Duration, now: Instant) -> Liveness {
        Liveness { down_after, granted: now, looked: now, heard_though_down: BTreeMap::new() }
    }

    /// Looks at all machines.
    pub(crate) fn look(&mut self, now: Instant, cell: &Cell, parties: &Parties) -> Findings {
        let paused = now.saturating_duration_since(self.looked);
        if paused > CARE_EVERY + self.down_after / 2 {
            tracing::warn!(?paused, "this server stood still; every machine gets a full lease");
            self.granted = now;
        }
        self.looked = now;
        let mut findings = Findings::default();
        let mut silent: Vec<(Instant, &Machine)> = Vec::new();
        for machine in cell.machines() {
            let heard = self.heard(machine.id, parties);
            let expired = now.saturating_duration_since(heard) > self.down_after;
            match machine.state {
                MachineState::Ready | MachineState::Draining => {
                    self.heard_though_down.remove(&machine.id);
                    if expired {
                        silent.push((heard, machine));
                    }
                }
                MachineState::Down => {
                    self.look_at_down(now, machine, parties, &mut findings);
                    let silent_us = micros(now, heard);
                    if expired && !cell.given_up(machine.id, Some(silent_us)).is_empty() {
                        findings.down.push((machine.spec.name.clone(), silent_us));
                    }
                }
            }
        }
        silent.sort_by_key(|(heard, machine)| (*heard, machine.id));
        let at_once = MACHINES_LOST_AT_ONCE.max(cell.machines().len() * MACHINES_LOST_PERCENT / 100);
        findings.deferred = silent.len().saturating_sub(at_once);
        let down = silent.into_iter().take(at_once);
        findings.down.extend(down.map(|(heard, machine)| (machine.spec.name.clone(), micros(now, heard))));
        findings
    }

    fn heard(&self, machine: MachineId, parties: &Parties) -> Instant {
        parties.agents.get(&machine).map_or(self.granted, |pulse| pulse.heard().max(self.granted))
    }

    /// An agent learns from its subscription that its machine was declared down, and registers it again. One that
    /// doesn't is disconnected, so that it starts over.
    fn look_at_down(&mut self, now: Instant, machine: &Machine, parties: &Parties, findings: &mut Findings) {
        let pulse = parties.agents.get(&machine.id).map(|pulse| (pulse.heard(), pulse.connection()));
        let speaking = pulse.filter(|(heard, connection)| {
            now.saturating_duration_since(*heard) <= self.down_after && parties.is_open(*connection)
        });
        let Some((_, connection)) = speaking else {
            self.heard_though_down.remove(&machine.id);
            return;
        };
        let since = *self.heard_though_down.entry(machine.id).or_insert(now);
        if now.saturating_duration_since(since) > self.down_after {
            self.heard_though_down.remove(&machine.id);
            findings.stale.push((connection, machine.spec.name.clone()));
        }
    }
}

fn micros(now: Instant, heard: Instant) -> u64 {
    now.saturating_duration_since(heard).as_micros() as u64
}

#[cfg(test)]
mod tests {
    use cell_state::event::Event;
    use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
    use cell_state::{Resources, Time};

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn cell(machines: u32) -> Cell {
        let mut cell = Cell::new();
        for n in 0..machines {
            let spec = MachineSpec {
                name: format!("m{n}"),
                capacity: Resources::cpu_memory(1_000, 1 << 30),
                attributes: BTreeMap::new(),
                devices: Vec::new(),
                ports: DEFAULT_PORTS,
            };
            let event = Event::MachineRegistered {
                machine: MachineId(n),
                spec: spec.into(),
                incarnation: 1,
                time: Time(1),
            };
            cell.apply(cell.seq().next(), &event);
        }
        cell
    }

    /// Looks every second from `from` to `to`, both included, and returns what the last look found.
    fn looks(
        liveness: &mut Liveness,
        start: Instant,
        from: u64,
        to: u64,
        cell: &Cell,
        parties: &Parties,
    ) -> Findings {
        let mut last = Findings::default();
        for second in from..=to {
            last = liveness.look(start + Duration::from_secs(second), cell, parties);
        }
        last
    }

    /// Silent for eleven seconds each.
    fn found(names: &[&str]) -> Vec<(String, u64)> {
        names.iter().map(|name| ((*name).to_owned(), 11_000_000)).collect()
    }

    #[test]
    fn after_a_start_every_machine_has_a_full_lease() {
        let (start, cell, parties) = (Instant::now(), cell(3), Parties::new());
        let mut liveness = Liveness::new(LEASE, start);
        assert_eq!(looks(&mut liveness, start, 1, 10, &cell, &parties), Findings::default());
        assert_eq!(looks(&mut liveness, start, 11, 11, &cell, &parties).down, found(&["m0", "m1", "m2"]));
    }

    #[test]
    fn a_server_that_stood_still_grants_leases_anew() {
        let (start, cell, parties) = (Instant::now(), cell(1), Parties::new());
        let mut liveness = Liveness::new(LEASE, start);
        assert_eq!(looks(&mut liveness, start, 60, 70, &cell, &parties), Findings::default());
        assert_eq!(looks(&mut liveness, start, 71, 71, &cell, &parties).down, found(&["m0"]));
    }

    #[test]
    fn the_loss_of_everything_is_declared_bit_by_bit() {
        let (start, cell, parties) = (Instant::now(), cell(1_000), Parties::new());
        let mut liveness = Liveness::new(LEASE, start);
        let found = looks(&mut liveness, start, 1, 11, &cell, &parties);
        assert_eq!((found.down.len(), found.deferred), (100, 900));
    }
}
