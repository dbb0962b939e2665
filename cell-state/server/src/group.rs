//! What travels from the commit thread through the log to publish: judged entries, and who waits for them.

use std::sync::Arc;

use bytes::Bytes;
use cell_state::Seq;
use cell_state::admit::Answer;
use cell_state::event::Event;
use cell_state::verdict::{Conflict, Outcome};
use transport::message::{Acknowledged, Refusal, Reply};

use crate::intake::AnswerTo;

/// One judged change.
pub(crate) struct Entry {
    /// Its position.
    pub(crate) seq: Seq,
    /// The change.
    pub(crate) event: Event,
    /// Where its record ends in the bytes of its group.
    pub(crate) end: u32,
}

/// An answer that is told once everything judged before it is durable.
pub(crate) struct Pending {
    /// To whom.
    pub(crate) to: AnswerTo,
    /// What.
    pub(crate) what: Outcomes,
}

/// What an author is told.
pub(crate) enum Outcomes {
    /// The verdicts in the entry at this index of the group.
    Judged(usize),
    /// The remembered verdicts of a resend.
    Again {
        /// Where they were judged.
        at: Seq,
        /// One per op.
        outcomes: Arc<[Outcome]>,
        /// The assertion that failed, if one did.
        failed_assertion: Option<Box<Conflict>>,
    },
    /// A command took effect, or found the cell already so.
    Done {
        /// The position that holds it.
        at: Seq,
        /// The answer.
        answer: Answer,
    },
    /// Reports about several machines are in the cell, or are refused.
    Reported(Vec<Result<Acknowledged, Refusal>>),
    /// A bad request.
    Refused(Refusal),
}

/// Entries judged together, with their records and the answers that wait for them. The answers may outnumber the
/// entries, and a group of answers alone still goes through the log thread: what they say may rest on entries of an
/// earlier group that is not yet durable.
#[derive(Default)]
pub(crate) struct Group {
    /// The records, one after another.
    pub(crate) bytes: Vec<u8>,
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// The answers, in the order of the requests.
    pub(crate) answers: Vec<Pending>,
}

/// How much is in a group.
#[derive(Default)]
pub(crate) struct Extent {
    bytes: usize,
    entries: usize,
    answers: usize,
}

/// Groups that were made durable by one flush.
pub(crate) struct Durable {
    /// The records, as they are in the log.
    pub(crate) bytes: Bytes,
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// The answers.
    pub(crate) answers: Vec<Pending>,
}

impl Durable {
    /// The two as one, the later behind.
    pub(crate) fn merge(self, later: Durable) -> Durable {
        let open =
            |one: Durable| Group { bytes: one.bytes.into(), entries: one.entries, answers: one.answers };
        let mut merged = open(self);
        merged.merge(open(later));
        Durable { bytes: merged.bytes.into(), entries: merged.entries, answers: merged.answers }
    }
}

impl Group {
    /// An empty one that has room for as much, and a little more.
    pub(crate) fn with_room_for(extent: &Extent) -> Group {
        let more = |count: usize| count + count / 4;
        Group {
            bytes: Vec::with_capacity(more(extent.bytes)),
            entries: Vec::with_capacity(more(extent.entries)),
            answers: Vec::with_capacity(more(extent.answers)),
        }
    }

    /// How much is in it.
    pub(crate) fn extent(&self) -> Extent {
        Extent { bytes: self.bytes.len(), entries: self.entries.len(), answers: self.answers.len() }
    }

    /// Takes another group behind this one.
    pub(crate) fn merge(&mut self, mut later: Group) {
        if self.bytes.is_empty() && self.entries.is_empty() && self.answers.is_empty() {
            *self = later;
            return;
        }
        let (shift, offset) = (self.entries.len(), self.bytes.len() as u32);
        self.bytes.append(&mut later.bytes);
        self.entries.extend(later.entries.into_iter().map(|e| Entry { end: e.end + offset, ..e }));
        self.answers.extend(later.answers.into_iter().map(|mut answer| {
            if let Outcomes::Judged(index) = &mut answer.what {
                *index += shift;
            }
            answer
        }));
    }
}

impl Outcomes {
    /// The reply, given the entries of the group it travelled with.
    pub(crate) fn reply(self, entries: &[Entry]) -> Result<Reply, Refusal> {
        match self {
            Outcomes::Judged(index) => {
                let entry = &entries[index];
                let Event::Committed(committed) = &entry.event else {
                    unreachable!("only transactions are answered with the verdicts of an entry");
                };
                let (outcomes, failed_assertion) =
                    (committed.outcomes.clone(), committed.failed_assertion.clone());
                Ok(Reply::Verdicts { at: entry.seq, outcomes, failed_assertion })
            }
            Outcomes::Again { at, outcomes, failed_assertion } => {
                Ok(Reply::Verdicts { at, outcomes, failed_assertion })
            }
            Outcomes::Done { at, answer } => Ok(Reply::Done { at, answer }),
            Outcomes::Reported(answers) => Ok(Reply::Reported(answers)),
            Outcomes::Refused(refusal) => Err(refusal),
        }
    }

    /// Whether the author may be told as soon as the entry is durable: what transactions and reports change is read only
    /// by reads that wait for the mirror. Everything else is told once the mirror has it.
    pub(crate) fn is_early(&self) -> bool {
        match self {
            Outcomes::Judged(_)
            | Outcomes::Again { .. }
            | Outcomes::Reported(_)
            | Outcomes::Done { answer: Answer::Reported { .. }, .. } => true,
            Outcomes::Done { .. } | Outcomes::Refused(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use cell_state::ids::{SessionId, Time};

    use super::*;

    fn group(first: u64, entries: usize) -> Group {
        let mut group = Group::default();
        for i in 0..entries as u64 {
            let seq = Seq(first + i);
            let event = Event::SessionEnded { session: SessionId(0), time: Time(0) };
            cell_state::record::append_event(&mut group.bytes, seq, &event);
            group.entries.push(Entry { seq, event, end: group.bytes.len() as u32 });
        }
        group
    }

    #[test]
    fn merged_groups_keep_their_offsets_and_answers() {
        let mut merged = Group::default();
        merged.merge(group(1, 2));
        let mut later = group(3, 1);
        later.answers.push(Pending { to: AnswerTo::Nobody, what: Outcomes::Judged(0) });
        merged.merge(later);
        let mut from = 0;
        for entry in &merged.entries {
            let record = &merged.bytes[from..entry.end as usize];
            assert_eq!(cell_state::record::read(record).unwrap().unwrap().0.seq, entry.seq);
            from = entry.end as usize;
        }
        assert!(matches!(merged.answers[0].what, Outcomes::Judged(2)));
    }
}
