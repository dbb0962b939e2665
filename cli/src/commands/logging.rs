//! Logging of the long-running commands: to standard error, filtered by `--log`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;
use crate::typed::connect::LogArgs;

/// Starts logging.
///
/// # Errors
/// The filter is none.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let filter = filter(&args.log)?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let logger =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // A second call would mean two commands in one process: the first one's settings stay.
    if args.log_json {
        logger.json().try_init().ok()
    } else {
        logger.try_init().ok()
    };
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let wrong = || {
        let way_out = "write error, warn, info, debug, trace, or a filter such as info,quinn=warn";
        Failure::Input(format!("--log: {text:?} is no filter; {way_out}"))
    };
    // The library takes any single word for the name of a module.
    let word = text.chars().all(|c| c.is_ascii_alphanumeric());
    if text.is_empty() || (word && text.parse::<LevelFilter>().is_err()) {
        return Err(wrong());
    }
    EnvFilter::try_new(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filters_pass() {
        for good in ["info", "trace", "off", "info,quinn=warn", "cell_server=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for odd in ["verbose", "", "info,quinn=loud"] {
            assert!(filter(odd).is_err(), "{odd}");
        }
    }
}
