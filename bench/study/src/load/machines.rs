//! The machines of a load: one agent connection that registers them and reports the start and end of what is placed,
//! so that there is always something to place again.
//!
//! No process runs and the log isn't followed: what was placed where is known from the verdicts. Registrations,
//! heartbeats and reports are those of a real agent, and cost the server the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cell_state::admit::Answer;
use cell_state::bounds::REPORTS_MAX;
use cell_state::event::{Report, Seen};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::task::Exit;
use cell_state::{Epoch, MachineId, Resources, TaskId};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::schedulers::{Field, Scheduler};
use super::{MACHINE_CPU_MILLI, MACHINE_MEMORY, error::LoadError};
use crate::bounds::{BUSY_PAUSE, LOAD_AGENT_CALLS_MAX, LOAD_CHURN_EVERY, LOAD_HEARTBEAT_EVERY};

/// What is placed on each machine and not yet reported.
pub(super) struct Held(Mutex<Vec<Vec<Placement>>>);

/// A placement, and which scheduler's it is.
struct Placement {
    owner: usize,
    task: TaskId,
    epoch: Epoch,
}

impl Held {
    pub(super) fn new(machines: usize) -> Held {
        Held(Mutex::new((0..machines).map(|_| Vec::new()).collect()))
    }

    pub(super) fn add(&self, machine: usize, owner: usize, task: TaskId, epoch: Epoch) {
        let mut held = self.0.lock().expect("no panic while it is held");
        held[machine].push(Placement { owner, task, epoch });
    }

    fn take(&self, machine: usize) -> Vec<Placement> {
        std::mem::take(&mut self.0.lock().expect("no panic while it is held")[machine])
    }
}

/// The agent of all machines.
pub(super) struct Machines {
    client: Client,
    incarnation: u64,
    /// The machines' numbers, in the order of their names.
    pub(super) ids: Vec<MachineId>,
    /// The number of each machine's next report. Held while a report is under way, so that they arrive in order.
    numbers: Vec<tokio::sync::Mutex<u64>>,
}

impl Machines {
    /// Connects and registers the machines `<prefix>0`, `<prefix>1`, ….
    pub(super) async fn register(
        server: SocketAddr,
        credentials: &Credentials,
        prefix: &str,
        count: u32,
        incarnation: u64,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Machines, LoadError> {
        let client = Client::connect(server, credentials).await?;
        let mut under_way = JoinSet::new();
        let mut ids = vec![MachineId(0); count as usize];
        let mut done = 0;
        for index in 0..count as usize {
            if under_way.len() >= LOAD_AGENT_CALLS_MAX {
                note(&mut ids, under_way.join_next().await)?;
                done += 1;
                tell(done);
            }
            let spec = MachineSpec {
                name: format!("{prefix}{index}"),
                capacity: Resources::cpu_memory(MACHINE_CPU_MILLI, MACHINE_MEMORY),
                attributes: BTreeMap::new(),
                devices: Vec::new(),
                ports: DEFAULT_PORTS,
            };
            let request = Request::RegisterMachine { spec, incarnation };
            under_way.spawn(register_one(client.clone(), index, request));
        }
        while let Some(registered) = under_way.join_next().await {
            note(&mut ids, Some(registered))?;
        }
        let numbers = ids.iter().map(|_| tokio::sync::Mutex::new(1)).collect();
        Ok(Machines { client, incarnation, ids, numbers })
    }

    /// Shows for ever that the machines are alive.
    pub(super) async fn beat(self: Arc<Machines>) {
        let mut every = interval(LOAD_HEARTBEAT_EVERY);
        for number in 1.. {
            every.tick().await;
            self.client.heartbeat(number);
        }
    }

    /// Visits each machine once in the time that a task is held, and reports what it finds there. Ends with the load.
    pub(super) async fn churn(
        self: Arc<Machines>,
        field: Arc<Field>,
        schedulers: Arc<[Arc<Scheduler>]>,
        hold: Duration,
    ) -> Result<(), LoadError> {
        let started = Instant::now();
        let mut every = interval(LOAD_CHURN_EVERY);
        let mut under_way = JoinSet::new();
        let (count, mut visited) = (self.ids.len() as u64, 0);
        while !field.board.is_over() {
            every.tick().await;
            let rounds = started.elapsed().as_secs_f64() / hold.as_secs_f64();
            // Never more than one whole round at once, however late this is.
            let due = ((rounds * count as f64) as u64).min(visited + count);
            while visited < due {
                let machine = (visited % count) as usize;
                visited += 1;
                self.visit(machine, &field, &schedulers, &mut under_way).await?;
            }
            while let Some(ended) = under_way.try_join_next() {
                ended??;
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Reports everything that is still placed.
    pub(super) async fn clear(
        self: Arc<Machines>,
        field: &Field,
        schedulers: &Arc<[Arc<Scheduler>]>,
    ) -> Result<(), LoadError> {
        let mut under_way = JoinSet::new();
        for machine in 0..self.ids.len() {
            self.visit(machine, field, schedulers, &mut under_way).await?;
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn visit(
        self: &Arc<Machines>,
        machine: usize,
        field: &Field,
        schedulers: &Arc<[Arc<Scheduler>]>,
        under_way: &mut JoinSet<Result<(), LoadError>>,
    ) -> Result<(), LoadError> {
        let mut found = field.held.take(machine);
        while !found.is_empty() {
            // Two reports for each: its start and its end.
            let later = found.split_off(found.len().min(REPORTS_MAX / 2));
            if under_way.len() >= LOAD_AGENT_CALLS_MAX
                && let Some(ended) = under_way.join_next().await
            {
                ended??;
            }
            under_way.spawn(Arc::clone(self).report(machine, found, Arc::clone(schedulers)));
            found = later;
        }
        Ok(())
    }

    /// Reports that tasks have started and ended; then they are pending again.
    async fn report(
        self: Arc<Machines>,
        machine: usize,
        ended: Vec<Placement>,
        schedulers: Arc<[Arc<Scheduler>]>,
    ) -> Result<(), LoadError> {
        const WHAT: &str = "reporting what has ended";
        let mut number = self.numbers[machine].lock().await;
        let both = |p: &Placement| {
            let seen = |seen| Report { task: p.task, epoch: p.epoch, seen };
            [seen(Seen::Started), seen(Seen::Ended(Exit::Code(0)))]
        };
        let reports: Vec<Report> = ended.iter().flat_map(both).collect();
        let count = reports.len() as u64;
        let request = Request::Report {
            machine: self.ids[machine],
            incarnation: self.incarnation,
            first: *number,
            reports,
        };
        match patient(&self.client, request, WHAT).await? {
            Reply::Done { answer: Answer::Reported { .. }, .. } => *number += count,
            _ => return Err(LoadError::Answer(WHAT)),
        }
        for placement in ended {
            schedulers[placement.owner].give([placement.task]);
        }
        Ok(())
    }
}

async fn register_one(
    client: Client,
    index: usize,
    request: Request,
) -> Result<(usize, MachineId), LoadError> {
    const WHAT: &str = "registering a machine";
    match patient(&client, request, WHAT).await? {
        Reply::Done { answer: Answer::Machine(machine), .. } => Ok((index, machine)),
        _ => Err(LoadError::Answer(WHAT)),
    }
}

type Joined<T> = Option<Result<Result<T, LoadError>, tokio::task::JoinError>>;

fn note(ids: &mut [MachineId], registered: Joined<(usize, MachineId)>) -> Result<(), LoadError> {
    if let Some(registered) = registered {
        let (index, machine) = registered??;
        ids[index] = machine;
    }
    Ok(())
}

/// Calls, again while the server is busy.
pub(super) async fn patient(
    client: &Client,
    request: Request,
    what: &'static str,
) -> Result<Reply, LoadError> {
    loop {
        match client.call(request.clone()).await {
            Err(CallError::Refused(Refusal::Busy)) => sleep(BUSY_PAUSE).await,
            answer => return answer.map_err(LoadError::call(what)),
        }
    }
}
