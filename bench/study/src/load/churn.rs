//! The churn of a load: the machines' agent reports everything placed as started and ended, so that there is always
//! something to place again.
//!
//! No process runs and the log isn't followed: what was placed where is known from the verdicts. The reports are those of
//! a real agent that plays many machines, and cost the server the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::TaskId;
use cell_state::bounds::REPORTS_MAX;
use cell_state::event::{Report, Seen};
use cell_state::task::Exit;
use tokio::time::{MissedTickBehavior, interval, sleep};
use transport::message::{MachineReports, Refusal};
use transport::{Reply, Request};
use transport_quic::{Answered, CallError, Client, Pipeline};

use super::error::LoadError;
use super::field::{Field, Placement};
use crate::bounds::{BUSY_PAUSE, LOAD_AGENT_CALLS_MAX, LOAD_CHURN_EVERY};

const WHAT: &str = "reporting what has ended";

/// Reports for all machines, on one pipeline.
pub(super) struct Reporter {
    field: Arc<Field>,
    pipeline: Pipeline,
    incarnation: u64,
    machines: Vec<Machine>,
    /// What is being put together.
    next: Batch,
    /// Requests under way, by number.
    under_way: BTreeMap<u64, Batch>,
    /// The number of the last one.
    last: u64,
    /// Those that the server was too busy to take.
    refused: Vec<u64>,
    /// For each scheduler, tasks that are pending again, until they are given back.
    ended: Vec<Vec<TaskId>>,
}

/// One machine as its agent keeps it: what was told and isn't answered goes with one request, so that reports arrive in
/// order.
struct Machine {
    /// The number of its next report.
    next: u64,
    told: Vec<Placement>,
}

/// What several machines report in one request.
#[derive(Default)]
struct Batch {
    machines: Vec<usize>,
    reports: Vec<MachineReports>,
    count: usize,
}

impl Reporter {
    pub(super) async fn new(
        field: Arc<Field>,
        client: &Client,
        incarnation: u64,
    ) -> Result<Reporter, LoadError> {
        let machine = |_| Machine { next: 1, told: Vec::new() };
        Ok(Reporter {
            pipeline: client.pipeline().await.map_err(LoadError::call(WHAT))?,
            incarnation,
            machines: field.machines.iter().map(machine).collect(),
            next: Batch::default(),
            under_way: BTreeMap::new(),
            last: 0,
            refused: Vec::new(),
            ended: vec![Vec::new(); field.settings.schedulers as usize],
            field,
        })
    }

    /// Visits each machine once in the time that a task is held, and reports what it finds there; without such a time it
    /// reports nothing. Ends with the load, once everything reported is answered.
    pub(super) async fn churn(mut self, hold: Option<Duration>) -> Result<Reporter, LoadError> {
        let started = Instant::now();
        let mut every = interval(LOAD_CHURN_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (count, mut visited) = (self.machines.len() as u64, 0);
        let mut answers = Vec::new();
        while !self.field.board.is_over() || !self.under_way.is_empty() {
            tokio::select! {
                exchanged = self.pipeline.exchange(&mut answers), if self.pipeline.unanswered() > 0 => {
                    exchanged.map_err(LoadError::call(WHAT))?;
                    self.take(&mut answers)?;
                }
                _ = every.tick() => {
                    self.send_refused()?;
                    let Some(hold) = hold else { continue };
                    let rounds = started.elapsed().as_secs_f64() / hold.as_secs_f64();
                    // Never more than one whole round at once, however late this is.
                    let due = ((rounds * count as f64) as u64).min(visited + count);
                    while visited < due && !self.field.board.is_over() && self.has_room() {
                        self.visit((visited % count) as usize)?;
                        visited += 1;
                    }
                    self.send()?;
                }
            }
        }
        Ok(self)
    }

    /// Reports everything that is still placed.
    pub(super) async fn clear(&mut self) -> Result<(), LoadError> {
        let mut answers = Vec::new();
        loop {
            let held: Vec<usize> = {
                let held = self.field.held();
                (0..held.len()).filter(|machine| !held[*machine].is_empty()).collect()
            };
            for machine in held {
                if !self.has_room() {
                    break;
                }
                self.visit(machine)?;
            }
            self.send()?;
            if self.under_way.is_empty() {
                return Ok(());
            }
            self.pipeline.exchange(&mut answers).await.map_err(LoadError::call(WHAT))?;
            self.take(&mut answers)?;
            if !self.refused.is_empty() {
                sleep(BUSY_PAUSE).await;
                self.send_refused()?;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < LOAD_AGENT_CALLS_MAX
    }

    /// Reports that what is placed on a machine has started and ended, unless an earlier report is unanswered.
    fn visit(&mut self, at: usize) -> Result<(), LoadError> {
        let machine = &mut self.machines[at];
        if !machine.told.is_empty() {
            return Ok(());
        }
        {
            let found = &mut self.field.held()[at];
            // Two reports for each: its start and its end.
            let count = found.len().min(REPORTS_MAX / 2);
            machine.told.extend(found.drain(..count));
        }
        if machine.told.is_empty() {
            return Ok(());
        }
        let both = |p: &Placement| {
            let seen = |seen| Report { task: p.task, epoch: p.epoch, seen };
            [seen(Seen::Started), seen(Seen::Ended(Exit::Code(0)))]
        };
        let reports = MachineReports {
            machine: self.field.machines[at],
            incarnation: self.incarnation,
            first: machine.next,
            reports: machine.told.iter().flat_map(both).collect(),
        };
        if self.next.count + reports.reports.len() > REPORTS_MAX {
            self.send()?;
        }
        self.next.count += reports.reports.len();
        self.next.machines.push(at);
        self.next.reports.push(reports);
        Ok(())
    }

    /// Sends what has been put together.
    fn send(&mut self) -> Result<(), LoadError> {
        if !self.next.machines.is_empty() {
            self.last += 1;
            self.under_way.insert(self.last, std::mem::take(&mut self.next));
            self.add(self.last)?;
        }
        Ok(())
    }

    fn add(&mut self, id: u64) -> Result<(), LoadError> {
        let Some(batch) = self.under_way.get_mut(&id) else { return Ok(()) };
        let request = Request::Reports(std::mem::take(&mut batch.reports));
        let added = self.pipeline.add(id, &request).map_err(LoadError::call(WHAT));
        if let Request::Reports(reports) = request {
            batch.reports = reports;
        }
        added
    }

    fn send_refused(&mut self) -> Result<(), LoadError> {
        for id in std::mem::take(&mut self.refused) {
            self.add(id)?;
        }
        Ok(())
    }

    /// Takes answers that have arrived together: the tasks they are about are pending again.
    fn take(&mut self, answers: &mut Vec<Answered>) -> Result<(), LoadError> {
        for (id, answer) in answers.drain(..) {
            let answers = match answer {
                Ok(Reply::Reported(answers)) => answers,
                Ok(_) => return Err(LoadError::Answer(WHAT)),
                Err(Refusal::Busy) => {
                    self.refused.push(id);
                    continue;
                }
                Err(refusal) => return Err(LoadError::call(WHAT)(CallError::Refused(refusal))),
            };
            let batch = self.under_way.remove(&id).ok_or(LoadError::Answer(WHAT))?;
            for (at, answer) in batch.machines.into_iter().zip(answers) {
                answer.map_err(|refusal| LoadError::call(WHAT)(CallError::Refused(refusal)))?;
                let machine = &mut self.machines[at];
                machine.next += 2 * machine.told.len() as u64;
                for placement in machine.told.drain(..) {
                    self.ended[placement.owner as usize].push(placement.task);
                }
            }
        }
        for (owner, tasks) in self.ended.iter_mut().enumerate() {
            if !tasks.is_empty() {
                self.field.free(owner).extend(tasks.drain(..));
            }
        }
        Ok(())
    }
}
