//! `ohm scheduler run`: a scheduler process with a built-in policy.

use std::time::{SystemTime, UNIX_EPOCH};

use cell_state::bounds::{SESSION_OUTCOMES_MAX, TXN_OPS_MAX};
use cell_state::transaction::{Atomicity, Detection};
use scheduler_runtime::View;
use schedulers::plan::Terms;
use schedulers::policy::{Policy, built_in};
use transport::Role;
use transport_quic::pki::Credentials;

use super::server::duration;
use super::{logging, shutdown};
use crate::connection::{address, pki_dir};
use crate::failure::{Ended, Failure};
use crate::show::text;
use crate::typed::connect::LogArgs;
use crate::typed::roles::SchedulerArgs;

/// A scheduler to run, checked.
pub(crate) struct Scheduler {
    policy: Box<dyn Policy>,
    config: scheduler_runtime::Config,
    stop_with_stdin: bool,
    log: LogArgs,
}

impl Scheduler {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(policy: &str, args: SchedulerArgs) -> Result<Scheduler, Failure> {
        let unknown = || Failure::Input(format!("--policy: {policy:?} is no built-in policy"));
        let built = built_in(policy).ok_or_else(unknown)?;
        let pki = pki_dir(args.connect.pki.as_deref())?;
        let name = args.name.as_deref().unwrap_or(policy);
        let server = address("--server", &args.connect.server)?;
        let credentials = Credentials::load(&pki, Role::Scheduler, name)?;
        let seed = args.seed.unwrap_or_else(chance);
        let mut config = scheduler_runtime::Config::new(server, credentials, seed);
        config.terms =
            Terms { atomicity: atomicity(&args.atomicity)?, detection: detection(&args.detection)? };
        config.view = view(&args.view)?;
        config.in_flight = bounded("--in-flight", args.in_flight, config.in_flight, SESSION_OUTCOMES_MAX)?;
        config.tasks_per_txn =
            bounded("--tasks-per-txn", args.tasks_per_txn, config.tasks_per_txn, TXN_OPS_MAX)?;
        config.adaptive = !args.steady;
        config.think_job_us = duration("--think-job", &args.think_job)?.as_micros() as u64;
        config.think_task_us = duration("--think-task", &args.think_task)?.as_micros() as u64;
        Ok(Scheduler { policy: built, config, stop_with_stdin: args.connect.stop_with_stdin, log: args.log })
    }
}

fn view(word: &str) -> Result<View, Failure> {
    match word {
        "full" => Ok(View::Full),
        "own" => Ok(View::Own),
        _ => Err(Failure::Input(format!("--view: {word:?} is not known; write full or own"))),
    }
}

fn atomicity(word: &str) -> Result<Atomicity, Failure> {
    let all = [Atomicity::Incremental, Atomicity::AllOrNothing];
    let found = all.into_iter().find(|a| text::atomicity(*a) == word);
    found.ok_or_else(|| Failure::Input(format!("--atomicity: {word:?} is not known")))
}

fn detection(word: &str) -> Result<Detection, Failure> {
    let found = [Detection::Fit, Detection::Version].into_iter().find(|d| text::detection(*d) == word);
    found.ok_or_else(|| Failure::Input(format!("--detection: {word:?} is not known")))
}

/// A number from 1 to a bound of the cell, or the usual one.
fn bounded(flag: &str, given: Option<usize>, usual: usize, most: usize) -> Result<usize, Failure> {
    match given {
        None => Ok(usual),
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(Failure::Input(format!("{flag}: {n} is out of bounds; write 1 to {most}"))),
    }
}

/// A seed nobody chose: the time and the process.
fn chance() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    nanos.rotate_left(20) ^ u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Runs the scheduler until it is asked to stop.
///
/// # Errors
/// It can't start.
pub(crate) fn run(scheduler: Scheduler) -> Result<Ended, Failure> {
    logging::start(&scheduler.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = shutdown::asked(scheduler.stop_with_stdin)?;
        let summary = scheduler_runtime::run(scheduler.policy, scheduler.config, stop).await?;
        tracing::info!(?summary, "stopped");
        Ok(Ended::Well)
    })
}
