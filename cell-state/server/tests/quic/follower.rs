//! A copy of the state that follows a subscription, and checks every mark on the way.

use bytes::Bytes;
use cell_state::event::Event;
use cell_state::page::{Assigned, PageKey, Restore};
use cell_state::record::{self, Kind};
use cell_state::{Cell, MachineId, Seq, codec};
use transport::Scope;
use transport_quic::{Client, Subscription};

use crate::harness::within;

/// A full copy.
pub(crate) struct Follower {
    pub(crate) subscription: Subscription,
    pub(crate) cell: Cell,
    /// Marks that were compared.
    pub(crate) marks: usize,
    /// Snapshots received.
    pub(crate) snapshots: usize,
    restore: Option<Restore>,
}

impl Follower {
    /// Follows from a snapshot.
    pub(crate) async fn fresh(client: &Client) -> Follower {
        Follower::resume(client, Cell::new(), None).await
    }

    /// Goes on with a copy that stands at `after`.
    pub(crate) async fn resume(client: &Client, cell: Cell, after: Option<Seq>) -> Follower {
        let subscription = within(client.subscribe(Scope::Full, after)).await.unwrap();
        Follower { subscription, cell, marks: 0, snapshots: 0, restore: None }
    }

    /// Follows until the copy has reached `seq`.
    pub(crate) async fn until(&mut self, seq: Seq) {
        while self.cell.seq() < seq || self.restore.is_some() {
            self.step().await;
        }
    }

    /// Follows until a mark has confirmed a state at or after `seq`.
    pub(crate) async fn until_marked(&mut self, seq: Seq) {
        let marks = self.marks;
        while self.cell.seq() < seq || self.marks == marks {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let bytes = within(self.subscription.next()).await.unwrap().expect("the stream goes on");
        self.take(&bytes);
    }

    fn take(&mut self, bytes: &Bytes) {
        let mut rest = &bytes[..];
        while let Some((record, length)) = record::read(rest).unwrap() {
            rest = &rest[length..];
            match record.kind {
                Kind::Event => self.cell.apply(record.seq, &record.event().unwrap()),
                Kind::SnapshotStart => self.restore = Some(Restore::new(record.seq)),
                Kind::Page => {
                    let page = record.page().unwrap();
                    self.restore.as_mut().expect("after its start").add(page.key, &page.bytes).unwrap();
                }
                Kind::SnapshotEnd => {
                    self.cell = self.restore.take().expect("after its start").finish().unwrap();
                    self.snapshots += 1;
                    assert_eq!(record.hash().unwrap(), Some(self.cell.hash()), "snapshot at {}", record.seq);
                }
                Kind::Mark => {
                    assert_eq!(record.seq, self.cell.seq(), "a mark stands right behind its record");
                    assert_eq!(record.hash().unwrap(), Some(self.cell.hash()), "mark at {}", record.seq);
                    self.marks += 1;
                }
                Kind::Loads => panic!("of no use to who follows everything"),
            }
        }
        assert!(rest.is_empty(), "only whole records are handed out");
    }
}

/// What a filtered subscription received.
#[derive(Default, Debug)]
pub(crate) struct Received {
    pub(crate) events: Vec<(Seq, Event)>,
    /// The last snapshot of an agent's machines, and how many there were.
    pub(crate) assigned: Vec<(MachineId, Vec<Assigned>)>,
    pub(crate) snapshots: usize,
    pub(crate) marked: Seq,
}

impl Received {
    /// Takes what arrives until `enough`.
    pub(crate) async fn until(
        &mut self,
        subscription: &mut Subscription,
        enough: impl Fn(&Received) -> bool,
    ) {
        while !enough(self) {
            let bytes = within(subscription.next()).await.unwrap().expect("the stream goes on");
            let mut rest = &bytes[..];
            while let Some((record, length)) = record::read(rest).unwrap() {
                rest = &rest[length..];
                match record.kind {
                    Kind::Event => self.events.push((record.seq, record.event().unwrap())),
                    Kind::SnapshotStart => self.assigned.clear(),
                    Kind::Page => {
                        let page = record.page().unwrap();
                        if let PageKey::Assigned(machine) = page.key {
                            self.assigned.push((machine, codec::decode(&page.bytes).unwrap()));
                        }
                    }
                    Kind::SnapshotEnd => self.snapshots += 1,
                    Kind::Mark => {
                        assert_eq!(record.hash().unwrap(), None, "a filtered copy has no hash to compare");
                        self.marked = record.seq;
                    }
                    Kind::Loads => panic!("an agent gets none"),
                }
            }
        }
    }
}
