//! The server's end: takes connections, finds out whose they are, and lets in the parties of its cell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{Connection, Endpoint};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use transport::Identity;

use crate::bounds::{CLOSE_WAIT, CONNECTIONS_MAX, HANDSHAKE_WAIT, HANDSHAKES_MAX, SESSIONS_WAITING_MAX};
use crate::closing::{self, why};
use crate::endpoint;
use crate::identity::facts;
use crate::pki::Credentials;
use crate::session::Session;
use crate::tls;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can't be had.
    #[error("can't listen on {address}/udp")]
    Socket {
        /// The address.
        address: SocketAddr,
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
}

/// Takes connections on one address. It is closed when dropped.
pub struct Listener {
    endpoint: Endpoint,
    address: SocketAddr,
    sessions: Mutex<mpsc::Receiver<Session>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close("the server shuts down");
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens; port 0 is any free one.
    ///
    /// # Errors
    /// The address can't be had, or the credentials can't be used.
    pub fn bind(address: SocketAddr, credentials: &Credentials) -> Result<Listener, BindError> {
        let crypto = tls::server(credentials).map_err(|error| BindError::Credentials {
            identity: Box::new(credentials.identity().clone()),
            problem: error.to_string(),
        })?;
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let socket = |source| BindError::Socket { address, source };
        let endpoint = endpoint::listening(address, credentials, config.clone()).map_err(socket)?;
        let address = endpoint.local_addr().map_err(socket)?;
        let (ready, sessions) = mpsc::channel(SESSIONS_WAITING_MAX);
        let door = Door {
            config,
            cell: credentials.identity().cell.clone(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            last_id: AtomicU64::new(0),
            ready,
        };
        tokio::spawn(Arc::new(door).keep(endpoint.clone()));
        tracing::info!(%address, "listening");
        Ok(Listener { endpoint, address, sessions: Mutex::new(sessions) })
    }

    /// The address, with the port that port 0 became.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next party that was let in; `None` when the listener was closed.
    pub async fn accept(&self) -> Option<Session> {
        self.sessions.lock().await.recv().await
    }

    /// Ends all connections and takes no more.
    pub fn close(&self, reason: &str) {
        self.endpoint.close(closing::DONE, reason.as_bytes());
    }

    /// Waits, for a moment at most, until all parties have been told of [`Listener::close`]: a process that is about to
    /// exit should await it.
    pub async fn closed(&self) {
        // Parties that have gone as well needn't be told.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.endpoint.wait_idle()).await;
    }
}

/// What is needed to let parties in.
struct Door {
    config: quinn::ServerConfig,
    cell: String,
    handshakes: Arc<Semaphore>,
    last_id: AtomicU64,
    ready: mpsc::Sender<Session>,
}

impl Door {
    /// Takes connections until the endpoint is closed. Handshakes run side by side, so none can hold up another.
    async fn keep(self: Arc<Door>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let room = endpoint.open_connections() < CONNECTIONS_MAX;
            match self.handshakes.clone().try_acquire_owned() {
                Ok(place) if room => drop(tokio::spawn(self.clone().let_in(incoming, place))),
                Ok(_) | Err(_) => {
                    tracing::warn!(remote = %incoming.remote_address(), "refused: too many connections or handshakes");
                    incoming.refuse();
                }
            }
        }
    }

    async fn let_in(self: Arc<Door>, incoming: quinn::Incoming, _place: OwnedSemaphorePermit) {
        let remote = incoming.remote_address();
        match tokio::time::timeout(HANDSHAKE_WAIT, self.handshake(incoming)).await {
            Ok(Ok((connection, identity))) => {
                let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                // Fails when the listener is gone; the session closes as it is dropped.
                let _ = self.ready.send(Session::start(connection, identity, id)).await;
            }
            Ok(Err(reason)) => tracing::info!(%remote, reason, "not let in"),
            Err(_) => tracing::info!(%remote, "not let in: the handshake took too long"),
        }
    }

    /// The authenticated connection and its party, or why it wasn't let in; the other end has been told.
    async fn handshake(&self, incoming: quinn::Incoming) -> Result<(Connection, Identity), String> {
        let mut config = self.config.clone();
        config.transport_config(Arc::new(endpoint::server_transport(incoming.remote_address())));
        let connecting = incoming.accept_with(Arc::new(config)).map_err(|error| why(&error))?;
        let connection = connecting.await.map_err(|error| why(&error))?;
        let identity = self.identify(&connection).inspect_err(|reason| {
            closing::close(&connection, closing::REFUSED, reason);
        })?;
        welcome(&connection).await.map_err(|problem| closing::why_or(&connection, &problem))?;
        Ok((connection, identity))
    }

    fn identify(&self, connection: &Connection) -> Result<Identity, String> {
        let shown = connection
            .peer_identity()
            .and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = shown.as_ref().and_then(|chain| chain.first()).ok_or("no certificate was shown")?;
        let identity = facts(certificate).map_err(|problem| problem.to_string())?.identity;
        if identity.cell != self.cell {
            let ours = &self.cell;
            return Err(format!(
                "this is the server of cell {ours:?}; your certificate is for cell {:?}",
                identity.cell
            ));
        }
        Ok(identity)
    }
}

/// Tells the party that it was let in: see the client's end.
async fn welcome(connection: &Connection) -> Result<(), String> {
    let mut stream = connection.open_uni().await.map_err(|error| why(&error))?;
    stream.write_all(transport::ALPN).await.map_err(|error| error.to_string())?;
    stream.finish().map_err(|error| error.to_string())
}
