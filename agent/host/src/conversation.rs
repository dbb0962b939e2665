//! Conversations with tasks of this machine: their output as it is written, commands beside them, their files, signals.

mod exec;
mod files;
mod log;
mod open_beneath;
mod signal;
mod streams;

use std::ffi::OsString;
use std::path::PathBuf;

use agent::PlacementId;
use transport::task::{FromTask, TaskAct, TaskRequest, ToTask};
use transport_quic::{AgentResponder, HopReader, HopWriter};

use crate::config::{AgentConfig, Machines};
use crate::exec as driver;
use crate::process::{Identity, main_process};
use crate::task_dir::TaskDir;

/// What the server hears from one conversation.
type Writer = HopWriter<FromTask>;
/// What one conversation hears from the server.
type Reader = HopReader<ToTask>;

/// Why a conversation comes to nothing, for the person who wanted it.
type Problem = String;

/// What conversations need to know of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) machine: String,
    /// The directory of tasks.
    pub(crate) root: PathBuf,
    /// The program that enters a task, and what it needs before its own arguments.
    shim: (PathBuf, Vec<OsString>),
}

impl Place {
    /// Of this agent; `None` when its machines are played, and have no tasks to talk to.
    pub(crate) fn of(config: &AgentConfig) -> Option<Place> {
        match &config.machines {
            Machines::Real(spec) => Some(Place {
                machine: spec.name.clone(),
                root: driver::root(&config.data),
                shim: (config.shim.clone(), config.shim_args.clone()),
            }),
            Machines::Simulated { .. } => None,
        }
    }

    /// The placement that is meant, and its directory.
    fn find(&self, request: &TaskRequest) -> Result<(PlacementId, TaskDir), Problem> {
        let task = request.task;
        let id = match request.epoch {
            0 => {
                let all = TaskDir::list(&self.root)
                    .map_err(|error| format!("can't read the directory of tasks: {error}"))?;
                all.into_iter().map(|(id, _)| id).filter(|id| id.task == task).max()
            }
            epoch => Some(PlacementId { task, epoch }),
        };
        let not_here = || {
            format!(
                "machine {} keeps nothing of task {task}: it has not been started here, or its files were removed",
                self.machine
            )
        };
        let id = id.ok_or_else(not_here)?;
        let dir = TaskDir::of(&self.root, id);
        if dir.path().is_dir() { Ok((id, dir)) } else { Err(not_here()) }
    }

    /// The main process of a placement that runs.
    fn running(&self, request: &TaskRequest) -> Result<(PlacementId, TaskDir, Identity), Problem> {
        let (id, dir) = self.find(request)?;
        let failed = |error| format!("can't read the state of task {id}: {error}");
        let ended = dir.exit().map_err(failed)?.is_some();
        let child = main_process(&dir).map_err(failed)?;
        match child.filter(|_| !ended) {
            Some(child) => Ok((id, dir, child)),
            None => Err(format!("task {} is not running on machine {}", request.task, self.machine)),
        }
    }
}

/// Answers a request for a conversation.
pub(crate) async fn answer(
    place: Option<Place>,
    machine: String,
    request: TaskRequest,
    responder: AgentResponder,
) {
    let Some((writer, reader)) = responder.converse() else { return };
    let ended = match place {
        Some(place) if place.machine == machine => converse(&place, request, &writer, reader).await,
        Some(_) | None => Err(format!("{machine} is a simulated machine: its tasks are no processes")),
    };
    let last = match ended {
        Ok(Some(last)) => last,
        // Whoever wanted it has gone.
        Ok(None) => return,
        Err(problem) => FromTask::Failed(problem),
    };
    if writer.send(last).await.is_ok() {
        writer.finish().await;
    }
}

/// Holds a conversation, and returns its last message; `None` when the other end has gone.
async fn converse(
    place: &Place,
    request: TaskRequest,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    match &request.act {
        TaskAct::FollowLog { stream, from, follow } => {
            let (_, dir) = place.find(&request)?;
            log::follow(dir, *stream, *from, *follow, writer, reader).await
        }
        TaskAct::Exec { command, terminal, input } => {
            let (_, dir, _) = place.running(&request)?;
            let wanted = exec::Wanted { command: command.clone(), terminal: terminal.clone(), input: *input };
            exec::run(&place.shim, dir, wanted, writer, reader).await
        }
        TaskAct::ListFiles { path } => {
            let (_, dir) = place.find(&request)?;
            files::list(dir, path.clone(), writer, reader).await
        }
        TaskAct::ReadFile { path } => {
            let (_, dir) = place.find(&request)?;
            files::read(dir, path.clone(), writer, reader).await
        }
        TaskAct::Signal { signal } => {
            let (id, _, child) = place.running(&request)?;
            signal::send(id, child, *signal).map(|()| Some(FromTask::Done))
        }
    }
}

/// Waits until the other end has gone; nothing it could say means anything here, but credit is taken.
async fn gone(mut reader: Reader) {
    while let Ok(Some(_)) = reader.next().await {}
}
