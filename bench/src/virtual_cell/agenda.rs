//! What is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cell_state::{Epoch, JobId, MachineId, TaskId, Time};

/// Something due. The order decides among things due at the same time that were planned as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// The next arrival of the workload.
    Arrival,
    /// A job is queued again.
    Again(JobId),
    /// This scheduler has decided.
    Decision(usize),
    /// A task ends by itself.
    End(TaskId, Epoch, MachineId),
}

/// The events of a run, the earliest first; among equals, the one planned first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Time, u64, Due)>>,
    planned: u64,
}

impl Agenda {
    /// Plans something.
    pub(super) fn at(&mut self, time: Time, due: Due) {
        self.planned += 1;
        self.heap.push(Reverse((time, self.planned, due)));
    }

    /// The next thing, if it is due by then.
    pub(super) fn next(&mut self, until: Time) -> Option<(Time, Due)> {
        if self.heap.peek()?.0.0 > until {
            return None;
        }
        self.heap.pop().map(|Reverse((time, _, due))| (time, due))
    }
}
