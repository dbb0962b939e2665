//! Fills a cell as fast as it takes it: machines, jobs, and large transactions that search for nothing, so that a large
//! cell is there in seconds. Task *t* goes to machine *t* modulo the number of machines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::admit::Answer;
use cell_state::bounds::{REPORTS_MAX, SESSION_OUTCOME_OPS_MAX, SESSION_OUTCOMES_MAX};
use cell_state::event::{Report, Seen};
use cell_state::job::JobSpec;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Epoch, JobId, MachineId, Seq, SessionId, TaskId, TxnId};
use tokio::task::JoinSet;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::calls::{self, Opened, patient};
use super::counts::Times;
use super::error::LoadError;
use super::machines::Machines;
use crate::bounds::{BUSY_PAUSE, LOAD_AGENT_CALLS_MAX, SUBMISSIONS_IN_FLIGHT};

/// A cell that is being filled.
pub struct Fill {
    machines: Vec<MachineId>,
    agent: Client,
    incarnation: u64,
    /// The number of each machine's next report.
    next_report: Vec<u64>,
    proposer: Client,
    session: SessionId,
    number: u64,
    /// The last position it was told.
    told: Seq,
    /// All first placements have the same epoch.
    epoch: Option<Epoch>,
}

/// Tasks to be placed, in order.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    jobs: Vec<(JobId, u32)>,
    /// Where the next task is: its job, its index, and how many came before.
    job: usize,
    index: u32,
    count: u64,
}

impl Tasks {
    /// How many have been taken.
    pub fn taken(&self) -> u64 {
        self.count
    }
}

impl Iterator for Tasks {
    type Item = (u64, TaskId);

    fn next(&mut self) -> Option<(u64, TaskId)> {
        let (job, tasks) = *self.jobs.get(self.job)?;
        let found = (self.count, TaskId { job, group: 0, index: self.index });
        self.count += 1;
        self.index += 1;
        if self.index == tasks {
            (self.job, self.index) = (self.job + 1, 0);
        }
        Some(found)
    }
}

/// What placing took.
#[derive(Clone, Debug)]
pub struct Placing {
    /// Placements committed.
    pub placed: u64,
    /// How long it took.
    pub seconds: f64,
    /// From sending a transaction to its verdicts.
    pub latency: Times,
}

/// How to place.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Placements in a transaction.
    pub ops: u32,
    /// Transactions in flight; fewer when a session may not have so many placements unanswered.
    pub in_flight: usize,
    /// Stop after so many placements.
    pub placements: u64,
    /// Or after so long.
    pub within: Duration,
}

impl Fill {
    /// Registers the machines, and opens a session under the name of the proposer's certificate.
    ///
    /// # Errors
    /// The cell can't be reached, or refuses.
    pub async fn start(
        server: SocketAddr,
        (agent, proposer): (&Credentials, &Credentials),
        prefix: &str,
        count: u32,
        instance: u64,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Fill, LoadError> {
        let Machines { client: agent, ids: machines, .. } =
            Machines::register(server, agent, prefix, count, instance, tell).await?;
        let Opened { client, session, last_number, at } = calls::open(server, proposer, instance).await?;
        Ok(Fill {
            machines,
            agent,
            incarnation: instance,
            next_report: vec![1; count as usize],
            proposer: client,
            session,
            number: last_number,
            told: at,
            epoch: None,
        })
    }

    /// Connects again, to a server that was started anew.
    ///
    /// # Errors
    /// The cell can't be reached, or has forgotten the session.
    pub async fn reconnect(
        &mut self,
        server: SocketAddr,
        (agent, proposer): (&Credentials, &Credentials),
    ) -> Result<(), LoadError> {
        self.agent = Client::connect(server, agent).await?;
        let Opened { client, session, last_number, at } =
            calls::open(server, proposer, self.incarnation).await?;
        self.proposer = client;
        (self.session, self.number, self.told) = (session, last_number, at);
        Ok(())
    }

    /// Submits jobs of one group each, and returns their tasks.
    ///
    /// # Errors
    /// The cell refuses one.
    pub async fn submit(&self, operator: &Client, jobs: Vec<JobSpec>) -> Result<Tasks, LoadError> {
        const WHAT: &str = "submitting a job";
        let mut under_way: JoinSet<Result<(Reply, u32), LoadError>> = JoinSet::new();
        let mut found = Vec::new();
        let mut rest = jobs.into_iter();
        loop {
            while under_way.len() < SUBMISSIONS_IN_FLIGHT
                && let Some(job) = rest.next()
            {
                let (operator, tasks) = (operator.clone(), job.groups.iter().map(|g| g.count).sum::<u32>());
                let request = Request::SubmitJob(job);
                under_way.spawn(async move { Ok((patient(&operator, request, WHAT).await?, tasks)) });
            }
            let Some(submitted) = under_way.join_next().await else { break };
            match submitted?? {
                (Reply::Done { answer: Answer::Job { job, .. }, .. }, tasks) => found.push((job, tasks)),
                _ => return Err(LoadError::Answer(WHAT)),
            }
        }
        found.sort_unstable();
        Ok(Tasks { jobs: found, ..Tasks::default() })
    }

    /// Places the next tasks.
    ///
    /// # Errors
    /// The cell is lost, or a placement is.
    pub async fn place(
        &mut self,
        tasks: &mut Tasks,
        pace: Pace,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Placing, LoadError> {
        let in_flight =
            pace.in_flight.min(SESSION_OUTCOMES_MAX).min(SESSION_OUTCOME_OPS_MAX / pace.ops as usize).max(1);
        let mut under_way: JoinSet<Result<Answered, LoadError>> = JoinSet::new();
        let (started, mut sent) = (Instant::now(), 0);
        let mut placing = Placing { placed: 0, seconds: 0.0, latency: Times::default() };
        loop {
            while under_way.len() < in_flight && sent < pace.placements && started.elapsed() < pace.within {
                let ops = u64::from(pace.ops).min(pace.placements - sent) as usize;
                let ops: Vec<Op> = tasks.by_ref().take(ops).map(|(nth, task)| self.op(nth, task)).collect();
                if ops.is_empty() {
                    break;
                }
                sent += ops.len() as u64;
                self.number += 1;
                under_way.spawn(commit(self.proposer.clone(), self.transaction(ops)));
            }
            let Some(answered) = under_way.join_next().await else { break };
            let answered = answered??;
            self.told = self.told.max(answered.at);
            for outcome in answered.outcomes.iter() {
                self.note(outcome)?;
            }
            placing.placed += answered.outcomes.len() as u64;
            placing.latency.add(answered.took);
            tell(placing.placed);
        }
        placing.seconds = started.elapsed().as_secs_f64();
        Ok(placing)
    }

    fn op(&self, nth: u64, task: TaskId) -> Op {
        let machine = self.machines[(nth % self.machines.len() as u64) as usize];
        Op::Place { task, machines: machine.into(), preempt: Vec::new() }
    }

    fn transaction(&self, ops: Vec<Op>) -> Transaction {
        Transaction {
            id: TxnId { session: self.session, number: self.number },
            basis: self.told,
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops,
            assertions: Vec::new(),
        }
    }

    fn note(&mut self, outcome: &Outcome) -> Result<(), LoadError> {
        match outcome {
            Outcome::Placed(placed) if *self.epoch.get_or_insert(placed.epoch) == placed.epoch => Ok(()),
            Outcome::Placed(_)
            | Outcome::Conflict(_)
            | Outcome::Aborted
            | Outcome::Stopping { .. }
            | Outcome::Resized { .. } => Err(LoadError::NotPlaced(format!("{outcome:?}"))),
        }
    }

    /// Reports all tasks that were taken of these as started, a message per machine.
    ///
    /// # Errors
    /// The cell is lost, or refuses.
    pub async fn report_started(
        &mut self,
        tasks: &Tasks,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), LoadError> {
        const WHAT: &str = "reporting what has started";
        let Some(epoch) = self.epoch else { return Ok(()) };
        let mut held: Vec<Vec<TaskId>> = vec![Vec::new(); self.machines.len()];
        let placed = Tasks { jobs: tasks.jobs.clone(), ..Tasks::default() };
        for (nth, task) in placed.take(tasks.count as usize) {
            held[(nth % self.machines.len() as u64) as usize].push(task);
        }
        let mut under_way = JoinSet::new();
        let mut reported = 0;
        for (index, tasks) in held.into_iter().enumerate() {
            for part in tasks.chunks(REPORTS_MAX) {
                if under_way.len() >= LOAD_AGENT_CALLS_MAX
                    && let Some(answer) = under_way.join_next().await
                {
                    is_reported(answer?)?;
                }
                let report = |task: &TaskId| Report { task: *task, epoch, seen: Seen::Started };
                let request = Request::Report {
                    machine: self.machines[index],
                    incarnation: self.incarnation,
                    first: self.next_report[index],
                    reports: part.iter().map(report).collect(),
                };
                self.next_report[index] += part.len() as u64;
                reported += part.len() as u64;
                tell(reported);
                let agent = self.agent.clone();
                let report = async move { patient(&agent, request, WHAT).await };
                if tasks.len() > REPORTS_MAX {
                    // Reports of one machine must arrive in order.
                    is_reported(report.await)?;
                } else {
                    under_way.spawn(report);
                }
            }
        }
        while let Some(answer) = under_way.join_next().await {
            is_reported(answer?)?;
        }
        Ok(())
    }
}

fn is_reported(answer: Result<Reply, LoadError>) -> Result<(), LoadError> {
    match answer? {
        Reply::Done { answer: Answer::Reported { .. }, .. } => Ok(()),
        _ => Err(LoadError::Answer("reporting what has started")),
    }
}

/// The answer to one transaction.
struct Answered {
    at: Seq,
    outcomes: Arc<[Outcome]>,
    took: Duration,
}

/// Sends a transaction. One that the server was too busy to take is sent again, under its number.
async fn commit(proposer: Client, txn: Transaction) -> Result<Answered, LoadError> {
    const WHAT: &str = "committing a transaction";
    loop {
        let sent = Instant::now();
        match proposer.call(Request::Commit(txn.clone())).await {
            Ok(Reply::Verdicts { at, outcomes, .. }) => {
                return Ok(Answered { at, outcomes, took: sent.elapsed() });
            }
            Ok(_) => return Err(LoadError::Answer(WHAT)),
            Err(CallError::Refused(Refusal::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
            Err(error) => return Err(LoadError::call(WHAT)(error)),
        }
    }
}
