//! The result of a load: what was counted, what it cost, how near it came to the limits of the machine, and whether
//! everything adds up.

use std::collections::BTreeMap;

use cell_state::Seq;
use transport_quic::Traffic;

use super::{Counts, DiskLimit, EchoLimit, Party, Settings, Times};

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was counted while it was measured.
    pub counts: Counts,
    /// What was counted from the first proposal to the last.
    pub whole: Counts,
    /// How long it was measured.
    pub seconds: f64,
    /// From sending a transaction to its verdicts.
    pub latency: Times,
    /// From the verdicts to their being applied in the first copy.
    pub copy_lag: Times,
    /// Microseconds of processor time of the server.
    pub server_cpu_us: Option<u64>,
    /// The same by thread.
    pub server_cpu_us_by_thread: BTreeMap<String, u64>,
    /// The same by stage of its pipeline, as the server itself counts.
    pub server_cpu_us_by_stage: BTreeMap<&'static str, u64>,
    /// Microseconds of processor time of this process: proposers, machines and copies.
    pub own_cpu_us: u64,
    /// Bytes of log records of transactions, and of everything else.
    pub log_bytes: Option<(u64, u64)>,
    /// Bytes the server made the disk write, checkpoints included.
    pub disk_bytes: Option<u64>,
    /// Groups the server flushed.
    pub flushes: Option<u64>,
    /// What the connections carried.
    pub traffic: BTreeMap<Party, Traffic>,
    /// The disk's limit for groups of the mean size.
    pub disk: Option<DiskLimit>,
    /// QUIC's limit for these transactions.
    pub echo: EchoLimit,
    /// How long the echo takes when nothing else is under way.
    pub round_trip: Times,
    /// Where the audit was made, and what is wrong then.
    pub audit: (Seq, Vec<String>),
    /// How often the copies were compared with the server's hash; each was equal.
    pub compared: u64,
    /// What each copy saw committed; `None` for one that missed entries because it fell too far behind.
    pub copies_placed: Vec<Option<u64>>,
}

impl Measured {
    /// Placements committed per second.
    pub fn placements_per_s(&self) -> f64 {
        self.counts.placed as f64 / self.seconds
    }

    /// Transactions answered per second.
    pub fn transactions_per_s(&self) -> f64 {
        self.counts.transactions as f64 / self.seconds
    }

    /// A figure of the whole stretch, per placement.
    pub fn per_placement(&self, figure: u64) -> f64 {
        figure as f64 / (self.counts.placed as f64).max(1.0)
    }

    /// Placements per second that QUIC alone would carry.
    pub fn echo_placements_per_s(&self, settings: &Settings) -> f64 {
        self.echo.transactions_per_s * f64::from(settings.ops)
    }

    /// Placements per second if the disk did nothing but flush groups as full as those of this run.
    pub fn disk_placements_per_s(&self) -> Option<f64> {
        let flushes = self.flushes.filter(|n| *n > 0)?;
        let disk = self.disk.as_ref()?;
        Some(disk.flushes_per_s * self.counts.placed as f64 / flushes as f64)
    }

    /// The part reached of what QUIC alone would carry.
    pub fn limit_share(&self, settings: &Settings) -> f64 {
        let limit = self.echo_placements_per_s(settings);
        if limit > 0.0 { self.placements_per_s() / limit } else { 0.0 }
    }

    /// Microseconds a transaction takes at least: one flush and one round trip, each as it is without any other load.
    pub fn latency_limit_us(&self) -> Option<u64> {
        Some(self.disk.as_ref()?.flush.percentile(50.0) + self.round_trip.percentile(50.0))
    }

    /// What is wrong with the cell, or with what was counted; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.audit.1.clone();
        for (name, counts) in [("measured", &self.counts), ("whole", &self.whole)] {
            let outcomes = counts.placed + counts.aborted + counts.lost();
            if outcomes != counts.attempts {
                problems.push(format!("{name}: {} proposals, but {outcomes} outcomes", counts.attempts));
            }
        }
        for (copy, placed) in self.copies_placed.iter().enumerate() {
            if let Some(placed) = placed.filter(|placed| *placed != self.whole.placed) {
                let told = self.whole.placed;
                problems.push(format!("copy {copy} saw {placed} placements, {told} were acknowledged"));
            }
        }
        problems
    }
}
