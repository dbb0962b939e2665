//! Answers to requests that change nothing: reads, listings, the audit, output of tasks.
//!
//! Each runs on a thread of its own, for it may hold one for milliseconds, and counts against a bound; over it the
//! answer is "busy".

use std::sync::Arc;

use cell_state::admit::{Rejection, RejectionCode};
use cell_state::{Cell, JobId, MachineId, Seq, audit};
use tokio::sync::{Semaphore, TryAcquireError};
use transport::message::{AgentReply, AgentRequest, LogRequest, Refusal, Reply, Request};
use transport::view::{Attempt, Query, SchedulerView, View};
use transport_quic::Responder;

use crate::attempts::{self, Found, Wanted};
use crate::bounds::ATTEMPTS_MAX;
use crate::conversations::agent_of;
use crate::reads::{self, Around};
use crate::recovery::HistoryError;
use crate::server::Server;

/// Answers a request that changes nothing, in a task of its own.
pub(crate) fn spawn(server: &Arc<Server>, request: Request, responder: Responder) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let reply = answer(&server, request).await;
        responder.reply(reply);
    });
}

async fn answer(server: &Arc<Server>, request: Request) -> Result<Reply, Refusal> {
    // Whatever was durable when the question came is part of the answer.
    server.mirror.reached(server.log.last()).await;
    match request {
        Request::Read { at: None, query } => {
            on_thread(server, &server.reads, move |s| read_now(s, &query)).await
        }
        Request::Read { at: Some(at), query } => {
            on_thread(server, &server.copies, move |s| read_at(s, at, &query)).await
        }
        Request::Audit => on_thread(server, &server.copies, |s| Ok(audit_now(s))).await,
        Request::ListSchedulers => on_thread(server, &server.reads, |s| Ok(schedulers(s))).await,
        Request::ListAttempts { limit, scheduler, job, conflicts_only } => {
            let list = move |s: &Server| {
                let limit = limit.min(ATTEMPTS_MAX) as usize;
                let found = s.attempts.latest(&Wanted { limit, scheduler, job, conflicts_only });
                let found = found.map_err(|e| Refusal::Unavailable(e.to_string()))?;
                let cell = s.mirror.read();
                Ok(Reply::Attempts(found.into_iter().map(|found| attempt(&cell, found)).collect()))
            };
            on_thread(server, &server.reads, list).await
        }
        Request::GetAttempt { txn } => {
            let get = move |s: &Server| match s.attempts.get(txn) {
                Ok(Some(found)) => Ok(Reply::Attempt(Box::new(attempt(&s.mirror.read(), found)))),
                Ok(None) => Err(rejected(
                    RejectionCode::NotFound,
                    "txn",
                    format!(
                        "{txn} is not in the side log, which keeps the latest only; `ohm txn list` shows them"
                    ),
                )),
                Err(error) => Err(Refusal::Unavailable(error.to_string())),
            };
            on_thread(server, &server.reads, get).await
        }
        Request::TopConflicts => {
            on_thread(server, &server.reads, |s| Ok(Reply::Conflicts(s.attempts.conflicts()))).await
        }
        Request::GetSpec { job, version } => {
            on_thread(server, &server.reads, move |s| spec(s, job, version)).await
        }
        Request::ReadUsage { machine, limit } => {
            let read = move |s: &Server| {
                let find = |name: &str| reads::find_machine(&s.mirror.read(), name).map(|machine| machine.id);
                let only = machine.as_deref().map(find).transpose().map_err(Refusal::Rejected)?;
                Ok(Reply::Usage(Box::new(s.usage.view(&s.mirror, only, limit))))
            };
            on_thread(server, &server.reads, read).await
        }
        Request::ReadLog(request) => read_log(server, request).await,
        other => unreachable!("{:?} is not answered here", other.kind()),
    }
}

/// The transaction with the names that a person needs to understand it.
fn attempt(cell: &Cell, found: Found) -> Attempt {
    let Found { at, scheduler, committed } = found;
    let mentioned = attempts::mentioned(&committed);
    let machine_name = |id: MachineId| cell.machine(id).map(|m| (id, m.spec.name.clone()));
    let job_name = |id: JobId| cell.job(id).map(|j| (id, j.spec().name.clone()));
    Attempt {
        txn: committed.txn,
        scheduler,
        at,
        time: committed.time,
        basis: committed.basis,
        atomicity: committed.atomicity,
        detection: committed.detection,
        outcomes: committed.outcomes,
        failed_assertion: committed.failed_assertion,
        machines: mentioned.machines.into_iter().filter_map(machine_name).collect(),
        jobs: mentioned.jobs.into_iter().filter_map(job_name).collect(),
    }
}

/// Runs `work` on a thread for blocking work, if `bound` has room.
async fn on_thread(
    server: &Arc<Server>,
    bound: &Arc<Semaphore>,
    work: impl FnOnce(&Server) -> Result<Reply, Refusal> + Send + 'static,
) -> Result<Reply, Refusal> {
    let permit = match Arc::clone(bound).try_acquire_owned() {
        Ok(permit) => permit,
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(Refusal::Busy),
    };
    let server = Arc::clone(server);
    let done = tokio::task::spawn_blocking(move || {
        let reply = work(&server);
        drop(permit);
        reply
    });
    done.await.unwrap_or_else(|_| Err(Refusal::Unavailable("the read panicked; this is a bug".into())))
}

fn rejected(code: RejectionCode, field: &str, problem: String) -> Refusal {
    Refusal::Rejected(Rejection::new(code, field, problem))
}

fn read_now(server: &Server, query: &Query) -> Result<Reply, Refusal> {
    let silent_us = |machine| server.parties.silent_us(machine);
    let (cell, hash) = match query {
        Query::Cell => server.mirror.read_hashed(),
        Query::Jobs { .. }
        | Query::Job { .. }
        | Query::Machines { .. }
        | Query::Machine { .. }
        | Query::Services { .. }
        | Query::Endpoints { .. } => (server.mirror.read(), Default::default()),
    };
    view(&cell, &Around { hash, silent_us: &silent_us }, query)
}

fn read_at(server: &Server, at: Seq, query: &Query) -> Result<Reply, Refusal> {
    let mut cell = match server.history.state_at(at) {
        Ok(cell) => cell,
        Err(HistoryError::TooOld { wanted, oldest }) => return Err(Refusal::TooOld { wanted, oldest }),
        Err(HistoryError::TooNew { wanted, last }) => {
            let problem = format!("{wanted} is not there yet; the last durable position is {last}");
            return Err(rejected(RejectionCode::Invalid, "at", problem));
        }
        Err(error @ (HistoryError::Checkpoint(_) | HistoryError::Replay(_))) => {
            return Err(Refusal::Unavailable(error.to_string()));
        }
    };
    let hash = cell.hash();
    view(&cell, &Around { hash, silent_us: &|_| None }, query)
}

fn view(cell: &Cell, around: &Around<'_>, query: &Query) -> Result<Reply, Refusal> {
    let body = reads::read(cell, around, query).map_err(Refusal::Rejected)?;
    Ok(Reply::View(Box::new(View { at: cell.seq(), body })))
}

/// The audit looks at a clone: it takes longer than publish should wait, and what it checks is the bookkeeping of the
/// mirror itself, so a state put together from pages would not do.
fn audit_now(server: &Server) -> Reply {
    let cell = server.mirror.read().clone();
    let violations = audit::audit(&cell).iter().map(ToString::to_string).collect();
    Reply::Audit { at: cell.seq(), violations }
}

fn schedulers(server: &Server) -> Reply {
    let last = server.log.last();
    let cell = server.mirror.read();
    let rows = cell.sessions().iter().map(|session| {
        let telemetry = server.parties.telemetry.get(&session.id).map(|t| t.clone());
        let tally = server.stats.tally(session.id);
        SchedulerView {
            name: session.scheduler.clone(),
            session: session.id,
            live: session.live && server.parties.is_connected(session.id),
            lag_entries: telemetry.as_ref().map(|t| last.0.saturating_sub(t.at.0)),
            telemetry,
            transactions: tally.transactions,
            accepted: tally.accepted,
            conflicts: tally.conflicts,
        }
    });
    Reply::Schedulers(rows.collect())
}

fn spec(server: &Server, job: JobId, version: u32) -> Result<Reply, Refusal> {
    let cell = server.mirror.read();
    let found = cell.job(job).and_then(|job| job.version(version));
    let spec = found.ok_or_else(|| {
        let problem = format!("version {version} of job {job} is not in the cell, or no longer in use");
        rejected(RejectionCode::NotFound, "version", problem)
    })?;
    Ok(Reply::Spec(Box::new((*spec.spec).clone())))
}

async fn read_log(server: &Arc<Server>, request: LogRequest) -> Result<Reply, Refusal> {
    let (agent, machine) = agent_of(server, request.task, request.epoch)?;
    match agent.session.ask_agent(AgentRequest::ReadLog { machine, request }).await {
        Ok(AgentReply::Log(piece)) => Ok(Reply::Log(piece)),
        Ok(AgentReply::Failed(problem)) => Err(Refusal::Unavailable(problem)),
        Err(error) => Err(Refusal::Unavailable(error.to_string())),
    }
}
