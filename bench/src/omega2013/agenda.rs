//! What is due when: the one queue of events of a run.
//!
//! Arrivals are sorted already and jobs queued again wait equally long, so only decisions and ends need a heap.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Something due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Utilisation is sampled.
    Sample,
    /// This job is submitted.
    Arrival(u32),
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
    /// Times and jobs, the last first.
    arrivals: Vec<(f64, u32)>,
    again: VecDeque<(f64, u32)>,
    heap: BinaryHeap<Event>,
    number: u64,
}

impl Agenda {
    /// With these jobs to come, at these times.
    pub(super) fn new(mut arrivals: Vec<(f64, u32)>) -> Agenda {
        arrivals.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| b.1.cmp(&a.1)));
        Agenda {
            now: 0.0,
            sample_at: 0.0,
            arrivals,
            again: VecDeque::new(),
            heap: BinaryHeap::new(),
            number: 0,
        }
    }

    /// The time of the last event.
    pub(super) fn now(&self) -> f64 {
        self.now
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
        let arrival = self.arrivals.last().map_or(f64::INFINITY, |(time, _)| *time);
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
            self.arrivals.pop().map(|(_, job)| Due::Arrival(job))
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
        let mut agenda = Agenda::new(vec![(0.5, 0), (0.7, 1), (0.5, 2)]);
        agenda.after(0.6, Due::Decision(9));
        agenda.after(0.6, Due::Ends(1));
        let mut seen = Vec::new();
        while let Some(due) = agenda.next(1.6) {
            if due == Due::Decision(9) {
                agenda.again(3);
            }
            seen.push((agenda.now(), due));
        }
        let expected = [
            (0.0, Due::Sample),
            (0.5, Due::Arrival(0)),
            (0.5, Due::Arrival(2)),
            (0.6, Due::Decision(9)),
            (0.6, Due::Ends(1)),
            (0.7, Due::Arrival(1)),
            (1.0, Due::Sample),
            (1.6, Due::Again(3)),
        ];
        assert_eq!(seen, expected);
    }
}
