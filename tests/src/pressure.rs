//! Full load on a cell, from inside the test: authors with many transactions in flight over real QUIC, and one agent
//! that reports the end of everything they place, so that there is always something to place again.
//!
//! Authors search for nothing and sometimes evict, resize or ask for what doesn't fit. Each keeps a [`Book`] of every
//! answer it got. A broken connection is made again; what was unanswered is sent again under its number, and some of
//! what was answered is asked for once more: it must be the same answer.

mod agent;
mod author;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cell_state::admit::Answer;
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::{MachineId, Resources, SessionId, TaskId};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use transport::{Reply, Request, Role};

use crate::history::{Answered, History, Wrong};
use crate::test_cell::{TestCell, connect};
use agent::{Agent, Placement};
use author::Author;

/// The name of the agent: it plays every machine whose name starts with the rest.
const AGENT: &str = "field-*";

/// What a task is promised, in thousandths of a processor.
const TASK_CPU_MILLI: u64 = 100;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Decides what is proposed, as far as the answers allow.
    pub seed: u64,
    /// Scheduler processes.
    pub authors: usize,
    /// Transactions each has in flight.
    pub window: usize,
    /// Placements per transaction.
    pub ops: usize,
    /// Machines.
    pub machines: usize,
    /// Tasks of each author.
    pub tasks: u32,
}

impl Shape {
    /// Four authors with 32 transactions of 10 placements in flight, on machines that are about half full.
    pub fn full(seed: u64) -> Shape {
        Shape { seed, authors: 4, window: 32, ops: 10, machines: 60, tasks: 1_500 }
    }

    /// What a debug build on a shared machine bears.
    pub fn quick(seed: u64) -> Shape {
        Shape { seed, authors: 3, window: 8, ops: 6, machines: 12, tasks: 300 }
    }

    /// Room for three quarters more than there is, so that some placements meet a full machine.
    fn machine_cpu_milli(&self) -> u64 {
        let tasks = self.authors as u64 * u64::from(self.tasks);
        (tasks * TASK_CPU_MILLI * 7 / 4).div_ceil(self.machines as u64)
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions that were answered.
    pub acknowledged: AtomicU64,
    /// Transactions sent again because their answer did not come.
    pub resent: AtomicU64,
    /// Answers asked for again after a break, and found the same.
    pub asked_again: AtomicU64,
    /// Times the server was busy.
    pub busy: AtomicU64,
    /// Connections that broke.
    pub breaks: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// Everything one author was told.
#[derive(Debug)]
pub struct Book {
    /// Its session.
    pub session: SessionId,
    /// The answers, by the transaction's number.
    pub told: BTreeMap<u64, Answered>,
}

impl Book {
    /// Whether the log has every answer, in the entry that was named.
    ///
    /// # Errors
    /// The first that is missing or different.
    pub fn is_in(&self, history: &History) -> Result<(), Wrong> {
        for (number, told) in &self.told {
            let found = history.answer(self.session, *number);
            if found != Some(told) {
                let session = self.session.0;
                return Err(format!("{session}-{number} was answered {told:?}, the log has {found:?}"));
            }
        }
        Ok(())
    }
}

/// A load under way.
pub struct Pressure {
    /// What happened so far.
    pub counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    authors: Vec<JoinHandle<Book>>,
    agent: JoinHandle<()>,
}

impl Pressure {
    /// Registers the machines, submits the jobs, opens the sessions and begins to propose.
    pub fn start(runtime: &Runtime, cell: &TestCell, shape: Shape) -> Pressure {
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let agent = cell.issue(Role::Agent, AGENT);
        let operator = cell.issue(Role::Operator, "admin");
        let names: Vec<String> = (0..shape.authors).map(|i| format!("author-{i}")).collect();
        let credentials: Vec<_> = names.iter().map(|name| cell.issue(Role::Scheduler, name)).collect();
        let address = cell.address();
        // Never more than all tasks are on their way in a channel, so nobody ever waits to send.
        let all = shape.authors * shape.tasks as usize + 1;
        let (to_agent, placements) = mpsc::channel::<Placement>(all);
        let (give, take): (Vec<_>, Vec<_>) = names.iter().map(|_| mpsc::channel::<TaskId>(all)).unzip();

        let (agent, machines, jobs) = runtime.block_on(async {
            let mut agent = Agent::new(address, agent, shape, placements, give);
            let machines: Arc<[MachineId]> = agent.register_first().await.into();
            let client = connect(address, &operator).await;
            let mut jobs = Vec::new();
            for name in &names {
                let request = Request::SubmitJob(job(name, shape.tasks));
                match client.call(request).await.expect("a job is submitted before anything fails") {
                    Reply::Done { answer: Answer::Job { job, .. }, .. } => jobs.push(job),
                    other => panic!("a submission is answered by {other:?}"),
                }
            }
            (agent, machines, jobs)
        });
        let authors = credentials.into_iter().zip(take).zip(jobs).enumerate();
        let authors = authors.map(|(owner, ((credentials, free), job))| {
            let free = (free, (0..shape.tasks).map(|index| TaskId { job, group: 0, index }).collect());
            let (to_agent, counters) = (to_agent.clone(), counters.clone());
            let author = Author::new((address, credentials), owner, shape, free, to_agent, counters);
            runtime.spawn(author.run(machines.clone(), stop.clone()))
        });
        let authors = authors.collect();
        drop(to_agent);
        Pressure { counters, stop, authors, agent: runtime.spawn(agent.run()) }
    }

    /// How many transactions were answered so far.
    pub fn acknowledged(&self) -> u64 {
        self.counters.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops proposing, and waits for every answer that is due.
    pub fn finish(self, runtime: &Runtime) -> Vec<Book> {
        self.stop.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            let mut books = Vec::new();
            for author in self.authors {
                books.push(author.await.expect("an author gets its answers through every crash"));
            }
            self.agent.await.expect("the agent reports through every crash");
            books
        })
    }
}

/// A job whose tasks go back to where they were when they end, as often as a task may.
fn job(name: &str, count: u32) -> JobSpec {
    let group = GroupSpec {
        name: "main".into(),
        count,
        resources: Resources::cpu_memory(TASK_CPU_MILLI, 1 << 20),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Always, attempts: 1_000, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 1_000,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: name.into(),
        kind: JobKind::Service,
        priority: 150,
        team: "field".into(),
        scheduler: name.into(),
        groups: vec![group],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_leaves_room_on_its_machines() {
        for shape in [Shape::full(1), Shape::quick(1)] {
            let slots = shape.machine_cpu_milli() / TASK_CPU_MILLI * shape.machines as u64;
            let tasks = shape.authors as u64 * u64::from(shape.tasks);
            assert!(slots > tasks * 3 / 2 && slots < tasks * 2, "{slots} slots for {tasks} tasks");
        }
    }
}
