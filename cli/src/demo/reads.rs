//! Questions to a demo's cell, and the answers as they are needed here.

use cell_state::machine::MachineState;
use transport::message::ServerStatus;
use transport::view::{Body, CellView, JobView, Query, SchedulerView};
use transport::{Reply, Request};
use transport_quic::Client;

use super::DemoError;
use crate::bounds::DEMO_FILES;
use crate::failure::Failure;
use crate::local_cell::LocalCell;
use crate::processes::log_tail;

/// One job with all its tasks, up to as many as the demo has.
pub(crate) async fn job(client: &Client, name: &str) -> Result<JobView, Failure> {
    let query = Query::Job { name: name.to_owned(), skip: 0, limit: DEMO_FILES as u32 };
    match client.call(Request::Read { at: None, query }).await? {
        Reply::View(view) => match view.body {
            Body::Job(job) => Ok(*job),
            _ => Err(Failure::Answer("a job")),
        },
        _ => Err(Failure::Answer("a job")),
    }
}

/// The cell as a whole.
pub(crate) async fn cell(client: &Client) -> Result<CellView, Failure> {
    match client.call(Request::Read { at: None, query: Query::Cell }).await? {
        Reply::View(view) => match view.body {
            Body::Cell(cell) => Ok(*cell),
            _ => Err(Failure::Answer("a cell")),
        },
        _ => Err(Failure::Answer("a cell")),
    }
}

/// The server.
pub(crate) async fn status(client: &Client) -> Result<ServerStatus, Failure> {
    match client.call(Request::Status).await? {
        Reply::Status(status) => Ok(status),
        _ => Err(Failure::Answer("the server's status")),
    }
}

/// The schedulers that are connected.
pub(crate) async fn schedulers(client: &Client) -> Result<Vec<SchedulerView>, Failure> {
    match client.call(Request::ListSchedulers).await? {
        Reply::Schedulers(list) => Ok(list.into_iter().filter(|s| s.live).collect()),
        _ => Err(Failure::Answer("the schedulers")),
    }
}

/// Violated invariants, as the server finds them.
pub(crate) async fn audit(client: &Client) -> Result<Vec<String>, Failure> {
    match client.call(Request::Audit).await? {
        Reply::Audit { violations, .. } => Ok(violations),
        _ => Err(Failure::Answer("an audit")),
    }
}

/// How many machines are in this state, in an answer to [`Query::Cell`].
pub(crate) fn machines(reply: &Reply, state: MachineState) -> u32 {
    let Reply::View(view) = reply else { return 0 };
    let Body::Cell(cell) = &view.body else { return 0 };
    let [ready, draining, down] = cell.machines;
    match state {
        MachineState::Ready => ready,
        MachineState::Draining => draining,
        MachineState::Down => down,
    }
}

/// Whether every process of the cell still runs.
///
/// # Errors
/// One has ended by itself: its name and its last words.
pub(crate) fn all_alive(cell: &mut LocalCell) -> Result<(), Failure> {
    let Some(died) = cell.processes.died().into_iter().next() else { return Ok(()) };
    let tail = log_tail(&died.log).unwrap_or_default();
    Err(DemoError::Died { name: died.name, status: died.status.to_string(), tail }.into())
}
