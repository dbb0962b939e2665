//! `ohm job logs`: a task's output, read from its agent through the server.

use std::io::Write;

use cell_state::task::TaskState;
use cell_state::{JobId, TaskId};
use transport::bounds::LOG_BYTES_MAX;
use transport::message::{LogFrom, LogRequest, LogStream};
use transport::view::JobView;

use crate::bounds::FOLLOW_EVERY;
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::job_file::{Amount, bytes};
use crate::typed::jobs::JobLogsArgs;

/// What was asked for, checked.
pub(crate) struct JobLogs {
    connection: Connection,
    args: JobLogsArgs,
    from: LogFrom,
}

impl JobLogs {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: JobLogsArgs) -> Result<JobLogs, Failure> {
        let tail = args.tail.as_deref().map(|size| bytes(Amount::Text(size)));
        let tail = tail.transpose().map_err(|problem| Failure::Input(format!("--tail: {problem}")))?;
        let from = tail.map_or(LogFrom::Offset(0), LogFrom::End);
        Ok(JobLogs { connection: Connection::check(&args.connect)?, args, from })
    }
}

pub(crate) async fn run(wanted: JobLogs) -> Result<Ended, Failure> {
    let JobLogs { connection, args, from } = wanted;
    let mut server = connection.open().await?;
    let (_, job) = server.job(None, &args.job, 0, 0).await?;
    let task = which_task(&job, args.task.as_deref())?;
    if args.follow {
        wait_until_placed(&mut server, &job.row.name, task).await?;
    }
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let mut request = LogRequest { task, epoch: args.epoch, stream, from, limit: LOG_BYTES_MAX };
    let mut out = std::io::stdout().lock();
    let mut expected = None;
    loop {
        let piece = server.log(request.clone()).await?;
        if expected.is_some_and(|offset| piece.offset > offset) {
            crate::show::say("ohm: older output was rotated away");
        }
        out.write_all(&piece.bytes)?;
        let next = piece.offset + piece.bytes.len() as u64;
        (request.from, expected) = (LogFrom::Offset(next), Some(next));
        if !piece.bytes.is_empty() {
            continue;
        }
        out.flush()?;
        if piece.ended || !args.follow {
            return Ok(Ended::Well);
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Following a task that isn't on a machine yet means waiting for it.
async fn wait_until_placed(server: &mut Asker, job: &str, task: TaskId) -> Result<(), Failure> {
    let mut told = false;
    loop {
        let position = position(server, job, task).await?;
        let (_, view) = server.job(None, job, position, 1).await?;
        let Some(row) = view.tasks.first() else { return Ok(()) };
        match row.task.state {
            TaskState::Placed => {}
            TaskState::Pending if row.task.epoch == 0 => {}
            TaskState::Pending
            | TaskState::Running
            | TaskState::Stopping(_)
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Stopped => return Ok(()),
        }
        if !told {
            crate::show::say("ohm: the task has not been started yet; waiting");
            told = true;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Where a task is in the list of all tasks of its job: groups may hold surplus tasks, so they are counted.
async fn position(server: &mut Asker, job: &str, task: TaskId) -> Result<u32, Failure> {
    let (_, view) = server.job(None, job, 0, 0).await?;
    let before = view.groups.iter().take(usize::from(task.group));
    Ok(before.map(cell_state::job::Counts::total).sum::<u32>() + task.index)
}

/// The task that was meant: `main.3`, `0.3`, `3`, or the only one.
fn which_task(job: &JobView, written: Option<&str>) -> Result<TaskId, Failure> {
    let id = |group: usize, index: u32| TaskId { job: job.row.id, group: group as u16, index };
    let choices = || {
        let groups = job.spec.groups.iter().filter(|g| g.count > 0);
        let ranges: Vec<String> = groups
            .map(|g| {
                if g.count == 1 {
                    format!("{}.0", g.name)
                } else {
                    format!("{0}.0 to {0}.{1}", g.name, g.count - 1)
                }
            })
            .collect();
        ranges.join(", ")
    };
    let Some(written) = written else {
        if job.tasks_total == 1 {
            let group = job.groups.iter().position(|g| g.total() == 1).unwrap_or(0);
            return Ok(id(group, 0));
        }
        return Err(Failure::Input(format!(
            "job {} has several tasks; name one of {}",
            job.row.name,
            choices()
        )));
    };
    let unknown = || {
        Failure::Input(format!("job {} has no task {written:?}; its tasks are {}", job.row.name, choices()))
    };
    let own = written.strip_prefix(&format!("{}.", JobId(job.row.id.0))).unwrap_or(written);
    let (group, index) = match own.rsplit_once('.') {
        Some((group, index)) => {
            let named = job.spec.groups.iter().position(|g| g.name == group);
            let numbered = || group.parse().ok().filter(|n: &usize| *n < job.spec.groups.len());
            (named.or_else(numbered).ok_or_else(unknown)?, index)
        }
        None if job.spec.groups.len() == 1 => (0, own),
        None => return Err(unknown()),
    };
    let index: u32 = index.parse().map_err(|_| unknown())?;
    let held = job.groups.get(group).map_or(0, cell_state::job::Counts::total);
    if index < held { Ok(id(group, index)) } else { Err(unknown()) }
}
