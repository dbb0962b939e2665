//! The life of placements on the machine: from waiting to started, from asked to stop to gone, from gone to forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use cell_state::event::Seen;
use cell_state::task::{Exit, NotStarted};
use cell_state::{JobId, MachineId, Resources, TaskId, Time};

use crate::admission::{Obstacle, Room};
use crate::agent::Agent;
use crate::bounds::{KILL_AGAIN_US, SPEC_RETRY_US};
use crate::doors::{Output, Signal, Start};
use crate::kept::{Intent, Write};
use crate::placement::{Phase, Placement, PlacementId, Stop, Wanted};
use crate::spec::Spec;

impl Agent {
    pub(crate) fn spec_here(&mut self, job: JobId, version: u32, spec: &Arc<Spec>) {
        for (id, placement) in self.waiting_for(job, version) {
            if let Some((group, demand)) = spec.group(id.task.group) {
                placement.stop_grace_us = group.stop_grace_us;
                placement.resources.get_or_insert(demand.resources);
            }
            placement.spec = Wanted::Here(spec.clone());
        }
    }

    pub(crate) fn spec_missing(&mut self, now: Time, job: JobId, version: u32) {
        for (_, placement) in self.waiting_for(job, version) {
            placement.spec = Wanted::Retry(now.plus(SPEC_RETRY_US));
        }
    }

    /// Asks again for the specs whose answers were lost with a connection.
    pub(crate) fn ask_again(&mut self) {
        let asked = self.placements.iter().filter(|(_, p)| matches!(p.spec, Wanted::Asked));
        let asked: BTreeSet<_> = asked.map(|(id, p)| (id.task.job, p.version)).collect();
        for (job, version) in asked {
            self.output(Output::FetchSpec { job, version });
        }
    }

    fn waiting_for(
        &mut self,
        job: JobId,
        version: u32,
    ) -> impl Iterator<Item = (PlacementId, &mut Placement)> {
        let first = PlacementId::first_of(TaskId { job, group: 0, index: 0 });
        let of_job = self.placements.range_mut(first..).take_while(move |(id, _)| id.task.job == job);
        let asked = of_job.filter(move |(_, p)| p.version == version && matches!(p.spec, Wanted::Asked));
        asked.map(|(id, placement)| (*id, placement))
    }

    /// Records the intent to start every placement that waits for nothing more.
    pub(crate) fn start_what_fits(&mut self) {
        let Some(machine) = self.machine.filter(|_| self.synced) else { return };
        let waiting = self.placements.iter().filter(|(_, p)| p.phase == Phase::Waiting);
        let waiting = waiting.filter_map(|(id, p)| match &p.spec {
            Wanted::Here(spec) => Some((*id, spec.clone())),
            Wanted::Asked | Wanted::Retry(_) | Wanted::Done => None,
        });
        let waiting = waiting.collect::<Vec<_>>();
        if waiting.is_empty() {
            return;
        }
        let mut room = self.room(machine);
        for (id, spec) in waiting {
            self.try_start(&mut room, id, &spec);
        }
    }

    /// The machine with what is physically on it.
    fn room(&self, machine: MachineId) -> Room {
        let mut room = Room::new(machine, &self.spec, self.limit);
        for (id, placement) in self.placements.iter().filter(|(_, p)| p.is_here()) {
            room.take(*id, &placement.resources.unwrap_or(Resources::ZERO), &placement.grant);
        }
        room
    }

    fn try_start(&mut self, room: &mut Room, id: PlacementId, spec: &Arc<Spec>) {
        let is_here = |other: &PlacementId| self.placements.get(other).is_some_and(Placement::is_here);
        let placement = &self.placements[&id];
        let blocked = placement.waits_for.iter().any(is_here);
        // An earlier process of the same task may hold its files: it must be gone, whatever room there is.
        if blocked || self.of_task(id.task).any(|(other, p)| other != id && p.is_here()) {
            return;
        }
        let Some((_, demand)) = spec.group(id.task.group) else {
            return self.end(id, Exit::NotStarted(NotStarted::Unfit));
        };
        let resources = placement.resources.unwrap_or(demand.resources);
        match room.admit(id, demand, &resources, &placement.grant) {
            Ok(()) => {
                room.take(id, &resources, &placement.grant);
                let intent = intent_of(id, placement, resources);
                let write = self.record(Write::Intent(Box::new(intent)));
                let placement = self.placements.get_mut(&id).expect("it was just read");
                placement.waits_for = Vec::new();
                placement.phase = Phase::Recording { write };
            }
            Err(Obstacle::Occupied(_)) => {}
            Err(Obstacle::Unfit(_)) => self.end(id, Exit::NotStarted(NotStarted::Unfit)),
        }
    }

    /// Starts the placements whose intent is durable by now.
    pub(crate) fn start_recorded(&mut self) {
        let mut starts = Vec::new();
        for (id, placement) in &mut self.placements {
            let Phase::Recording { write } = placement.phase else { continue };
            if write > self.recorded {
                continue;
            }
            let Wanted::Here(spec) = std::mem::replace(&mut placement.spec, Wanted::Done) else {
                unreachable!("an intent is recorded once the spec is here")
            };
            placement.phase = Phase::Starting;
            let resources = placement.resources.unwrap_or(Resources::ZERO);
            let intent = intent_of(*id, placement, resources);
            starts.push(Start { incarnation: self.incarnation, intent, spec });
        }
        for start in starts {
            self.output(Output::Start(Box::new(start)));
        }
    }

    pub(crate) fn started(&mut self, now: Time, id: PlacementId) {
        let Some(placement) = self.placements.get_mut(&id).filter(|p| p.phase == Phase::Starting) else {
            return;
        };
        placement.phase = Phase::Running;
        let (stop, assigned) = (placement.stop, placement.assigned);
        if assigned {
            self.report(id, Seen::Started);
        }
        if stop == Stop::Asked {
            self.terminate(now, id);
        }
    }

    pub(crate) fn ended(&mut self, id: PlacementId, exit: Exit) {
        let phase = self.placements.get(&id).map(|p| p.phase);
        if matches!(phase, Some(Phase::Starting | Phase::Running)) {
            self.end(id, exit);
        }
    }

    /// The placement is over on this machine: reports it, or drops it when nobody waits for the report.
    pub(crate) fn end(&mut self, id: PlacementId, exit: Exit) {
        if !self.placements.get(&id).is_some_and(|p| p.assigned) {
            return self.forget(id);
        }
        let report = self.report(id, Seen::Ended(exit));
        let placement = self.placements.get_mut(&id).expect("it was just read");
        placement.phase = Phase::Ended { report };
        placement.spec = Wanted::Done;
        placement.waits_for = Vec::new();
    }

    /// Tells a running placement to end, and sets the time after which it is killed.
    pub(crate) fn terminate(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        let grace = placement.stop_grace_us;
        if grace == 0 {
            return self.kill(now, id);
        }
        placement.stop = Stop::Grace { kill_at: now.plus(grace) };
        self.output(Output::Signal(id, Signal::Term));
    }

    fn kill(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        placement.stop = Stop::Killed { again_at: now.plus(KILL_AGAIN_US) };
        self.output(Output::Signal(id, Signal::Kill));
    }

    /// Does what is due at this time: kills, and asks again for specs.
    pub(crate) fn placements_due(&mut self, now: Time) {
        let due = self.placements.iter().filter(|(_, p)| p.next_timeout().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let placement = self.placements.get_mut(&id).expect("it was just read");
            if placement.phase == Phase::Waiting {
                placement.spec = Wanted::Asked;
                let version = placement.version;
                self.output(Output::FetchSpec { job: id.task.job, version });
            } else {
                self.kill(now, id);
            }
        }
    }
}

fn intent_of(id: PlacementId, placement: &Placement, resources: Resources) -> Intent {
    Intent {
        id,
        version: placement.version,
        resources,
        grant: placement.grant.clone(),
        stop_grace_us: placement.stop_grace_us,
    }
}
