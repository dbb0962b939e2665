//! What an agent is started with.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cell_state::machine::MachineSpec;
use transport_quic::{ConnectError, Credentials};

use crate::artifacts::ArtifactSettings;
use crate::bounds;
use crate::exec::OpenError;
use crate::isolation::Settings as IsolationSettings;
use crate::records::RecordsError;

/// Settings of an agent. [`AgentConfig::new`] fills in the defaults.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The server's address.
    pub server: SocketAddr,
    /// The agent's certificate and key: of the machine, or for simulated machines of their prefix and a `*`.
    pub credentials: Credentials,
    /// The data directory: task records, and a directory per task. Made when it is not there. Simulated machines keep
    /// nothing.
    pub data: PathBuf,
    /// What it runs tasks on.
    pub machines: Machines,
    /// The program that is started as a shim for each task. Default: this very program.
    pub shim: PathBuf,
    /// What that program needs before the shim's own arguments. Default: `shim`.
    pub shim_args: Vec<OsString>,
    /// What tasks may be given. Default: no file of the machine, no secrets, 10 GiB of what is fetched.
    pub given: GivenSettings,
    /// How often the agent shows that it is there. Default: 1 s.
    pub heartbeat: Duration,
    /// What the operator decides about isolation.
    pub isolation: IsolationSettings,
    /// How often what tasks use is sampled and told; `None` is never. Default: 5 s.
    pub usage_every: Option<Duration>,
    /// What tasks of simulated machines pretend to use, in percent of what they are promised; `None` is nothing at all.
    pub simulated_usage: Option<u32>,
    /// Where names of services are answered; `None` is nowhere. It takes a copy of the whole cell. Default: none.
    pub dns: Option<SocketAddr>,
}

/// What an operator lets tasks have.
#[derive(Clone, Debug, Default)]
pub struct GivenSettings {
    /// Artifacts.
    pub artifacts: ArtifactSettings,
    /// The directory of secrets, if there are any.
    pub secrets: Option<PathBuf>,
}

/// What an agent runs tasks on.
#[derive(Clone, Debug)]
pub enum Machines {
    /// This machine: tasks are processes.
    Real(MachineSpec),
    /// Machines that are played: tasks are only pretended.
    Simulated {
        /// What all their names begin with.
        prefix: String,
        /// The machines.
        specs: Vec<MachineSpec>,
    },
}

impl AgentConfig {
    /// The defaults.
    pub fn new(
        server: SocketAddr,
        credentials: Credentials,
        data: PathBuf,
        machines: Machines,
    ) -> AgentConfig {
        AgentConfig {
            server,
            credentials,
            data,
            machines,
            // Stays this program even when its file is replaced by an upgrade.
            shim: PathBuf::from("/proc/self/exe"),
            shim_args: vec![OsString::from("shim")],
            given: GivenSettings::default(),
            heartbeat: bounds::HEARTBEAT,
            isolation: IsolationSettings::default(),
            usage_every: Some(bounds::USAGE_EVERY),
            simulated_usage: None,
            dns: None,
        }
    }

    /// Checks that the certificate is for the machines.
    pub(crate) fn check(&self) -> Result<(), AgentError> {
        let identity = self.credentials.identity();
        let specs = match &self.machines {
            Machines::Real(spec) => std::slice::from_ref(spec),
            Machines::Simulated { prefix, specs } => {
                if let Some(spec) = specs.iter().find(|spec| !spec.name.starts_with(prefix)) {
                    let problem = format!("machine {:?} doesn't begin with the prefix {prefix:?}", spec.name);
                    return Err(AgentError::Config(problem));
                }
                specs
            }
        };
        if let Some(spec) = specs.iter().find(|spec| !identity.speaks_for(&spec.name)) {
            let problem =
                format!("the certificate is of {identity}, which may not play machine {:?}", spec.name);
            return Err(AgentError::Config(problem));
        }
        match specs.is_empty() {
            true => Err(AgentError::Config("no machine to run tasks on".to_owned())),
            false => Ok(()),
        }
    }
}

/// Why an agent can't start, or has to give up. Tasks that run are left running.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The settings contradict each other.
    #[error("{0}")]
    Config(String),
    /// The data directory can't be used.
    #[error("can't use the data directory {path}")]
    Data {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Tasks can't be run as the settings say.
    #[error(transparent)]
    Exec(#[from] OpenError),
    /// Another agent uses the data directory.
    #[error("another agent uses the data directory {path}")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Names of services can't be answered there.
    #[error("can't answer names of services on {address}: {source}; choose another address for --dns")]
    Dns {
        /// Where.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The task records can't be kept.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Writing task records failed while tasks ran: nothing more is started that a restart wouldn't know of.
    #[error("can't write the task records: {0}; free space on the disk and start the agent again")]
    RecordsLost(String),
    /// The server doesn't accept the agent, or the agent the server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cell doesn't take the machine.
    #[error("the cell doesn't take machine {machine:?}: {reason}")]
    Refused {
        /// The machine's name.
        machine: String,
        /// Why.
        reason: String,
    },
}
