//! A cell as the follower of one scheduler's jobs keeps it; see [`crate::scope`].

use std::collections::BTreeMap;

use crate::event::{Committed, Event};
use crate::ids::Seq;
use crate::job::Band;
use crate::lifecycle::Trigger;
use crate::resources::Resources;
use crate::scope::Loads;
use crate::session::Memory;
use crate::task::StopReason;
use crate::verdict::Outcome;

use super::Cell;

/// Whose jobs a scoped state has, and what was last said of quotas.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    scheduler: String,
    quotas: BTreeMap<(String, Band), Resources>,
}

impl Cell {
    /// The same state as that of the follower of one scheduler's jobs: only those are in it already, and what machines
    /// hold follows ([`Cell::apply_loads`]).
    #[must_use]
    pub fn scoped_to(mut self, scheduler: &str) -> Cell {
        self.scope = Some(Box::new(Scope { scheduler: scheduler.to_owned(), quotas: BTreeMap::new() }));
        self
    }

    /// Whose jobs these are, when not all of the cell's are here.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_ref().map(|scope| &*scope.scheduler)
    }

    /// Applies an entry that came over a subscription: to the whole state the next one, to a scoped state a later one
    /// that concerns its scheduler.
    pub fn follow(&mut self, seq: Seq, event: &Event) {
        if self.scope.is_none() {
            return self.apply(seq, event);
        }
        // What lies in between concerns others.
        self.seq = Seq(seq.0 - 1);
        self.apply(seq, event);
        if let Event::Committed(committed) = event {
            // A resend is answered by the server, out of its own memory.
            if let Some(session) = self.sessions.get_mut(committed.txn.session) {
                session.remembered = Memory::default();
            }
            self.preempt_for_others(committed);
        }
    }

    /// Takes what machines hold from who has the whole state, at this position.
    pub fn apply_loads(&mut self, seq: Seq, loads: &Loads) {
        for amounts in &loads.machines {
            if let Some(machine) = self.machines.get_mut(amounts.machine.index()) {
                machine.set_amounts(amounts);
            }
        }
        self.time = loads.time;
        if loads.more {
            return;
        }
        if let Some(scope) = &mut self.scope {
            let told = loads.quotas.iter().map(|(team, band, used)| ((team.clone(), *band), *used));
            scope.quotas.extend(told);
            // All of them, for this state's own tasks were counted on top.
            for ((team, band), used) in &scope.quotas {
                self.quotas.set_used(team, *band, used);
            }
        }
        self.seq = self.seq.max(seq);
    }

    /// A newcomer that isn't here can't be placed, but its victims are asked to go all the same.
    fn preempt_for_others(&mut self, committed: &Committed) {
        for outcome in committed.outcomes.iter() {
            if let Outcome::Placed(placed) = outcome
                && let Some(extra) = &placed.extra
                && self.job(placed.task.job).is_none()
            {
                for victim in &extra.preempted {
                    self.trigger(*victim, Trigger::Stop(StopReason::Evict), committed.time);
                }
            }
        }
    }
}
