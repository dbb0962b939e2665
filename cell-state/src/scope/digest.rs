//! Reading entries for who follows one scheduler's jobs: which of them it needs itself, and what to tell it of the rest.
//!
//! Entries are looked at on any state that has applied them, and whose a job is is asked of that state: a job never
//! changes hands. Of one that has been forgotten since nobody knows whose it was, so entries about it go to everybody.

use std::collections::BTreeMap;

use crate::cell::Cell;
use crate::event::{Event, Seen};
use crate::ids::{JobId, MachineId};
use crate::job::Band;
use crate::resources::Resources;
use crate::verdict::Outcome;

use super::Loads;

/// Bytes of [`Loads`], about, after which the rest goes into another: well below the bound of a record, and the state
/// that is read isn't held for long.
const LOADS_BYTES: usize = 256 << 10;

/// What entries since the last [`Digest::loads`] mean for who follows the jobs of one scheduler.
#[derive(Debug)]
pub struct Digest {
    scheduler: String,
    /// Machines that changed, each once.
    touched: Vec<MachineId>,
    is_touched: Vec<u64>,
    /// What was last said of quotas.
    quotas: BTreeMap<(String, Band), Resources>,
}

impl Digest {
    /// Nothing read so far, for the jobs of this scheduler.
    pub fn new(scheduler: &str) -> Digest {
        let (touched, is_touched) = (Vec::new(), Vec::new());
        Digest { scheduler: scheduler.to_owned(), touched, is_touched, quotas: BTreeMap::new() }
    }

    /// The follower knows nothing yet of what machines hold.
    pub fn touch_all(&mut self, cell: &Cell) {
        cell.machines().iter().for_each(|machine| self.touch(machine.id));
    }

    /// Machines the follower is still to be told of.
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// Takes note of the next entry, which `cell` has applied; returns whether the follower needs the entry itself.
    pub fn entry(&mut self, cell: &Cell, event: &Event) -> bool {
        match event {
            Event::Configured { .. } => {
                // Over-commit may have changed, and with it every machine.
                self.touch_all(cell);
                true
            }
            Event::MachineRegistered { machine, .. } | Event::MachineStateSet { machine, .. } => {
                self.touch(*machine);
                true
            }
            Event::QuotaSet { .. } | Event::SessionOpened { .. } | Event::SessionEnded { .. } => true,
            Event::JobsForgotten { jobs } => jobs.iter().any(|job| self.owns(cell, *job)),
            Event::JobSubmitted { spec, .. } => spec.scheduler == self.scheduler,
            Event::JobStopped { job, .. } => self.owns(cell, *job),
            Event::Reported { machine, reports, .. } => {
                if reports.iter().any(|report| matches!(report.seen, Seen::Ended(_))) {
                    self.touch(*machine);
                }
                reports.iter().any(|report| self.owns(cell, report.task.job))
            }
            Event::Committed(committed) => {
                for machine in committed.outcomes.iter().filter_map(|outcome| outcome.loads(cell)) {
                    self.touch(machine);
                }
                let author = cell.session(committed.txn.session).map(|session| &session.scheduler);
                if author.is_some_and(|author| *author == self.scheduler) {
                    return true;
                }
                // Others have no say in this scheduler's jobs but by preempting.
                let only_victims = author.is_some();
                committed.outcomes.iter().any(|outcome| self.is_about(cell, outcome, only_victims))
            }
        }
    }

    /// What to tell the follower of a state that has applied the entries read so far and no others: as much as fits one
    /// record. When it says that there is more, more entries may be read before the next call.
    pub fn loads(&mut self, cell: &Cell) -> Loads {
        let mut loads = Loads { time: cell.time(), ..Loads::default() };
        let mut bytes = 0;
        while bytes < LOADS_BYTES
            && let Some(id) = self.touched.pop()
        {
            self.is_touched[id.index() / 64] &= !(1 << (id.index() % 64));
            let Some(machine) = cell.machine(id) else { continue };
            let amounts = machine.amounts();
            bytes += 64 + 3 * amounts.ports.len() + 3 * amounts.devices.len() + 12 * amounts.waiting.len();
            loads.machines.push(amounts);
        }
        loads.more = !self.touched.is_empty();
        if !loads.more {
            loads.quotas = self.changed_quotas(cell);
        }
        loads
    }

    fn changed_quotas(&mut self, cell: &Cell) -> Vec<(String, Band, Resources)> {
        let mut changed = Vec::new();
        for (team, band, _) in cell.quotas().limits() {
            let used = cell.quotas().used(team, band);
            if self.quotas.insert((team.to_owned(), band), used) != Some(used) {
                changed.push((team.to_owned(), band, used));
            }
        }
        changed
    }

    fn touch(&mut self, machine: MachineId) {
        let (word, bit) = (machine.index() / 64, 1 << (machine.index() % 64));
        if self.is_touched.len() <= word {
            self.is_touched.resize(word + 1, 0);
        }
        if self.is_touched[word] & bit == 0 {
            self.is_touched[word] |= bit;
            self.touched.push(machine);
        }
    }

    /// Whether a job is the scheduler's, or one that the state no longer knows.
    fn owns(&self, cell: &Cell, job: JobId) -> bool {
        cell.job(job).is_none_or(|job| job.spec().scheduler == self.scheduler)
    }

    fn is_about(&self, cell: &Cell, outcome: &Outcome, only_victims: bool) -> bool {
        match outcome {
            Outcome::Placed(placed) => {
                let victims = placed.extra.as_ref().map_or(&[][..], |extra| &extra.preempted);
                victims.iter().any(|victim| self.owns(cell, victim.job))
                    || !only_victims && self.owns(cell, placed.task.job)
            }
            Outcome::Stopping { task, .. } | Outcome::Resized { task, .. } => {
                !only_victims && self.owns(cell, task.job)
            }
            Outcome::Conflict(_) | Outcome::Aborted => false,
        }
    }
}
