//! Sessions: scheduler processes as the cell knows them, with the memory that makes a resend harmless.

mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bounds::SESSIONS_MAX;
use crate::ids::{Seq, SessionId, Time};
use crate::verdict::{Conflict, Outcome};

pub use memory::Memory;

/// The remembered answer to a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// The entry it was judged in.
    pub at: Seq,
    /// One per op.
    pub outcomes: Arc<[Outcome]>,
    /// The assertion that failed, if one did.
    pub failed_assertion: Option<Box<Conflict>>,
}

/// One scheduler process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// The name its certificate gives it.
    pub scheduler: String,
    /// The number it drew at random when it started.
    pub instance: u64,
    /// Whether it is there.
    pub live: bool,
    /// When it opened, or ended if it isn't live.
    pub since: Time,
    /// The highest number it has used.
    pub last_number: u64,
    /// Numbers up to this one may have been judged and forgotten.
    pub forgotten_upto: u64,
    /// Answers by number.
    pub remembered: Memory,
}

impl Session {
    /// Remembers an answer, and forgets the oldest ones beyond the bounds.
    pub(crate) fn remember(&mut self, number: u64, answer: Remembered) {
        self.last_number = self.last_number.max(number);
        self.remembered.insert(number, answer);
        while let Some(forgotten) = self.remembered.forget_beyond_bounds() {
            self.forgotten_upto = self.forgotten_upto.max(forgotten);
        }
    }
}

/// All sessions of a cell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    next: u32,
}

impl Sessions {
    /// All of them, in the order they were opened.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values()
    }

    /// Those that are there.
    pub fn live(&self) -> impl Iterator<Item = &Session> {
        self.iter().filter(|s| s.live)
    }

    /// One of them.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// The session of a process.
    pub fn find(&self, scheduler: &str, instance: u64) -> Option<&Session> {
        self.iter().find(|s| s.instance == instance && s.scheduler == scheduler)
    }

    /// The number of the next new session.
    pub fn next(&self) -> SessionId {
        SessionId(self.next)
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// Opens or resumes a session; returns one that had to be forgotten for it.
    pub(crate) fn open(
        &mut self,
        id: SessionId,
        scheduler: &str,
        instance: u64,
        time: Time,
    ) -> Option<SessionId> {
        if let Some(known) = self.by_id.get_mut(&id) {
            known.live = true;
            known.since = time;
            return None;
        }
        self.next = self.next.max(id.0 + 1);
        let session = Session {
            id,
            scheduler: scheduler.to_owned(),
            instance,
            live: true,
            since: time,
            last_number: 0,
            forgotten_upto: 0,
            remembered: Memory::default(),
        };
        self.by_id.insert(id, session);
        if self.by_id.len() <= SESSIONS_MAX {
            return None;
        }
        let oldest = self.iter().filter(|s| !s.live).min_by_key(|s| (s.since, s.id)).map(|s| s.id)?;
        self.by_id.remove(&oldest);
        Some(oldest)
    }

    pub(crate) fn restore(&mut self, session: Session) {
        self.by_id.insert(session.id, session);
    }

    pub(crate) fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{SESSION_OUTCOME_OPS_MAX, SESSION_OUTCOMES_MAX};

    fn answer(ops: usize) -> Remembered {
        Remembered { at: Seq(1), outcomes: vec![Outcome::Aborted; ops].into(), failed_assertion: None }
    }

    #[test]
    fn memory_is_bounded_by_transactions_and_by_ops() {
        let mut sessions = Sessions::default();
        sessions.open(SessionId(0), "batch", 7, Time(1));
        let session = sessions.get_mut(SessionId(0)).unwrap();
        for number in 1..=SESSION_OUTCOMES_MAX as u64 + 10 {
            session.remember(number, answer(1));
        }
        assert_eq!((session.remembered.len(), session.forgotten_upto), (SESSION_OUTCOMES_MAX, 10));
        session.remember(1_000, answer(SESSION_OUTCOME_OPS_MAX));
        assert_eq!((session.remembered.len(), session.last_number), (1, 1_000));
    }

    #[test]
    fn the_longest_ended_session_is_forgotten_first() {
        let mut sessions = Sessions::default();
        for i in 0..SESSIONS_MAX as u32 {
            sessions.open(SessionId(i), "batch", u64::from(i), Time(1));
        }
        for (i, ended) in [(5, 30), (9, 20)] {
            let session = sessions.get_mut(SessionId(i)).unwrap();
            (session.live, session.since) = (false, Time(ended));
        }
        let forgotten = sessions.open(SessionId(SESSIONS_MAX as u32), "batch", 1 << 40, Time(40));
        assert_eq!(forgotten, Some(SessionId(9)));
    }
}
