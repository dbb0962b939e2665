//! What is typed: the words and flags of every command, and nothing of what they mean. Each command's own module
//! checks the meaning before anything starts.

pub(crate) mod connect;
pub(crate) mod demo;
pub(crate) mod jobs;
pub(crate) mod load;
pub(crate) mod reads;
pub(crate) mod roles;
pub(crate) mod services;
pub(crate) mod study;
pub(crate) mod tasks;
pub(crate) mod workloads;

use clap::{Args, Parser, Subcommand};

/// Ohm, an Omega-style cluster scheduler: one cell, many schedulers, no locks.
#[derive(Debug, Parser)]
#[command(
    name = "ohm",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:
  ohm dev                       a whole cell on this machine, to try things
  ohm job init > job.toml       a commented job file
  ohm job run job.toml          submit it and watch until it is placed
  ohm job why NAME              why a job's tasks are still pending

Exit codes: 0 as wanted; 1 an error; 2 `job run`: not placed, `job plan`: something would change;
3 `job run --wait`: a task failed. Results go to standard output, everything else to standard error.
Connection: OHM_SERVER, OHM_PKI, OHM_ROLE, OHM_NAME. Colour: only on a terminal, never with NO_COLOR."
)]
pub(crate) struct Cli {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Certificates: make a cell's authority, issue one per party
    #[command(subcommand)]
    Pki(roles::PkiCommand),
    /// Start a whole cell on this machine, to try things
    Dev(roles::DevArgs),
    /// Start whole cells on this machine, put them to work, check and measure them
    Demo(demo::DemoArgs),
    /// Measure a large cell: memory, snapshots, restart, idle peers, and how each cost grows
    Scale(demo::ScaleArgs),
    /// Load a cell as heavily as it can bear, and measure it
    Load(Box<load::LoadCommand>),
    /// Study contention: workloads, and cells in virtual time
    #[command(subcommand)]
    Study(study::StudyCommand),
    /// The work of one task of the demo
    #[command(hide = true)]
    DemoTask(demo::DemoTaskArgs),
    /// Idle subscribers or agents of `ohm scale`
    #[command(hide = true)]
    ScalePeers(demo::ScalePeersArgs),
    /// Run the cell's server, or verify its data
    Server(Box<roles::ServerArgs>),
    /// Run a scheduler, or list those of the cell
    #[command(subcommand)]
    Scheduler(roles::SchedulerCommand),
    /// Run an agent: offer this machine to the cell, or play many machines
    Agent(Box<roles::AgentArgs>),
    /// Jobs: run, plan, list, status, stop, logs, why
    #[command(subcommand)]
    Job(jobs::JobCommand),
    /// One task: run a command beside it, look at its files, signal it
    #[command(subcommand)]
    Task(tasks::TaskCommand),
    /// Machines: list, status, drain, undrain
    #[command(subcommand)]
    Node(reads::NodeCommand),
    /// Services: list, resolve
    #[command(subcommand)]
    Service(services::ServiceCommand),
    /// What machines and tasks use
    Top(reads::TopArgs),
    /// Transactions: list, show
    #[command(subcommand)]
    Txn(reads::TxnCommand),
    /// Conflicts, counted
    #[command(subcommand)]
    Conflicts(reads::ConflictsCommand),
    /// The cell as a whole, now or at an earlier position of the log
    State(reads::StateArgs),
    /// The server: version, positions, sessions
    Status(reads::ReadArgs),
    /// Check every invariant of the cell
    Audit(reads::ReadArgs),
    /// Quotas of teams: set, clear, list
    #[command(subcommand)]
    Quota(reads::QuotaCommand),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them to a directory
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  ohm completions bash > /etc/bash_completion.d/ohm")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm man | man -l -
  ohm man --dir /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write one page per command to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<std::path::PathBuf>,
}
