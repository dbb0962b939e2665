//! Flags that many commands share: connection, output, logging.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use transport::Role;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The server's address
    #[arg(long, env = "OHM_SERVER", value_name = "HOST:PORT", default_value = "127.0.0.1:7447")]
    pub(crate) server: String,
    /// The directory of the certificates [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
    /// Which certificate to use [default: operator, else user, else reader, whichever is there]
    #[arg(long, env = "OHM_ROLE", value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    /// The name in that certificate [default: the only one of the role]
    #[arg(long, env = "OHM_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,
}

// No comments on the variants: clap would make every `--help` a page longer with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Wide,
    Name,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How to print the result; wide has more columns, name is one name per line
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// What to log to standard error: error, warn, info, debug, trace, or a filter such as info,quinn=warn
    #[arg(long, env = "OHM_LOG", value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,
    /// Log one JSON object per line
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct RoleConnectArgs {
    /// The server's address
    #[arg(long, env = "OHM_SERVER", value_name = "HOST:PORT", default_value = "127.0.0.1:7447")]
    pub(crate) server: String,
    /// The directory of the certificates [default: $HOME/.ohm/pki]
    #[arg(long, env = "OHM_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
    /// Stop when standard input ends (for a parent process that may die)
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}
