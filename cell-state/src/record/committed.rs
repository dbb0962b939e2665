//! Encoding, by hand, of the event that is nearly all of the log: a transaction, of which most outcomes are plain
//! placements. The bytes are those of [`crate::codec`], which is what they are decoded by; the golden files and a test
//! here compare the two. The general encoder takes three times as long for a placement, because it appends each of its
//! numbers to the output on its own.

use crate::codec;
use crate::event::{Committed, Event};
use crate::verdict::{Outcome, Placed};

/// The positions of these variants in their enums, which is what the encoding has of them.
const COMMITTED: u32 = 9;
const PLACED: u8 = 0;
const NO_EXTRA: u8 = 0;

/// Two bytes, and six numbers of at most 32 bits that take at most five each.
const PLACED_BYTES_MAX: usize = 32;

/// Appends the encoding of an event.
pub(super) fn encode_into(event: &Event, out: &mut Vec<u8>) {
    let Event::Committed(committed) = event else { return codec::encode_into(event, out) };
    let Committed { txn, basis, atomicity, detection, time, outcomes, failed_assertion } = committed;
    codec::encode_into(&(COMMITTED, txn, basis, atomicity, detection, time, outcomes.len()), out);
    for outcome in outcomes.iter() {
        match outcome {
            Outcome::Placed(placed) if placed.extra.is_none() => {
                let (bytes, length) = plain(placed);
                out.extend_from_slice(&bytes[..length]);
            }
            Outcome::Placed(_)
            | Outcome::Stopping { .. }
            | Outcome::Resized { .. }
            | Outcome::Conflict(_)
            | Outcome::Aborted => codec::encode_into(outcome, out),
        }
    }
    codec::encode_into(failed_assertion, out);
}

/// A placement without extras, and the bytes it takes.
#[inline]
fn plain(placed: &Placed) -> ([u8; PLACED_BYTES_MAX], usize) {
    let Placed { task, machine, epoch, version, extra: _ } = placed;
    let mut bytes = [PLACED; PLACED_BYTES_MAX];
    let mut at = 1;
    for number in [task.job.0, u32::from(task.group), task.index, machine.0, *epoch, *version] {
        at += varint(number, &mut bytes[at..]);
    }
    bytes[at] = NO_EXTRA;
    (bytes, at + 1)
}

/// Writes a number as the codec does, and returns its length.
#[inline]
fn varint(number: u32, bytes: &mut [u8]) -> usize {
    let [low, high, ..] = number.to_le_bytes();
    match number {
        0..=250 => {
            bytes[0] = low;
            1
        }
        251..=0xffff => {
            bytes[..3].copy_from_slice(&[251, low, high]);
            3
        }
        0x1_0000.. => {
            bytes[0] = 252;
            bytes[1..5].copy_from_slice(&number.to_le_bytes());
            5
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{JobId, MachineId, Seq, SessionId, TaskId, Time, TxnId};
    use crate::task::StopReason;
    use crate::transaction::{Atomicity, Detection};
    use crate::verdict::PlacedExtra;

    #[test]
    fn the_bytes_are_those_of_the_codec_for_numbers_of_every_width() {
        let edges = [0, 1, 250, 251, 252, 255, 256, 0xffff, 0x1_0000, u32::MAX];
        let task = |index| TaskId { job: JobId(index), group: index as u16, index };
        let placed = |at: usize| {
            let number = |i: usize| edges[(at + i) % edges.len()];
            let extra = (at % 4 == 3).then(|| Box::new(PlacedExtra::default()));
            let (machine, epoch, version) = (MachineId(number(1)), number(2), number(3));
            Outcome::Placed(Placed { task: task(edges[at]), machine, epoch, version, extra })
        };
        let mut outcomes: Vec<Outcome> = (0..edges.len()).map(placed).collect();
        outcomes.push(Outcome::Aborted);
        outcomes.push(Outcome::Stopping { task: task(300), reason: StopReason::Evict });
        for length in 0..=outcomes.len() {
            let event = Event::Committed(Committed {
                txn: TxnId { session: SessionId(300), number: 1 << 40 },
                basis: Seq(u64::MAX),
                atomicity: Atomicity::AllOrNothing,
                detection: Detection::Version,
                time: Time(1 << 50),
                outcomes: Arc::from(&outcomes[..length]),
                failed_assertion: None,
            });
            let mut bytes = Vec::new();
            encode_into(&event, &mut bytes);
            assert_eq!(bytes, codec::encode(&event));
        }
    }
}
