//! Messages of the kinds that are decoded by hand, with numbers of every width.

use std::sync::Arc;

use cell_state::codec;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, TxnId};
use transport::message::{Reply, ReplyFrame, Request, RequestFrame};

/// The numbers of a placement: job, group, index, how many machines it names, and a number all else is made of.
pub(crate) type Place = (u32, u16, u32, usize, u32);
/// The numbers of a message.
pub(crate) type Numbers = (u64, u32, u64, u64);

fn task(&(job, group, index, ..): &Place) -> TaskId {
    // Half of them small, as most are.
    TaskId {
        job: JobId(job % 300),
        group: group % 260,
        index: if job.is_multiple_of(2) { index } else { index % 250 },
    }
}

/// A transaction that places.
pub(crate) fn commit(places: &[Place], (id, session, number, basis): Numbers) -> Vec<u8> {
    let place = |p: &Place| Op::Place {
        task: task(p),
        machines: (0..p.3 as u32).map(|n| MachineId(p.4.wrapping_add(n))).collect(),
        preempt: if p.4.is_multiple_of(31) { vec![task(p)] } else { Vec::new() },
    };
    let txn = Transaction {
        id: TxnId { session: SessionId(session), number },
        basis: Seq(basis),
        atomicity: if id.is_multiple_of(2) { Atomicity::Incremental } else { Atomicity::AllOrNothing },
        detection: if number.is_multiple_of(2) { Detection::Fit } else { Detection::Version },
        ops: places.iter().map(place).collect(),
        assertions: Vec::new(),
    };
    codec::encode(&RequestFrame { id, request: Request::Commit(txn) })
}

/// Verdicts that accept, nearly all of them.
pub(crate) fn verdicts(places: &[Place], (id, version, _, at): Numbers) -> Vec<u8> {
    let outcome = |p: &Place| match p.4 % 31 {
        0 => Outcome::Aborted,
        _ => Outcome::Placed(Placed {
            task: task(p),
            machine: MachineId(p.4),
            epoch: p.4 % 70_000,
            version,
            extra: None,
        }),
    };
    let outcomes: Arc<[Outcome]> = places.iter().map(outcome).collect();
    codec::encode(&ReplyFrame {
        id,
        reply: Ok(Reply::Verdicts { at: Seq(at), outcomes, failed_assertion: None }),
    })
}
