//! The commands that show and measure a whole cell on this machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::connect::OutputArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm demo
  ohm demo --trace ./clusterdata-2011-2        the recorded load of Google's cell C
  ohm demo --only real
  ohm demo --percent 10 -o json

First a small cell runs a job of 200 real tasks and their results are checked. Then a cell of 12,477 simulated
machines is filled by three competing schedulers. Every part is a process of its own; they talk QUIC with mutual TLS.
Takes about 40 seconds on two cores. docs/demo.md says what is shown and where to get the trace.
Exit codes: 0 every check passed; 1 a check failed, or an error.")]
pub(crate) struct DemoArgs {
    /// The directory of Google's cluster trace of 2011 [default: a synthetic load like it]
    #[arg(long, env = "OHM_TRACE", value_name = "DIR")]
    pub(crate) trace: Option<PathBuf>,
    /// Decides everything that is left to chance
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep certificates, data and logs in this directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Only one of the two parts
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Option<DemoPart>,
    /// The size of the big cell and its load, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) percent: u32,
    /// How many times faster than recorded the arrivals come and end: 200 makes 25 seconds of 83 minutes
    #[arg(long, value_name = "TIMES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) speed: u64,
    /// Batch schedulers that compete for the big cell
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A part of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoPart {
    /// Real tasks on real machines (this one, three times)
    Real,
    /// The big simulated cell
    Big,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm scale
  ohm scale --machines 100000 --tasks 10000000
  ohm scale --growth
  ohm scale --machines 1000 --tasks 50000 --subscribers 10 --agents 10 -o json

Starts a server, fills a cell with machines and tasks by large transactions, and measures: memory of the server and of
a scheduler's copy, snapshots, the pause they and checkpoints cost a commit, log and checkpoint on disk, idle subscribers
and agents, and a restart after a kill. --growth measures how each cost grows with machines, tasks, entries, subscribers
and ops, at an eighth, a quarter, half and all of each, and fits exponents; it takes some minutes. docs/scale.md explains every figure.
Exit codes: 0 every check passed; 1 a check failed, or an error.")]
pub(crate) struct ScaleArgs {
    /// How many machines
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) machines: u32,
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) tasks: u32,
    /// How many tasks each job has
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tasks_per_job: u32,
    /// Entries of the log that the restart replays, one task each; at most half of the tasks
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) entries: u32,
    /// Idle subscribers
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=16_000))]
    pub(crate) subscribers: u32,
    /// Idle agents, each with a connection and a machine of its own
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=16_000))]
    pub(crate) agents: u32,
    /// How long commits, and idle peers, are looked at each time
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
    /// Measure how each cost grows, up to these sizes
    #[arg(long)]
    pub(crate) growth: bool,
    /// Keep certificates, data and logs in this directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Plays idle subscribers or agents, to measure what they cost.
#[derive(Debug, Args)]
pub(crate) struct ScalePeersArgs {
    /// What they are
    #[arg(value_enum)]
    pub(crate) kind: PeerKind,
    /// How many
    pub(crate) count: u32,
    /// The server's address
    #[arg(long)]
    pub(crate) server: std::net::SocketAddr,
    /// The directory of the certificates
    #[arg(long)]
    pub(crate) pki: PathBuf,
    /// The name in the certificate
    #[arg(long)]
    pub(crate) name: String,
    /// Write this file once all of them are connected
    #[arg(long)]
    pub(crate) ready_file: PathBuf,
}

/// What idle peers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerKind {
    /// Follow the whole log
    Subscribers,
    /// One machine each
    Agents,
}

/// Does the work of one task of the demo where the usual tools are missing.
#[derive(Debug, Args)]
pub(crate) struct DemoTaskArgs {
    /// What to do
    #[arg(value_enum)]
    pub(crate) work: DemoWork,
    /// The list of files
    pub(crate) list: PathBuf,
    /// The line of the task with index 0
    pub(crate) first: usize,
    /// The task's index
    #[arg(long, env = "OHM_INDEX")]
    pub(crate) index: usize,
}

/// What a task of the demo does with its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoWork {
    /// Print its SHA-256
    Checksum,
    /// Write it to standard output, compressed
    Compress,
    /// Nothing, for a minute
    Sleep,
}
