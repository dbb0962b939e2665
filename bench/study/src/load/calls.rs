//! How a load talks to the server besides its proposals: one call at a time, and sessions.

use std::net::SocketAddr;

use cell_state::SessionId;
use cell_state::admit::Answer;
use tokio::time::sleep;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::error::LoadError;
use crate::bounds::BUSY_PAUSE;

/// Calls, again while the server is busy.
pub(crate) async fn patient(
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

/// A scheduler's connection and its session.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) session: SessionId,
    pub(super) last_number: u64,
    /// The position at which it was opened.
    pub(super) at: cell_state::Seq,
}

/// Connects and opens a session.
pub(super) async fn open(
    server: SocketAddr,
    credentials: &Credentials,
    instance: u64,
) -> Result<Opened, LoadError> {
    const WHAT: &str = "opening a session";
    let client = Client::connect(server, credentials).await?;
    match patient(&client, Request::OpenSession { instance }, WHAT).await? {
        Reply::Done { at, answer: Answer::Session { session, last_number } } => {
            Ok(Opened { client, session, last_number, at })
        }
        _ => Err(LoadError::Answer(WHAT)),
    }
}
