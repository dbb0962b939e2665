//! The commands that study contention.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connect::OutputArgs;
use super::workloads::{CheckArgs, ConvertArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum StudyCommand {
    /// List the studies that come with the program
    List(ListArgs),
    /// Run studies: the paper's figures, or your own file
    Run(RunArgs),
    /// Compare two settings on the same seeds: which metric differs, and how sure that is
    Compare(CompareArgs),
    /// Run a study on a real cell too (server, schedulers, simulated machines), and plot both
    Live(LiveArgs),
    /// Turn a trace, a log of a cell, or a model into tables that studies replay
    Convert(Box<ConvertArgs>),
    /// Check such tables, and say what is in them
    Check(CheckArgs),
    /// Run the public Omega simulator's golden results again, and compare
    Golden(GoldenArgs),
    /// Show what each defect of that simulator does to its results
    Defects(DefectsArgs),
    /// Measure how fast the simulator is
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  ohm study list -o name     one name per line")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How a study is run, whatever becomes of its results.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Where results are written, and runs are kept
    #[arg(long, value_name = "DIR", default_value = "studies")]
    pub(crate) out: PathBuf,
    /// Runs in virtual time at once [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// A small size, to see whether it runs at all
    #[arg(long)]
    pub(crate) smoke: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study run figure-9
  ohm study run all --out ./figures
  ohm study run mine.toml --threads 4

Writes NAME.csv and NAME.parquet, plots NAME-1.svg and NAME-1.png, …, and report.html. Each run is kept in NAME.runs.csv
as it ends and is not run again, so a study that was stopped goes on where it was. The same file and seeds give the same
bytes on any machine and any number of threads. docs/contention-study.md says what a study file holds.")]
pub(crate) struct RunArgs {
    /// A built-in study (see `ohm study list`), all of them, or a file
    #[arg(value_name = "FIGURE|FILE|all", required = true)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Run everything again
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study compare mine.toml
  ohm study compare before.toml after.toml --seeds 20
  ohm study compare figure-12-14 --first 'fine, incremental' --second 'coarse, incremental'

Runs both on the same seeds and gives, for each point and metric, the mean of the differences with its 95 % interval
(Student's t over the pairs). Without labels the first two series of one study are compared, or the first of each of two.
One interval in twenty misses 0 by chance alone; -o json has all of them.")]
pub(crate) struct CompareArgs {
    /// A built-in study or a file
    #[arg(value_name = "FIGURE|FILE")]
    pub(crate) a: String,
    /// Another with the same axes
    #[arg(value_name = "FIGURE|FILE")]
    pub(crate) b: Option<String>,
    /// The series of the first
    #[arg(long, value_name = "LABEL")]
    pub(crate) first: Option<String>,
    /// The series of the second
    #[arg(long, value_name = "LABEL")]
    pub(crate) second: Option<String>,
    /// Seeds, at least 2 [default: those of the study, at least 5]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study live figure-12-14 --smoke
  ohm study live mine.toml --seconds 30 --percent 10

Each point is run in virtual time, and then on a real cell on this machine: a server, scheduler processes, and an agent that
plays the machines, all connected by QUIC. The hours of the study pass in so many seconds, decision times with them.
Writes NAME-live.csv and plots with both. It takes the seconds given, and some five more, per point.")]
pub(crate) struct LiveArgs {
    /// A built-in study or a file, of the engine cell
    #[arg(value_name = "FIGURE|FILE")]
    pub(crate) what: String,
    /// Seconds that the hours of the study take
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Percent of cell C, here and in virtual time [default: as the study says, at most 4]
    #[arg(long, value_name = "N")]
    pub(crate) percent: Option<u32>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study golden ./omega-simulator
  ohm study golden ./omega-simulator -o json

DIR holds expected.json, a record per run, and a directory per workload with batch.csv.gz and service.csv.gz.
Exit codes: 0 every record came out equal; 1 one did not, or an error. docs/contention-study.md says more.")]
pub(crate) struct GoldenArgs {
    /// The directory of golden results
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Runs at a time [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  ohm study defects ./omega-simulator

Runs every golden record again without each defect, and without all of them. A row shows the figures that change the
most: the record's number, the figure, what it is with the defect and without it.")]
pub(crate) struct DefectsArgs {
    /// The directory of golden results
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study bench
  ohm study bench ./omega-simulator -o json

Runs a day of a cell of 10,000 machines under two schedulers (resource-fit, incremental: the experiment SBS1) on one
thread, several times. Without DIR the jobs are drawn with the same averages; with it they are the golden ones.")]
pub(crate) struct BenchArgs {
    /// The directory of golden results
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How often to run it; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) runs: usize,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
