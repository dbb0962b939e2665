//! Connections and what they stand for: which scheduler sessions and which machines speak over which connection, and
//! when each was last heard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cell_state::admit::Answer;
use cell_state::{MachineId, SessionId};
use dashmap::DashMap;
use parking_lot::Mutex;
use transport::Role;
use transport::bounds::{MACHINES_PER_AGENT_MAX, SUBSCRIPTIONS_MAX};
use transport::view::Telemetry;
use transport_quic::Session;

use crate::bounds::SESSIONS_PER_CONNECTION_MAX;
use crate::feeds::Feed;

/// When a connection was last heard. Outlives the connection, for as long as a machine's lease rests on it.
pub(crate) struct Pulse {
    connection: u64,
    started: Instant,
    heard_ms: AtomicU64,
}

/// One connection.
pub(crate) struct Connection {
    /// The authenticated session of the transport.
    pub(crate) session: Session,
    /// When it was last heard.
    pub(crate) pulse: Arc<Pulse>,
    parties: Arc<Parties>,
    opened: Mutex<BTreeSet<SessionId>>,
    /// The processes it has asked to open sessions for.
    asked: Mutex<BTreeSet<u64>>,
    machines: Mutex<BTreeSet<MachineId>>,
    feed: Mutex<Option<Arc<Feed>>>,
    subscriptions: AtomicU32,
    subscription_numbers: AtomicU32,
}

/// Where a scheduler session was last seen.
#[derive(Clone, Copy)]
pub(crate) struct Binding {
    /// The connection.
    pub(crate) connection: u64,
    /// When.
    pub(crate) seen: Instant,
}

/// The registries of all parties.
pub(crate) struct Parties {
    /// Open connections by number.
    pub(crate) connections: DashMap<u64, Arc<Connection>>,
    /// Scheduler sessions of the cell.
    pub(crate) schedulers: DashMap<SessionId, Binding>,
    /// The pulse of the connection that last registered each machine.
    pub(crate) agents: DashMap<MachineId, Arc<Pulse>>,
    /// What scheduler processes last said of themselves.
    pub(crate) telemetry: DashMap<SessionId, Telemetry>,
    started: Instant,
}

/// A place among a connection's subscriptions; dropping it makes room for another.
pub(crate) struct SubscriptionSlot {
    connection: Arc<Connection>,
    /// The number at the head of its stream.
    pub(crate) number: u32,
}

impl Pulse {
    /// Notes that something arrived.
    pub(crate) fn beat(&self) {
        self.heard_ms.fetch_max(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// When something last arrived.
    pub(crate) fn heard(&self) -> Instant {
        self.started + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// The connection it belongs to.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }
}

impl Parties {
    /// Nobody is there yet.
    pub(crate) fn new() -> Parties {
        Parties {
            connections: DashMap::new(),
            schedulers: DashMap::new(),
            agents: DashMap::new(),
            telemetry: DashMap::new(),
            started: Instant::now(),
        }
    }

    /// Whether this connection is open.
    pub(crate) fn is_open(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Whether a scheduler session has an open connection.
    pub(crate) fn is_connected(&self, session: SessionId) -> bool {
        self.schedulers.get(&session).is_some_and(|binding| self.is_open(binding.connection))
    }

    /// Microseconds since a machine was last heard.
    pub(crate) fn silent_us(&self, machine: MachineId) -> Option<u64> {
        Some(self.agents.get(&machine)?.heard().elapsed().as_micros() as u64)
    }

    /// The open connection that speaks for a machine.
    pub(crate) fn agent_of(&self, machine: MachineId) -> Option<Arc<Connection>> {
        let connection = self.agents.get(&machine)?.connection();
        Some(Arc::clone(&*self.connections.get(&connection)?))
    }

    /// Open connections by role, in the order of [`Role::ALL`].
    pub(crate) fn by_role(&self) -> Vec<u32> {
        let mut counts = vec![0; Role::ALL.len()];
        for connection in &self.connections {
            let role = connection.session.identity().role;
            if let Some(at) = Role::ALL.iter().position(|r| *r == role) {
                counts[at] += 1;
            }
        }
        counts
    }
}

impl Connection {
    /// A new connection, entered into the registry.
    pub(crate) fn enter(session: Session, parties: &Arc<Parties>) -> Arc<Connection> {
        let id = session.id();
        let pulse = Pulse { connection: id, started: parties.started, heard_ms: AtomicU64::new(0) };
        pulse.beat();
        let connection = Arc::new(Connection {
            session,
            pulse: Arc::new(pulse),
            parties: Arc::clone(parties),
            asked: Mutex::default(),
            opened: Mutex::default(),
            machines: Mutex::default(),
            feed: Mutex::default(),
            subscriptions: AtomicU32::new(0),
            subscription_numbers: AtomicU32::new(0),
        });
        parties.connections.insert(id, Arc::clone(&connection));
        connection
    }

    /// Takes a closed connection out of the registry. Leases and grace periods go on from when it was last heard.
    pub(crate) fn leave(&self) {
        self.parties.connections.remove(&self.session.id());
    }

    /// Remembers what an answer gives this party. Called before the answer is sent.
    pub(crate) fn remember(&self, answer: &Answer) {
        match answer {
            Answer::Session { session, .. } => {
                self.opened.lock().insert(*session);
                let binding = Binding { connection: self.session.id(), seen: Instant::now() };
                self.parties.schedulers.insert(*session, binding);
            }
            Answer::Machine(machine) => {
                let joined = self.machines.lock().insert(*machine);
                self.parties.agents.insert(*machine, Arc::clone(&self.pulse));
                // A machine that joins a running subscription starts there with a snapshot.
                if joined && let Some(feed) = &*self.feed.lock() {
                    feed.fall_behind();
                }
            }
            Answer::Done | Answer::Job { .. } | Answer::Reported { .. } => {}
        }
    }

    /// Whether this connection opened the scheduler session.
    pub(crate) fn has_opened(&self, session: SessionId) -> bool {
        self.opened.lock().contains(&session)
    }

    /// The scheduler sessions it opened.
    pub(crate) fn opened(&self) -> Vec<SessionId> {
        self.opened.lock().iter().copied().collect()
    }

    /// Whether it may open a session for this process. Counted when asked for, not when opened: many requests may be
    /// under way at once. Asking again for the same process is free.
    pub(crate) fn may_open(&self, instance: u64) -> bool {
        let mut asked = self.asked.lock();
        if asked.len() < SESSIONS_PER_CONNECTION_MAX {
            asked.insert(instance);
        }
        asked.contains(&instance)
    }

    /// Whether this connection registered the machine.
    pub(crate) fn has_registered(&self, machine: MachineId) -> bool {
        self.machines.lock().contains(&machine)
    }

    /// The machines it registered.
    pub(crate) fn machines(&self) -> Vec<MachineId> {
        self.machines.lock().iter().copied().collect()
    }

    /// Whether it may register one more.
    pub(crate) fn may_register(&self) -> bool {
        self.machines.lock().len() < MACHINES_PER_AGENT_MAX
    }

    /// A new feed for its machine subscription, in place of an older one, which ends.
    pub(crate) fn open_feed(&self) -> Arc<Feed> {
        let feed = Arc::<Feed>::default();
        if let Some(older) = self.feed.lock().replace(Arc::clone(&feed)) {
            older.end();
        }
        feed
    }

    /// The machine subscription of this feed has ended.
    pub(crate) fn close_feed(&self, feed: &Arc<Feed>) {
        self.feed.lock().take_if(|current| Arc::ptr_eq(current, feed));
    }

    /// A place for one more subscription, if there is room.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Option<SubscriptionSlot> {
        let slot = SubscriptionSlot {
            connection: Arc::clone(self),
            number: self.subscription_numbers.fetch_add(1, Ordering::Relaxed) + 1,
        };
        // The slot counts from here on, and gives its place back when it is dropped.
        let others = self.subscriptions.fetch_add(1, Ordering::AcqRel);
        (others < SUBSCRIPTIONS_MAX).then_some(slot)
    }
}

impl Drop for SubscriptionSlot {
    fn drop(&mut self) {
        self.connection.subscriptions.fetch_sub(1, Ordering::AcqRel);
    }
}
