//! Verdicts as they are in the log: what is encoded there is what the author is told, so it is encoded once.
//! Step 8 (answer) of a placement's life.

use cell_state::Seq;
use cell_state::event::{Committed, Event};
use cell_state::record::HEADER_BYTES;
use transport::message::{Refusal, Reply};

use crate::group::{Entry, Outcomes, Pending};
use crate::intake::AnswerTo;

/// The position of the entry at `index` of a group, which holds a transaction, and the bytes of its outcomes and of the
/// assertion that failed.
pub(crate) fn in_record<'a>(entries: &[Entry], index: usize, bytes: &'a [u8]) -> (Seq, &'a [u8]) {
    let entry = &entries[index];
    let Event::Committed(committed) = &entry.event else {
        unreachable!("only transactions are answered with the verdicts of an entry");
    };
    let start = index.checked_sub(1).map_or(0, |before| entries[before].end as usize);
    let body = &bytes[start + HEADER_BYTES..entry.end as usize];
    (entry.seq, &body[head_bytes(committed)..])
}

/// Bytes of a transaction's record body before its outcomes: which event it is, its id, basis, the two choices of its
/// author, and its time.
fn head_bytes(committed: &Committed) -> usize {
    let Committed { txn, basis, time, .. } = committed;
    let numbers = [u64::from(txn.session.0), txn.number, basis.0, time.0];
    3 + numbers.into_iter().map(varint_bytes).sum::<usize>()
}

/// Bytes of a number in the one encoding of the log and the wire.
fn varint_bytes(number: u64) -> usize {
    match number {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        0x1_0000_0000.. => 9,
    }
}

/// Tells the author, given the entries of the group the answer travelled with and their records.
pub(crate) fn tell(pending: Pending, entries: &[Entry], bytes: &[u8]) {
    let AnswerTo::Party { responder, connection } = pending.to else {
        return report_own(pending.what.reply(entries));
    };
    if let Outcomes::Judged(index) = pending.what {
        // What the log says of the verdicts is what the author is told, byte for byte.
        let (at, encoded) = in_record(entries, index, bytes);
        return responder.reply_verdicts(at, encoded);
    }
    let reply = pending.what.reply(entries);
    if let Ok(Reply::Done { answer, .. }) = &reply {
        // Before the reply leaves: the party's next request may already rest on it.
        connection.remember(answer);
    }
    responder.reply(reply);
}

/// The server's own requests have nobody to answer; one that is refused is worth a line.
fn report_own(reply: Result<Reply, Refusal>) {
    if let Err(refusal) = reply {
        tracing::warn!(%refusal, "a request of the server itself was refused");
    }
}

#[cfg(test)]
mod tests {
    use cell_state::ids::{SessionId, Time};
    use cell_state::record;
    use cell_state::transaction::{Atomicity, Detection};
    use cell_state::verdict::{Conflict, ConflictKind, Outcome, Placed};
    use cell_state::{JobId, MachineId, TaskId, TxnId};
    use transport::frame::{frame, frame_verdicts};
    use transport::message::ReplyFrame;

    use super::*;

    fn committed(scale: u64, ops: usize, failed: bool) -> Committed {
        let conflict = Box::new(Conflict {
            task: None,
            machine: Some(MachineId(7)),
            kind: ConflictKind::NoTask,
            winner: None,
            stale_entries: scale,
            spurious: false,
            divergence: false,
        });
        let task = TaskId { job: JobId(scale as u32), group: 1, index: 300 };
        let placed = Placed { task, machine: MachineId(70_000), epoch: 3, version: 1, extra: None };
        let mut outcomes = vec![Outcome::Placed(placed); ops];
        outcomes.push(Outcome::Conflict(conflict.clone()));
        Committed {
            txn: TxnId { session: SessionId(scale as u32), number: scale * 3 },
            basis: Seq(scale * 5),
            atomicity: Atomicity::AllOrNothing,
            detection: Detection::Version,
            time: Time(scale * 7),
            outcomes: outcomes.into(),
            failed_assertion: failed.then_some(conflict),
        }
    }

    #[test]
    fn what_the_log_says_is_what_the_author_is_told() {
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        for (n, scale) in
            [0, 1, 83, 250, 251, 9_363, 65_535, 65_536, 1 << 31, 1 << 40].into_iter().enumerate()
        {
            let event = Event::Committed(committed(scale, n * 3, n % 2 == 0));
            let seq = Seq(scale + 1);
            record::append_event(&mut bytes, seq, &event);
            entries.push(Entry { seq, event, end: bytes.len() as u32 });
        }
        for index in 0..entries.len() {
            let (at, encoded) = in_record(&entries, index, &bytes);
            let mut told = Vec::new();
            frame_verdicts(9, at, encoded, &mut told);
            let Event::Committed(Committed { outcomes, failed_assertion, .. }) = entries[index].event.clone()
            else {
                panic!()
            };
            let reply = Reply::Verdicts { at, outcomes, failed_assertion };
            let mut expected = Vec::new();
            frame(&ReplyFrame { id: 9, reply: Ok(reply) }, &mut expected);
            assert_eq!(told, expected, "transaction {index}");
        }
    }
}
