//! Decoding, by hand, of the two messages that are nearly all of the traffic: a transaction that only places, and verdicts
//! that are all acceptances. Everything else, and everything odd about these, is left to `cell_state::codec`: what is
//! accepted here is what the codec accepts, and means the same.
//!
//! The general decoder takes about a microsecond for a transaction of ten placements, because it accounts for each
//! number against the bound on claims; here a message is bounded by its own length.

use std::sync::Arc;

use cell_state::bounds::{PLACE_MACHINES_MAX, TXN_OPS_MAX};
use cell_state::codec::{self, DecodeError};
use cell_state::transaction::{Atomicity, Choices, Detection, Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, TxnId};

use crate::message::{Reply, ReplyFrame, Request, RequestFrame};

/// The positions of these variants in their enums, which is what the encoding has of them.
const COMMIT: u32 = 9;
const VERDICTS: u32 = 9;
const PLACE: u32 = 0;
const PLACED: u32 = 0;
const OK: u32 = 0;

/// Bytes of the shortest op and of the shortest outcome here: a claimed count beyond what follows reserves nothing.
const ITEM_BYTES_MIN: usize = 6;

/// The request of a frame.
///
/// # Errors
/// The bytes are no request.
pub fn request(message: &[u8]) -> Result<RequestFrame, DecodeError> {
    match commit(&mut Reader(message)) {
        Some((id, txn)) => Ok(RequestFrame { id, request: Request::Commit(txn) }),
        None => codec::decode(message),
    }
}

/// The reply of a frame.
///
/// # Errors
/// The bytes are no reply.
pub fn reply(message: &[u8]) -> Result<ReplyFrame, DecodeError> {
    match verdicts(&mut Reader(message)) {
        Some((id, at, outcomes)) => {
            Ok(ReplyFrame { id, reply: Ok(Reply::Verdicts { at, outcomes, failed_assertion: None }) })
        }
        None => codec::decode(message),
    }
}

fn commit(reader: &mut Reader<'_>) -> Option<(u64, Transaction)> {
    let id = reader.u64()?;
    if reader.u32()? != COMMIT {
        return None;
    }
    let txn = TxnId { session: SessionId(reader.u32()?), number: reader.u64()? };
    let basis = Seq(reader.u64()?);
    let atomicity = match reader.u32()? {
        0 => Atomicity::Incremental,
        1 => Atomicity::AllOrNothing,
        _ => return None,
    };
    let detection = match reader.u32()? {
        0 => Detection::Fit,
        1 => Detection::Version,
        _ => return None,
    };
    let count = reader.count(TXN_OPS_MAX)?;
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        if reader.u32()? != PLACE {
            return None;
        }
        let task = reader.task()?;
        let machines = match reader.count(PLACE_MACHINES_MAX)? {
            1 => Choices::from(MachineId(reader.u32()?)),
            several => (0..several).map(|_| reader.u32().map(MachineId)).collect::<Option<Choices>>()?,
        };
        let no_victims = reader.u32()? == 0;
        if !no_victims {
            return None;
        }
        ops.push(Op::Place { task, machines, preempt: Vec::new() });
    }
    let no_assertions = reader.u32()? == 0;
    let txn = Transaction { id: txn, basis, atomicity, detection, ops, assertions: Vec::new() };
    (no_assertions && reader.is_empty()).then_some((id, txn))
}

fn verdicts(reader: &mut Reader<'_>) -> Option<(u64, Seq, Arc<[Outcome]>)> {
    let id = reader.u64()?;
    if reader.u32()? != OK || reader.u32()? != VERDICTS {
        return None;
    }
    let at = Seq(reader.u64()?);
    let count = reader.count(TXN_OPS_MAX)?;
    let mut outcomes = Vec::with_capacity(count);
    for _ in 0..count {
        if reader.u32()? != PLACED {
            return None;
        }
        let task = reader.task()?;
        let (machine, epoch, version) = (MachineId(reader.u32()?), reader.u32()?, reader.u32()?);
        let nothing_more = reader.byte()? == 0;
        if !nothing_more {
            return None;
        }
        outcomes.push(Outcome::Placed(Placed { task, machine, epoch, version, extra: None }));
    }
    let no_assertion_failed = reader.byte()? == 0;
    (no_assertion_failed && reader.is_empty()).then(|| (id, at, outcomes.into()))
}

/// The bytes that are left. `None` is anything that is not for this module to judge.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number: itself below 251, else the width comes first.
    fn u64(&mut self) -> Option<u64> {
        match self.byte()? {
            251 => self.bytes().map(|bytes| u64::from(u16::from_le_bytes(bytes))),
            252 => self.bytes().map(|bytes| u64::from(u32::from_le_bytes(bytes))),
            253 => self.bytes().map(u64::from_le_bytes),
            254.. => None,
            small => Some(u64::from(small)),
        }
    }

    fn u32(&mut self) -> Option<u32> {
        match self.byte()? {
            251 => self.bytes().map(|bytes| u32::from(u16::from_le_bytes(bytes))),
            252 => self.bytes().map(u32::from_le_bytes),
            253.. => None,
            small => Some(u32::from(small)),
        }
    }

    fn u16(&mut self) -> Option<u16> {
        match self.byte()? {
            251 => self.bytes().map(u16::from_le_bytes),
            252.. => None,
            small => Some(u16::from(small)),
        }
    }

    /// How many follow, if that is within the bound and so many can follow at all.
    fn count(&mut self, most: usize) -> Option<usize> {
        let count = usize::try_from(self.u64()?).ok()?;
        let few = count <= most && (count <= PLACE_MACHINES_MAX || count * ITEM_BYTES_MIN <= self.0.len());
        few.then_some(count)
    }

    fn task(&mut self) -> Option<TaskId> {
        Some(TaskId { job: JobId(self.u32()?), group: self.u16()?, index: self.u32()? })
    }
}
