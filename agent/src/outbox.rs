//! Reports on their way to the cell: numbered without gaps, sent in order, one message at a time, kept until
//! acknowledged. Step 11 (report) of a placement's life.
//!
//! Step 11 (report) of a placement's life.
//!
//! Invariant: `queue` holds exactly the reports `first..first + queue.len()`; those below `first` are in the cell.

use std::collections::{BTreeMap, VecDeque};

use cell_state::Time;
use cell_state::event::Report;

use crate::bounds::{REPORT_RETRY_US, REPORTS_MAX};

#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    /// The number of the first report not yet acknowledged.
    first: u64,
    /// With each report the write that makes it durable.
    queue: VecDeque<(u64, Report)>,
    in_flight: bool,
    /// After "busy": not before this time.
    retry_at: Option<Time>,
}

impl Outbox {
    /// What was kept: all of it is durable.
    pub(crate) fn restore(reported: u64, reports: &BTreeMap<u64, Report>) -> Outbox {
        let first = reports.keys().next().copied().unwrap_or(reported + 1);
        let queue = reports.values().map(|report| (0, *report)).collect();
        Outbox { first, queue, in_flight: false, retry_at: None }
    }

    /// Adds a report and returns its number.
    pub(crate) fn push(&mut self, write: u64, report: Report) -> u64 {
        self.queue.push_back((write, report));
        self.last()
    }

    /// The number of the last report made.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.queue.len() as u64 - 1
    }

    /// The number of this report, if it is still waiting for its acknowledgement.
    pub(crate) fn find(&self, report: &Report) -> Option<u64> {
        let at = self.queue.iter().position(|(_, r)| r == report)?;
        Some(self.first + at as u64)
    }

    /// The next message: durable reports, when none is on its way.
    pub(crate) fn next_batch(&mut self, recorded: u64) -> Option<(u64, Vec<Report>)> {
        if self.in_flight || self.retry_at.is_some() {
            return None;
        }
        let durable = self.queue.iter().take_while(|(write, _)| *write <= recorded);
        let reports: Vec<Report> = durable.take(REPORTS_MAX).map(|(_, report)| *report).collect();
        self.in_flight = !reports.is_empty();
        self.in_flight.then_some((self.first, reports))
    }

    /// Drops what is in the cell. False when the cell claims more than was ever reported.
    pub(crate) fn acknowledge(&mut self, upto: u64) -> bool {
        self.in_flight = false;
        if upto > self.last() {
            return false;
        }
        while self.first <= upto {
            self.queue.pop_front();
            self.first += 1;
        }
        true
    }

    /// The message on its way was lost with its connection: it is sent again.
    pub(crate) fn lost(&mut self) {
        self.in_flight = false;
        self.retry_at = None;
    }

    /// The server was too busy for the message.
    pub(crate) fn busy(&mut self, now: Time) {
        self.in_flight = false;
        self.retry_at = Some(now.plus(REPORT_RETRY_US));
    }

    /// Ends the pause after "busy" when its time has come.
    pub(crate) fn wake(&mut self, now: Time) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.retry_at
    }

    /// Starts over from number 1, with nothing to send.
    pub(crate) fn reset(&mut self) {
        *self = Outbox::restore(0, &BTreeMap::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::event::Seen;
    use cell_state::{JobId, TaskId};

    fn report(index: u32) -> Report {
        Report { task: TaskId { job: JobId(0), group: 0, index }, epoch: 1, seen: Seen::Started }
    }

    #[test]
    fn numbers_have_no_gaps_and_only_durable_reports_leave() {
        let mut outbox = Outbox::restore(4, &BTreeMap::from([(3, report(3)), (4, report(4))]));
        assert_eq!(outbox.push(7, report(5)), 5);
        assert_eq!(outbox.push(8, report(6)), 6);
        assert_eq!(outbox.next_batch(7), Some((3, vec![report(3), report(4), report(5)])));
        assert_eq!(outbox.next_batch(8), None, "one message at a time");
        assert!(outbox.acknowledge(4));
        assert_eq!(outbox.next_batch(8), Some((5, vec![report(5), report(6)])));
        outbox.lost();
        assert_eq!(outbox.next_batch(8), Some((5, vec![report(5), report(6)])), "sent again, same numbers");
        assert!(outbox.acknowledge(6));
        assert_eq!(outbox.next_batch(8), None);
        assert!(!outbox.acknowledge(9), "the cell can't have seen what was never reported");
    }

    #[test]
    fn busy_means_a_pause() {
        let mut outbox = Outbox::restore(0, &BTreeMap::new());
        outbox.push(0, report(1));
        assert!(outbox.next_batch(0).is_some());
        outbox.busy(Time(5));
        assert_eq!(outbox.next_batch(0), None);
        let at = outbox.next_timeout().unwrap();
        outbox.wake(at);
        assert!(outbox.next_batch(0).is_some());
    }
}
