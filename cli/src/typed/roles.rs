//! The commands that run a part of the cell: certificates, server, schedulers, agents, a cell for trying.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use transport::Role;

use super::connect::{ConnectArgs, LogArgs, OutputArgs, RoleConnectArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the certificate authority of a new cell, with a server and an operator certificate
    #[command(after_help = "Example:
  ohm pki init --cell prod --pki ./pki")]
    Init(PkiInitArgs),
    /// Issue a certificate; its role and name decide what its holder may do
    #[command(after_help = "Examples:
  ohm pki issue scheduler batch --pki ./pki
  ohm pki issue agent web-1 --pki ./pki
  ohm pki issue agent 'sim-*' --pki ./pki     plays every machine whose name begins with sim-")]
    Issue(PkiIssueArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PkiInitArgs {
    /// The cell's name: part of every certificate
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) cell: String,
    /// The directory to make [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PkiIssueArgs {
    /// The role: server, scheduler, agent, operator, user or reader
    pub(crate) role: Role,
    /// The party's name: the scheduler's, the machine's, the person's
    pub(crate) name: String,
    /// The directory that holds the authority [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
    /// Where to write the certificate and its key [default: beside the authority]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm dev
  ohm dev --dir ./cell --listen 127.0.0.1:0

Starts a server, a batch and a service scheduler and three agents that share this machine, each a process of its
own, with certificates of their own, and prints what to try. Ctrl-C stops everything, tasks included. Without
--dir everything is forgotten then; with it the next `ohm dev --dir` finds jobs, stopped, and history.")]
pub(crate) struct DevArgs {
    /// The directory for certificates, data and logs [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The address the server listens on; port 0 is any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7447")]
    pub(crate) listen: String,
    /// How many agents share this machine
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) agents: u32,
    /// Play this many simulated machines instead
    #[arg(long, value_name = "N", conflicts_with = "agents")]
    pub(crate) simulate: Option<u32>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  ohm server run --data /var/lib/ohm --listen 0.0.0.0:7447
  ohm server --data ./data                 the same as `ohm server run`
  ohm server verify /var/lib/ohm           audit the data of a server that is stopped")]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ServerCommand>,
    #[command(flatten)]
    pub(crate) run: ServerRunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Run the server of a cell
    #[command(after_help = "Examples:
  ohm server run --data /var/lib/ohm --listen 0.0.0.0:7447
  ohm server run --data ./data --overcommit cpu=150 --overcommit memory=125

Prints `listening on ADDRESS` to standard output once it takes connections. SIGTERM and Ctrl-C stop it cleanly.")]
    Run(Box<ServerRunArgs>),
    /// Audit the data directory of a server that is stopped
    #[command(after_help = "Example:
  ohm server verify /var/lib/ohm

Exit code 0 when everything verifies, 1 otherwise.")]
    Verify(ServerVerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServerRunArgs {
    /// The data directory: log and checkpoint; made when it is not there
    #[arg(long, env = "OHM_DATA", value_name = "DIR", required = true)]
    pub(crate) data: Option<PathBuf>,
    /// The address to listen on; port 0 is any free one
    #[arg(long, env = "OHM_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:7447")]
    pub(crate) listen: String,
    /// The directory of the certificates [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
    /// The name in the server's certificate
    #[arg(long, value_name = "NAME", default_value = "server")]
    pub(crate) name: String,
    /// Write the address to this file once the server takes connections
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// How far a resource may be promised beyond capacity, in percent (100 to 1000); may be given several times
    #[arg(long, value_name = "RESOURCE=PERCENT")]
    pub(crate) overcommit: Vec<String>,
    /// Name a further resource of the cell (up to three, in this order for ever)
    #[arg(long, value_name = "NAME")]
    pub(crate) resource: Vec<String>,
    /// How long a machine may be silent before it is down and its tasks are placed elsewhere
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) down_after: String,
    /// How often the checkpoint is brought up to date
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) checkpoint_every: String,
    /// How much log to keep beyond what recovery needs, for `ohm state --at`
    #[arg(long, value_name = "SIZE", default_value = "1 GiB")]
    pub(crate) retain_log: String,
    /// How long a job that is over stays in the state
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) retain_jobs: String,
    /// Stop when standard input ends (for a parent process that may die)
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServerVerifyArgs {
    /// The data directory
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    /// Run a scheduler with one of the built-in policies
    #[command(after_help = "Examples:
  ohm scheduler run --policy batch
  ohm scheduler run --policy service --name web     places the jobs whose `scheduler` is \"web\"
  ohm scheduler run --policy gang                   jobs that start as a whole or wait as a whole
  ohm scheduler batch                               the same as `run --policy batch`

Several processes may run under one name: they share its jobs.")]
    Run(Box<SchedulerRunArgs>),
    /// Run a scheduler with the batch policy: fast, sampled best fit
    #[command(after_help = "Example:
  ohm scheduler batch --name nightly")]
    Batch(Box<SchedulerArgs>),
    /// Run a scheduler with the service policy: careful, spread over failure domains
    #[command(after_help = "Example:
  ohm scheduler service")]
    Service(Box<SchedulerArgs>),
    /// List the schedulers: lag, attempts, conflicts, busyness
    #[command(after_help = "Examples:
  ohm scheduler list
  ohm scheduler list -o json")]
    List(SchedulerListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerRunArgs {
    /// The policy
    #[arg(long, value_name = "POLICY", value_parser = clap::builder::PossibleValuesParser::new(schedulers::policy::BUILT_IN))]
    pub(crate) policy: String,
    #[command(flatten)]
    pub(crate) scheduler: SchedulerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    /// The scheduler's name, as in its certificate and in the jobs it places [default: the policy's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The seed of its random choices [default: drawn at random, and logged]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// What it keeps a copy of: the whole cell, or the machines with what is used of them and its own jobs. With its own it
    /// takes a fraction of the memory, and preempts only its own tasks
    #[arg(long, value_name = "VIEW", default_value = "full", value_parser = ["full", "own"])]
    pub(crate) view: String,
    /// What counts as a conflict: that the task no longer fits, or that the machine changed at all
    #[arg(long, value_name = "KIND", default_value = "fit", value_parser = ["fit", "version"], help_heading = "Transactions")]
    pub(crate) detection: String,
    /// What happens to the rest of a transaction when an op is lost
    #[arg(long, value_name = "KIND", default_value = "incremental", value_parser = ["incremental", "all-or-nothing"], help_heading = "Transactions")]
    pub(crate) atomicity: String,
    /// Transactions in flight at most [default: the runtime's]
    #[arg(long, value_name = "N", help_heading = "Transactions")]
    pub(crate) in_flight: Option<usize>,
    /// Tasks per transaction at most [default: the runtime's]
    #[arg(long, value_name = "N", help_heading = "Transactions")]
    pub(crate) tasks_per_txn: Option<usize>,
    /// Keep both as they are, however many ops are lost
    #[arg(long, help_heading = "Transactions")]
    pub(crate) steady: bool,
    /// Make each decision take this long, for studies
    #[arg(long, value_name = "DURATION", default_value = "0s", help_heading = "Studies")]
    pub(crate) think_job: String,
    /// Make each decision take this much longer for each of its tasks, for studies
    #[arg(long, value_name = "DURATION", default_value = "0s", help_heading = "Studies")]
    pub(crate) think_task: String,
    #[command(flatten)]
    pub(crate) connect: RoleConnectArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerListArgs {
    /// Ended ones too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm agent --data /var/lib/ohm-agent                       this machine, named as its host
  ohm agent --name web-1 --attribute rack=r1 --attribute zone=eu-1 --data ./web-1
  ohm agent --simulate 5000 --prefix sim- --data ./sim      one process plays 5,000 machines
  ohm agent --simulate 12477 --shapes shapes.toml --data ./sim

Tasks outlive the agent: a restarted one finds them again by its --data.")]
pub(crate) struct AgentArgs {
    /// The agent's records and its tasks' directories and logs; made when it is not there
    #[arg(long, env = "OHM_DATA", value_name = "DIR", required = true)]
    pub(crate) data: PathBuf,
    /// The machine's name, as in its certificate [default: the host's name; with --simulate, PREFIX*]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Cores it offers: 4, 0.5 or 500m [default: all; 32 when simulated]
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Memory it offers: "16 GiB" [default: all; "128 GiB" when simulated]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Disk it offers: "100 GiB" [default: what is free under --data; "1 TiB" when simulated]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// Network bandwidth it offers, in Mbit/s [default: 0; 10000 when simulated]
    #[arg(long, value_name = "MBIT")]
    pub(crate) net: Option<u64>,
    /// A GPU device it offers; may be given several times
    #[arg(long, value_name = "DEVICE")]
    pub(crate) gpu: Vec<String>,
    /// A further resource of the cell; may be given several times
    #[arg(long, value_name = "NAME=AMOUNT")]
    pub(crate) resource: Vec<String>,
    /// An attribute for constraints and spreading; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// A directory of this machine whose files tasks may have as artifacts; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) artifacts: Vec<PathBuf>,
    /// How much of what is fetched for tasks is kept, and how large one artifact may be
    #[arg(long, value_name = "SIZE", default_value = "10 GiB")]
    pub(crate) artifact_cache: String,
    /// A directory of secrets for tasks, root's alone: one directory per team, one file per secret
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// The range of ports it gives to tasks
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-31999")]
    pub(crate) ports: String,
    /// Whether what jobs leave open is enforced: `standard`, or `none` for machines of one's own (docs/isolation.md)
    #[arg(long, value_name = "LEVEL", default_value = "standard")]
    pub(crate) isolation: String,
    /// Whom tasks run as that name nobody, when the agent is root
    #[arg(long, value_name = "USER", default_value = "nobody")]
    pub(crate) task_user: String,
    /// Let tasks run as root, and keep capabilities
    #[arg(long)]
    pub(crate) allow_privileged: bool,
    /// The control group below which those of tasks are made, from the root of each hierarchy
    #[arg(long, value_name = "PATH", default_value = "ohm")]
    pub(crate) cgroup: String,
    /// Play this many machines, without processes
    #[arg(long, value_name = "N")]
    pub(crate) simulate: Option<u32>,
    /// The beginning of the simulated machines' names
    #[arg(long, value_name = "PREFIX", default_value = "sim-")]
    pub(crate) prefix: String,
    /// The address at which its tasks can be reached, for service names [default: the one the server is reached from]
    #[arg(long, value_name = "IP", conflicts_with = "simulate")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// Answer names of services (A, AAAA, SRV below the cell's name) on this address; takes a copy of the whole cell
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) dns: Option<std::net::SocketAddr>,
    /// How often to sample what tasks use: 5s, 1m, or never
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) usage_every: String,
    /// What simulated tasks pretend to use, in percent of what they are promised
    #[arg(long, value_name = "PERCENT", requires = "simulate")]
    pub(crate) usage: Option<u32>,
    /// A file with the shapes of the simulated machines (docs/operating.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cpu", "memory", "disk", "net", "gpu", "resource"])]
    pub(crate) shapes: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: RoleConnectArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
