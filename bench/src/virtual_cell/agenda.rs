//! What is due when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use cell_state::{Epoch, JobId, MachineId, TaskId, Time};

/// A placement that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) machine: MachineId,
    pub(super) task: TaskId,
    pub(super) epoch: Epoch,
}

/// Something due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The next arrival of the load.
    Arrival,
    /// A job is queued again.
    Again(JobId),
    /// This scheduler has decided.
    Decision(usize),
    /// The oldest transaction of this scheduler in flight is judged.
    Verdict(usize),
    /// Tasks end, grouped by machine: all of one transaction that run equally long are one entry.
    Ends(Box<[Ending]>),
    /// The next machine goes or comes.
    Change,
    /// Offers are made.
    Offers,
    /// A day is over.
    Day,
}

#[derive(Debug)]
struct Entry {
    time: Time,
    number: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap's largest is the earliest; among equals, the one planned first.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

/// The events of a run, the earliest first; among equals, the one planned first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Entry>,
    planned: u64,
}

impl Agenda {
    /// Plans something.
    pub(super) fn at(&mut self, time: Time, due: Due) {
        self.planned += 1;
        self.heap.push(Entry { time, number: self.planned, due });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The next thing, if it is due by then.
    pub(super) fn next(&mut self, until: Time) -> Option<(Time, Due)> {
        if self.heap.peek()?.time > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.time, entry.due))
    }
}
