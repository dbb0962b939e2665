//! `ohm demo` and `ohm scale`: whole cells on this machine, each part a process of its own, put to work, checked and
//! measured.

mod audits;
mod big;
mod checks;
mod files;
pub(crate) mod progress;
pub(crate) mod reads;
mod real;
mod report;
pub(crate) mod scale;
pub(crate) mod shapes;
pub(crate) mod task;
mod unplaced;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bench::{Division, Trace, Workload};
use tempfile::TempDir;

use crate::commands::{dev, shutdown};
use crate::failure::{Ended, Failure};
use crate::local_cell::LocalCell;
use crate::show;
use crate::typed::connect::Format;
use crate::typed::demo::{DemoArgs, DemoPart};
use checks::Checks;
use report::Report;

/// Why a demo or a measurement could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A process of the cell ended by itself.
    #[error("{name} ended by itself ({status}); the end of its log:\n{tail}")]
    Died {
        /// Its name.
        name: String,
        /// How it ended.
        status: String,
        /// Its last words.
        tail: String,
    },
    /// A wait took too long.
    #[error("waited {seconds} s for {what}; the logs are in {logs}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where the logs are.
        logs: String,
    },
    /// The copy of the log in this process ended.
    #[error("the copy in this process ended: {0}")]
    Witness(String),
    /// A job was refused.
    #[error(transparent)]
    Submit(#[from] study::live::SubmitError),
    /// The user has seen enough.
    #[error("interrupted; everything was stopped")]
    Interrupted,
}

/// What was asked for, checked.
pub(crate) struct Demo {
    /// What the big cell's load is called.
    load: String,
    trace: Option<Trace>,
    seed: u64,
    keep: Option<PathBuf>,
    only: Option<DemoPart>,
    percent: u32,
    speed: u64,
    division: Division,
    format: Format,
}

impl Demo {
    /// Checks what was typed, and reads the trace.
    ///
    /// # Errors
    /// The first thing wrong with either.
    pub(crate) fn check(args: DemoArgs) -> Result<Demo, Failure> {
        let read = |dir: &PathBuf| study::read(dir).map_err(|e| Failure::Input(format!("--trace: {e}")));
        let trace = args.trace.as_ref().map(read).transpose()?;
        let load = match &args.trace {
            Some(dir) => format!("recorded, from {}", dir.display()),
            None => format!("synthetic, seed {}", args.seed),
        };
        Ok(Demo {
            load,
            trace,
            seed: args.seed,
            keep: args.keep,
            only: args.only,
            percent: args.percent,
            speed: args.speed,
            division: Division::new("service", "batch", args.batch.into()),
            format: args.output.output,
        })
    }

    fn workload(&self) -> Workload {
        let whole = match &self.trace {
            Some(trace) => trace.workload(self.seed, self.division.clone()),
            None => bench::synthetic::workload(self.seed, self.division.clone()),
        };
        whole.reduced(self.percent)
    }
}

/// Runs the demo: both parts, then the report.
///
/// # Errors
/// A part of a cell could not be started or reached. Failed checks are no error here: they end it [`Ended::Unsound`].
pub(crate) async fn run(demo: Demo) -> Result<Ended, Failure> {
    let mut scratch = Scratch::new(demo.keep.as_deref(), "ohm-demo-")?;
    let mut checks = Checks::default();
    let ended = run_in(&demo, &scratch, &mut checks).await;
    let interrupted = matches!(ended, Err(Failure::Demo(DemoError::Interrupted)));
    if interrupted || matches!(ended, Ok(Ended::Well)) {
        return ended;
    }
    // Something went wrong, so the logs are worth more than the space they take.
    scratch.keep();
    ended
}

async fn run_in(demo: &Demo, scratch: &Scratch, checks: &mut Checks) -> Result<Ended, Failure> {
    let started = Instant::now();
    let mut report = Report { seed: demo.seed, real: None, big: None };
    if demo.only != Some(DemoPart::Big) {
        let mut cell = LocalCell::create(std::env::current_exe()?, &scratch.part("real")?, "real")?;
        let shown = until_interrupted(real::run(&mut cell, demo.seed, checks)).await;
        // Real tasks outlive their agents, so the jobs are stopped before the processes.
        dev::shut_down(&mut cell).await;
        report.real = Some(shown?);
    }
    if demo.only != Some(DemoPart::Real) {
        let mut cell = LocalCell::create(std::env::current_exe()?, &scratch.part("big")?, "big")?;
        let load = big::Load {
            title: demo.load.clone(),
            workload: demo.workload(),
            speed: demo.speed,
            division: &demo.division,
        };
        let shown = until_interrupted(big::run(&mut cell, load, demo.seed, checks)).await;
        cell.processes.stop_all().await;
        report.big = Some(shown?);
    }
    report.print(checks, started.elapsed(), demo.format)?;
    Ok(if checks.all_passed() { Ended::Well } else { Ended::Unsound })
}

/// Goes on with something until it is done, or until the user has seen enough.
async fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let stop = shutdown::asked(false)?;
    tokio::select! {
        done = work => done,
        () = stop => Err(DemoError::Interrupted.into()),
    }
}

/// Where certificates, data and logs go: a directory of the user's, or a temporary one that is gone afterwards.
struct Scratch {
    dir: PathBuf,
    temporary: Option<TempDir>,
}

impl Scratch {
    fn new(keep: Option<&Path>, prefix: &str) -> Result<Scratch, Failure> {
        if let Some(dir) = keep {
            let used = dir.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            if used {
                let problem =
                    format!("--keep: {} is not empty; each run needs a directory of its own", dir.display());
                return Err(Failure::Input(problem));
            }
            std::fs::create_dir_all(dir).map_err(|e| Failure::write(dir, e))?;
            return Ok(Scratch { dir: dir.to_owned(), temporary: None });
        }
        let made = tempfile::Builder::new().prefix(prefix).tempdir();
        let temporary = made.map_err(|e| Failure::write(&std::env::temp_dir(), e))?;
        Ok(Scratch { dir: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    fn part(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(|e| Failure::write(&dir, e))?;
        Ok(dir)
    }

    /// Removes a part that is no longer needed; what can't be removed now goes with the rest.
    fn remove(&self, name: &str) {
        if self.temporary.is_some() {
            std::fs::remove_dir_all(self.dir.join(name)).ok();
        }
    }

    /// Leaves a temporary directory where it is, and says so.
    fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let dir = temporary.keep();
            show::say(&format!("ohm: data and logs are kept in {}", dir.display()));
        }
    }
}
