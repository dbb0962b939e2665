//! `ohm task fs`, `ohm task signal`: a task's files and signals, through the server and its agent.

use rustix::process::Signal;
use serde_json::json;
use transport::task::{FileKind, FileRow, FromTask, TaskAct, TaskRequest};
use transport_quic::ConversationReader;

use super::task_name;
use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::pipes::{Out, To};
use crate::show::{self, Column, Listing, text};
use crate::typed::tasks::{TaskCatArgs, TaskFsCommand, TaskLsArgs, TaskSignalArgs};

pub(crate) async fn files(command: TaskFsCommand) -> Result<Ended, Failure> {
    match command {
        TaskFsCommand::Ls(args) => list(args).await,
        TaskFsCommand::Cat(args) => {
            tokio::select! {
                read = cat(args) => read,
                _ = tokio::signal::ctrl_c() => Ok(Ended::Interrupted),
            }
        }
    }
}

async fn list(args: TaskLsArgs) -> Result<Ended, Failure> {
    const COLUMNS: [Column; 5] = [
        Column::text("NAME"),
        Column::text("KIND"),
        Column::number("SIZE"),
        Column::text("CHANGED"),
        Column::text("MODE").wide(),
    ];
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (_, task) = task_name::find(&mut server, &args.task).await?;
    let act = TaskAct::ListFiles { path: args.path };
    let (writer, mut reader) = server.converse(&TaskRequest { task, epoch: args.epoch, act }).await?;
    let mut listing = Listing::new(&COLUMNS);
    let now = text::now();
    loop {
        match next(&mut reader).await? {
            FromTask::Files(rows) => rows.iter().for_each(|row| {
                let cells = vec![
                    row.name.as_str().into(),
                    row.kind.word().into(),
                    size(row).into(),
                    text::ago(row.modified, now).into(),
                    format!("{:04o}", row.mode).into(),
                ];
                let json = json!({
                    "name": row.name,
                    "kind": row.kind.word(),
                    "mode": format!("{:04o}", row.mode),
                    "bytes": row.bytes,
                    "modified": text::instant(row.modified),
                });
                listing.push(row.name.clone(), cells, json);
            }),
            FromTask::Done => break,
            _ => return Err(Failure::Answer("something else than files")),
        }
    }
    drop(writer);
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

fn size(row: &FileRow) -> String {
    match row.kind {
        FileKind::File => text::bytes(row.bytes),
        FileKind::Directory | FileKind::Link | FileKind::Other => "-".to_owned(),
    }
}

async fn cat(args: TaskCatArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (_, task) = task_name::find(&mut server, &args.task).await?;
    let act = TaskAct::ReadFile { path: args.path };
    let (writer, mut reader) = server.converse(&TaskRequest { task, epoch: args.epoch, act }).await?;
    let mut out = Out::start();
    loop {
        match next(&mut reader).await? {
            FromTask::Piece(bytes) => out.write(To::Output, bytes).await?,
            FromTask::Done => break,
            _ => return Err(Failure::Answer("something else than a file")),
        }
    }
    drop(writer);
    out.finish().await?;
    Ok(Ended::Well)
}

/// The next message of a conversation that has to come to its end.
pub(crate) async fn next(reader: &mut ConversationReader<FromTask>) -> Result<FromTask, Failure> {
    match reader.next().await {
        Ok(Some(FromTask::Failed(problem))) => Err(Failure::Task(problem)),
        Ok(Some(FromTask::Lost(problem))) | Err(problem) => Err(Failure::Lost(problem)),
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Failure::Lost("the server ended the conversation".to_owned())),
    }
}

pub(crate) async fn signal(args: TaskSignalArgs) -> Result<Ended, Failure> {
    let signal = number(&args.signal).ok_or_else(|| {
        Failure::Input(format!(
            "SIGNAL: {:?} is no signal; write a name such as HUP or SIGUSR1, or a number from 1 to 64",
            args.signal
        ))
    })?;
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (_, task) = task_name::find(&mut server, &args.task).await?;
    let act = TaskAct::Signal { signal };
    let (writer, mut reader) = server.converse(&TaskRequest { task, epoch: 0, act }).await?;
    let answer = next(&mut reader).await?;
    drop(writer);
    match answer {
        FromTask::Done => Ok(Ended::Well),
        _ => Err(Failure::Answer("something else than a signal")),
    }
}

/// The number of a signal, by number or name.
fn number(written: &str) -> Option<i32> {
    const NAMED: [(&str, Signal); 16] = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("ALRM", Signal::ALARM),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("STOP", Signal::STOP),
        ("TSTP", Signal::TSTP),
        ("WINCH", Signal::WINCH),
        ("ABRT", Signal::ABORT),
        ("PIPE", Signal::PIPE),
        ("CHLD", Signal::CHILD),
        ("IO", Signal::IO),
    ];
    if let Ok(number) = written.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = written.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, signal)| signal.as_raw())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn signals_have_names_and_numbers() {
        let table = [("HUP", Some(1)), ("sigterm", Some(15)), ("10", Some(10)), ("0", None), ("NOPE", None)];
        for (written, expected) in table {
            assert_eq!(number(written), expected, "{written}");
        }
    }
}
