//! What is due when: the one queue of events of a run.
//!
//! Jobs come in order and those queued again wait equally long, so only decisions and ends need a heap.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Something due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Utilisation is sampled.
    Sample,
    /// The next job is submitted.
    Arrival,
    /// This job is queued again.
    Again(u32),
    /// This scheduler has decided.
    Decision(u32),
    /// All tasks of this commit end.
    Ends(u32),
    /// The allocator looks for a framework to make an offer to.
    OfferTime,
    /// This offer reaches its framework.
    Offered(u32),
    /// This offer is answered.
    Answered(u32),
}

/// An event on the heap. The earliest is the greatest; among equals, the one that was put there first.
#[derive(Clone, Copy, Debug)]
struct Event {
    time: f64,
    number: u64,
    due: Due,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> Ordering {
        other.time.total_cmp(&self.time).then_with(|| other.number.cmp(&self.number))
    }
}

/// Seconds between two samples of utilisation.
const SAMPLE_S: f64 = 1.0;

/// Seconds after which a job with tasks left is queued again.
const AGAIN_S: f64 = 1.0;

/// The events of a run.
#[derive(Debug)]
pub(super) struct Agenda {
    now: f64,
    sample_at: f64,
    /// When the next job comes; never, if there is none.
    arrival_at: f64,
    again: VecDeque<(f64, u32)>,
    heap: BinaryHeap<Event>,
    number: u64,
}

impl Agenda {
    /// With nothing but samples to come.
    pub(super) fn new() -> Agenda {
        Agenda {
            now: 0.0,
            sample_at: 0.0,
            arrival_at: f64::INFINITY,
            again: VecDeque::new(),
            heap: BinaryHeap::new(),
            number: 0,
        }
    }

    /// The time of the last event.
    pub(super) fn now(&self) -> f64 {
        self.now
    }

    /// The next job comes then.
    pub(super) fn arrives_at(&mut self, time: f64) {
        self.arrival_at = time;
    }

    /// Something is due so many seconds from now.
    pub(super) fn after(&mut self, delay_s: f64, due: Due) {
        self.number += 1;
        self.heap.push(Event { time: self.now + delay_s, number: self.number, due });
    }

    /// A job is queued again, after the delay all jobs have.
    pub(super) fn again(&mut self, job: u32) {
        self.again.push_back((self.now + AGAIN_S, job));
    }

    /// The next event, if it is not past `end`; its time is then now.
    pub(super) fn next(&mut self, end: f64) -> Option<Due> {
        let arrival = self.arrival_at;
        let again = self.again.front().map_or(f64::INFINITY, |(time, _)| *time);
        let other = self.heap.peek().map_or(f64::INFINITY, |event| event.time);
        let first = self.sample_at.min(arrival).min(again).min(other);
        if first > end {
            return None;
        }
        self.now = first;
        if self.sample_at <= first {
            self.sample_at += SAMPLE_S;
            Some(Due::Sample)
        } else if other <= first {
            self.heap.pop().map(|event| event.due)
        } else if arrival <= first {
            self.arrival_at = f64::INFINITY;
            Some(Due::Arrival)
        } else {
            self.again.pop_front().map(|(_, job)| Due::Again(job))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time() {
        let mut agenda = Agenda::new();
        let mut arrivals = [0.5, 0.7].into_iter();
        agenda.arrives_at(0.5);
        agenda.after(0.6, Due::Decision(9));
        agenda.after(0.6, Due::Ends(1));
        let mut seen = Vec::new();
        while let Some(due) = agenda.next(1.6) {
            if due == Due::Arrival {
                agenda.arrives_at(arrivals.next().unwrap_or(f64::INFINITY));
            }
            if due == Due::Decision(9) {
                agenda.again(3);
            }
            seen.push((agenda.now(), due));
        }
        let expected = [
            (0.0, Due::Sample),
            (0.5, Due::Arrival),
            (0.5, Due::Arrival),
            (0.6, Due::Decision(9)),
            (0.6, Due::Ends(1)),
            (0.7, Due::Arrival),
            (1.0, Due::Sample),
            (1.6, Due::Again(3)),
        ];
        assert_eq!(seen, expected);
    }
}
