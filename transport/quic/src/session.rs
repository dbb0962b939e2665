//! A session: one authenticated connection, as the server sees it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use cell_state::codec;
use quinn::Connection;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tracing::Instrument;
use transport::bounds::{CONVERSATIONS_MAX, REQUESTS_IN_FLIGHT_MAX, SUBSCRIPTIONS_MAX};
use transport::message::{AgentReply, AgentRequest, Heartbeat, Refusal};
use transport::task::{FromTask, TaskRequest, ToTask};
use transport::{Identity, Role};

use crate::ask;
use crate::bounds::AGENT_REQUESTS_MAX;
use crate::client::CallError;
use crate::closing::{self, why};
use crate::conversation::{HopReader, HopWriter};
use crate::serve::{self, Incoming};
use crate::subscription::SubscriptionWriter;

/// Why nothing can be sent to a subscriber.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The subscriber has dropped its subscription.
    #[error("the subscription is no longer wanted")]
    Unwanted,
    /// The session has as many subscriptions as it may.
    #[error("the session has {SUBSCRIPTIONS_MAX} subscriptions, its bound; end one first")]
    TooMany,
    /// The connection has ended.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// One authenticated connection. Clones are the same connection; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    identity: Arc<Identity>,
    id: u64,
    requests: Mutex<Requests>,
    subscriptions: Arc<Semaphore>,
    agent_requests: Arc<Semaphore>,
    conversations: Arc<Semaphore>,
}

/// Requests on their way from the streams to whoever takes them.
struct Requests {
    batches: mpsc::Receiver<Vec<Incoming>>,
    /// Those of the batch that is being handed out one by one.
    next: VecDeque<Incoming>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        closing::close(&self.connection, closing::DONE, "the server dropped the session");
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.inner.id).field("identity", &self.inner.identity).finish()
    }
}

impl Session {
    /// Starts to serve a connection whose party is known and accepted.
    pub(crate) fn start(connection: Connection, identity: Identity, id: u64) -> Session {
        let identity = Arc::new(identity);
        let span =
            tracing::info_span!("session", id, party = %identity, remote = %connection.remote_address());
        // Each holds at least one request, and of those no more than the bound are unanswered.
        let (taker, batches) = mpsc::channel(REQUESTS_IN_FLIGHT_MAX);
        tokio::spawn(serve::streams(connection.clone(), identity.clone(), taker).instrument(span.clone()));
        tokio::spawn(log_end(connection.clone()).instrument(span));
        Session {
            inner: Arc::new(Inner {
                connection,
                identity,
                id,
                requests: Mutex::new(Requests { batches, next: VecDeque::new() }),
                subscriptions: Arc::new(Semaphore::new(SUBSCRIPTIONS_MAX as usize)),
                agent_requests: Arc::new(Semaphore::new(AGENT_REQUESTS_MAX as usize)),
                conversations: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
            }),
        }
    }

    /// Who is on the other end, as the certificate says.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Where the other end is now.
    pub fn remote(&self) -> SocketAddr {
        self.inner.connection.remote_address()
    }

    /// A number that no other session of this listener has.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// The next request that this party may make; `None` when the connection has ended. No request is lost when the
    /// future is dropped.
    pub async fn next_request(&self) -> Option<Incoming> {
        let mut requests = self.inner.requests.lock().await;
        loop {
            if let Some(incoming) = requests.next.pop_front() {
                return Some(incoming);
            }
            requests.next = requests.batches.recv().await?.into();
        }
    }

    /// The next requests, as many as arrived together: for a server that has much to do. Otherwise as
    /// [`Session::next_request`].
    pub async fn next_requests(&self) -> Option<Vec<Incoming>> {
        let mut requests = self.inner.requests.lock().await;
        if !requests.next.is_empty() {
            return Some(std::mem::take(&mut requests.next).into());
        }
        requests.batches.recv().await
    }

    /// Opens the stream of a subscription. Its number, which the reply to the request names, is the caller's choice; no
    /// two subscriptions of a session may have the same.
    ///
    /// # Errors
    /// The session has too many, or the connection has ended.
    pub async fn open_subscription(&self, number: u32) -> Result<SubscriptionWriter, SendError> {
        let place = self.inner.subscriptions.clone().try_acquire_owned().map_err(|_| SendError::TooMany)?;
        SubscriptionWriter::open(&self.inner.connection, number, place).await
    }

    /// The next heartbeat; `None` when the connection has ended.
    pub async fn next_heartbeat(&self) -> Option<Heartbeat> {
        loop {
            let datagram = self.inner.connection.read_datagram().await.ok()?;
            match codec::decode(&datagram) {
                Ok(heartbeat) => return Some(heartbeat),
                Err(error) => {
                    tracing::debug!(session = self.inner.id, %error, "a datagram that is no heartbeat")
                }
            }
        }
    }

    /// Asks the agent on the other end.
    ///
    /// # Errors
    /// It is no agent, it didn't answer in time, or the connection broke.
    pub async fn ask_agent(&self, request: AgentRequest) -> Result<AgentReply, CallError> {
        if self.inner.identity.role != Role::Agent {
            let problem = format!("{} is no agent", self.inner.identity);
            return Err(CallError::Refused(Refusal::Unavailable(problem)));
        }
        ask::ask(&self.inner.connection, &self.inner.agent_requests, &request).await
    }

    /// Opens a conversation with a task of the agent on the other end.
    ///
    /// # Errors
    /// It is no agent, it has as many conversations as it may, or the connection broke.
    pub async fn converse(
        &self,
        machine: String,
        request: TaskRequest,
    ) -> Result<(HopWriter<ToTask>, HopReader<FromTask>), CallError> {
        if self.inner.identity.role != Role::Agent {
            let problem = format!("{} is no agent", self.inner.identity);
            return Err(CallError::Refused(Refusal::Unavailable(problem)));
        }
        let Ok(place) = self.inner.conversations.clone().try_acquire_owned() else {
            let problem = format!(
                "the agent of machine {machine} has {CONVERSATIONS_MAX} conversations, its bound; end one first"
            );
            return Err(CallError::Refused(Refusal::Unavailable(problem)));
        };
        ask::converse(&self.inner.connection, place, &AgentRequest::Task { machine, request }).await
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> String {
        why(&self.inner.connection.closed().await)
    }

    /// Ends the connection; the other end is told why.
    pub fn close(&self, reason: &str) {
        closing::close(&self.inner.connection, closing::DONE, reason);
    }
}

async fn log_end(connection: Connection) {
    tracing::info!("session began");
    let reason = why(&connection.closed().await);
    tracing::info!(reason, "session ended");
}
