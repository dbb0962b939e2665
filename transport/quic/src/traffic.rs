//! What a connection has carried.

use std::ops::{Add, Sub};

use quinn::ConnectionStats;

/// UDP datagrams in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// How many.
    pub datagrams: u64,
    /// Their payloads: all of QUIC, but not the headers of IP and UDP.
    pub bytes: u64,
    /// System calls they took: one may carry many.
    pub calls: u64,
}

/// UDP datagrams of one connection, or of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// From this end.
    pub sent: Carried,
    /// To this end.
    pub received: Carried,
}

impl Traffic {
    pub(crate) fn of(stats: &ConnectionStats) -> Traffic {
        let carried =
            |udp: &quinn::UdpStats| Carried { datagrams: udp.datagrams, bytes: udp.bytes, calls: udp.ios };
        Traffic { sent: carried(&stats.udp_tx), received: carried(&stats.udp_rx) }
    }

    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.sent.bytes + self.received.bytes
    }
}

impl Add for Carried {
    type Output = Carried;

    fn add(self, other: Carried) -> Carried {
        Carried {
            datagrams: self.datagrams + other.datagrams,
            bytes: self.bytes + other.bytes,
            calls: self.calls + other.calls,
        }
    }
}

impl Sub for Carried {
    type Output = Carried;

    fn sub(self, earlier: Carried) -> Carried {
        Carried {
            datagrams: self.datagrams.saturating_sub(earlier.datagrams),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            calls: self.calls.saturating_sub(earlier.calls),
        }
    }
}

impl Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic { sent: self.sent + other.sent, received: self.received + other.received }
    }
}

impl Sub for Traffic {
    type Output = Traffic;

    fn sub(self, earlier: Traffic) -> Traffic {
        Traffic { sent: self.sent - earlier.sent, received: self.received - earlier.received }
    }
}

impl std::iter::Sum for Traffic {
    fn sum<I: Iterator<Item = Traffic>>(all: I) -> Traffic {
        all.fold(Traffic::default(), Add::add)
    }
}
