//! The command that loads a cell to measure it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::connect::{ConnectArgs, Format, OutputArgs};

/// What a load consists of.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LoadCommand {
    #[command(subcommand)]
    pub(crate) kind: Option<LoadKind>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LoadKind {
    /// Run many short tasks, and measure how fast they are started and recorded as finished
    Tasks(LoadTasksArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm load tasks -n 10000 -- true
  ohm load tasks -n 10000 -- true -o json          the -o at the very end is ohm's own
  ohm load tasks -o table -- kubectl get -o json   with an -o of ohm's before the --, the last one is the command's
  ohm load tasks -n 500000 --driver simulated
  ohm load tasks -n 1000 --server 10.0.0.1:7447 --pki ./pki -- true

Without --server (or OHM_SERVER) it starts a cell of its own in a temporary directory: a server, a batch scheduler and one
agent. It is measured from submitting the job until every task is recorded as finished. In the same run the command is
spawned and waited for without Ohm, by one thread and by as many as there are cores. docs/load.md says more.
Exit codes: 0 every task completed; 1 some did not, or an error.")]
pub(crate) struct LoadTasksArgs {
    /// How many tasks
    #[arg(short = 'n', long = "tasks", value_name = "N", default_value_t = 10_000)]
    pub(crate) tasks: u32,
    /// Start a fresh cell in a temporary directory, even if OHM_SERVER is set
    #[arg(long = "self")]
    pub(crate) own: bool,
    /// Where to make that directory [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What runs the tasks: processes of the machine, or nothing at all
    #[arg(long, value_enum, value_name = "DRIVER", default_value = "exec")]
    pub(crate) driver: LoadDriver,
    /// What the agent of a cell of its own enforces by default: nothing, or all that the machine can
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "none")]
    pub(crate) isolation: LoadIsolation,
    /// How many tasks the agent of a cell of its own has room for [default: 512, simulated: 20000]
    #[arg(long, value_name = "N")]
    pub(crate) at_once: Option<u32>,
    /// Give up after this time
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(crate) timeout: String,
    /// How to print the result [default: table]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    #[command(flatten)]
    pub(crate) connect: LoadTasksConnectArgs,
    /// The command of each task, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// The connection to a running cell.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct LoadTasksConnectArgs {
    /// The server of a running cell
    #[arg(long, env = "OHM_SERVER", value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// The directory of the certificates [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
}

impl LoadTasksConnectArgs {
    /// The same as other commands have it.
    pub(crate) fn to(self, server: String) -> ConnectArgs {
        ConnectArgs { server, pki: self.pki, role: None, name: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadIsolation {
    None,
    Standard,
}

impl LoadIsolation {
    /// The same word for the agent.
    pub(crate) fn word(self) -> &'static str {
        match self {
            LoadIsolation::None => "none",
            LoadIsolation::Standard => "standard",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadDriver {
    Exec,
    Simulated,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm load --self
  ohm load --self --schedulers 4 --ops 100 --duration 20s -o json
  ohm load --self --policy batch
  ohm load --self --schedulers 1 --in-flight 1 --ops 1     the latency of a single transaction
  ohm load --self --skew zipf:1.1 --detection version
  ohm load --self --sweep ops=1,10,100
  ohm load --server 10.0.0.1:7447 --pki ./pki        a running cell; its authority must be in ./pki
  ohm load tasks -n 10000 -- true                    real tasks, from submitted to recorded as finished

Schedulers without a policy propose placements on machines drawn by chance, each with a connection and a certificate
of its own; machines report each task as started and ended after --hold, so that it can be placed again; a copy
follows the whole log. Nothing counts before the warm-up is over. docs/load.md says what is measured and how.
Exit codes: 0 the cell's audit is clean and the counts agree; 1 they are not, or an error.")]
pub(crate) struct LoadArgs {
    /// Start a fresh server in a temporary directory, and stop it afterwards
    #[arg(long = "self", conflicts_with_all = ["server", "pki"])]
    pub(crate) own: bool,
    /// Where to make that directory, to measure another disk [default: the system's temporary directory]
    #[arg(long, value_name = "DIR", requires = "own")]
    pub(crate) dir: Option<PathBuf>,
    /// Scheduler connections
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Load")]
    pub(crate) schedulers: u32,
    /// Transactions each keeps in flight
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Load")]
    pub(crate) in_flight: u32,
    /// Placements in each transaction
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Load")]
    pub(crate) ops: u32,
    /// Machines, each with room for 320 tasks
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Load")]
    pub(crate) machines: u32,
    /// Tasks of all schedulers together
    #[arg(long, value_name = "N", default_value_t = 500_000, help_heading = "Load")]
    pub(crate) tasks: u32,
    /// How proposals come about: `null` draws machines by chance, `batch` and `service` plan as schedulers do
    #[arg(long, value_name = "POLICY", default_value = "null", help_heading = "Load")]
    pub(crate) policy: String,
    /// Placements proposed per second at most, by all schedulers together [default: as fast as it goes]
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub(crate) rate: Option<u32>,
    /// How machines are drawn: uniform, own (each transaction under way has machines of its own), zipf:EXPONENT, or
    /// hot:MACHINES:CHOICES (hot:0.01:0.5)
    #[arg(long, value_name = "SKEW", default_value = "uniform", help_heading = "Load")]
    pub(crate) skew: String,
    /// What counts as a conflict: that the task does not fit, or that the machine changed at all
    #[arg(long, value_name = "KIND", default_value = "fit", value_parser = ["fit", "version"], help_heading = "Load")]
    pub(crate) detection: String,
    /// What happens to the rest of a transaction when an op is lost
    #[arg(long, value_name = "KIND", default_value = "incremental", value_parser = ["incremental", "all-or-nothing"], help_heading = "Load")]
    pub(crate) atomicity: String,
    /// How long a task stays placed until its machine reports its end; `never` ends the load with the tasks
    #[arg(long, value_name = "DURATION", default_value = "1s", help_heading = "Load")]
    pub(crate) hold: String,
    /// Copies of the cell that follow the whole log
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub(crate) copies: u32,
    /// How long the load runs before anything counts
    #[arg(long, value_name = "DURATION", default_value = "2s", help_heading = "Load")]
    pub(crate) warm_up: String,
    /// How long it is measured
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "Load")]
    pub(crate) duration: String,
    /// Decides which machines are drawn
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Load")]
    pub(crate) seed: u64,
    /// Measure once for each value of one axis: schedulers, in-flight, ops, machines, tasks, copies, policy, rate, skew,
    /// detection or atomicity
    #[arg(long, value_name = "AXIS=A,B,…")]
    pub(crate) sweep: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// The server's address
    #[arg(
        long,
        env = "OHM_SERVER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:7447",
        help_heading = "Connection"
    )]
    pub(crate) server: String,
    /// The directory that holds the cell's authority [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR", help_heading = "Connection")]
    pub(crate) pki: Option<PathBuf>,
}
