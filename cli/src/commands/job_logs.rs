//! `ohm job logs`: a task's output, streamed from its agent through the server.

use std::time::Instant;

use cell_state::TaskId;
use cell_state::task::TaskState;
use transport::message::LogStream;
use transport::task::{FromTask, LogStart, TaskAct, TaskRequest};
use transport_quic::ConversationReader;

use super::task_name;
use crate::bounds::{FOLLOW_EVERY, POLL_EVERY, RECONNECT_MAX};
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::job_file::{Amount, bytes};
use crate::pipes::{Out, To};
use crate::typed::jobs::JobLogsArgs;

/// What was asked for, checked.
pub(crate) struct JobLogs {
    connection: Connection,
    args: JobLogsArgs,
    from: LogStart,
}

impl JobLogs {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: JobLogsArgs) -> Result<JobLogs, Failure> {
        let wrong = |flag: &str, problem: String| Failure::Input(format!("{flag}: {problem}"));
        let from = if let Some(size) = &args.tail {
            LogStart::Bytes(
                bytes(Amount::Text(size)).map_err(|problem| wrong("--tail", problem.to_string()))?,
            )
        } else if let Some(lines) = args.lines {
            LogStart::Lines(lines)
        } else if let Some(since) = &args.since {
            let since = humantime::parse_duration(since).map_err(|error| {
                wrong("--since", format!("{since:?} is no duration ({error}); write 90s, 10m or 2h30m"))
            })?;
            LogStart::Last(since.as_micros().try_into().unwrap_or(u64::MAX))
        } else {
            LogStart::Offset(0)
        };
        Ok(JobLogs { connection: Connection::check(&args.connect)?, args, from })
    }
}

pub(crate) async fn run(wanted: JobLogs) -> Result<Ended, Failure> {
    let JobLogs { connection, args, from } = wanted;
    let mut server = connection.open().await?;
    let (job, written) = task_name::split(&args.job);
    let (_, job) = server.job(None, &job, 0, 0).await?;
    let task = task_name::which_task(&job, args.task.as_deref().or(written.as_deref()))?;
    if args.follow {
        wait_until_placed(&mut server, &job.row.name, task).await?;
    }
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let act = TaskAct::FollowLog { stream, from, follow: args.follow };
    let mut out = Out::start();
    tokio::select! {
        read = read(&mut server, TaskRequest { task, epoch: args.epoch, act }, &mut out) => read?,
        // The server is told, so that the agent needn't find out.
        _ = tokio::signal::ctrl_c() => return Ok(Ended::Interrupted),
    }
    out.finish().await?;
    Ok(Ended::Well)
}

/// Reads to the end. What breaks while output is followed is taken up again where it broke: an agent that is being
/// upgraded is back in a moment.
async fn read(server: &mut Asker, mut request: TaskRequest, out: &mut Out) -> Result<(), Failure> {
    let mut place = Place { next: None };
    let mut broken: Option<Instant> = None;
    loop {
        let opened = match server.converse(&request).await {
            Ok((writer, reader)) => {
                // The writer is held for as long as the reader: dropping it is taking one's leave.
                let ended = copy(reader, &mut place, out).await?;
                drop(writer);
                if ended {
                    return Ok(());
                }
                broken = None;
                None
            }
            Err(failure) => Some(failure),
        };
        let TaskAct::FollowLog { from, follow, .. } = &mut request.act else { return Ok(()) };
        let since = *broken.get_or_insert_with(Instant::now);
        match opened {
            Some(failure) if !*follow || place.next.is_none() || since.elapsed() > RECONNECT_MAX => {
                return Err(failure);
            }
            None if !*follow => return Err(Failure::Lost("the agent's connection broke".to_owned())),
            Some(_) | None => {}
        }
        if let Some(next) = place.next {
            *from = LogStart::Offset(next);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// How far the output has been read.
struct Place {
    next: Option<u64>,
}

/// Copies one conversation's output; false when it broke off.
async fn copy(
    mut reader: ConversationReader<FromTask>,
    place: &mut Place,
    out: &mut Out,
) -> Result<bool, Failure> {
    loop {
        match reader.next().await {
            Ok(Some(FromTask::Log { offset, bytes })) => {
                if let Some(lost) = place.next.and_then(|next| offset.checked_sub(next)).filter(|n| *n > 0) {
                    crate::show::say(&format!("ohm: {lost} bytes of older output were rotated away"));
                }
                place.next = Some(offset + bytes.len() as u64);
                out.write(To::Output, bytes).await?;
            }
            Ok(Some(FromTask::Done)) => return Ok(true),
            Ok(Some(FromTask::Failed(problem))) => return Err(Failure::Task(problem)),
            Ok(Some(FromTask::Lost(_)) | None) | Err(_) => return Ok(false),
            Ok(Some(
                FromTask::Output { .. } | FromTask::Files(_) | FromTask::Piece(_) | FromTask::Exited(_),
            )) => return Err(Failure::Answer("something else than output")),
        }
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
