//! A witness of the log: a full copy that never forgets what it was shown. The server streams only what is durable,
//! so after any crash it must still have every entry the witness has, byte for byte, and the same state.
//!
//! And a reader of the whole log from its first entry, for the history check.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cell_state::page::Restore;
use cell_state::record::{self, Kind, Record};
use cell_state::{Cell, Seq};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transport::Role;
use transport::message::Scope;
use transport_quic::{Client, Credentials};

use crate::history::History;
use crate::test_cell::{TestCell, connect};

/// A copy of the cell and of the bytes it was built from.
pub struct Witness {
    address: SocketAddr,
    credentials: Credentials,
    cell: Option<Cell>,
    restoring: Option<(Seq, Restore)>,
    /// The length and the checksum of every entry it was shown.
    entries: BTreeMap<Seq, (usize, [u8; 4])>,
    /// Marks compared so far: each is a proof that the copy equals the server's state.
    pub marks: u64,
    /// How often the stream broke.
    pub breaks: u64,
}

impl Witness {
    /// A witness who has seen nothing.
    pub fn new(address: SocketAddr, credentials: Credentials) -> Witness {
        let (cell, restoring, entries) = (None, None, BTreeMap::new());
        Witness { address, credentials, cell, restoring, entries, marks: 0, breaks: 0 }
    }

    /// A witness that follows a cell in the background, and where to tell it the position it may stop at.
    pub fn start(runtime: &Runtime, cell: &TestCell) -> (JoinHandle<Witness>, watch::Sender<Option<Seq>>) {
        let (goal, mut reached) = watch::channel(None);
        let mut witness = Witness::new(cell.address(), cell.issue(Role::Reader, "witness"));
        let following = runtime.spawn(async move {
            witness.follow(&mut reached).await;
            witness
        });
        (following, goal)
    }

    /// The copy.
    pub fn cell(&mut self) -> &mut Cell {
        self.cell.as_mut().expect("a stream starts with a snapshot or an entry")
    }

    /// Where the copy is.
    pub fn seq(&self) -> Seq {
        self.cell.as_ref().map_or(Seq(0), Cell::seq)
    }

    /// Follows the log over every break, until the copy is at `until` and a mark there or later has proved it.
    pub async fn follow(&mut self, until: &mut watch::Receiver<Option<Seq>>) {
        loop {
            let client = connect(self.address, &self.credentials).await;
            if self.follow_once(&client, until).await {
                return;
            }
            self.breaks += 1;
            self.restoring = None;
        }
    }

    /// True when the end was reached, false when the stream broke.
    async fn follow_once(&mut self, client: &Client, until: &mut watch::Receiver<Option<Seq>>) -> bool {
        let after = self.cell.as_ref().map(Cell::seq);
        let Ok(mut subscription) = client.subscribe(Scope::Full, after).await else { return false };
        loop {
            let goal = *until.borrow_and_update();
            if goal.is_some_and(|goal| self.seq() >= goal) {
                return true;
            }
            tokio::select! {
                _ = until.changed() => {}
                next = subscription.next() => match next {
                    Ok(Some(bytes)) => self.take(&bytes),
                    Ok(None) | Err(_) => return false,
                },
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((record, length)) = record::read(bytes).expect("the server streams sound records") {
            self.record(&record, &bytes[..length]);
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty(), "a piece of the stream ends inside a record");
    }

    fn record(&mut self, record: &Record<'_>, bytes: &[u8]) {
        match record.kind {
            Kind::SnapshotStart => self.restoring = Some((record.seq, Restore::new(record.seq))),
            Kind::Page => {
                let page = record.page().expect("a page");
                let (_, restore) = self.restoring.as_mut().expect("pages come in a snapshot");
                restore.add(page.key, &page.bytes).expect("a sound page");
            }
            Kind::SnapshotEnd => {
                let (seq, restore) = self.restoring.take().expect("a snapshot ends where it began");
                let mut cell = restore.finish().expect("the pages of a snapshot fit together");
                assert!(seq >= self.seq(), "a snapshot at {seq} takes the witness back from {}", self.seq());
                self.compare(&mut cell, record);
                self.cell = Some(cell);
            }
            Kind::Event => {
                // A record carries the checksum of its bytes at this place.
                let shown = (bytes.len(), [bytes[4], bytes[5], bytes[6], bytes[7]]);
                let known = self.entries.insert(record.seq, shown).unwrap_or(shown);
                assert_eq!(known, shown, "entry {} is another one than it was", record.seq);
                let event = record.event().expect("an event");
                let cell = self.cell.get_or_insert_with(Cell::new);
                assert_eq!(record.seq, cell.seq().next(), "an entry is missing, or came twice");
                cell.apply(record.seq, &event);
            }
            Kind::Mark => {
                let mut cell = self.cell.take().expect("marks follow a state");
                assert_eq!(record.seq, cell.seq(), "a mark is for the state it follows");
                self.compare(&mut cell, record);
                self.cell = Some(cell);
            }
            Kind::Loads => panic!("a witness follows everything"),
        }
    }

    fn compare(&mut self, cell: &mut Cell, record: &Record<'_>) {
        if let Some(hash) = record.hash().expect("a hash") {
            assert_eq!(cell.hash(), hash, "at {} the witness has another state than the server", record.seq);
            self.marks += 1;
        }
    }
}

/// Reads the log from its first entry up to this one, checking each on the way.
///
/// # Panics
/// An entry could not have happened, or the log is no longer kept from its beginning.
pub async fn whole_history(address: SocketAddr, credentials: &Credentials, upto: Seq) -> History {
    let client = connect(address, credentials).await;
    let mut history = History::new();
    let mut subscription = client.subscribe(Scope::Full, Some(Seq(0))).await.expect("the log is streamed");
    while history.seq() < upto {
        let bytes = subscription.next().await.expect("the log is streamed").expect("to its end");
        let mut rest = &bytes[..];
        while let Some((record, length)) = record::read(rest).expect("the server streams sound records") {
            rest = &rest[length..];
            match record.kind {
                Kind::Event if record.seq <= upto => {
                    let event = record.event().expect("an event");
                    history.take(record.seq, &event).unwrap_or_else(|wrong| panic!("history: {wrong}"));
                }
                Kind::Event | Kind::Mark => {}
                Kind::SnapshotStart | Kind::Page | Kind::SnapshotEnd | Kind::Loads => {
                    panic!("the log is not kept from its beginning")
                }
            }
        }
    }
    history
}
