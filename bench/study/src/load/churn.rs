//! The churn of a load: the machines' agent reports everything placed as started and ended, so that there is always
//! something to place again.
//!
//! No process runs and the log isn't followed: what was placed where is known from the verdicts. The reports are those of
//! a real agent, and cost the server the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::TaskId;
use cell_state::admit::Answer;
use cell_state::bounds::REPORTS_MAX;
use cell_state::event::{Report, Seen};
use cell_state::task::Exit;
use tokio::time::{MissedTickBehavior, interval, sleep};
use transport::message::Refusal;
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
    /// Requests that the server was too busy to take, by machine.
    refused: Vec<usize>,
    under_way: usize,
    /// For each scheduler, tasks that are pending again, until they are given back.
    ended: Vec<Vec<TaskId>>,
}

/// One machine as its agent keeps it: at most one request is under way, so that reports arrive in order.
struct Machine {
    /// The number of its next report.
    next: u64,
    under_way: Option<Request>,
    told: Vec<Placement>,
}

impl Reporter {
    pub(super) async fn new(
        field: Arc<Field>,
        client: &Client,
        incarnation: u64,
    ) -> Result<Reporter, LoadError> {
        let machine = |_| Machine { next: 1, under_way: None, told: Vec::new() };
        Ok(Reporter {
            pipeline: client.pipeline().await.map_err(LoadError::call(WHAT))?,
            incarnation,
            machines: field.machines.iter().map(machine).collect(),
            refused: Vec::new(),
            under_way: 0,
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
        while !self.field.board.is_over() || self.under_way > 0 {
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
            if self.under_way == 0 {
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
        self.under_way < LOAD_AGENT_CALLS_MAX
    }

    /// Reports that what is placed on a machine has started and ended, unless an earlier report is unanswered.
    fn visit(&mut self, at: usize) -> Result<(), LoadError> {
        let machine = &mut self.machines[at];
        if machine.under_way.is_some() {
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
        let request = Request::Report {
            machine: self.field.machines[at],
            incarnation: self.incarnation,
            first: machine.next,
            reports: machine.told.iter().flat_map(both).collect(),
        };
        self.pipeline.add(at as u64 + 1, &request).map_err(LoadError::call(WHAT))?;
        machine.under_way = Some(request);
        self.under_way += 1;
        Ok(())
    }

    fn send_refused(&mut self) -> Result<(), LoadError> {
        for at in std::mem::take(&mut self.refused) {
            if let Some(request) = &self.machines[at].under_way {
                self.pipeline.add(at as u64 + 1, request).map_err(LoadError::call(WHAT))?;
            }
        }
        Ok(())
    }

    /// Takes answers that have arrived together: the tasks they are about are pending again.
    fn take(&mut self, answers: &mut Vec<Answered>) -> Result<(), LoadError> {
        for (id, answer) in answers.drain(..) {
            let at = (id - 1) as usize;
            match answer {
                Ok(Reply::Done { answer: Answer::Reported { .. }, .. }) => {}
                Ok(_) => return Err(LoadError::Answer(WHAT)),
                Err(Refusal::Busy) => {
                    self.refused.push(at);
                    continue;
                }
                Err(refusal) => return Err(LoadError::call(WHAT)(CallError::Refused(refusal))),
            }
            let machine = &mut self.machines[at];
            machine.under_way = None;
            machine.next += 2 * machine.told.len() as u64;
            self.under_way -= 1;
            for placement in machine.told.drain(..) {
                self.ended[placement.owner as usize].push(placement.task);
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
