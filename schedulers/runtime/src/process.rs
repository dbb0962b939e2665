//! A scheduler process between its inputs and outputs: the copy, the deciding part, and what they are told. Nothing here
//! waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::admit::RejectionCode;
use cell_state::page::StateHash;
use cell_state::transaction::Transaction;
use cell_state::{Cell, Seq, SessionId};
use schedulers::copy::{Copy, CopyError, Step};
use schedulers::digest::{Answer, Verdict};
use schedulers::scheduler::{Decision, Proposal};
use schedulers::{Policy, Scheduler};
use transport::message::{Refusal, Reply, Scope};
use transport::view::{OWN_VIEW, Telemetry};
use transport_quic::CallError;

use crate::clock;
use crate::config::{Config, Summary, View};

/// What to do after deciding.
pub(crate) enum Turn {
    /// Send this, and decide again.
    Send(Arc<Transaction>),
    /// Decide again once input and output have had their turn.
    Again,
    /// Wait for something to arrive, or this long.
    Wait(Option<Duration>),
}

/// A scheduler process.
pub(crate) struct Process {
    /// The number that tells it apart from others of its name.
    pub(crate) instance: u64,
    /// What it subscribes to.
    pub(crate) scope: Scope,
    scheduler: Scheduler,
    copy: Copy,
    /// A transaction that is decided and not yet sent: its artificial decision time isn't over.
    held: Option<Proposal>,
    started: Instant,
    busy: Duration,
    checked: Option<(Seq, StateHash)>,
    hash_mismatches: u64,
    connections: u64,
}

impl Process {
    pub(crate) fn new(policy: Box<dyn Policy>, config: &Config) -> Process {
        let instance = clock::instance();
        let (scope, copy) = match config.view {
            View::Full => (Scope::Full, Copy::new()),
            View::Own => {
                let name = &config.credentials.identity().name;
                (Scope::Jobs { scheduler: name.clone() }, Copy::scoped(name))
            }
        };
        Process {
            instance,
            scope,
            scheduler: Scheduler::new(policy, config.settings(instance)),
            copy,
            held: None,
            started: Instant::now(),
            busy: Duration::ZERO,
            checked: None,
            hash_mismatches: 0,
            connections: 0,
        }
    }

    /// Where the next subscription must start.
    pub(crate) fn position(&mut self) -> Option<Seq> {
        self.copy.resubscribed();
        self.copy.seq()
    }

    /// The server has opened or resumed the session. Returns what must be sent again.
    pub(crate) fn opened(&mut self, session: SessionId, last_number: u64) -> Vec<Arc<Transaction>> {
        self.connections += 1;
        match self.copy.cell() {
            Some(cell) => self.scheduler.opened(cell, session, last_number),
            None => self.scheduler.opened(&Cell::new(), session, last_number),
        }
        let held = self.held.as_ref().map(|proposal| proposal.txn.id);
        if held.is_some_and(|id| id.session != session) {
            self.held = None;
        }
        let unanswered = self.scheduler.unanswered().filter(|txn| Some(txn.id) != held);
        unanswered.cloned().collect()
    }

    /// Takes records of the subscription.
    pub(crate) fn records(&mut self, mut bytes: &[u8]) -> Result<(), CopyError> {
        let _span = tracing::debug_span!("see", bytes = bytes.len()).entered();
        let now = clock::now();
        loop {
            match self.copy.take(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Step::Nothing)) => {}
                Ok(Some(Step::Checked(seq, hash))) => self.checked = Some((seq, hash)),
                Ok(Some(Step::Restored)) => {
                    if let Some(cell) = self.copy.cell() {
                        tracing::info!(seq = %cell.seq(), "restored the copy from a snapshot");
                        self.scheduler.restored(cell);
                    }
                }
                Ok(Some(Step::Event(seq, event))) => {
                    if let Some(cell) = self.copy.cell_mut() {
                        self.scheduler.follow(cell, now, seq, &event);
                    }
                }
                Ok(Some(Step::Loads(seq, loads))) => {
                    if let Some(cell) = self.copy.cell_mut() {
                        self.scheduler.loads(cell, seq, &loads);
                    }
                }
                Err(error) => {
                    self.hash_mismatches += u64::from(matches!(error, CopyError::Mismatch { .. }));
                    return Err(error);
                }
            }
        }
        self.tell_alarms();
        Ok(())
    }

    /// Takes the answer to a transaction. An error means that the connection is lost.
    pub(crate) fn answer(&mut self, number: u64, reply: Result<Reply, CallError>) -> Result<(), String> {
        let _span = tracing::debug_span!("answer", number).entered();
        let answer = match reply {
            Ok(Reply::Verdicts { at, outcomes, failed_assertion }) => {
                Answer::Verdict(Verdict { at, outcomes, failed_assertion })
            }
            Ok(other) => return Err(format!("the server answered a transaction with {other:?}")),
            Err(CallError::Lost(reason)) => return Err(reason),
            Err(CallError::Refused(refusal)) => refused(number, &refusal),
        };
        let now = clock::now();
        match self.copy.cell() {
            Some(cell) => self.scheduler.answer(cell, now, number, answer),
            None => self.scheduler.answer(&Cell::new(), now, number, answer),
        }
        self.tell_alarms();
        Ok(())
    }

    /// Decides what to do next.
    pub(crate) fn decide(&mut self) -> Turn {
        let now = clock::now();
        if let Some(held) = &self.held {
            if held.send_at > now {
                return Turn::Wait(Some(Duration::from_micros(held.send_at.since(now))));
            }
            let txn = held.txn.clone();
            self.held = None;
            return Turn::Send(txn);
        }
        let Some(cell) = self.copy.cell() else { return Turn::Wait(None) };
        let _span = tracing::debug_span!("think", at = %cell.seq()).entered();
        let began = Instant::now();
        let decision = self.scheduler.decide(cell, now);
        self.busy += began.elapsed();
        match decision {
            Decision::Propose(proposal) if proposal.send_at > now => {
                let wait = Duration::from_micros(proposal.send_at.since(now));
                self.held = Some(proposal);
                Turn::Wait(Some(wait))
            }
            Decision::Propose(proposal) => Turn::Send(proposal.txn),
            Decision::Again => Turn::Again,
            Decision::Wait => {
                let next = self.scheduler.next_time(cell);
                Turn::Wait(next.map(|time| Duration::from_micros(time.since(now).max(1))))
            }
        }
    }

    /// How this process fares.
    pub(crate) fn telemetry(&self) -> Telemetry {
        Telemetry {
            at: self.copy.seq().unwrap_or_default(),
            policy: match self.scope {
                Scope::Jobs { .. } => format!("{}{OWN_VIEW}", self.scheduler.policy_name()),
                Scope::Full | Scope::Machines => self.scheduler.policy_name().to_owned(),
            },
            queued: self.scheduler.queued() as u64,
            busy_us: self.busy.as_micros() as u64 + self.scheduler.stats().think_us,
            uptime_us: self.started.elapsed().as_micros() as u64,
            memory_bytes: clock::memory_bytes(),
            checked: self.checked,
            hash_mismatches: self.hash_mismatches,
        }
    }

    /// What it did in its life.
    pub(crate) fn summary(&self) -> Summary {
        let (connections, hash_mismatches) = (self.connections, self.hash_mismatches);
        Summary { stats: self.scheduler.stats().clone(), connections, hash_mismatches }
    }

    /// A plan that was wrong when it was made is a bug somewhere: it is shouted about, never silently retried.
    fn tell_alarms(&mut self) {
        for alarm in self.scheduler.take_alarms() {
            let (task, machine) = (alarm.task.map(|t| t.to_string()), alarm.machine.map(|m| m.0));
            tracing::error!(?task, ?machine, at = %alarm.at, "divergence: the server refused what fitted here: {}", alarm.kind);
        }
    }
}

/// What a refusal of a transaction means.
fn refused(number: u64, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Busy | Refusal::Unavailable(_) => Answer::Busy,
        Refusal::Rejected(rejection) => match rejection.code {
            RejectionCode::Forgotten | RejectionCode::NotFound => {
                tracing::warn!(number, "{rejection}");
                Answer::Forgotten
            }
            RejectionCode::Full => Answer::Busy,
            RejectionCode::Invalid | RejectionCode::NotAllowed => {
                tracing::error!(number, "the server calls the transaction wrong: {rejection}");
                Answer::Rejected
            }
        },
        Refusal::NotPermitted { .. } | Refusal::Malformed(_) | Refusal::TooOld { .. } => {
            tracing::error!(number, "the server calls the transaction wrong: {refusal}");
            Answer::Rejected
        }
    }
}
