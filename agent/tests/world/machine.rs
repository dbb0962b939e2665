//! The machine and its disk: processes that start, end and survive the agent, and writes that become durable late.

use std::sync::Arc;

use agent::{Agent, Found, Input, PlacementId, Setup};
use cell_state::task::{ArtifactProblem, Exit, Lack, NotStarted};

use super::shapes::machine_spec;
use super::{World, pick};

impl World {
    pub(super) fn flush(&mut self, count: usize) {
        let Some(upto) = self.unflushed.iter().take(count).map(|(number, _)| *number).next_back() else {
            return;
        };
        for (_, write) in self.unflushed.drain(..count.min(self.unflushed.len())) {
            self.disk.apply(&write);
        }
        self.tell(Input::Recorded { upto });
    }

    pub(super) fn launch(&mut self, n: u8) {
        if let Some(id) = self.preparing.pop_front() {
            let lack = NotStarted::Lacks(Lack::Artifact(0, ArtifactProblem::NotFound));
            self.tell(if n.is_multiple_of(7) { Input::NotStarted(id, lack) } else { Input::Prepared(id) });
        }
        let waiting: Vec<_> = self.processes.iter().filter(|(_, p)| !p.launched).map(|(id, _)| *id).collect();
        let Some(id) = pick(&waiting, n).filter(|_| self.agent.is_some()) else { return };
        if n.is_multiple_of(5) {
            self.processes.remove(&id);
            self.tell(Input::NotStarted(id, NotStarted::CommandNotFound));
        } else {
            self.processes.get_mut(&id).expect("it is there").launched = true;
            self.tell(Input::Started(id));
        }
    }

    pub(super) fn exit(&mut self, n: u8) {
        let running: Vec<_> = self.processes.iter().filter(|(_, p)| p.launched).map(|(id, _)| *id).collect();
        if let Some(id) = pick(&running, n) {
            self.gone(id, Exit::Code(i32::from(n % 2)));
        }
    }

    pub(super) fn obey(&mut self, n: u8) {
        let told = self.processes.iter().filter(|(_, p)| p.launched && (p.killed || p.termed));
        // One in three doesn't mind the polite signal.
        let told = told.filter(|(id, p)| p.killed || id.task.job.0 % 3 != 0);
        if let Some(id) = pick(&told.map(|(id, _)| *id).collect::<Vec<_>>(), n) {
            self.gone(id, Exit::Signal(15));
        }
    }

    fn gone(&mut self, id: PlacementId, exit: Exit) {
        self.processes.remove(&id);
        self.exits.insert(id, exit);
        self.tell(Input::Ended(id, exit));
    }

    pub(super) fn crash(&mut self, n: u8) {
        self.agent = None;
        // Some of what was not yet durable may be all the same, but always in order.
        for (_, write) in self.unflushed.drain(..).take(usize::from(n) % 4) {
            self.disk.apply(&write);
        }
        self.preparing.clear();
        self.disconnect();
        let claimed = n.is_multiple_of(2);
        self.processes.retain(|_, p| p.launched || claimed);
        self.processes.values_mut().for_each(|p| {
            p.launched = true;
            p.termed = false;
            p.killed = false;
        });
    }

    pub(super) fn restart(&mut self) {
        if self.agent.is_some() {
            return;
        }
        let there = self.processes.values().map(|p| Found { intent: p.intent.clone(), exit: None });
        let mut found: Vec<Found> = there.collect();
        for (id, exit) in &self.exits {
            if let Some(record) = self.disk.records.get(id) {
                found.push(Found { intent: record.intent.clone(), exit: Some(*exit) });
            }
        }
        let setup = Setup { spec: Arc::new(machine_spec()), kept: self.disk.clone(), found };
        self.agent = Some(Agent::new(setup));
        self.tell(Input::Wake);
    }
}
