//! What is next for which placement, so that nothing has to walk over all of them: a machine may hold thousands.
//!
//! Every entry is a hint. The placement itself says what it is waiting for; an entry that it no longer agrees with is dropped
//! when its turn comes. So only the places that make a placement wait have to note it here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cell_state::{JobId, Time};

use crate::placement::PlacementId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// Whether something has happened since it was last looked what can be started.
    pub(crate) look: bool,
    timers: BTreeSet<(Time, PlacementId)>,
    /// Those that wait for the spec of a job version, which was asked for once for all of them.
    asked: BTreeMap<(JobId, u32), Vec<PlacementId>>,
    /// Those whose spec is here and that aren't started.
    startable: BTreeSet<PlacementId>,
    /// Those whose intent is being made durable, by the number of that write.
    recording: VecDeque<(u64, PlacementId)>,
    /// Those that are over, by the number of the report that says so.
    over: BTreeMap<u64, PlacementId>,
}

impl Due {
    pub(crate) fn at(&mut self, time: Time, id: PlacementId) {
        self.timers.insert((time, id));
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The first timer.
    pub(crate) fn first_timer(&self) -> Option<(Time, PlacementId)> {
        self.timers.first().copied()
    }

    pub(crate) fn drop_first_timer(&mut self) {
        self.timers.pop_first();
    }

    /// Takes the placements whose time has come.
    pub(crate) fn timers_upto(&mut self, now: Time) -> Vec<(Time, PlacementId)> {
        let mut due = Vec::new();
        while let Some(first) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.pop_first();
            due.push(first);
        }
        due
    }

    /// Notes that a placement waits for a spec. True when nobody has asked for that one yet.
    pub(crate) fn ask(&mut self, version: (JobId, u32), id: PlacementId) -> bool {
        let waiting = self.asked.entry(version).or_default();
        waiting.push(id);
        waiting.len() == 1
    }

    /// Takes those that wait for a spec.
    pub(crate) fn take_asked(&mut self, version: (JobId, u32)) -> Vec<PlacementId> {
        self.asked.remove(&version).unwrap_or_default()
    }

    /// The specs that were asked for and aren't here.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (JobId, u32)> {
        self.asked.keys().copied()
    }

    pub(crate) fn startable(&mut self, id: PlacementId) {
        self.startable.insert(id);
    }

    pub(crate) fn take_startable(&mut self) -> BTreeSet<PlacementId> {
        std::mem::take(&mut self.startable)
    }

    pub(crate) fn recording(&mut self, write: u64, id: PlacementId) {
        self.recording.push_back((write, id));
    }

    /// Takes the next placement whose intent is durable.
    pub(crate) fn next_recorded(&mut self, upto: u64) -> Option<(u64, PlacementId)> {
        self.recording.pop_front_if(|(write, _)| *write <= upto)
    }

    pub(crate) fn over(&mut self, report: u64, id: PlacementId) {
        self.over.insert(report, id);
    }

    /// Takes those whose last report has a number up to this one.
    pub(crate) fn over_upto(&mut self, upto: u64) -> BTreeMap<u64, PlacementId> {
        let rest = self.over.split_off(&(upto + 1));
        std::mem::replace(&mut self.over, rest)
    }

    /// Reports are numbered anew.
    pub(crate) fn forget_reports(&mut self) {
        self.over.clear();
    }
}
