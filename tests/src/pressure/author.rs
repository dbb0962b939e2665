//! One scheduler process of a load: its session, its tasks, its transactions in flight, its book.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cell_state::admit::Answer;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{MachineId, Resources, Seq, SessionId, TaskId, TxnId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::agent::Placement;
use super::{Book, Counters, Shape, TASK_CPU_MILLI};
use crate::history::Answered;
use crate::test_cell::connect;

/// Answered transactions that are asked about again after a break.
const ASKED_AGAIN: usize = 16;

/// The oldest unanswered number and the newest are never further apart: the cell remembers 256 answers.
const SPAN_MAX: u64 = 200;

/// Placements that may still be evicted or resized.
const RECENT: usize = 64;

type Sent = (Transaction, Result<Reply, CallError>);

pub(super) struct Author {
    server: (SocketAddr, Credentials),
    owner: usize,
    shape: Shape,
    rng: ChaCha8Rng,
    counters: Arc<Counters>,
    to_agent: mpsc::Sender<Placement>,
    given_back: mpsc::Receiver<TaskId>,
    free: VecDeque<TaskId>,
    recent: VecDeque<(TaskId, u32)>,
    session: Option<SessionId>,
    number: u64,
    basis: Seq,
    flights: BTreeMap<u64, Transaction>,
    answered: VecDeque<Transaction>,
    told: BTreeMap<u64, Answered>,
}

impl Author {
    pub(super) fn new(
        server: (SocketAddr, Credentials),
        owner: usize,
        shape: Shape,
        (given_back, free): (mpsc::Receiver<TaskId>, VecDeque<TaskId>),
        to_agent: mpsc::Sender<Placement>,
        counters: Arc<Counters>,
    ) -> Author {
        Author {
            server,
            owner,
            shape,
            rng: ChaCha8Rng::seed_from_u64(shape.seed ^ (owner as u64) << 32),
            counters,
            to_agent,
            given_back,
            free,
            recent: VecDeque::new(),
            session: None,
            number: 0,
            basis: Seq(0),
            flights: BTreeMap::new(),
            answered: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    /// Proposes until told to stop, over every break, and until everything is answered.
    pub(super) async fn run(mut self, machines: Arc<[MachineId]>, stop: Arc<AtomicBool>) -> Book {
        let mut is_over = false;
        while !is_over {
            let client = connect(self.server.0, &self.server.1).await;
            if self.open(&client).await {
                is_over = self.serve(&client, &machines, &stop).await;
            } else {
                pause().await;
            }
        }
        Book { session: self.session.expect("it opened one"), told: self.told }
    }

    /// Opens its session, or finds it again: it must be the same one for ever.
    async fn open(&mut self, client: &Client) -> bool {
        let instance = self.shape.seed ^ 0xA0_7000 ^ self.owner as u64;
        let opened = client.call(Request::OpenSession { instance }).await;
        let Ok(Reply::Done { at, answer: Answer::Session { session, last_number } }) = opened else {
            return false;
        };
        assert_eq!(*self.session.get_or_insert(session), session, "another session after a restart");
        let told = self.told.last_key_value().map_or(0, |(number, _)| *number);
        assert!(last_number >= told, "the cell knows numbers up to {last_number}, {told} was answered");
        self.basis = self.basis.max(at);
        true
    }

    /// True when all is over, false when the connection broke.
    async fn serve(&mut self, client: &Client, machines: &[MachineId], stop: &AtomicBool) -> bool {
        let mut calls = JoinSet::new();
        Counters::add(&self.counters.resent, self.flights.len() as u64);
        for txn in self.flights.values().chain(&self.answered) {
            calls.spawn(call(client.clone(), txn.clone()));
        }
        loop {
            while let Ok(task) = self.given_back.try_recv() {
                self.free.push_back(task);
            }
            let is_stopping = stop.load(Ordering::Relaxed);
            while !is_stopping && self.has_room() {
                let Some(txn) = self.propose(machines) else { break };
                calls.spawn(call(client.clone(), txn));
            }
            match calls.join_next().await {
                None if is_stopping => return true,
                None => pause().await,
                Some(sent) => {
                    let (txn, answer) = sent.expect("a call doesn't panic");
                    match answer {
                        Ok(Reply::Verdicts { at, outcomes, .. }) => {
                            self.answer(txn, Answered { at, outcomes })
                        }
                        Ok(other) => panic!("a commit is answered by {other:?}"),
                        Err(CallError::Refused(Refusal::Busy)) => {
                            Counters::add(&self.counters.busy, 1);
                            pause().await;
                            calls.spawn(call(client.clone(), txn));
                        }
                        // A server that stops does not say whether it took the transaction.
                        Err(CallError::Lost(_) | CallError::Refused(Refusal::Unavailable(_))) => {
                            Counters::add(&self.counters.breaks, 1);
                            return false;
                        }
                        Err(CallError::Refused(refusal)) => panic!("{} is refused: {refusal}", txn.id),
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        let oldest = self.flights.first_key_value().map_or(self.number + 1, |(number, _)| *number);
        self.flights.len() < self.shape.window && self.number - oldest.min(self.number) < SPAN_MAX
    }

    /// The next transaction, or none while there is nothing to place.
    fn propose(&mut self, machines: &[MachineId]) -> Option<Transaction> {
        let count = self.shape.ops.min(self.free.len());
        if count == 0 {
            return None;
        }
        let tasks: Vec<TaskId> = self.free.drain(..count).collect();
        let mut ops: Vec<Op> = Vec::with_capacity(count + 1);
        for task in tasks {
            let choices = if self.rng.random_bool(0.2) { 2 } else { 1 };
            let choices = (0..choices).map(|_| machines[self.rng.random_range(0..machines.len())]).collect();
            ops.push(Op::Place { task, machines: choices, preempt: Vec::new() });
        }
        if self.rng.random_bool(0.2)
            && let Some((task, epoch)) = self.recent.pop_front()
        {
            let cpu = self.rng.random_range(1..=2 * TASK_CPU_MILLI);
            let resources = Resources::cpu_memory(cpu, 1 << 20);
            let evict = self.rng.random_bool(0.5);
            ops.push(if evict { Op::Evict { task, epoch } } else { Op::Resize { task, epoch, resources } });
        }
        let all = self.rng.random_bool(0.1);
        let coarse = self.rng.random_bool(0.1);
        self.number += 1;
        let txn = Transaction {
            id: TxnId { session: self.session.expect("open"), number: self.number },
            basis: self.basis,
            atomicity: if all { Atomicity::AllOrNothing } else { Atomicity::Incremental },
            detection: if coarse { Detection::Version } else { Detection::Fit },
            ops,
            assertions: Vec::new(),
        };
        self.flights.insert(self.number, txn.clone());
        Some(txn)
    }

    fn answer(&mut self, txn: Transaction, told: Answered) {
        let number = txn.id.number;
        if let Some(first) = self.told.get(&number) {
            assert_eq!(*first, told, "{} has got another answer than before", txn.id);
            Counters::add(&self.counters.asked_again, 1);
            return;
        }
        self.flights.remove(&number);
        self.basis = self.basis.max(told.at);
        assert_eq!(txn.ops.len(), told.outcomes.len(), "{} has an answer to each op", txn.id);
        for (op, outcome) in txn.ops.iter().zip(told.outcomes.iter()) {
            let Op::Place { task, .. } = op else { continue };
            match outcome {
                Outcome::Placed(placed) => self.placed(*task, placed.machine, placed.epoch),
                Outcome::Conflict(_)
                | Outcome::Aborted
                | Outcome::Stopping { .. }
                | Outcome::Resized { .. } => self.free.push_back(*task),
            }
        }
        self.told.insert(number, told);
        self.answered.push_back(txn);
        if self.answered.len() > ASKED_AGAIN {
            self.answered.pop_front();
        }
        Counters::add(&self.counters.acknowledged, 1);
    }

    fn placed(&mut self, task: TaskId, machine: MachineId, epoch: u32) {
        let placement = Placement { owner: self.owner, machine, task, epoch };
        self.to_agent.try_send(placement).expect("the channel has room for every task");
        self.recent.push_back((task, epoch));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

async fn call(client: Client, txn: Transaction) -> Sent {
    let answer = client.call(Request::Commit(txn.clone())).await;
    (txn, answer)
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
