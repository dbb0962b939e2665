//! The commands that make and check the workloads of studies.

use std::path::PathBuf;

use clap::Args;

use super::connect::OutputArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study check ./scenario
  ohm study check ./scenario -o json

DIR holds machines.csv, jobs.csv, tasks.csv and perhaps machine_events.csv, packed (.gz) or not.
Exit codes: 0 the tables are sound; 1 they are not, or an error. docs/workload-format.md describes them.")]
pub(crate) struct CheckArgs {
    /// The directory of the tables
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ohm study convert google2011 ./clusterdata-2011-2 --out ./cell-c
  ohm study convert azure vms.csv.gz --machine 2000:64:256GiB --first 1d --out ./azure
  ohm study convert swf KTH-SP2-1996-2.1-cln.swf.gz --out ./kth
  ohm study convert log ./data --out ./ours
  ohm study convert generic ./cell-c --rate batch=2 --mtbf 30d --mttr 1h --out ./cell-c-twice

FORMAT is one of generic, google2011, azure, swf, log, stream, model. What changes the workload is done in the order of
the flags in this help; each is decided by --seed alone. docs/workload-format.md says what each format is.")]
pub(crate) struct ConvertArgs {
    /// The format of the input
    #[arg(value_name = "FORMAT", value_parser = ["generic", "google2011", "azure", "swf", "log", "stream", "model"])]
    pub(crate) format: String,
    /// Files or directories, as the format has them
    #[arg(value_name = "IN", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// The directory to write the tables to; tables that are there are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Decides everything that is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Machines in place of the trace's: so many with so many cores and so much memory
    #[arg(long, value_name = "COUNT:CPU:MEMORY", conflicts_with = "machines")]
    pub(crate) machine: Vec<String>,
    /// Machines in place of the trace's: a machines.csv
    #[arg(long, value_name = "FILE")]
    pub(crate) machines: Option<PathBuf>,
    /// Only what happens in this time from the start
    #[arg(long, value_name = "TIME")]
    pub(crate) first: Option<String>,
    /// Give the jobs of a class this priority (0-399), and so the band that says whom they may preempt
    #[arg(long, value_name = "CLASS=PRIORITY")]
    pub(crate) priority: Vec<String>,
    /// Let jobs of a class arrive so many times as often
    #[arg(long, value_name = "CLASS=FACTOR")]
    pub(crate) rate: Vec<String>,
    /// Give machines an attribute, each value as often as its weight says
    #[arg(long, value_name = "KEY=VALUE:WEIGHT,…")]
    pub(crate) label: Vec<String>,
    /// Bind a share of the jobs of a class to machines by a condition such as zone=z1
    #[arg(long, value_name = "CLASS:SHARE:CONDITION")]
    pub(crate) bind: Vec<String>,
    /// Fill the cell up to this percentage at the start
    #[arg(long, value_name = "PERCENT")]
    pub(crate) prefill: Option<f64>,
    /// Let machines fail: the mean time between failures of one
    #[arg(long, value_name = "TIME", requires = "mttr")]
    pub(crate) mtbf: Option<String>,
    /// The mean time until a failed machine is back
    #[arg(long, value_name = "TIME", requires = "mtbf")]
    pub(crate) mttr: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
