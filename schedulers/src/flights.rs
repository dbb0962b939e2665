//! Transactions in flight, and the overlay that counts them.
//!
//! ```text
//!   launch ──▶ in flight ──answer, or own entry in the log──▶ settling ──copy has reached the entry──▶ landed
//!                  │
//!                  └── refused (busy, wrong, forgotten) ──▶ landed
//! ```
//!
//! Until a transaction has landed its placements stay in the overlay, so that later plans count them; from then on the
//! copy tells. A transaction has at most one answer here, however often the server sends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cell_state::overlay::Overlay;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{JobId, MachineId, Seq};

use crate::columns::Columns;

#[derive(Debug)]
struct Flight {
    txn: Arc<Transaction>,
    job: JobId,
    /// The entry it was judged in, once known.
    judged: Option<Seq>,
    /// First choices it did not get.
    lost: Vec<MachineId>,
    /// The copy has skipped entries since: what it placed may have ended again unseen.
    skipped: bool,
}

/// A transaction that has landed.
#[derive(Debug)]
pub(crate) struct Landed {
    /// Whose tasks it was about.
    pub(crate) job: JobId,
    /// First choices it had and did not get, as far as is known: there is more room there than plans have believed.
    pub(crate) given_back: Vec<MachineId>,
    /// All its first choices.
    pub(crate) chosen: Vec<MachineId>,
    /// Jobs whose tasks it wanted gone: while it was in flight they could not be placed anew.
    pub(crate) preempted: BTreeSet<JobId>,
}

/// The transactions of one process that haven't landed.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// What they change, on top of the copy.
    pub(crate) overlay: Overlay,
    /// The machines of the copy with the overlay on top.
    pub(crate) columns: Columns,
    /// How many placements in flight each machine is the first choice of.
    pub(crate) crowded: BTreeMap<MachineId, u32>,
    by_number: BTreeMap<u64, Flight>,
    /// Judged ones, by the entry the copy has yet to reach.
    settling: BTreeSet<(Seq, u64)>,
}

impl Flights {
    /// Transactions sent and not yet answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.by_number.values().filter(|f| f.judged.is_none()).map(|f| &f.txn)
    }

    /// How many are not yet answered.
    pub(crate) fn unanswered_count(&self) -> usize {
        self.by_number.len() - self.settling.len()
    }

    /// Numbers of all that haven't landed.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.by_number.keys().copied().collect()
    }

    /// The numbers of those that were judged, and whose entries the copy doesn't show yet.
    pub(crate) fn judged_numbers(&self) -> Vec<u64> {
        self.settling.iter().map(|(_, number)| *number).collect()
    }

    /// A transaction without an answer, with its job.
    pub(crate) fn waiting_for(&self, number: u64) -> Option<(JobId, Arc<Transaction>)> {
        self.by_number.get(&number).filter(|f| f.judged.is_none()).map(|f| (f.job, f.txn.clone()))
    }

    /// Takes up a transaction whose placements are in the overlay already.
    pub(crate) fn launch(&mut self, txn: Arc<Transaction>, job: JobId) {
        for machine in first_choices(&txn) {
            *self.crowded.entry(machine).or_default() += 1;
        }
        self.by_number
            .insert(txn.id.number, Flight { txn, job, judged: None, lost: Vec::new(), skipped: false });
    }

    /// Notes the answer to a transaction that has none yet.
    pub(crate) fn judged(&mut self, number: u64, at: Seq, outcomes: &[Outcome]) {
        let Some(flight) = self.by_number.get_mut(&number).filter(|f| f.judged.is_none()) else { return };
        flight.judged = Some(at);
        flight.lost = lost_choices(&flight.txn, outcomes);
        self.settling.insert((at, number));
    }

    /// The copy was rebuilt, and entries were skipped.
    pub(crate) fn restored(&mut self) {
        self.columns.forget();
        self.by_number.values_mut().for_each(|flight| flight.skipped = true);
    }

    /// The number of a judged transaction whose entry a copy at `seq` shows.
    pub(crate) fn next_due(&self, seq: Seq) -> Option<u64> {
        self.settling.first().filter(|(at, _)| *at <= seq).map(|(_, number)| *number)
    }

    /// Ends a flight, and forgets what it had planned.
    pub(crate) fn land(&mut self, number: u64) -> Option<Landed> {
        let flight = self.by_number.remove(&number)?;
        for op in &flight.txn.ops {
            self.overlay.undo(op.task());
        }
        let chosen: Vec<MachineId> = first_choices(&flight.txn).collect();
        for machine in &chosen {
            self.columns.touch(*machine);
            if let Some(count) = self.crowded.get_mut(machine) {
                *count -= 1;
                if *count == 0 {
                    self.crowded.remove(machine);
                }
            }
        }
        if let Some(at) = flight.judged {
            self.settling.remove(&(at, number));
        }
        let given_back = match flight.judged {
            Some(_) if !flight.skipped => flight.lost,
            Some(_) | None => chosen.clone(),
        };
        Some(Landed { job: flight.job, given_back, chosen, preempted: victims(&flight.txn) })
    }
}

fn first_choices(txn: &Transaction) -> impl Iterator<Item = MachineId> {
    txn.ops.iter().filter_map(|op| match op {
        Op::Place { machines, .. } => machines.first().copied(),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
    })
}

fn victims(txn: &Transaction) -> BTreeSet<JobId> {
    let victims = txn.ops.iter().flat_map(|op| match op {
        Op::Place { preempt, .. } => preempt.as_slice(),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => &[],
    });
    victims.map(|task| task.job).collect()
}

fn lost_choices(txn: &Transaction, outcomes: &[Outcome]) -> Vec<MachineId> {
    let lost = txn.ops.iter().zip(outcomes).filter_map(|(op, outcome)| match op {
        Op::Place { machines, .. } => match outcome {
            Outcome::Placed(placed) => machines.first().copied().filter(|first| *first != placed.machine),
            Outcome::Conflict(_) | Outcome::Aborted | Outcome::Stopping { .. } | Outcome::Resized { .. } => {
                machines.first().copied()
            }
        },
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
    });
    lost.collect()
}
