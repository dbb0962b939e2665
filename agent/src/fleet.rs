//! Many agents in one process, each given the part of the log that concerns it. The host runs one of one machine, the
//! simulated driver one of thousands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cell_state::event::Event;
use cell_state::{JobId, MachineId, Seq, TaskId, Time};

use crate::agent::Agent;
use crate::doors::{Input, Output};
use crate::follow::{Target, changes};
use crate::kept::Write;

/// Agents by slot: their position in the list they were given in.
#[derive(Clone, Debug)]
pub struct Fleet {
    agents: Vec<Agent>,
    by_machine: BTreeMap<MachineId, usize>,
    /// Where each task was placed last.
    by_task: BTreeMap<TaskId, usize>,
    timers: BTreeSet<(Time, usize)>,
    /// What `timers` holds of each slot.
    noted: Vec<Option<Time>>,
    /// Slots that may have outputs.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    seq: Seq,
}

impl Fleet {
    /// A fleet of these agents.
    pub fn new(agents: Vec<Agent>) -> Fleet {
        let count = agents.len();
        let mut fleet = Fleet {
            agents,
            by_machine: BTreeMap::new(),
            by_task: BTreeMap::new(),
            timers: BTreeSet::new(),
            noted: vec![None; count],
            ready: VecDeque::new(),
            is_ready: vec![false; count],
            seq: Seq(0),
        };
        for slot in 0..count {
            let tasks = fleet.agents[slot].placements().map(|(id, _)| id.task);
            fleet.by_task.extend(tasks.map(|task| (task, slot)));
            fleet.note(slot);
        }
        fleet
    }

    /// The agents, by slot.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// How far the log was read; 0 when it must be followed from a snapshot on.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The slot of a machine that was registered.
    pub fn slot_of(&self, machine: MachineId) -> Option<usize> {
        self.by_machine.get(&machine).copied()
    }

    /// Whether every agent that is online has a snapshot to build on.
    pub fn is_synced(&self) -> bool {
        self.agents.iter().all(|agent| agent.is_synced() || !agent.is_online())
    }

    /// Takes what happened to one agent.
    pub fn handle(&mut self, now: Time, slot: usize, input: Input<'_>) {
        match &input {
            Input::Registered { machine, at } => {
                self.by_machine.insert(*machine, slot);
                if *at < self.seq {
                    // A log that goes back isn't the log that was read: it is followed from a snapshot on.
                    self.seq = Seq(0);
                }
            }
            Input::Snapshot { at: _, assigned } => {
                self.by_task.extend(assigned.iter().map(|assigned| (assigned.task, slot)));
            }
            Input::Connected { .. }
            | Input::Disconnected
            | Input::Event { .. }
            | Input::Change { .. }
            | Input::Spec { .. }
            | Input::NoSpec { .. }
            | Input::Recorded { .. }
            | Input::Prepared(_)
            | Input::Started(_)
            | Input::NotStarted(..)
            | Input::Ended(..)
            | Input::Acknowledged { .. }
            | Input::Refused(_)
            | Input::Heard { .. }
            | Input::Wake => {}
        }
        self.agents[slot].handle(now, input);
        self.note(slot);
    }

    /// Takes a snapshot's end: what follows in the log follows this position.
    pub fn snapshot_ended(&mut self, at: Seq) {
        self.seq = at;
    }

    /// Takes an entry of the log, and gives each agent its part.
    pub fn event(&mut self, now: Time, at: Seq, event: &Event) {
        if at <= self.seq {
            return;
        }
        changes(event, |target, change| {
            let slots: Vec<usize> = match target {
                Target::Machine(machine) => self.slot_of(machine).into_iter().collect(),
                Target::Task(task) => self.by_task.get(&task).copied().into_iter().collect(),
                Target::Job(job) => self.slots_of(job),
                Target::Everyone => (0..self.agents.len()).collect(),
            };
            for slot in slots {
                if let crate::Change::Placed(placed) = change {
                    self.by_task.insert(placed.task, slot);
                }
                self.handle(now, slot, Input::Change { at, change });
            }
        });
        self.position(at);
    }

    /// The log was read up to here.
    pub fn position(&mut self, at: Seq) {
        self.seq = self.seq.max(at);
    }

    /// Wakes the agents whose time has come.
    pub fn wake(&mut self, now: Time) {
        while let Some((_, slot)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.handle(now, slot, Input::Wake);
            let next = self.noted[slot];
            debug_assert!(next.is_none_or(|at| at > now), "an agent that was woken names a later time");
        }
    }

    /// The next thing to do, and by whom.
    pub fn poll(&mut self) -> Option<(usize, Output)> {
        while let Some(slot) = self.ready.front().copied() {
            if let Some(output) = self.agents[slot].poll() {
                if let Output::Record { number: _, write: Write::Forget(id) } = &output {
                    self.forget(slot, id.task);
                }
                return Some((slot, output));
            }
            self.ready.pop_front();
            self.is_ready[slot] = false;
        }
        None
    }

    /// When to call [`Fleet::wake`], if nothing happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn slots_of(&self, job: JobId) -> Vec<usize> {
        let first = TaskId { job, group: 0, index: 0 };
        let of_job = self.by_task.range(first..).take_while(|(task, _)| task.job == job);
        let slots: BTreeSet<usize> = of_job.map(|(_, slot)| *slot).collect();
        slots.into_iter().collect()
    }

    fn forget(&mut self, slot: usize, task: TaskId) {
        if self.by_task.get(&task) == Some(&slot) && !self.agents[slot].knows(task) {
            self.by_task.remove(&task);
        }
    }

    fn note(&mut self, slot: usize) {
        if !self.is_ready[slot] {
            self.is_ready[slot] = true;
            self.ready.push_back(slot);
        }
        let new = self.agents[slot].next_timeout();
        let old = std::mem::replace(&mut self.noted[slot], new);
        if old != new {
            old.map(|at| self.timers.remove(&(at, slot)));
            self.timers.extend(new.map(|at| (at, slot)));
        }
    }
}
