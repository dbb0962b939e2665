//! A scheduler of the test's own that keeps books: what it was told must be what the cell has, whatever crashed.
//!
//! It opens a session, commits single placements, and after a break resends the very same transaction. An answer it
//! got is never forgotten here; two answers to one number must be equal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cell_state::admit::Answer;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Cell, MachineId, Seq, SessionId, TaskId, TxnId};
use transport::message::Refusal;
use transport::view::{Body, Query, TaskRow};
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use crate::test_cell::connect;

/// An acknowledged transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// Where it was committed.
    pub at: Seq,
    /// What became of its ops.
    pub outcomes: Arc<[Outcome]>,
}

/// A scheduler process inside the test.
pub struct Probe {
    address: SocketAddr,
    credentials: Credentials,
    instance: u64,
    client: Option<Client>,
    session: SessionId,
    number: u64,
    /// Every answer, by the transaction's number.
    pub told: BTreeMap<u64, Told>,
    /// How often a transaction had to be sent again.
    pub resends: u64,
}

impl Probe {
    /// Connects and opens a session.
    pub async fn open(address: SocketAddr, credentials: Credentials, instance: u64) -> Probe {
        let (client, session, told) = (None, SessionId(0), BTreeMap::new());
        let mut probe =
            Probe { address, credentials, instance, client, session, number: 0, told, resends: 0 };
        probe.connected().await;
        probe
    }

    /// Its session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// A connection with the session open on it.
    async fn connected(&mut self) -> Client {
        loop {
            if let Some(client) = self.client.clone() {
                return client;
            }
            let client = connect(self.address, &self.credentials).await;
            let opened = client.call(Request::OpenSession { instance: self.instance }).await;
            if let Ok(Reply::Done { answer: Answer::Session { session, .. }, .. }) = opened {
                assert!(
                    self.number == 0 || session == self.session,
                    "the session is another one after a restart"
                );
                self.session = session;
                self.client = Some(client);
            } else {
                pause().await;
            }
        }
    }

    /// Proposes to put a task on a machine, until there is an answer.
    pub async fn place(&mut self, task: TaskId, machine: MachineId, basis: Seq) -> Told {
        let op = Op::Place { task, machines: machine.into(), preempt: Vec::new() };
        self.commit(vec![op], basis).await
    }

    /// Proposes a transaction, until there is an answer.
    pub async fn commit(&mut self, ops: Vec<Op>, basis: Seq) -> Told {
        self.number += 1;
        let session = self.session;
        let txn = Transaction {
            id: TxnId { session, number: self.number },
            basis,
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops,
            assertions: Vec::new(),
        };
        let told = self.send(&txn).await;
        self.told.insert(self.number, told.clone());
        told
    }

    /// Sends a transaction, again after every break.
    pub async fn send(&mut self, txn: &Transaction) -> Told {
        loop {
            let client = self.connected().await;
            match client.call(Request::Commit(txn.clone())).await {
                Ok(Reply::Verdicts { at, outcomes, .. }) => return Told { at, outcomes },
                Ok(other) => panic!("a commit is answered by {other:?}"),
                Err(CallError::Refused(Refusal::Busy)) => pause().await,
                Err(CallError::Refused(refusal)) => panic!("refused: {refusal}"),
                Err(CallError::Lost(_)) => {
                    self.client = None;
                    self.resends += 1;
                    pause().await;
                }
            }
        }
    }

    /// The tasks of a job as the server shows them, asked until there is an answer.
    pub async fn tasks(&mut self, job: &str) -> Vec<TaskRow> {
        loop {
            let client = self.connected().await;
            let query = Query::Job { name: job.to_owned(), skip: 0, limit: 1_000 };
            match client.call(Request::Read { at: None, query }).await {
                Ok(Reply::View(view)) => match view.body {
                    Body::Job(job) => return job.tasks,
                    other => panic!("a question about a job is answered by {other:?}"),
                },
                Ok(other) => panic!("a read is answered by {other:?}"),
                Err(CallError::Refused(Refusal::Busy)) => pause().await,
                Err(CallError::Refused(refusal)) => panic!("refused: {refusal}"),
                Err(CallError::Lost(_)) => {
                    self.client = None;
                    pause().await;
                }
            }
        }
    }

    /// Asks about its last answer again: the cell must remember it.
    pub async fn ask_again(&mut self, txn: &Transaction) {
        let again = self.send(txn).await;
        assert_eq!(self.told.get(&txn.id.number), Some(&again), "another answer to {}", txn.id);
    }

    /// Compares every answer with the state.
    pub fn check(&self, cell: &Cell) {
        for (number, told) in &self.told {
            for outcome in told.outcomes.iter() {
                let Outcome::Placed(placed) = outcome else { continue };
                let task = cell.task(placed.task).unwrap_or_else(|| panic!("{} is gone", placed.task));
                assert!(task.epoch >= placed.epoch, "the placement of {} in {number} is lost", placed.task);
            }
        }
    }
}

async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}
