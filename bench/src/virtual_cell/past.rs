//! Machines as they were: a record of each before every change, for as long as somebody may still see it so.
//!
//! What is kept depends on how much changes in the time that a view may be old, not on how many look. Parts of the
//! machines are kept apart, since a view may see each part at another time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use cell_state::event::Event;
use cell_state::machine::Machine;
use cell_state::verdict::Outcome;
use cell_state::{Cell, MachineId, Seq, Time};

/// A change of a machine.
#[derive(Clone, Copy, Debug)]
struct Change {
    seq: Seq,
    time: Time,
    machine: MachineId,
}

/// A part of the machines: the changes of it that are kept, in order.
#[derive(Debug, Default)]
struct Part {
    changes: VecDeque<Change>,
    /// Changes before these.
    dropped: u64,
}

/// The past of all machines.
#[derive(Debug)]
pub(super) struct Past {
    /// Where each part begins, and where the last one ends.
    bounds: Vec<usize>,
    parts: Vec<Part>,
    /// What each machine was before a change, in order.
    by_machine: Vec<VecDeque<(Seq, Arc<Machine>)>>,
    /// Nobody sees what is older than this.
    keep_us: u64,
}

/// What has been seen of a part's changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    /// Changes seen.
    count: u64,
    /// Everything up to this entry is seen.
    pub(super) seq: Seq,
}

impl Past {
    /// Nothing has changed yet.
    pub(super) fn new(machines: usize, parts: usize, keep_us: u64) -> Past {
        let parts = parts.clamp(1, machines.max(1));
        Past {
            bounds: (0..=parts).map(|p| p * machines / parts).collect(),
            parts: (0..parts).map(|_| Part::default()).collect(),
            by_machine: vec![VecDeque::new(); machines],
            keep_us,
        }
    }

    /// How many changes are kept.
    pub(super) fn kept(&self) -> usize {
        self.parts.iter().map(|part| part.changes.len()).sum()
    }

    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The machines of a part.
    pub(super) fn range(&self, part: usize) -> Range<usize> {
        self.bounds[part]..self.bounds[part + 1]
    }

    /// The part a machine belongs to.
    pub(super) fn part_of(&self, machine: MachineId) -> usize {
        self.bounds.partition_point(|begin| *begin <= machine.index()) - 1
    }

    /// Keeps what the next entry is about to change.
    pub(super) fn note(&mut self, cell: &Cell, event: &Event, time: Time) {
        let seq = cell.seq().next();
        match event {
            Event::Committed(committed) => {
                for outcome in committed.outcomes.iter() {
                    if let Outcome::Placed(placed) = outcome {
                        self.keep(cell, placed.machine, seq, time);
                    }
                }
            }
            Event::Reported { machine, .. } | Event::MachineStateSet { machine, .. } => {
                self.keep(cell, *machine, seq, time);
            }
            Event::Configured { .. }
            | Event::QuotaSet { .. }
            | Event::MachineRegistered { .. }
            | Event::JobSubmitted { .. }
            | Event::JobStopped { .. }
            | Event::JobsForgotten { .. }
            | Event::SessionOpened { .. }
            | Event::SessionEnded { .. } => {}
        }
    }

    fn keep(&mut self, cell: &Cell, machine: MachineId, seq: Seq, time: Time) {
        let Some(before) = cell.machine(machine) else { return };
        let kept = &mut self.by_machine[machine.index()];
        if kept.back().is_some_and(|(at, _)| *at == seq) {
            return;
        }
        kept.push_back((seq, Arc::new(before.clone())));
        let at = self.part_of(machine);
        let len = self.bounds[at + 1] - self.bounds[at];
        let part = &mut self.parts[at];
        part.changes.push_back(Change { seq, time, machine });
        // A view that has not looked for so long that this was dropped reads all machines of the part again, which
        // costs no more than the changes it missed.
        while part.changes.len() > len
            && let Some(first) = part.changes.front()
            && first.time.plus(self.keep_us) < time
        {
            self.by_machine[first.machine.index()].pop_front();
            part.changes.pop_front();
            part.dropped += 1;
        }
    }

    /// The machine as it was after this entry, given how it is.
    pub(super) fn as_of<'s>(&'s self, now: &'s Machine, seq: Seq) -> &'s Machine {
        let kept = &self.by_machine[now.id.index()];
        let at = kept.partition_point(|(changed, _)| *changed <= seq);
        kept.get(at).map_or(now, |(_, before)| before)
    }

    /// A cursor that has seen everything, on a cell at `seq`.
    pub(super) fn cursor(&self, part: usize, seq: Seq) -> Cursor {
        let part = &self.parts[part];
        Cursor { count: part.dropped + part.changes.len() as u64, seq }
    }

    /// Moves a cursor on to a time: names the machines that changed in between; `false` when it can't tell them.
    pub(super) fn advance(
        &self,
        part: usize,
        cursor: &mut Cursor,
        until: Time,
        seq: Seq,
        mut changed: impl FnMut(MachineId),
    ) -> bool {
        let part = &self.parts[part];
        let known = cursor.count >= part.dropped;
        let mut at = cursor.count.saturating_sub(part.dropped) as usize;
        while let Some(change) = part.changes.get(at).filter(|change| change.time <= until) {
            changed(change.machine);
            at += 1;
        }
        cursor.count = part.dropped + at as u64;
        // What has not changed since is seen as it is.
        cursor.seq = part.changes.get(at).map_or(seq, |next| Seq(next.seq.0 - 1));
        known
    }
}
