//! Applying plain placements, the most frequent change of all. What tasks in a row have in common (their job, group and
//! version) is looked up once and counted once, so that what is left per task is its record and its machine.

use std::hint::black_box;

use crate::event::{Committed, Event, Report};
use crate::ids::{MachineId, TaskId};
use crate::job::GroupTasks;
use crate::page::PageKey;
use crate::resources::Resources;
use crate::verdict::{Outcome, Placed};

use super::Cell;

impl Cell {
    /// Reads what entries that are to be applied soon will change, as [`crate::commit::read_ahead`] does for judging: several
    /// entries at a time, for a small one alone doesn't have enough to wait for.
    pub fn read_ahead<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Committed(committed) => {
                    let placed = committed.outcomes.iter().filter_map(|outcome| match outcome {
                        Outcome::Placed(placed) => Some(self.read_place(placed.task, placed.machine)),
                        Outcome::Stopping { .. }
                        | Outcome::Resized { .. }
                        | Outcome::Conflict(_)
                        | Outcome::Aborted => None,
                    });
                    black_box(placed.fold(0, |sum, read| sum ^ read));
                }
                Event::Reported { machine, reports, .. } => self.read_reports(*machine, reports),
                Event::Configured { .. }
                | Event::QuotaSet { .. }
                | Event::MachineRegistered { .. }
                | Event::MachineStateSet { .. }
                | Event::JobSubmitted { .. }
                | Event::JobStopped { .. }
                | Event::JobsForgotten { .. }
                | Event::SessionOpened { .. }
                | Event::SessionEnded { .. } => {}
            }
        }
    }

    /// The same for reports that are to be admitted and applied soon.
    pub fn read_reports(&self, machine: MachineId, reports: &[Report]) {
        // Who leaves a machine gives up a place in its list to the last of it, whose record then says so.
        let last = self.machine(machine).and_then(|machine| machine.load.tasks.last());
        let last = last.map_or(0, |last| self.read_place(*last, machine));
        black_box(
            reports.iter().map(|report| self.read_place(report.task, machine)).fold(last, |sum, r| sum ^ r),
        );
    }

    /// Something of all that placing this task there changes.
    #[inline]
    pub(crate) fn read_place(&self, task: TaskId, machine: MachineId) -> u64 {
        let held = self.machine(machine).map_or(0, |machine| {
            let last = machine.load.tasks.last().map_or(0, |task| task.index);
            machine.load.used.0[0] ^ u64::from(last)
        });
        held ^ self.job(task.job).and_then(|job| job.record(task)).map_or(0, |t| u64::from(t.epoch()))
    }

    /// Applies a placement and those that follow it of the same group and version; returns what follows those.
    pub(super) fn place_run<'a>(
        &mut self,
        committed: &Committed,
        first: &'a Placed,
        following: &'a [Outcome],
    ) -> &'a [Outcome] {
        let alike = following.iter().map_while(|outcome| like(first, outcome));
        let (id, rest) = (first.task, &following[alike.clone().count()..]);
        let Some(job) = self.jobs.get_mut(id.job.0 as usize).and_then(Option::as_deref_mut) else {
            return rest;
        };
        let Some(group) = job.groups.get_mut(usize::from(id.group)) else { return rest };
        let mut version = job.versions.iter_mut().rev().find(|v| v.version == first.version);
        let demand = version.as_ref().and_then(|v| v.demands.get(usize::from(id.group)));
        let charge = demand.map_or(Resources::ZERO, |demand| demand.resources);
        let tasks = group.tasks.len();
        let mut count = 0;
        for placed in std::iter::once(first).chain(alike) {
            let Some(machine) = self.machines.get_mut(placed.machine.index()) else { continue };
            let record = group.tasks.record_mut(placed.task.index);
            let Some(task) = record.filter(|task| task.is_pending()) else { continue };
            let position = machine.load.add(placed.task, &charge, None);
            task.place(placed, committed.txn, committed.time, position);
            machine.version = self.seq;
            machine.set_changed_by(self.seq, committed.txn);
            if self.pages.is_on() {
                self.pages.note(PageKey::of_task(placed.task, tasks));
                self.pages.note(PageKey::of_machine(placed.machine));
            }
            count += 1;
        }
        group.note_placed(count);
        if let Some(version) = &mut version {
            version.live += count;
        }
        self.quotas.charge(job.account, &charge.times(count));
        rest
    }
}

/// The placement of an outcome, if it is a plain one of the same group and version.
#[inline]
fn like<'a>(first: &Placed, outcome: &'a Outcome) -> Option<&'a Placed> {
    let Outcome::Placed(placed) = outcome else { return None };
    let same = (placed.task.job, placed.task.group, placed.version)
        == (first.task.job, first.task.group, first.version);
    (same && placed.extra.is_none()).then_some(placed)
}

impl GroupTasks {
    /// Counts tasks that were pending and are placed now.
    fn note_placed(&mut self, count: u32) {
        self.counts.pending -= count;
        self.counts.placed += count;
        self.raise_pending_from(count as usize);
    }
}
