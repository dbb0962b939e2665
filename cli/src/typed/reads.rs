//! The commands that look at the cell, and the operator's few that change it.

use clap::{Args, Subcommand};

use super::connect::{ConnectArgs, OutputArgs};
use crate::bounds::TASKS_SHOWN;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm status
  ohm status -o json
  ohm audit                     exit code 1 when an invariant is violated")]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm top
  ohm top --once --machine web-1
  ohm top -o json --tasks 1000

Live on a terminal: c, m and i order tasks by processor, memory and io, q ends it. Otherwise printed once.
Used, promised and limit are apart: usage is what was sampled, a promise is what a task's resources say.")]
pub(crate) struct TopArgs {
    /// Print once, also on a terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// Only this machine
    #[arg(short, long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    /// How many tasks to show, those that use most of a processor first
    #[arg(long, value_name = "N", default_value_t = TASKS_SHOWN, value_parser = clap::value_parser!(u32).range(0..=5000))]
    pub(crate) tasks: u32,
    /// How often to look again
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub(crate) every: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the machines
    #[command(after_help = "Examples:
  ohm node list
  ohm node list -o wide
  ohm node list --state down -o name")]
    List(NodeListArgs),
    /// Show a machine, what it has, what is promised and used of it, and its tasks
    #[command(after_help = "Examples:
  ohm node status web-1
  ohm node status web-1 -o json

The name may be any unique prefix.")]
    Status(NodeStatusArgs),
    /// Empty a machine: its tasks are stopped and placed elsewhere, and it takes no new ones
    #[command(after_help = "Examples:
  ohm node drain web-1
  ohm node drain --yes --detach web-1
  ohm node drain --deadline 2m web-1     whatever a task's stop_grace says
  ohm node drain --force web-1           kill its tasks now; also one that is being drained
  ohm node drain --cancel web-1          take new tasks again; those that were asked to stop still do

Done when the agent has reported every task gone; until then it shows what is still there.")]
    Drain(NodeDrainArgs),
    /// Let a drained machine take tasks again
    #[command(after_help = "Example:
  ohm node undrain web-1")]
    Undrain(NodeUndrainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NodeListArgs {
    /// Only machines in this state: ready, draining or down
    #[arg(long, value_name = "STATE", value_parser = ["ready", "draining", "down"])]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NodeStatusArgs {
    /// The machine's name, or any unique beginning of it
    pub(crate) machine: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NodeDrainArgs {
    /// The machine's name, or any unique beginning of it
    pub(crate) machine: String,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return once the drain is asked for
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Kill what has not ended after this time, even if its own stop_grace is longer
    #[arg(long, value_name = "DURATION", conflicts_with = "cancel")]
    pub(crate) deadline: Option<String>,
    /// Kill its tasks at once: the same as --deadline 0s
    #[arg(long, conflicts_with_all = ["deadline", "cancel"])]
    pub(crate) force: bool,
    /// Give the drain up: the machine takes new tasks again
    #[arg(long)]
    pub(crate) cancel: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NodeUndrainArgs {
    /// The machine's name, or any unique beginning of it
    pub(crate) machine: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TxnCommand {
    /// List the latest transactions, newest first
    #[command(after_help = "Examples:
  ohm txn list
  ohm txn list --conflicts --scheduler batch
  ohm txn list --job web -o json")]
    List(TxnListArgs),
    /// Show a transaction: each op, and for a lost one the machine, what was wanted, what was free, and who won
    #[command(after_help = "Example:
  ohm txn show 3-17")]
    Show(TxnShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TxnListArgs {
    /// Only those of this scheduler
    #[arg(long, value_name = "NAME")]
    pub(crate) scheduler: Option<String>,
    /// Only those about this job
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Only those with a conflict
    #[arg(long)]
    pub(crate) conflicts: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TxnShowArgs {
    /// The transaction: SESSION-NUMBER, as `ohm txn list` shows it
    pub(crate) txn: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// Conflicts by kind and by pair of schedulers, most frequent first
    #[command(after_help = "Example:
  ohm conflicts top -o json")]
    Top(ConflictsTopArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConflictsTopArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm state
  ohm state --at 1200                    as it was after entry 1200
  ohm state --at 1200 --jobs             the jobs then
  ohm state --at 1200 --job web          one job then
  ohm state --at 1200 --machine m1       one machine then")]
pub(crate) struct StateArgs {
    /// The position of the log [default: now]
    #[arg(long, value_name = "SEQ")]
    pub(crate) at: Option<u64>,
    /// The jobs
    #[arg(long, group = "what")]
    pub(crate) jobs: bool,
    /// The machines
    #[arg(long, group = "what")]
    pub(crate) machines: bool,
    /// One job and its tasks
    #[arg(long, value_name = "NAME", group = "what")]
    pub(crate) job: Option<String>,
    /// One machine and its tasks
    #[arg(long, value_name = "NAME", group = "what")]
    pub(crate) machine: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Limit what a team's tasks of a band may be promised together
    #[command(after_help = "Example:
  ohm quota set search production --cpu 100 --memory '400 GiB'

A resource that is not named is limited to nothing.")]
    Set(QuotaSetArgs),
    /// Lift a team's limit in a band
    #[command(after_help = "Example:
  ohm quota clear search production")]
    Clear(QuotaClearArgs),
    /// List the limits and what is used of them
    #[command(after_help = "Example:
  ohm quota list -o json")]
    List(QuotaListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QuotaSetArgs {
    /// The team
    pub(crate) team: String,
    /// The band: free, batch, production or monitoring
    #[arg(value_parser = ["free", "batch", "production", "monitoring"])]
    pub(crate) band: String,
    /// Cores: 100, 0.5 or 500m
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Memory: "400 GiB"
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Disk: "10 TiB"
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// GPU devices: 8, 0.5
    #[arg(long, value_name = "DEVICES")]
    pub(crate) gpu: Option<String>,
    /// Network bandwidth: 1000 (Mbit/s) or "1 Gbit/s"
    #[arg(long, value_name = "BANDWIDTH")]
    pub(crate) net: Option<String>,
    /// A further resource of the cell; may be given several times
    #[arg(long, value_name = "NAME=AMOUNT")]
    pub(crate) resource: Vec<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaClearArgs {
    /// The team
    pub(crate) team: String,
    /// The band: free, batch, production or monitoring
    #[arg(value_parser = ["free", "batch", "production", "monitoring"])]
    pub(crate) band: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
