//! What the connections of a load carry, by who is on this end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use transport_quic::{Client, Traffic};

/// Who is on this end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Party {
    /// Proposers.
    Schedulers,
    /// The machines' agent.
    Machines,
    /// Copies that follow the log.
    Copies,
}

impl Party {
    /// Its name in results.
    pub fn word(self) -> &'static str {
        match self {
            Party::Schedulers => "schedulers",
            Party::Machines => "machines",
            Party::Copies => "copies",
        }
    }
}

/// The connections of all who take part.
#[derive(Default)]
pub(super) struct Wires(Mutex<Vec<(Party, Client)>>);

impl Wires {
    pub(super) fn add(&self, party: Party, client: &Client) {
        self.0.lock().expect("no panic while it is held").push((party, client.clone()));
    }

    /// What they have carried so far.
    pub(super) fn traffic(&self) -> BTreeMap<Party, Traffic> {
        let mut found = BTreeMap::new();
        for (party, client) in &*self.0.lock().expect("no panic while it is held") {
            let sum: &mut Traffic = found.entry(*party).or_default();
            *sum = *sum + client.traffic();
        }
        found
    }

    /// Lets go of the connections: each ends when its other holder has gone as well.
    pub(super) fn clear(&self) {
        self.0.lock().expect("no panic while it is held").clear();
    }
}
