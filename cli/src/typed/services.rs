//! The commands about services.

use clap::{Args, Subcommand};

use super::connect::{ConnectArgs, OutputArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List the ports by which running tasks can be reached
    #[command(after_help = "Examples:
  ohm service list
  ohm service list -o name")]
    List(ServiceListArgs),
    /// Say where running tasks can be reached: HOST:PORT, one per line
    #[command(after_help = "Examples:
  ohm service resolve http.main.web      a port of all tasks of a group
  ohm service resolve http.main-3.web    a port of one task
  ohm service resolve web -o wide        all ports of all tasks of a job

A name is [PORT.]GROUP.JOB, [PORT.]TASK.JOB or JOB, with the cell's name behind it or not. TASK is GROUP-INDEX, or
INDEX when the job has one group. An agent with --dns answers the same names to any resolver.")]
    Resolve(ServiceResolveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceResolveArgs {
    /// The name: [PORT.]GROUP.JOB, [PORT.]TASK.JOB or JOB
    #[arg(value_name = "NAME")]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
