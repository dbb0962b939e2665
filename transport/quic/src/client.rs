//! The client: one connection to the server of a cell.

use std::net::SocketAddr;
use std::sync::Arc;

use cell_state::{Seq, codec};
use quinn::{Connection, ConnectionError, Endpoint};
use tokio::sync::{Mutex, mpsc};
use tracing::Instrument;
use transport::message::{AgentRequest, Heartbeat, Refusal, Reply, Request, Scope};
use transport::task::{FromTask, TaskRequest, ToTask};
use transport::{Identity, Role};

use crate::ask::{self, AgentResponder};
use crate::bounds::{AGENT_REQUESTS_MAX, CLOSE_WAIT, CONNECT_WAIT};
use crate::closing::{self, why};
use crate::conversation::{self, ConversationReader, ConversationWriter};
use crate::endpoint;
use crate::pipeline::Pipeline;
use crate::pki::Credentials;
use crate::requests::Requests;
use crate::subscription::{Arrivals, Subscription};
use crate::tls::{self, ServerCheck};
use crate::traffic::Traffic;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// This side couldn't even begin.
    #[error("can't open a UDP socket to reach {server}")]
    Socket {
        /// The server's address.
        server: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The credentials can't be used.
    #[error("can't use the certificate of {identity}: {problem}")]
    Credentials {
        /// Whose they are.
        identity: Box<Identity>,
        /// What is wrong with them.
        problem: String,
    },
    /// Nobody answers: the server isn't there, or not yet.
    #[error("no answer from {server} within {} s; is the server running there?", CONNECT_WAIT.as_secs())]
    NoAnswer {
        /// The server's address.
        server: SocketAddr,
    },
    /// One side doesn't accept the other. Trying again won't help.
    #[error("{server}: {reason}")]
    Refused {
        /// The server's address.
        server: SocketAddr,
        /// Why, in one sentence.
        reason: String,
    },
    /// The connection broke while it was being made.
    #[error("connecting to {server} failed: {reason}")]
    Lost {
        /// The server's address.
        server: SocketAddr,
        /// Why.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        match self {
            ConnectError::Socket { .. } | ConnectError::NoAnswer { .. } | ConnectError::Lost { .. } => true,
            ConnectError::Credentials { .. } | ConnectError::Refused { .. } => false,
        }
    }
}

/// Why a call has no reply.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The server said no; nothing was changed.
    #[error(transparent)]
    Refused(Refusal),
    /// The connection broke before the reply came: whether the request took effect is not known.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// A connection to the server of a cell. Clones are the same connection; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    connection: Connection,
    identity: Identity,
    requests: Requests,
    arrivals: Arc<Arrivals>,
    agent_requests: Mutex<mpsc::Receiver<(AgentRequest, AgentResponder)>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        closing::close(&self.connection, closing::DONE, "the client is done");
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = self.inner.connection.remote_address();
        f.debug_struct("Client").field("identity", &self.inner.identity).field("server", &server).finish()
    }
}

impl Client {
    /// Connects, and waits until the server has let this party in.
    ///
    /// # Errors
    /// See [`ConnectError`]; [`ConnectError::is_passing`] tells whether to try again.
    pub async fn connect(server: SocketAddr, credentials: &Credentials) -> Result<Client, ConnectError> {
        let (crypto, check) = tls::client(credentials).map_err(|error| ConnectError::Credentials {
            identity: Box::new(credentials.identity().clone()),
            problem: error.to_string(),
        })?;
        let endpoint = endpoint::calling(server, credentials)
            .map_err(|source| ConnectError::Socket { server, source })?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(endpoint::client_transport(server)));
        let welcomed = async {
            let connecting = endpoint.connect_with(config, server, tls::SERVER_NAME);
            let connecting = connecting.map_err(|error| ConnectError::Refused {
                server,
                reason: format!("not an address to call: {error}"),
            })?;
            let connection =
                connecting.await.map_err(|error| explain(server, &error, &check, credentials))?;
            welcome(&connection).await.map_err(|error| explain(server, &error, &check, credentials))?;
            Ok(connection)
        };
        let connection = match tokio::time::timeout(CONNECT_WAIT, welcomed).await {
            Ok(welcomed) => welcomed?,
            Err(_) => return Err(ConnectError::NoAnswer { server }),
        };
        Ok(Client::start(endpoint, connection, credentials.identity().clone()))
    }

    fn start(endpoint: Endpoint, connection: Connection, identity: Identity) -> Client {
        let span = tracing::debug_span!("client", %identity, server = %connection.remote_address());
        let arrivals = Arc::new(Arrivals::default());
        tokio::spawn(arrivals.clone().accept(connection.clone()).instrument(span.clone()));
        let (taker, agent_requests) = mpsc::channel(AGENT_REQUESTS_MAX as usize);
        if identity.role == Role::Agent {
            tokio::spawn(ask::accept(connection.clone(), taker).instrument(span.clone()));
        }
        span.in_scope(|| tracing::debug!("connected"));
        let requests = Requests::new(connection.clone(), arrivals.clone());
        let agent_requests = Mutex::new(agent_requests);
        Client {
            inner: Arc::new(Inner { endpoint, connection, identity, requests, arrivals, agent_requests }),
        }
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Makes a request and waits for its reply. Any number of calls may be made at once; those over
    /// `REQUESTS_IN_FLIGHT_MAX` wait for earlier ones. Dropping the future doesn't take the request back.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        self.inner.requests.call(request).await
    }

    /// Opens a conversation with a task, on a stream of its own.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub async fn converse(
        &self,
        request: TaskRequest,
    ) -> Result<(ConversationWriter<ToTask>, ConversationReader<FromTask>), CallError> {
        conversation::open(&self.inner.connection, Request::Task(request)).await
    }

    /// A stream of its own for a party that makes thousands of calls per second.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn pipeline(&self) -> Result<Pipeline, CallError> {
        let opened = self.inner.connection.open_bi().await;
        let (send, receive) = opened.map_err(|error| CallError::Lost(why(&error)))?;
        Ok(Pipeline::new(self.clone(), send, receive))
    }

    /// What this connection has carried so far, repetitions and acknowledgements included.
    pub fn traffic(&self) -> Traffic {
        Traffic::of(&self.inner.connection.stats())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    /// Follows the log, after a position or from a snapshot.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn subscribe(&self, scope: Scope, after: Option<Seq>) -> Result<Subscription, CallError> {
        match self.call(Request::Subscribe { scope, after }).await? {
            Reply::Subscribed { subscription } => {
                self.inner.arrivals.take(&self.inner.connection, subscription).await
            }
            other => Err(CallError::Lost(format!("the server answered a subscription with {other:?}"))),
        }
    }

    /// Shows that this party is alive. Best effort: a heartbeat may be lost, and the next one makes up for it.
    pub fn heartbeat(&self, number: u64) {
        let datagram = codec::encode(&Heartbeat { number });
        if let Err(error) = self.inner.connection.send_datagram(datagram.into()) {
            tracing::debug!(%error, "heartbeat not sent");
        }
    }

    /// The next request of the server to this agent; `None` when the connection has ended, or this is no agent.
    pub async fn next_agent_request(&self) -> Option<(AgentRequest, AgentResponder)> {
        self.inner.agent_requests.lock().await.recv().await
    }

    /// Waits until the connection has ended, and says why. After [`Client::close`] it also waits, for a moment at most,
    /// until the server has been told: a process that is about to exit should await it.
    pub async fn closed(&self) -> String {
        let error = self.inner.connection.closed().await;
        if error == ConnectionError::LocallyClosed {
            // A server that has gone as well needn't be told.
            let _ = tokio::time::timeout(CLOSE_WAIT, self.inner.endpoint.wait_idle()).await;
        }
        why(&error)
    }

    /// Ends the connection.
    pub fn close(&self, reason: &str) {
        closing::close(&self.inner.connection, closing::DONE, reason);
    }
}

/// Waits for the server's welcome: its first unidirectional stream, which carries the protocol's name. In TLS 1.3 a
/// client's handshake is done before the server has looked at its certificate, so only this tells that it was accepted.
async fn welcome(connection: &Connection) -> Result<(), ConnectionError> {
    let mut stream = connection.accept_uni().await?;
    match stream.read_to_end(transport::ALPN.len()).await {
        Ok(_) => Ok(()),
        // Whatever broke the stream ends the connection, or the wait does.
        Err(_) => Err(connection.closed().await),
    }
}

fn explain(
    server: SocketAddr,
    error: &ConnectionError,
    check: &ServerCheck,
    own: &Credentials,
) -> ConnectError {
    let refused = |reason: String| ConnectError::Refused { server, reason };
    let lost = || ConnectError::Lost { server, reason: why(error) };
    if let Some(problem) = check.problem() {
        return refused(problem);
    }
    match error {
        ConnectionError::TimedOut => ConnectError::NoAnswer { server },
        ConnectionError::ApplicationClosed(close) if close.error_code == closing::REFUSED => {
            refused(why(error))
        }
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            closing::refusal(close.error_code, &reason, own.identity()).map_or_else(lost, refused)
        }
        ConnectionError::TransportError(problem) => {
            closing::refusal(problem.code, &problem.reason, own.identity()).map_or_else(lost, refused)
        }
        ConnectionError::VersionMismatch => refused(why(error)),
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => lost(),
    }
}
