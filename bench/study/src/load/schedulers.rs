//! The proposers of a load that search for nothing: each keeps transactions in flight on machines drawn by chance.
//!
//! A proposer is one task with one pipeline. Its transactions are made once and filled in anew each time, so that the
//! load costs this machine little beside what it costs the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{JobId, Seq, TaskId, TxnId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{Answered, CallError, Pipeline};

use super::calls::Opened;
use super::counts::Tally;
use super::error::LoadError;
use super::field::{Field, Placement};
use super::pace::Pace;
use super::skew::Skew;
use crate::bounds::{BUSY_PAUSE, LOAD_STARVED_PAUSE};

const WHAT: &str = "committing a transaction";

/// One proposer.
pub(super) struct Proposer {
    owner: usize,
    field: Arc<Field>,
    pipeline: Pipeline,
    rng: ChaCha8Rng,
    last_number: u64,
    /// The last position it was told: the basis of its proposals when there is no copy.
    told: Seq,
    free: VecDeque<TaskId>,
    slots: Vec<Slot>,
    /// Slots with nothing under way.
    idle: Vec<usize>,
    /// Slots whose transaction the server was too busy to take, and when to send them again.
    refused: (Vec<usize>, Instant),
    pace: Pace,
    tally: Tally,
}

/// A transaction that is under way again and again, with other tasks and machines each time.
struct Slot {
    request: Request,
    /// The machines its ops name, by their place in the field.
    chosen: Vec<u32>,
    /// How often it was sent.
    turns: u64,
    sent: Instant,
}

impl Proposer {
    pub(super) async fn new(owner: usize, field: Arc<Field>, opened: &Opened) -> Result<Proposer, LoadError> {
        let settings = &field.settings;
        let count = settings.in_flight as usize;
        let slot = |_| Slot {
            request: Request::Commit(blank(settings.ops, opened, &field)),
            chosen: vec![0; settings.ops as usize],
            turns: 0,
            sent: Instant::now(),
        };
        Ok(Proposer {
            owner,
            pipeline: opened.client.pipeline().await.map_err(LoadError::call(WHAT))?,
            rng: ChaCha8Rng::seed_from_u64(settings.seed ^ ((owner as u64) << 40)),
            last_number: opened.last_number,
            told: opened.at,
            free: VecDeque::new(),
            slots: (0..count).map(slot).collect(),
            idle: (0..count).rev().collect(),
            refused: (Vec::new(), Instant::now()),
            pace: Pace::new(settings.rate_of_one()),
            tally: Tally::default(),
            field,
        })
    }

    /// Proposes until the load is over, or until there is nothing left to place.
    pub(super) async fn run(mut self) -> Result<Tally, LoadError> {
        let mut answers = Vec::new();
        let mut positions = Vec::new();
        loop {
            let wait = self.fill()?;
            if self.pipeline.unanswered() == 0 && wait.is_none() {
                return Ok(self.tally);
            }
            let all_idle = self.slots.len() == self.idle.len() + self.refused.0.len();
            match wait {
                None => self.pipeline.exchange(&mut answers).await.map_err(LoadError::call(WHAT))?,
                Some(wait) if all_idle => tokio::time::sleep(wait).await,
                Some(wait) => {
                    // When the time is over first, nothing has arrived.
                    let exchange = self.pipeline.exchange(&mut answers);
                    if let Ok(done) = tokio::time::timeout(wait, exchange).await {
                        done.map_err(LoadError::call(WHAT))?;
                    }
                }
            }
            self.take(&mut answers, &mut positions)?;
        }
    }

    /// Gives every idle slot a transaction. `Some` when that wasn't possible for now: the time after which to look
    /// again; `None` when there is nothing to do before an answer arrives.
    fn fill(&mut self) -> Result<Option<Duration>, LoadError> {
        let phase = self.field.board.phase();
        let now = Instant::now();
        if self.field.board.is_over() {
            self.refused.0.clear();
            return Ok(None);
        }
        if now >= self.refused.1 {
            for at in std::mem::take(&mut self.refused.0) {
                self.send(at, now)?;
            }
        }
        let mut wait = (!self.refused.0.is_empty()).then_some(BUSY_PAUSE);
        let count = self.field.settings.ops as usize;
        while let Some(at) = self.idle.last().copied() {
            if let Some(early) = self.pace.early(now) {
                return Ok(Some(early));
            }
            if self.free.len() < count {
                self.free.append(&mut self.field.free(self.owner));
            }
            if self.free.len() < count {
                if self.field.settings.hold.is_some() {
                    self.tally.note(phase, |counts| counts.starved += 1);
                    wait = Some(LOAD_STARVED_PAUSE);
                }
                break;
            }
            self.idle.pop();
            self.draw(at);
            self.pace.sent(count);
            self.send(at, now)?;
        }
        Ok(wait)
    }

    /// Fills a transaction with the next tasks, on machines drawn by chance.
    fn draw(&mut self, at: usize) {
        let part = (self.owner * self.slots.len() + at, self.field.settings.under_way() as usize);
        let slot = &mut self.slots[at];
        let Request::Commit(txn) = &mut slot.request else { unreachable!("slots hold transactions") };
        for (op, chosen) in txn.ops.iter_mut().zip(&mut slot.chosen) {
            let Op::Place { task, machines, .. } = op else { unreachable!("a load proposes placements") };
            *task = self.free.pop_front().expect("there are as many as ops");
            let index = self.field.chooser.choose(&mut self.rng, part);
            *chosen = index as u32;
            *machines = self.field.machines[index].into();
        }
    }

    /// Sends the transaction of a slot under a new number.
    fn send(&mut self, at: usize, now: Instant) -> Result<(), LoadError> {
        let count = self.slots.len() as u64;
        let slot = &mut self.slots[at];
        let Request::Commit(txn) = &mut slot.request else { unreachable!("slots hold transactions") };
        self.last_number += 1;
        txn.id.number = self.last_number;
        // Who has machines of its own knows from its own answers how they are.
        let copied = self.field.board.copied().filter(|_| self.field.settings.skew != Skew::Own);
        txn.basis = copied.unwrap_or(self.told);
        slot.turns += 1;
        slot.sent = now;
        // The number of the request says which slot it is of.
        let id = slot.turns * count + at as u64;
        self.pipeline.add(id, &slot.request).map_err(LoadError::call(WHAT))
    }

    /// Takes answers that have arrived together.
    fn take(&mut self, answers: &mut Vec<Answered>, positions: &mut Vec<Seq>) -> Result<(), LoadError> {
        if answers.is_empty() {
            return Ok(());
        }
        let (now, phase) = (Instant::now(), self.field.board.phase());
        let before = self.tally.whole.placed;
        let mut held = self.field.held();
        for (id, answer) in answers.drain(..) {
            let at = (id % self.slots.len() as u64) as usize;
            let slot = &self.slots[at];
            let outcomes = match answer {
                Ok(Reply::Verdicts { at, outcomes, .. }) => {
                    positions.push(at);
                    outcomes
                }
                Ok(_) => return Err(LoadError::Answer(WHAT)),
                Err(Refusal::Busy) => {
                    self.tally.note(phase, |counts| counts.busy += 1);
                    self.refused.0.push(at);
                    self.refused.1 = now + BUSY_PAUSE;
                    continue;
                }
                Err(refusal) => return Err(LoadError::call(WHAT)(CallError::Refused(refusal))),
            };
            self.tally.answered(phase, now - slot.sent, &outcomes);
            self.idle.push(at);
            let Request::Commit(txn) = &slot.request else { unreachable!("slots hold transactions") };
            for ((op, chosen), outcome) in txn.ops.iter().zip(&slot.chosen).zip(outcomes.iter()) {
                match outcome {
                    Outcome::Placed(placed) => held[*chosen as usize].push(Placement {
                        owner: self.owner as u32,
                        task: placed.task,
                        epoch: placed.epoch,
                    }),
                    Outcome::Conflict(_)
                    | Outcome::Aborted
                    | Outcome::Stopping { .. }
                    | Outcome::Resized { .. } => self.free.push_back(op.task()),
                }
            }
        }
        drop(held);
        self.told = positions.iter().copied().fold(self.told, Seq::max);
        let placed = self.tally.whole.placed - before;
        self.field.board.acknowledged(phase, now, positions, placed);
        positions.clear();
        Ok(())
    }
}

/// A transaction of so many ops, to be filled in.
fn blank(ops: u32, opened: &Opened, field: &Field) -> Transaction {
    let place = |index: u32| Op::Place {
        // Numbers of a middling size, as those of a running load are: this is also what the echo carries.
        task: TaskId { job: JobId(1), group: 0, index: 1_000 + index },
        machines: field.machines[index as usize * 97 % field.machines.len()].into(),
        preempt: Vec::new(),
    };
    Transaction {
        id: TxnId { session: opened.session, number: opened.last_number + 1 },
        basis: opened.at,
        atomicity: field.settings.atomicity,
        detection: field.settings.detection,
        ops: (0..ops).map(place).collect(),
        assertions: Vec::new(),
    }
}

/// A transaction as this load sends them, when it has run for a while.
pub(super) fn sample(opened: &Opened, field: &Field) -> Transaction {
    let mut txn = blank(field.settings.ops, opened, field);
    txn.basis = field.board.copied().unwrap_or(Seq(1 << 17));
    txn.id.number = 1 << 17;
    txn
}
