//! The proposers of a load: sessions that keep transactions in flight and search for nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use cell_state::admit::Answer;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{MachineId, Seq, SessionId, TaskId, TxnId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::counts::Board;
use super::error::LoadError;
use super::machines::Held;
use super::settings::Settings;
use super::skew::Chooser;
use crate::bounds::{BUSY_PAUSE, LOAD_STARVED_PAUSE};

/// One scheduler: its connection, its session, and its tasks that may be placed.
pub(super) struct Scheduler {
    client: Client,
    session: SessionId,
    last_number: AtomicU64,
    /// The last position it was told: the basis of its proposals when there is no copy.
    told: AtomicU64,
    free: Mutex<VecDeque<TaskId>>,
}

/// What all proposers share.
pub(super) struct Field {
    pub(super) settings: Settings,
    pub(super) machines: Vec<MachineId>,
    pub(super) chooser: Chooser,
    pub(super) board: Board,
    pub(super) held: Held,
}

impl Scheduler {
    /// Connects and opens a session.
    pub(super) async fn open(
        server: std::net::SocketAddr,
        credentials: &Credentials,
        instance: u64,
    ) -> Result<Scheduler, LoadError> {
        const WHAT: &str = "opening a session";
        let client = Client::connect(server, credentials).await?;
        let opened = client.call(Request::OpenSession { instance }).await.map_err(LoadError::call(WHAT))?;
        let Reply::Done { at, answer: Answer::Session { session, last_number } } = opened else {
            return Err(LoadError::Answer(WHAT));
        };
        let free = Mutex::default();
        let (last_number, told) = (AtomicU64::new(last_number), AtomicU64::new(at.0));
        Ok(Scheduler { client, session, last_number, told, free })
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// Its name, as in its certificate and in its jobs.
    pub(super) fn name(&self) -> &str {
        &self.client.identity().name
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<TaskId>> {
        self.free.lock().expect("no panic while it is held")
    }

    /// Tasks that are pending, now or again.
    pub(super) fn give(&self, tasks: impl IntoIterator<Item = TaskId>) {
        self.free().extend(tasks);
    }

    /// Takes so many tasks, or none.
    fn take(&self, count: usize) -> Option<Vec<TaskId>> {
        let mut free = self.free();
        (free.len() >= count).then(|| free.drain(..count).collect())
    }

    /// Proposes one transaction after the other until the load is over, or until there is nothing left to place.
    pub(super) async fn propose(
        self: Arc<Scheduler>,
        owner: usize,
        field: Arc<Field>,
        seed: u64,
    ) -> Result<(), LoadError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = field.settings.ops as usize;
        while !field.board.is_over() {
            let Some(tasks) = self.take(count) else {
                if field.settings.hold.is_none() {
                    return Ok(());
                }
                field.board.note(|counts| counts.starved += 1);
                sleep(LOAD_STARVED_PAUSE).await;
                continue;
            };
            let chosen: Vec<usize> = tasks.iter().map(|_| field.chooser.choose(&mut rng)).collect();
            let place = |(task, chosen): (&TaskId, &usize)| Op::Place {
                task: *task,
                machines: vec![field.machines[*chosen]],
                preempt: Vec::new(),
            };
            let ops: Vec<Op> = tasks.iter().zip(&chosen).map(place).collect();
            let outcomes = self.commit(&field, ops).await?;
            let mut again = Vec::new();
            for ((task, chosen), outcome) in tasks.into_iter().zip(chosen).zip(&outcomes) {
                match outcome {
                    Outcome::Placed(placed) => field.held.add(chosen, owner, task, placed.epoch),
                    Outcome::Conflict(_)
                    | Outcome::Aborted
                    | Outcome::Stopping { .. }
                    | Outcome::Resized { .. } => again.push(task),
                }
            }
            self.give(again);
        }
        Ok(())
    }

    /// Sends a transaction, again while the server is busy: under a new number, for it has not taken the old one.
    async fn commit(&self, field: &Field, ops: Vec<Op>) -> Result<Vec<Outcome>, LoadError> {
        const WHAT: &str = "committing a transaction";
        loop {
            let txn = self.transaction(field, ops.clone());
            let sent = Instant::now();
            match self.client.call(Request::Commit(txn)).await {
                Ok(Reply::Verdicts { at, outcomes, failed_assertion }) => {
                    field.board.answered(sent, &outcomes, failed_assertion.as_deref());
                    field.board.acknowledged(at);
                    self.told.fetch_max(at.0, Ordering::AcqRel);
                    return Ok(outcomes);
                }
                Ok(_) => return Err(LoadError::Answer(WHAT)),
                Err(CallError::Refused(Refusal::Busy)) => {
                    field.board.note(|counts| counts.busy += 1);
                    sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Err(LoadError::call(WHAT)(error)),
            }
        }
    }

    pub(super) fn transaction(&self, field: &Field, ops: Vec<Op>) -> Transaction {
        let copied = field.board.copied.load(Ordering::Acquire);
        let basis = if copied > 0 { copied } else { self.told.load(Ordering::Acquire) };
        Transaction {
            id: TxnId { session: self.session, number: self.last_number.fetch_add(1, Ordering::AcqRel) + 1 },
            basis: Seq(basis),
            atomicity: field.settings.atomicity,
            detection: field.settings.detection,
            ops,
            assertions: Vec::new(),
        }
    }
}
