//! What a server is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cell_state::event::CellConfig;
use transport_quic::pki::Credentials;

use crate::bounds;

/// Settings of a server. [`ServerConfig::new`] fills in the defaults.
#[derive(Clone)]
pub struct ServerConfig {
    /// The data directory: log, checkpoint and side log. Made when it is not there.
    pub data: PathBuf,
    /// The address to listen on; port 0 is any free one.
    pub listen: SocketAddr,
    /// The server's certificate and key.
    pub credentials: Credentials,
    /// The cell's settings. `None` keeps those in the data directory, or on the first start takes the defaults.
    /// An empty name becomes the cell name of the certificate.
    pub cell: Option<CellConfig>,
    /// How long a machine may be silent before it counts as down. Default: 10 s.
    pub down_after: Duration,
    /// How long a scheduler process may be unreachable before its session ends. Default: 5 s.
    pub session_grace: Duration,
    /// How often the checkpoint is brought up to date. Default: 10 s.
    pub checkpoint_every: Duration,
    /// How often the state is hashed for the marks in full subscriptions. Default: 1 s.
    pub mark_every: Duration,
    /// Bytes of log that are kept beyond what recovery needs, for reads of earlier positions. Default: 1 GiB.
    pub retain_log_bytes: u64,
    /// How long a job that is over stays in the state. Default: 1 h.
    pub retain_jobs: Duration,
    /// Requests that may wait for the commit thread before the answer is "busy". Default: 8,192.
    pub intake_items: usize,
    /// Bytes of records kept in memory for subscribers. Default: 64 MiB.
    pub ring_bytes: usize,
}

impl ServerConfig {
    /// The defaults.
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr, credentials: Credentials) -> ServerConfig {
        ServerConfig {
            data: data.into(),
            listen,
            credentials,
            cell: None,
            down_after: Duration::from_secs(10),
            session_grace: bounds::SESSION_GRACE,
            checkpoint_every: Duration::from_secs(10),
            mark_every: Duration::from_secs(1),
            retain_log_bytes: 1 << 30,
            retain_jobs: Duration::from_secs(3_600),
            intake_items: bounds::INTAKE_ITEMS_MAX,
            ring_bytes: bounds::RING_BYTES_MAX,
        }
    }
}
