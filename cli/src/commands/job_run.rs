//! `ohm job run`: submit a job file, and watch. Step 1 (submit) of a placement's life.

use std::time::{Duration, Instant};

use cell_state::task::TaskState;
use transport::bounds::ROWS_MAX;
use transport::view::JobView;

use super::job_check::JobFile;
use super::server::duration;
use crate::bounds::MONITOR_EVERY;
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::show::{self, json, text};
use crate::typed::connect::{Format, OutputArgs};
use crate::typed::jobs::JobRunArgs;

/// How long to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watch {
    /// Not at all.
    Not,
    /// Until every task has been placed.
    Placed,
    /// Until every task has ended.
    Ended,
}

/// What was asked for, checked.
pub(crate) struct JobRun {
    file: JobFile,
    connection: Connection,
    watch: Watch,
    timeout: Duration,
    output: OutputArgs,
}

impl JobRun {
    /// Checks what was typed, the job file included.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: JobRunArgs) -> Result<JobRun, Failure> {
        let watch = match (args.detach, args.wait) {
            (true, _) => Watch::Not,
            (false, true) => Watch::Ended,
            (false, false) => Watch::Placed,
        };
        let timeout = duration("--timeout", &args.timeout)?;
        let file = JobFile::read(&args.file)?;
        let connection = Connection::check(&args.connect)?;
        Ok(JobRun { file, connection, watch, timeout, output: args.output })
    }
}

pub(crate) async fn run(wanted: JobRun) -> Result<Ended, Failure> {
    let mut server = wanted.connection.open().await?;
    let schema = server.status().await?.config.schema;
    let spec = wanted.file.spec_for(&schema)?;
    let name = spec.name.clone();
    let (_, version, changed) = server.submit(spec).await?;
    if changed {
        show::say(&format!("{name}: submitted as version {version}"));
    } else {
        show::say(&format!("{name}: version {version} is this very file, so nothing was changed"));
        let (_, job) = server.job(None, &name, 0, 0).await?;
        if job.row.counts.failed > 0 {
            show::say(&format!("{name}: `ohm job stop {name}` first, and its failed tasks are tried again"));
        }
    }
    let ended = match wanted.watch {
        Watch::Not => Ended::Well,
        Watch::Placed => watch_placing(&mut server, &name, wanted.timeout).await?,
        Watch::Ended => watch_ending(&mut server, &name, wanted.timeout).await?,
    };
    let (at, job) = server.job(None, &name, 0, 0).await?;
    if wanted.output.output == Format::Table || wanted.output.output == Format::Wide {
        let (status, _) = text::status(job.row.desired, &job.row.counts);
        show::print(&format!("{name} version {version}: {status}, {}", job.row.counts))?;
    } else {
        show::one(wanted.output.output, &name, &json::job_view(at, &job, &schema), |_| String::new())?;
    }
    Ok(ended)
}

/// Watches until no task waits for its first placement.
async fn watch_placing(server: &mut Asker, name: &str, timeout: Duration) -> Result<Ended, Failure> {
    let until = Instant::now() + timeout;
    let mut told = None;
    loop {
        let job = look(server, name).await?;
        let (waiting, total) = (unplaced(&job), job.tasks_total);
        if told != Some(waiting) {
            show::say(&format!(
                "{name}: {} of {} placed",
                total - waiting,
                text::counted(total.into(), "task", "tasks")
            ));
            told = Some(waiting);
        }
        if waiting == 0 {
            return Ok(Ended::Well);
        }
        if Instant::now() >= until {
            show::say(&format!(
                "{name}: {} still pending after {}, until placed or stopped.\n\
                 `ohm job why {name}` says what they wait for, `ohm job stop {name}` gives up.",
                text::counted(waiting.into(), "task", "tasks"),
                text::span(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX))
            ));
            return Ok(Ended::NotPlaced);
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
}

/// Watches until no task will ever run again. The timeout is for placing, as without `--wait`.
async fn watch_ending(server: &mut Asker, name: &str, timeout: Duration) -> Result<Ended, Failure> {
    if watch_placing(server, name, timeout).await? == Ended::NotPlaced {
        return Ok(Ended::NotPlaced);
    }
    let mut told = None;
    loop {
        let job = look(server, name).await?;
        let counts = job.row.counts;
        if told != Some(counts) {
            show::say(&format!("{name}: {counts}"));
            told = Some(counts);
        }
        if counts.pending == 0 && counts.live() == 0 {
            return Ok(if counts.failed > 0 { Ended::TaskFailed } else { Ended::Well });
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
}

/// The job, with its tasks when some are pending and there are few enough to look at each.
async fn look(server: &mut Asker, name: &str) -> Result<JobView, Failure> {
    let (_, job) = server.job(None, name, 0, 0).await?;
    if job.row.counts.pending == 0 || job.tasks_total > ROWS_MAX {
        return Ok(job);
    }
    Ok(server.job(None, name, 0, ROWS_MAX).await?.1)
}

/// Tasks that wait for a placement. One that ended and waits for its restart has had one.
fn unplaced(job: &JobView) -> u32 {
    let pending = job.row.counts.pending;
    if job.tasks.is_empty() {
        return pending;
    }
    let restarting =
        |t: &&transport::view::TaskRow| t.task.state == TaskState::Pending && t.task.exit.is_some();
    pending.saturating_sub(job.tasks.iter().filter(restarting).count() as u32)
}
