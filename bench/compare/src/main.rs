//! Measures etcd and Ohm side by side: transactions of the same meaning, on the same disk, in the same run, alternating.
//!
//! Both are started fresh for every single measurement. A short sweep finds the concurrency at which each is fastest;
//! with it they are measured in pairs, and the medians of the pairs are compared.

mod etcd;
mod etcd_load;
mod measured;
mod ohm;
mod report;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use measured::{Measured, median_of};

/// Measure etcd and Ohm side by side.
#[derive(Debug, Parser)]
#[command(
    name = "compare",
    after_help = "Examples:
  bench/compare/run
  bench/compare/run --ops 1 --pairs 7 -o json
  bench/compare/run --ops 10 --etcd-at 128x4 --ohm-at 64x4     no sweep

etcd: Txn{ compare: mod_revision of each machine's key is what was last seen; success: put the placement there }.
Ohm: a transaction of as many placements, all or nothing, detection by version: lost if the machine has changed.
docs/compare.md says what is measured and how fair it is."
)]
struct Args {
    /// Placements in a transaction, one comparison for each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10",
          value_parser = clap::value_parser!(u32).range(1..=60))]
    ops: Vec<u32>,
    /// Pairs of measurements for each; medians of at least five mean something
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pairs: u16,
    /// Seconds that one measurement counts
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    duration: u64,
    /// Seconds before it
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// Machines in both cells
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000))]
    machines: u32,
    /// Tasks that Ohm's cell starts with: each is placed once
    #[arg(long, value_name = "N", default_value_t = 3_000_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    tasks: u32,
    /// Bytes of a placement in etcd [default: what one takes in Ohm's log, as measured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    value_bytes: Option<u32>,
    /// Transactions in flight and connections for etcd, instead of the sweep, such as 128x4
    #[arg(long, value_name = "FLIGHTxCONNECTIONS")]
    etcd_at: Option<Concurrency>,
    /// Transactions in flight and connections for Ohm, instead of the sweep, such as 256x4
    #[arg(long, value_name = "FLIGHTxCONNECTIONS")]
    ohm_at: Option<Concurrency>,
    /// The directory for the data of both [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// etcd's program
    #[arg(long, value_name = "PROGRAM", default_value = "etcd")]
    etcd: PathBuf,
    /// Ohm's program
    #[arg(long, value_name = "PROGRAM", default_value = "ohm")]
    ohm: PathBuf,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One JSON object
    Json,
}

/// Transactions in flight in all, and connections they are divided among.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub(crate) struct Concurrency {
    /// Transactions without an answer.
    pub(crate) in_flight: u32,
    /// Connections.
    pub(crate) connections: u32,
}

impl std::fmt::Display for Concurrency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.in_flight, self.connections)
    }
}

impl std::str::FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Concurrency, String> {
        let number = |part: &str| part.parse::<u32>().ok().filter(|n| (1..=10_000).contains(n));
        let parsed = text.split_once('x').and_then(|(flight, connections)| {
            Some(Concurrency { in_flight: number(flight)?, connections: number(connections)? })
        });
        parsed.filter(|c| c.in_flight >= c.connections).ok_or_else(|| {
            "write FLIGHTxCONNECTIONS, such as 128x4: at least one in flight on each".to_owned()
        })
    }
}

/// What each measurement of one kind of transaction has in common.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Placements in a transaction.
    pub(crate) ops: u32,
    /// Machines.
    pub(crate) machines: u32,
    /// Tasks of Ohm's cell.
    pub(crate) tasks: u32,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// What counts.
    pub(crate) duration: Duration,
    /// Where the data goes.
    pub(crate) dir: PathBuf,
    /// The two programs.
    pub(crate) etcd: PathBuf,
    pub(crate) ohm: PathBuf,
}

/// The result for one kind of transaction.
pub(crate) struct Compared {
    pub(crate) ops: u32,
    pub(crate) value_bytes: u32,
    pub(crate) etcd_at: Concurrency,
    pub(crate) ohm_at: Concurrency,
    /// Each sweep: the concurrency, and transactions per second.
    pub(crate) etcd_sweep: Vec<(Concurrency, f64)>,
    pub(crate) ohm_sweep: Vec<(Concurrency, f64)>,
    pub(crate) pairs: Vec<(Measured, Measured)>,
}

impl Compared {
    /// The medians over all pairs, etcd first.
    pub(crate) fn medians(&self) -> (Measured, Measured) {
        let (etcd, ohm): (Vec<Measured>, Vec<Measured>) = self.pairs.iter().cloned().unzip();
        (median_of(&etcd), median_of(&ohm))
    }
}

/// Tried for etcd, in flight in all. Few connections share one stream each, many cost it more.
const ETCD_FLIGHTS: [u32; 5] = [64, 128, 256, 512, 1024];
const ETCD_CONNECTIONS: [u32; 3] = [4, 1, 16];

/// Tried for Ohm, in flight in all.
const OHM_FLIGHTS: [u32; 5] = [64, 128, 256, 512, 1024];
const OHM_CONNECTIONS: [u32; 3] = [4, 1, 8];

/// Seconds one step of a sweep counts.
const SWEEP_FOR: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    tokio::select! {
        done = compare(&args) => done,
        stop = tokio::signal::ctrl_c() => { stop?; anyhow::bail!("interrupted") }
    }
}

async fn compare(args: &Args) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("ohm-compare-")
        .tempdir_in(args.dir.clone().unwrap_or_else(std::env::temp_dir))
        .context("can't make a directory for the data")?;
    let mut all = Vec::new();
    for ops in &args.ops {
        let setting = Setting {
            ops: *ops,
            machines: args.machines,
            tasks: args.tasks,
            warm_up: Duration::from_secs(args.warm_up),
            duration: Duration::from_secs(args.duration),
            dir: scratch.path().to_owned(),
            etcd: args.etcd.clone(),
            ohm: args.ohm.clone(),
        };
        all.push(compare_one(args, &setting).await?);
    }
    let versions = (etcd::version(&args.etcd).await?, ohm::version(&args.ohm).await?);
    match args.output {
        Format::Table => println!("{}", report::table(&versions, &all)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report::json(&versions, args, &all))?),
    }
    Ok(())
}

/// Finds the best concurrency of both, and measures them in pairs.
async fn compare_one(args: &Args, setting: &Setting) -> Result<Compared> {
    let short = Setting { duration: SWEEP_FOR, ..setting.clone() };
    let (mut etcd_sweep, mut ohm_sweep) = (Vec::new(), Vec::new());
    let ohm_at = match args.ohm_at {
        Some(at) => at,
        None => {
            sweep(&OHM_FLIGHTS, &OHM_CONNECTIONS, &mut ohm_sweep, async |at| {
                // A session may have 256 transactions in flight.
                if at.in_flight / at.connections > 256 {
                    return Ok(None);
                }
                Ok(Some(shown("ohm", &short, at, ohm::measure(&short, at).await?)))
            })
            .await?
        }
    };
    let value_bytes = match args.value_bytes {
        Some(bytes) => bytes,
        None => value_bytes(&ohm::measure(&short, ohm_at).await?)?,
    };
    let etcd_at = match args.etcd_at {
        Some(at) => at,
        None => {
            sweep(&ETCD_FLIGHTS, &ETCD_CONNECTIONS, &mut etcd_sweep, async |at| {
                Ok(Some(shown("etcd", &short, at, etcd::measure(&short, at, value_bytes).await?)))
            })
            .await?
        }
    };
    let mut pairs = Vec::new();
    for pair in 0..args.pairs {
        // The order changes, so that neither always finds the disk as the other has left it.
        let etcd_first = pair % 2 == 0;
        let before =
            if etcd_first { Some(etcd::measure(setting, etcd_at, value_bytes).await?) } else { None };
        let ohm = ohm::measure(setting, ohm_at).await?;
        let etcd = match before {
            Some(etcd) => etcd,
            None => etcd::measure(setting, etcd_at, value_bytes).await?,
        };
        let ratio = ohm.transactions_per_s / etcd.transactions_per_s;
        eprintln!("pair {} of {}: ohm / etcd = {ratio:.1}", pair + 1, args.pairs);
        pairs.push((shown("etcd", setting, etcd_at, etcd), shown("ohm", setting, ohm_at, ohm)));
    }
    Ok(Compared { ops: setting.ops, value_bytes, etcd_at, ohm_at, etcd_sweep, ohm_sweep, pairs })
}

/// Tries every number in flight on the first number of connections, then the other numbers of connections with the best
/// of them. Returns what was fastest.
async fn sweep(
    flights: &[u32],
    connections: &[u32],
    tried: &mut Vec<(Concurrency, f64)>,
    measure: impl AsyncFn(Concurrency) -> Result<Option<Measured>>,
) -> Result<Concurrency> {
    let mut candidates: Vec<Concurrency> =
        flights.iter().map(|n| Concurrency { in_flight: *n, connections: connections[0] }).collect();
    for round in 0..2 {
        for at in std::mem::take(&mut candidates) {
            if let Some(measured) = measure(at).await? {
                tried.push((at, measured.transactions_per_s));
            }
        }
        if round == 0 {
            let best = fastest(tried)?;
            let others = connections[1..].iter();
            candidates = others.map(|n| Concurrency { connections: *n, ..best }).collect();
        }
    }
    fastest(tried)
}

fn fastest(tried: &[(Concurrency, f64)]) -> Result<Concurrency> {
    let best = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    Ok(best.context("nothing could be measured")?.0)
}

/// What a placement takes in Ohm's log, rounded up: etcd gets values of that size.
fn value_bytes(ohm: &Measured) -> Result<u32> {
    let bytes = ohm.log_bytes_per_op.context("ohm load did not say how large its log records are")?;
    ensure!(bytes > 0.0 && bytes < 1e6, "ohm load says that a placement takes {bytes} bytes of log");
    Ok(bytes.ceil() as u32)
}

fn shown(who: &str, setting: &Setting, at: Concurrency, measured: Measured) -> Measured {
    eprintln!(
        "{who:>5} {:>3} ops, {:>8} in flight: {:>9.0} transactions/s, p50 {:>7.2} ms, p99 {:>7.2} ms, {:>4.1} % lost",
        setting.ops,
        at.to_string(),
        measured.transactions_per_s,
        measured.p50_us / 1e3,
        measured.p99_us / 1e3,
        measured.lost_share * 100.0,
    );
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrencies_read_back_and_odd_ones_are_refused() {
        for text in ["128x4", "1x1"] {
            assert_eq!(text.parse::<Concurrency>().unwrap().to_string(), text);
        }
        for odd in ["", "128", "x4", "0x1", "4x8", "a x b"] {
            assert!(odd.parse::<Concurrency>().is_err(), "{odd}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
