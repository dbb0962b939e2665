//! Commit: judge, settle, apply. Step 6 (commit) of a placement's life.
//!
//! [`judge`] reads only: it gives each op its verdict on top of the ops before it, and settles whether all or only the
//! accepted ones take effect. The result is an event; applying it can't fail. Nothing is ever applied and undone.

mod check;
mod plain;
mod trial;

use std::hint::black_box;
use std::sync::Arc;

use crate::admit::{Rejection, RejectionCode};
use crate::bounds;
use crate::cell::Cell;
use crate::event::Committed;
use crate::ids::{Seq, Time};
use crate::overlay::Overlay;
use crate::transaction::{Atomicity, Op, Transaction};
use crate::verdict::{Conflict, Outcome};

use plain::Touched;
use trial::Trial;

/// A judged transaction.
#[derive(Clone, PartialEq, Debug)]
pub enum Judged {
    /// Judged now: the event to log and apply.
    New(Committed),
    /// A resend: the remembered answer.
    Again {
        /// The entry it was judged in.
        at: Seq,
        /// One per op.
        outcomes: Arc<[Outcome]>,
        /// The assertion that failed, if one did.
        failed_assertion: Option<Box<Conflict>>,
    },
}

/// Judges transactions one after another in the same memory, so that judging an op allocates nothing.
#[derive(Debug, Default)]
pub struct Judge {
    overlay: Overlay,
    outcomes: Vec<Outcome>,
    touched: Touched,
}

/// Judges a single transaction on the state, see [`Judge::judge`].
///
/// # Errors
/// As [`Judge::judge`].
pub fn judge(cell: &Cell, time: Time, txn: &Transaction) -> Result<Judged, Rejection> {
    Judge::new().judge(cell, time, txn)
}

impl Judge {
    /// A judge who has not judged yet.
    pub fn new() -> Judge {
        Judge::default()
    }

    /// Judges a transaction on the state. Nothing of one transaction is left for the next.
    ///
    /// # Errors
    /// The transaction is no good request: unknown session, over a bound, a basis in the future, another scheduler's
    /// task. Losing a race is no error.
    pub fn judge(&mut self, cell: &Cell, time: Time, txn: &Transaction) -> Result<Judged, Rejection> {
        let session = check::session_of(cell, txn)?;
        if let Some(known) = session.remembered.get(txn.id.number) {
            let failed_assertion = known.failed_assertion.clone();
            return Ok(Judged::Again { at: known.at, outcomes: known.outcomes.clone(), failed_assertion });
        }
        if txn.id.number <= session.forgotten_upto {
            let problem = format!(
                "{} is no longer remembered (the last {} are); it can't be judged twice",
                txn.id.number,
                bounds::SESSION_OUTCOMES_MAX
            );
            return Err(Rejection::new(RejectionCode::Forgotten, "id.number", problem));
        }
        check::check(cell, txn, &session.scheduler)?;
        let mut trial = Trial::new(cell, txn, self);
        trial.run();
        let failed_assertion = trial.failed_assertion();
        let lost = self.outcomes.iter().any(|o| matches!(o, Outcome::Conflict(_)));
        if failed_assertion.is_some() || (lost && txn.atomicity == Atomicity::AllOrNothing) {
            abort(&mut self.outcomes);
        }
        Ok(Judged::New(Committed {
            txn: txn.id,
            basis: txn.basis,
            atomicity: txn.atomicity,
            detection: txn.detection,
            time,
            outcomes: self.outcomes.drain(..).collect(),
            failed_assertion: failed_assertion.map(Box::new),
        }))
    }
}

/// Reads what a transaction is about, for one that is to be judged soon. In a large cell each read waits for memory; here
/// none depends on the result of another, so they wait together, and beside whatever is done next.
pub fn read_ahead(cell: &Cell, txn: &Transaction) {
    let read = |op: &Op| match op {
        Op::Place { task, machines, .. } => machines.first().map_or(0, |id| {
            cell.read_place(*task, *id) ^ cell.machine(*id).map_or(0, |machine| machine.limit.0[0])
        }),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => 0,
    };
    black_box(txn.ops.iter().map(read).fold(0, |sum, read| sum ^ read));
}

/// Settles a transaction that is lost as a whole: what would have been accepted is aborted.
fn abort(outcomes: &mut [Outcome]) {
    for outcome in outcomes.iter_mut().filter(|o| o.is_accepted()) {
        *outcome = Outcome::Aborted;
    }
}
