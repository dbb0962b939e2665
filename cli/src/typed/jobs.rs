//! The commands about jobs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connect::{ConnectArgs, OutputArgs};
use crate::bounds::{PLACE_WAIT, TASKS_SHOWN};

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Submit a job file and watch until its tasks are placed
    #[command(after_help = "Examples:
  ohm job run web.toml
  ohm job run --wait night.toml          until every task has ended
  ohm job run --detach web.toml          return at once
  ohm job init | ohm job run -           from standard input

Submitting a name again makes a new version. Prints the job's name and version.
Exit codes: 0 placed (with --wait: all ended well); 1 an error; 2 not placed in time, still pending;
3 with --wait: a task failed.")]
    Run(JobRunArgs),
    /// Show what submitting a job file would change and where its tasks would go; changes nothing
    #[command(after_help = "Examples:
  ohm job plan web.toml
  ohm job plan -o json web.toml

Copies the cell and runs the production policy on the copy.
Exit codes: 0 nothing would change; 1 an error; 2 something would change.")]
    Plan(JobPlanArgs),
    /// Check a job file without a server
    #[command(after_help = "Example:
  ohm job check web.toml")]
    Check(JobCheckArgs),
    /// List the jobs
    #[command(after_help = "Examples:
  ohm job list
  ohm job list --pending -o name
  ohm job list -o json --team search")]
    List(JobListArgs),
    /// Show a job and its tasks
    #[command(after_help = "Examples:
  ohm job status web
  ohm job status web -o wide --tasks 500

The name may be any unique prefix.")]
    Status(JobStatusArgs),
    /// Stop a job and watch until its tasks are gone
    #[command(after_help = "Examples:
  ohm job stop web
  ohm job stop --yes --detach web")]
    Stop(JobStopArgs),
    /// Print what a task wrote
    #[command(after_help = "Examples:
  ohm job logs hello                     of its only task
  ohm job logs web/main/3                task 3 of group main; also `web main.3`
  ohm job logs -f --stderr web/3         follow its standard error
  ohm job logs -n 20 web/3               its last 20 lines
  ohm job logs --since 10m web/3         what it wrote in the last ten minutes

Output of a finished task can be read for as long as its agent keeps it.")]
    Logs(JobLogsArgs),
    /// Say why a job's tasks are pending
    #[command(after_help = "Examples:
  ohm job why web
  ohm job why web --machine m3           why not there

Copies the cell, asks the one fit rule about every machine, and adds the last conflicts of the job.")]
    Why(JobWhyArgs),
    /// Print a commented job file, or the reference of all its fields
    #[command(after_help = "Examples:
  ohm job init web > web.toml
  ohm job init --fields")]
    Init(JobInitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct JobRunArgs {
    /// The job file, TOML or JSON; - is standard input
    pub(crate) file: PathBuf,
    /// Return once the job is submitted
    #[arg(short, long, conflicts_with = "wait")]
    pub(crate) detach: bool,
    /// Watch until every task has ended
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// How long to wait for the tasks to be placed
    #[arg(long, value_name = "DURATION", default_value = PLACE_WAIT)]
    pub(crate) timeout: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobPlanArgs {
    /// The job file, TOML or JSON; - is standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobCheckArgs {
    /// The job file, TOML or JSON; - is standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct JobListArgs {
    /// Only jobs of this team
    #[arg(long, value_name = "TEAM")]
    pub(crate) team: Option<String>,
    /// Only jobs with pending tasks
    #[arg(long)]
    pub(crate) pending: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobStatusArgs {
    /// The job's name, or any unique beginning of it
    pub(crate) job: String,
    /// How many of its tasks to show
    #[arg(long, value_name = "N", default_value_t = TASKS_SHOWN)]
    pub(crate) tasks: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobStopArgs {
    /// The job's name, or any unique beginning of it
    pub(crate) job: String,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return once the stop is asked for
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobLogsArgs {
    /// The task: JOB/GROUP/INDEX, JOB/INDEX, or JOB when it has only one
    #[arg(value_name = "JOB[/GROUP/INDEX]")]
    pub(crate) job: String,
    /// The task, when only the job was named: GROUP.INDEX, or INDEX
    pub(crate) task: Option<String>,
    /// Go on until the task has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Begin this far before the end: "4 KiB" [default: at the beginning]
    #[arg(long, value_name = "SIZE", group = "from")]
    pub(crate) tail: Option<String>,
    /// Begin with the last N lines
    #[arg(short = 'n', long, value_name = "N", group = "from")]
    pub(crate) lines: Option<u64>,
    /// Begin with what was written this long ago: 90s, 10m
    #[arg(long, value_name = "DURATION", group = "from")]
    pub(crate) since: Option<String>,
    /// Which placement of the task [default: the latest]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) epoch: u32,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobWhyArgs {
    /// The job's name, or any unique beginning of it
    pub(crate) job: String,
    /// Only about this machine
    #[arg(short, long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobInitArgs {
    /// The job's name
    #[arg(default_value = "hello")]
    pub(crate) name: String,
    /// Print every field with its unit, default and meaning
    #[arg(long)]
    pub(crate) fields: bool,
}
