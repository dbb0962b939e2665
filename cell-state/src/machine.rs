//! Machines: what they are, what they hold, and when that last changed.

mod amounts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{MachineId, Seq, SessionId, TaskId, TxnId};
use crate::resources::Resources;

/// A machine as its agent registers it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Unique in the cell.
    pub name: String,
    /// What it has, before over-commit. The GPU dimension must be 1000 per device.
    pub capacity: Resources,
    /// Keys and values; failure domains (`rack`, `zone`) are attributes.
    pub attributes: BTreeMap<String, String>,
    /// GPU devices, by the name the driver knows them under.
    pub devices: Vec<String>,
    /// The range dynamic ports are taken from, both ends included.
    pub ports: (u16, u16),
}

/// The range of dynamic ports when a machine names none.
pub const DEFAULT_PORTS: (u16, u16) = (20_000, 31_999);

/// Whether a machine takes tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MachineState {
    /// It takes tasks.
    Ready,
    /// It takes none and is being emptied.
    Draining,
    /// It has been silent for too long; what it held is lost.
    Down,
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MachineState::Ready => "ready",
            MachineState::Draining => "draining",
            MachineState::Down => "down",
        })
    }
}

/// Ports and GPU devices a placement was given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Grant {
    /// Port numbers, in the order the group asks for them.
    pub ports: Vec<u16>,
    /// Devices by their index on the machine, each with the thousandths of it that were given.
    pub devices: Vec<(u8, u16)>,
}

impl Grant {
    /// True when there was nothing to give.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.devices.is_empty()
    }
}

/// A placement that waits for the tasks it preempts. Until they are gone the two together are charged the larger,
/// dimension by dimension, of what the victims hold and what the newcomer asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// The newcomer.
    pub task: TaskId,
    /// What it asks for.
    pub wants: Resources,
    /// The victims not yet gone, each with what it holds.
    pub victims: Vec<(TaskId, Resources)>,
}

impl Waiting {
    /// What the victims hold together.
    pub fn held(&self) -> Resources {
        self.victims.iter().fold(Resources::ZERO, |sum, (_, held)| sum.plus(held))
    }

    /// What newcomer and victims are charged together.
    pub fn charge(&self) -> Resources {
        self.wants.max(&self.held())
    }
}

/// What a machine holds. Its fields are in the order in which [`Machine`] lays them out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Load {
    /// The sum of what its live tasks are charged.
    pub used: Resources,
    /// Its live tasks, in no particular order.
    pub tasks: Vec<TaskId>,
    /// What few machines hold, kept apart so that the rest stay small.
    extra: Option<Box<LoadExtra>>,
}

/// The rarer parts of a load.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoadExtra {
    /// Ports given to its tasks.
    pub ports: BTreeSet<u16>,
    /// Thousandths given of each device.
    pub devices: Vec<u16>,
    /// Tasks that were given ports or devices.
    pub grants: BTreeMap<TaskId, Grant>,
    /// Placements that wait for their victims to go.
    pub waiting: Vec<Waiting>,
}

static NO_EXTRA: LoadExtra =
    LoadExtra { ports: BTreeSet::new(), devices: Vec::new(), grants: BTreeMap::new(), waiting: Vec::new() };

impl Load {
    /// Ports, devices and waiting placements.
    pub fn extra(&self) -> &LoadExtra {
        self.extra.as_deref().unwrap_or(&NO_EXTRA)
    }

    pub(crate) fn extra_mut(&mut self) -> &mut LoadExtra {
        self.extra.get_or_insert_default()
    }

    /// Adds a task that is charged `charge` and holds `grant`; returns its position in the list of tasks.
    #[inline]
    pub fn add(&mut self, task: TaskId, charge: &Resources, grant: Option<&Grant>) -> usize {
        self.used = self.used.plus(charge);
        self.tasks.push(task);
        if let Some(grant) = grant.filter(|g| !g.is_empty()) {
            self.extra_mut().grant(task, grant);
        }
        self.tasks.len() - 1
    }

    /// Removes a task that was charged `charge`, with its ports and devices. The task that takes its position in the
    /// list of tasks, if one does, is returned with it.
    pub fn remove(&mut self, task: TaskId, position: usize, charge: &Resources) -> Option<(TaskId, usize)> {
        let found = self.tasks.get(position) == Some(&task);
        let at = if found { Some(position) } else { self.tasks.iter().position(|t| *t == task) };
        if let Some(at) = at {
            self.tasks.swap_remove(at);
        }
        match &mut self.extra {
            None => self.used = self.used.minus(charge),
            Some(extra) => {
                extra.take_back(task);
                self.used = extra.release(task, charge, &self.used);
                if extra.is_empty() {
                    self.extra = None;
                }
            }
        }
        let at = at?;
        self.tasks.get(at).map(|moved| (*moved, at))
    }

    /// Adds a task that waits for `victims`, which this machine holds; returns its position in the list of tasks.
    pub fn add_waiting(
        &mut self,
        task: TaskId,
        wants: Resources,
        grant: Option<&Grant>,
        victims: Vec<(TaskId, Resources)>,
    ) -> usize {
        let waiting = Waiting { task, wants, victims };
        self.used = self.used.minus(&waiting.held()).plus(&waiting.charge());
        self.extra_mut().waiting.push(waiting);
        self.add(task, &Resources::ZERO, grant)
    }

    /// True when the task waits for others to go.
    pub fn is_waiting(&self, task: TaskId) -> bool {
        self.extra().waiting.iter().any(|w| w.task == task)
    }

    /// True when the task waits for others to go, or is waited for.
    pub fn is_paired(&self, task: TaskId) -> bool {
        let waiting = &self.extra().waiting;
        waiting.iter().any(|w| w.task == task || w.victims.iter().any(|(v, _)| *v == task))
    }
}

impl LoadExtra {
    fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.waiting.is_empty()
    }

    fn grant(&mut self, task: TaskId, grant: &Grant) {
        self.ports.extend(&grant.ports);
        for (device, milli) in &grant.devices {
            let i = usize::from(*device);
            if self.devices.len() <= i {
                self.devices.resize(i + 1, 0);
            }
            self.devices[i] += milli;
        }
        self.grants.insert(task, grant.clone());
    }

    fn take_back(&mut self, task: TaskId) {
        let Some(grant) = self.grants.remove(&task) else { return };
        for port in &grant.ports {
            self.ports.remove(port);
        }
        for (device, milli) in &grant.devices {
            self.devices[usize::from(*device)] -= milli;
        }
    }

    /// What is used once a leaving task's charge is off, minding placements that wait.
    fn release(&mut self, task: TaskId, charge: &Resources, used: &Resources) -> Resources {
        if let Some(at) = self.waiting.iter().position(|w| w.task == task) {
            // The newcomer leaves first: what is still there of the victims stays charged.
            let waiting = self.waiting.swap_remove(at);
            return used.minus(&waiting.charge()).plus(&waiting.held());
        }
        let Some(at) = self.waiting.iter().position(|w| w.victims.iter().any(|(v, _)| *v == task)) else {
            return used.minus(charge);
        };
        let waiting = &mut self.waiting[at];
        let before = waiting.charge();
        waiting.victims.retain(|(v, _)| *v != task);
        let used = used.minus(&before).plus(&waiting.charge());
        if waiting.victims.is_empty() {
            self.waiting.swap_remove(at);
        }
        used
    }
}

/// A machine of the cell. In a large cell each line of memory that a placement touches has to be waited for, so they are
/// few: the fields are laid out as they are written here, in lines of 64 bytes. To judge a placement takes the first
/// three, to apply it the first two.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(C, align(64))]
pub struct Machine {
    /// What it holds: the sum of it in the first line, the list of tasks in the second.
    pub load: Load,
    /// The last entry that changed its state or its load.
    pub version: Seq,
    changed: LastChange,
    /// Whether it takes tasks.
    pub state: MachineState,
    /// The most that may be committed to it, capacity times over-commit: the third line.
    pub limit: Resources,
    /// As registered.
    pub spec: Arc<MachineSpec>,
    /// Its number.
    pub id: MachineId,
    /// Which life of its agent's records this is: a new number means that the agent has lost them.
    pub incarnation: u64,
    /// The number of the last report applied of this incarnation.
    pub reports_seen: u64,
}

const _: () = assert!(std::mem::offset_of!(Machine, limit) == 128, "what is hot fills two lines of memory");

/// The last transaction that changed a machine's load, and its entry; entry 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, packed(4))]
struct LastChange {
    at: Seq,
    number: u64,
    session: SessionId,
}

const NO_CHANGE: LastChange = LastChange { at: Seq(0), number: 0, session: SessionId(0) };

impl Machine {
    /// An empty, ready machine.
    pub fn new(id: MachineId, spec: Arc<MachineSpec>, limit: Resources) -> Machine {
        Machine {
            load: Load::default(),
            version: Seq(0),
            changed: NO_CHANGE,
            state: MachineState::Ready,
            limit,
            spec,
            id,
            incarnation: 0,
            reports_seen: 0,
        }
    }

    /// What may still be committed to it.
    pub fn free(&self) -> Resources {
        self.limit.minus(&self.load.used)
    }

    /// The last transaction that changed its load, and its entry: who is named to the loser of a race for it.
    pub fn changed_by(&self) -> Option<(Seq, TxnId)> {
        let LastChange { at, number, session } = self.changed;
        (at > Seq(0)).then_some((at, TxnId { session, number }))
    }

    /// A transaction changed its load, in this entry.
    #[inline]
    pub(crate) fn set_changed_by(&mut self, at: Seq, TxnId { session, number }: TxnId) {
        self.changed = LastChange { at, number, session };
    }

    /// The value of an attribute; `name` is the machine's own name.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        if key == "name" {
            return Some(&self.spec.name);
        }
        self.spec.attributes.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::JobId;

    fn task(n: u32) -> TaskId {
        TaskId { job: JobId(n), group: 0, index: 0 }
    }

    fn cpu(n: u64) -> Resources {
        Resources::cpu_memory(n, 0)
    }

    #[test]
    fn a_preemption_is_charged_the_larger_of_both_until_the_victims_are_gone() {
        let mut load = Load::default();
        load.add(task(1), &cpu(3), None);
        load.add(task(2), &cpu(2), None);
        load.add_waiting(task(9), cpu(4), None, vec![(task(1), cpu(3)), (task(2), cpu(2))]);
        assert_eq!(load.used, cpu(5));
        load.remove(task(1), 0, &cpu(3));
        assert_eq!(load.used, cpu(4));
        load.remove(task(2), 0, &cpu(2));
        assert_eq!((load.used, load.extra().waiting.len()), (cpu(4), 0));
        load.remove(task(9), 0, &cpu(4));
        assert_eq!(load, Load::default());
    }

    #[test]
    fn a_newcomer_that_leaves_first_leaves_the_victims_charged() {
        let mut load = Load::default();
        load.add(task(1), &cpu(3), None);
        load.add_waiting(task(9), cpu(4), None, vec![(task(1), cpu(3))]);
        assert_eq!(load.used, cpu(4));
        load.remove(task(9), 0, &cpu(4));
        assert_eq!(load.used, cpu(3));
    }
}
