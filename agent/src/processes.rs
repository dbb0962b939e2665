//! The life of placements on the machine: from waiting to started, from asked to stop to gone, from gone to forgotten.

use std::sync::Arc;

use cell_state::event::Seen;
use cell_state::job::Run;
use cell_state::task::{Exit, NotStarted};
use cell_state::{JobId, MachineId, Resources, Time};

use crate::admission::{Obstacle, Room};
use crate::agent::Agent;
use crate::bounds::{KILL_AGAIN_US, SPEC_RETRY_US};
use crate::doors::{Output, Signal, Start};
use crate::kept::{Intent, Write};
use crate::placement::{Phase, Placement, PlacementId, Stop, Wanted};
use crate::spec::Spec;

impl Agent {
    pub(crate) fn spec_here(&mut self, job: JobId, version: u32, spec: &Arc<Spec>) {
        for id in self.due.take_asked((job, version)) {
            let Some(placement) = self.asking(id, version) else { continue };
            let mut given = false;
            if let Some((group, demand)) = spec.group(id.task.group) {
                placement.stop_grace_us = group.stop_grace_us;
                placement.stop_after_us = stop_after_us(&group.run);
                placement.lost_after = group.run.lost_after();
                placement.resources.get_or_insert(demand.resources);
                given = !group.data.artifacts.is_empty();
            }
            if given {
                placement.spec = Wanted::Preparing(spec.clone());
                self.output(Output::Prepare(id, spec.job.clone()));
            } else {
                placement.spec = Wanted::Here(spec.clone());
                self.due.startable(id);
            }
        }
    }

    /// What a placement is to be given is there.
    pub(crate) fn prepared(&mut self, id: PlacementId) {
        if let Some(placement) = self.placements.get_mut(&id)
            && let Wanted::Preparing(spec) = &placement.spec
        {
            placement.spec = Wanted::Here(spec.clone());
            self.due.startable(id);
        }
    }

    pub(crate) fn spec_missing(&mut self, now: Time, job: JobId, version: u32) {
        let again = now.plus(SPEC_RETRY_US);
        for id in self.due.take_asked((job, version)) {
            let Some(placement) = self.asking(id, version) else { continue };
            placement.spec = Wanted::Retry(again);
            self.due.at(again, id);
        }
    }

    /// Asks again for the specs whose answers were lost with a connection.
    pub(crate) fn ask_again(&mut self) {
        for (job, version) in self.due.asked().collect::<Vec<_>>() {
            self.output(Output::FetchSpec { job, version });
        }
    }

    /// Asks for the spec of a placement, unless it is being asked for.
    pub(crate) fn ask_spec(&mut self, id: PlacementId, version: u32) {
        let job = id.task.job;
        if self.due.ask((job, version), id) {
            self.output(Output::FetchSpec { job, version });
        }
    }

    fn asking(&mut self, id: PlacementId, version: u32) -> Option<&mut Placement> {
        let placement = self.placements.get_mut(&id)?;
        (placement.version == version && matches!(placement.spec, Wanted::Asked)).then_some(placement)
    }

    /// Records the intent to start every placement that waits for nothing more.
    pub(crate) fn start_what_fits(&mut self) {
        let Some(machine) = self.machine.filter(|_| self.synced) else { return };
        let waiting = self.due.take_startable();
        if waiting.is_empty() {
            return;
        }
        let mut room = self.room(machine);
        for id in waiting {
            let placement = self.placements.get(&id).filter(|p| p.phase == Phase::Waiting);
            let Some(Wanted::Here(spec)) = placement.map(|p| &p.spec) else { continue };
            let spec = spec.clone();
            self.try_start(&mut room, id, &spec);
            if self.placements.get(&id).is_some_and(|p| p.phase == Phase::Waiting) {
                self.due.startable(id);
            }
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
                self.due.recording(write, id);
            }
            Err(Obstacle::Occupied(_)) => {}
            Err(Obstacle::Unfit(_)) => self.end(id, Exit::NotStarted(NotStarted::Unfit)),
        }
    }

    /// Starts the placements whose intent is durable by now.
    pub(crate) fn start_recorded(&mut self) {
        while let Some((number, id)) = self.due.next_recorded(self.recorded) {
            let recording =
                |p: &&mut Placement| matches!(p.phase, Phase::Recording { write } if write == number);
            let Some(placement) = self.placements.get_mut(&id).filter(recording) else { continue };
            let Wanted::Here(spec) = std::mem::replace(&mut placement.spec, Wanted::Done) else {
                unreachable!("an intent is recorded once the spec is here")
            };
            placement.phase = Phase::Starting;
            let resources = placement.resources.unwrap_or(Resources::ZERO);
            let intent = intent_of(id, placement, resources);
            let start = Start { incarnation: self.incarnation, intent, spec };
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
        let Some(placement) = self.placements.get(&id) else { return };
        let preparing = matches!(placement.spec, Wanted::Preparing(_));
        if preparing || matches!(placement.phase, Phase::Starting | Phase::Running) {
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
        self.due.over(report, id);
    }

    /// Tells a running placement to end, and sets the time after which it is killed.
    pub(crate) fn terminate(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        let grace = placement.stop_grace_us;
        if grace == 0 {
            return self.kill(now, id);
        }
        let kill_at = now.plus(grace);
        placement.stop = Stop::Grace { kill_at };
        self.due.at(kill_at, id);
        self.output(Output::Signal(id, Signal::Term));
    }

    /// Shortens what a placement has to end, also when it has been told to already.
    pub(crate) fn hurry(&mut self, now: Time, id: PlacementId, grace_us: u64) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        placement.stop_grace_us = placement.stop_grace_us.min(grace_us);
        let by = now.plus(grace_us);
        if matches!(placement.stop, Stop::Grace { kill_at } if kill_at > by) {
            placement.stop = Stop::Grace { kill_at: by };
            self.due.at(by, id);
        }
    }

    fn kill(&mut self, now: Time, id: PlacementId) {
        let placement = self.placements.get_mut(&id).expect("callers name known placements");
        let again_at = now.plus(KILL_AGAIN_US);
        placement.stop = Stop::Killed { again_at };
        self.due.at(again_at, id);
        self.output(Output::Signal(id, Signal::Kill));
    }

    /// Does what is due at this time: kills, and asks again for specs.
    pub(crate) fn placements_due(&mut self, now: Time) {
        for (at, id) in self.due.timers_upto(now) {
            let due = |p: &&mut Placement| p.next_timeout() == Some(at);
            let Some(placement) = self.placements.get_mut(&id).filter(due) else { continue };
            if placement.phase == Phase::Waiting {
                placement.spec = Wanted::Asked;
                let version = placement.version;
                self.ask_spec(id, version);
            } else {
                self.kill(now, id);
            }
        }
    }

    /// Drops timers that nobody waits for any more, so that the first one is meant.
    pub(crate) fn prune_timers(&mut self) {
        while let Some((at, id)) = self.due.first_timer() {
            if self.placements.get(&id).and_then(Placement::next_timeout) == Some(at) {
                return;
            }
            self.due.drop_first_timer();
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
        stop_after_us: placement.stop_after_us,
        lost_after: placement.lost_after,
    }
}

fn stop_after_us(run: &Run) -> Option<u64> {
    match run {
        Run::Exec(exec) => exec.care.stop_after_us,
        Run::Simulated { .. } => None,
    }
}
