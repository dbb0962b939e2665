//! Copies of the cell that follow the whole log while a load runs, each on a thread and a connection of its own, as a
//! scheduler's would be in a process of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use cell_state::event::Event;
use cell_state::record::{self, Kind};
use cell_state::verdict::Outcome;
use cell_state::{Seq, SessionId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use transport::Scope;
use transport_quic::{Client, Credentials, Subscription};

use super::error::LoadError;
use super::field::Field;
use super::wires::Party;
use crate::bounds::{BUSY_PAUSE, LOAD_CATCH_UP_WAIT};
use crate::replica::Replica;
use crate::witness::WitnessError;

/// What one copy has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    at: AtomicU64,
    placed: AtomicU64,
    snapshots: AtomicU64,
    compared: AtomicU64,
    transaction_bytes: AtomicU64,
    other_bytes: AtomicU64,
    failed: Mutex<Option<String>>,
}

/// Bytes of log records so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogBytes {
    /// Of transactions.
    pub(super) transactions: u64,
    /// Of everything else.
    pub(super) others: u64,
}

/// The copies of a load; dropping them ends them.
pub(super) struct Copies {
    seen: Vec<Arc<Seen>>,
    stop: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Copies {
    /// Starts so many copies, and waits until each has the cell as it is now.
    pub(super) async fn start(
        server: SocketAddr,
        credentials: &Credentials,
        field: &Arc<Field>,
        sessions: &BTreeSet<SessionId>,
    ) -> Result<Copies, LoadError> {
        let (stop, stopped) = watch::channel(());
        let mut copies = Copies { seen: Vec::new(), stop: Some(stop), threads: Vec::new() };
        for number in 0..field.settings.copies {
            let client = (server, credentials.clone());
            let seen = Arc::new(Seen::default());
            copies.seen.push(Arc::clone(&seen));
            let (field, sessions) = (Arc::clone(field), sessions.clone());
            let (replica, decoded) = (Replica::default(), Vec::new());
            let copy = Copy { seen, is_first: number == 0, field, sessions, replica, decoded };
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(format!("load-copy-{number}"));
            let started = thread.spawn(move || copy.run(client, stopped));
            copies.threads.push(started.map_err(LoadError::system("can't start the thread of a copy"))?);
        }
        copies.reach(Seq(1)).await?;
        Ok(copies)
    }

    /// Waits until every copy has applied everything up to a position.
    pub(super) async fn reach(&self, upto: Seq) -> Result<(), LoadError> {
        let until = Instant::now() + LOAD_CATCH_UP_WAIT;
        for seen in &self.seen {
            while seen.at.load(Ordering::Acquire) < upto.0 {
                if let Some(failed) = seen.failed.lock().expect("no panic while it is held").clone() {
                    return Err(LoadError::Copy(failed));
                }
                if Instant::now() >= until {
                    return Err(LoadError::Copy(format!(
                        "it has not reached seq {upto} in {LOAD_CATCH_UP_WAIT:?}"
                    )));
                }
                sleep(BUSY_PAUSE).await;
            }
        }
        Ok(())
    }

    /// What each copy has seen committed by this load; `None` for one that got a snapshot in place of some entries.
    pub(super) fn placed(&self) -> Vec<Option<u64>> {
        let placed = |seen: &Arc<Seen>| {
            let whole = seen.snapshots.load(Ordering::Acquire) <= 1;
            whole.then(|| seen.placed.load(Ordering::Acquire))
        };
        self.seen.iter().map(placed).collect()
    }

    /// How many times the copies were compared with the server's hash.
    pub(super) fn compared(&self) -> u64 {
        self.seen.iter().map(|seen| seen.compared.load(Ordering::Acquire)).sum()
    }

    /// Bytes of log records the first copy has seen.
    pub(super) fn log_bytes(&self) -> Option<LogBytes> {
        self.seen.first().map(|seen| LogBytes {
            transactions: seen.transaction_bytes.load(Ordering::Acquire),
            others: seen.other_bytes.load(Ordering::Acquire),
        })
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A copy that panicked has said so; there is nothing to add.
            thread.join().ok();
        }
    }
}

/// One copy, on its thread.
struct Copy {
    seen: Arc<Seen>,
    /// The first copy tells how far it is.
    is_first: bool,
    field: Arc<Field>,
    sessions: BTreeSet<SessionId>,
    replica: Replica,
    /// Entries that are to be applied next.
    decoded: Vec<(Seq, Event)>,
}

/// Entries decoded before they are applied.
const DECODED_MAX: usize = 64;

/// Entries that are read ahead of being applied, as the server's mirror does.
const READ_AHEAD: usize = 4;

impl Copy {
    fn run(mut self, (server, credentials): (SocketAddr, Credentials), mut stopped: watch::Receiver<()>) {
        let seen = Arc::clone(&self.seen);
        let followed = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let followed = followed.map_err(|e| e.to_string()).and_then(|runtime| {
            runtime.block_on(async {
                let follow = async {
                    let client = Client::connect(server, &credentials).await.map_err(|e| e.to_string())?;
                    self.field.wires.add(Party::Copies, &client);
                    let subscription =
                        client.subscribe(Scope::Full, None).await.map_err(|e| e.to_string())?;
                    self.follow(subscription).await.map_err(|e| e.to_string())
                };
                tokio::select! {
                    failed = follow => failed,
                    // The sender is gone: the load is over.
                    _ = stopped.changed() => Ok(()),
                }
            })
        });
        if let Err(failed) = followed {
            *seen.failed.lock().expect("no panic while it is held") = Some(failed);
        }
    }

    async fn follow(&mut self, mut subscription: Subscription) -> Result<(), WitnessError> {
        while let Some(bytes) = subscription.next().await? {
            self.take_all(&bytes)?;
            let at = self.replica.cell().seq();
            self.seen.snapshots.store(self.replica.snapshots(), Ordering::Release);
            self.seen.compared.store(self.replica.compared(), Ordering::Release);
            self.seen.at.store(at.0, Ordering::Release);
            if self.is_first {
                self.field.board.applied(at);
            }
        }
        Err(WitnessError::Ended(self.replica.cell().seq()))
    }

    fn take_all(&mut self, mut bytes: &[u8]) -> Result<(), WitnessError> {
        while let Some((record, length)) = record::read(bytes)? {
            bytes = &bytes[length..];
            if record.kind == Kind::Event {
                self.decoded.push((record.seq, record.event()?));
                self.count(&self.decoded[self.decoded.len() - 1].1, length as u64);
                if self.decoded.len() < DECODED_MAX {
                    continue;
                }
                self.apply()?;
            } else {
                self.apply()?;
                self.replica.take(&record)?;
            }
        }
        self.apply()
    }

    fn count(&self, event: &Event, length: u64) {
        let Event::Committed(committed) = event else {
            self.seen.other_bytes.fetch_add(length, Ordering::AcqRel);
            return;
        };
        self.seen.transaction_bytes.fetch_add(length, Ordering::AcqRel);
        if self.sessions.contains(&committed.txn.session) {
            let is_placed = |outcome: &&Outcome| matches!(outcome, Outcome::Placed(_));
            let placed = committed.outcomes.iter().filter(is_placed).count();
            self.seen.placed.fetch_add(placed as u64, Ordering::AcqRel);
        }
    }

    /// Applies what was decoded.
    fn apply(&mut self) -> Result<(), WitnessError> {
        for (i, (seq, event)) in self.decoded.iter().enumerate() {
            if i.is_multiple_of(READ_AHEAD) {
                let next = &self.decoded[(i + READ_AHEAD).min(self.decoded.len())..];
                self.replica.cell().read_ahead(next.iter().take(READ_AHEAD).map(|(_, event)| event));
            }
            self.replica.apply(*seq, event)?;
        }
        self.decoded.clear();
        Ok(())
    }
}
