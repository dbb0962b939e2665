//! Feeds: what waits for each agent, in one bounded queue per agent.
//!
//! Agents are many and each needs few of the entries, so they don't read the ring: publish puts each record into the
//! feeds of the machines it touches, once per feed, however many machines that agent plays. A feed that overflows
//! drops what it has, and its agent gets a fresh snapshot of its machines instead.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::{MachineId, Seq};
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bounds::{FEED_BYTES_MAX, FEED_RECORDS_MAX};

#[derive(Default)]
struct Queue {
    records: VecDeque<Bytes>,
    bytes: usize,
    /// Records were dropped, or machines joined: only a snapshot helps.
    behind: bool,
    /// The agent has subscribed anew; this feed's subscription is to end.
    over: bool,
    newest: Seq,
}

/// What waits for one agent.
#[derive(Default)]
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    wake: Notify,
}

/// What an agent's subscription finds in its feed.
pub(crate) enum Taken {
    /// Another subscription has taken its place.
    Over,
    /// Only a snapshot helps.
    Behind,
    /// Records to send, none when there is nothing.
    Records(Vec<Bytes>),
}

/// All feeds, by the machines they are for.
#[derive(Default)]
pub(crate) struct Feeds {
    by_machine: DashMap<MachineId, Arc<Feed>>,
}

impl Feed {
    fn push(&self, seq: Seq, record: &Bytes) {
        let mut queue = self.queue.lock();
        if queue.behind || queue.over || queue.newest == seq {
            return;
        }
        queue.newest = seq;
        queue.bytes += record.len();
        queue.records.push_back(record.clone());
        if queue.bytes > FEED_BYTES_MAX || queue.records.len() > FEED_RECORDS_MAX {
            queue.fall_behind();
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Drops what waits: the agent needs a snapshot.
    pub(crate) fn fall_behind(&self) {
        self.queue.lock().fall_behind();
        self.wake.notify_one();
    }

    /// Ends its subscription: another takes its place.
    pub(crate) fn end(&self) {
        self.queue.lock().over = true;
        self.wake.notify_one();
    }

    /// Starts anew after a snapshot. The caller holds off publish, by a read lock on the mirror.
    pub(crate) fn restart(&self) {
        let mut queue = self.queue.lock();
        *queue = Queue { over: queue.over, ..Queue::default() };
    }

    /// Takes records to send, about `bytes_max` bytes.
    pub(crate) fn take(&self, bytes_max: usize) -> Taken {
        let mut queue = self.queue.lock();
        if queue.over {
            return Taken::Over;
        }
        if queue.behind {
            return Taken::Behind;
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(record) = queue.records.front() {
            if bytes > 0 && bytes + record.len() > bytes_max {
                break;
            }
            bytes += record.len();
            taken.extend(queue.records.pop_front());
        }
        queue.bytes -= bytes;
        Taken::Records(taken)
    }

    /// Waits until there may be something to take.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }
}

impl Queue {
    fn fall_behind(&mut self) {
        *self = Queue { behind: true, over: self.over, ..Queue::default() };
    }
}

impl Feeds {
    /// True when no agent follows anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_machine.is_empty()
    }

    /// Sends a machine's records to this feed from now on.
    pub(crate) fn attach(&self, machine: MachineId, feed: &Arc<Feed>) {
        self.by_machine.insert(machine, Arc::clone(feed));
    }

    /// No longer sends a machine's records to this feed, unless another has taken its place.
    pub(crate) fn detach(&self, machine: MachineId, feed: &Arc<Feed>) {
        self.by_machine.remove_if(&machine, |_, attached| Arc::ptr_eq(attached, feed));
    }

    /// Gives a record to the feeds of these machines, once each.
    pub(crate) fn push(&self, machines: &[MachineId], seq: Seq, record: &[u8]) {
        // A copy of its own, made once: a slice of the group's bytes would keep the whole group in memory for as long
        // as the slowest agent takes.
        let mut copy: Option<Bytes> = None;
        for machine in machines {
            if let Some(feed) = self.by_machine.get(machine) {
                let record = copy.get_or_insert_with(|| Bytes::copy_from_slice(record));
                feed.push(seq, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(feed: &Feed) -> Option<usize> {
        match feed.take(usize::MAX) {
            Taken::Behind | Taken::Over => None,
            Taken::Records(records) => Some(records.len()),
        }
    }

    #[test]
    fn a_record_reaches_a_feed_once_however_many_of_its_machines_it_touches() {
        let feeds = Feeds::default();
        let (one, other) = (Arc::new(Feed::default()), Arc::new(Feed::default()));
        for machine in 0..3 {
            feeds.attach(MachineId(machine), &one);
        }
        feeds.attach(MachineId(3), &other);
        feeds.push(&[MachineId(0), MachineId(1), MachineId(2), MachineId(9)], Seq(1), b"a");
        feeds.push(&[MachineId(2), MachineId(3)], Seq(2), b"b");
        assert_eq!((taken(&one), taken(&other)), (Some(2), Some(1)));
    }

    #[test]
    fn a_feed_that_overflows_asks_for_a_snapshot_until_it_is_restarted() {
        let feeds = Feeds::default();
        let feed = Arc::new(Feed::default());
        feeds.attach(MachineId(0), &feed);
        for seq in 0..=FEED_RECORDS_MAX as u64 {
            feeds.push(&[MachineId(0)], Seq(seq + 1), b"a");
        }
        feeds.push(&[MachineId(0)], Seq(1 << 40), b"a");
        assert_eq!(taken(&feed), None);
        feed.restart();
        feeds.push(&[MachineId(0)], Seq(2 << 40), b"a");
        assert_eq!(taken(&feed), Some(1));
    }

    #[test]
    fn a_feed_that_was_replaced_detaches_nothing() {
        let feeds = Feeds::default();
        let (old, new) = (Arc::new(Feed::default()), Arc::new(Feed::default()));
        feeds.attach(MachineId(0), &old);
        feeds.attach(MachineId(0), &new);
        feeds.detach(MachineId(0), &old);
        feeds.push(&[MachineId(0)], Seq(1), b"a");
        assert_eq!(taken(&new), Some(1));
    }
}
