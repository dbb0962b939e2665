//! The commands about one task.

use clap::{Args, Subcommand};

use super::connect::{ConnectArgs, OutputArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Run a command where a task is: in its namespaces and limits, as its user, with its environment
    #[command(after_help = "Examples:
  ohm task exec hello -- ls -l           beside the only task of a job
  ohm task exec -it web/main/3 -- sh     a shell with a terminal
  tar c . | ohm task exec -i web/3 -- tar x

Exit code: that of the command; 128 and the number of the signal that ended it; 1 when it could not be run.
The command is killed when this one is, and when the task ends.")]
    Exec(TaskExecArgs),
    /// Look at a task's files: those of its working directory
    #[command(
        subcommand,
        after_help = "Example:
  ohm task fs cat web/main/3 out/result.txt"
    )]
    Fs(TaskFsCommand),
    /// Send a signal to a task's main process
    #[command(after_help = "Examples:
  ohm task signal web/main/3 HUP
  ohm task signal j12.0.3 10")]
    Signal(TaskSignalArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskFsCommand {
    /// List a directory
    #[command(after_help = "Examples:
  ohm task fs ls hello
  ohm task fs ls web/main/3 out -o json")]
    Ls(TaskLsArgs),
    /// Print a file
    #[command(after_help = "Example:
  ohm task fs cat web/main/3 out/result.txt > result.txt")]
    Cat(TaskCatArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TaskExecArgs {
    /// The task: JOB/GROUP/INDEX, JOB/INDEX, or JOB when it has only one
    pub(crate) task: String,
    /// Pass on standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal of its own, of this one's size
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TaskLsArgs {
    /// The task: JOB/GROUP/INDEX, JOB/INDEX, or JOB when it has only one
    pub(crate) task: String,
    /// The directory, from the task's working directory
    #[arg(default_value = ".")]
    pub(crate) path: String,
    /// Which placement of the task [default: the latest]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) epoch: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TaskCatArgs {
    /// The task: JOB/GROUP/INDEX, JOB/INDEX, or JOB when it has only one
    pub(crate) task: String,
    /// The file, from the task's working directory
    pub(crate) path: String,
    /// Which placement of the task [default: the latest]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) epoch: u32,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TaskSignalArgs {
    /// The task: JOB/GROUP/INDEX, JOB/INDEX, or JOB when it has only one
    pub(crate) task: String,
    /// The signal: its name (HUP, SIGHUP) or its number
    pub(crate) signal: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
