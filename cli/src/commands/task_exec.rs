//! `ohm task exec`: a command where a task is, with this terminal or these pipes.

use std::io::{self, IsTerminal};

use cell_state::task::Exit;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use transport::message::LogStream;
use transport::task::{FromTask, TaskAct, TaskRequest, Terminal, ToTask, Window};
use transport_quic::{ConversationReader, ConversationWriter};

use super::task::next;
use super::task_name;
use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::pipes::{self, Out, To};
use crate::typed::tasks::TaskExecArgs;

/// What was asked for, checked.
pub(crate) struct TaskExec {
    connection: Connection,
    args: TaskExecArgs,
    terminal: Option<Terminal>,
}

impl TaskExec {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: TaskExecArgs) -> Result<TaskExec, Failure> {
        let connection = Connection::check(&args.connect)?;
        if args.tty && args.interactive && !io::stdin().is_terminal() {
            return Err(Failure::Input(
                "--tty: standard input is no terminal; leave --tty away to pass on a pipe or a file"
                    .to_owned(),
            ));
        }
        let terminal = args.tty.then(|| Terminal {
            kind: std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()),
            window: window(),
        });
        Ok(TaskExec { connection, args, terminal })
    }
}

pub(crate) async fn run(wanted: TaskExec) -> Result<Ended, Failure> {
    let TaskExec { connection, args, terminal } = wanted;
    let mut server = connection.open().await?;
    let (_, task) = task_name::find(&mut server, &args.task).await?;
    let has_terminal = terminal.is_some();
    let act = TaskAct::Exec { command: args.command, terminal, input: args.interactive };
    let (writer, reader) = server.converse(&TaskRequest { task, epoch: 0, act }).await?;
    // Before the first byte of the command's output may come, so that it finds the terminal as it should be.
    let raw = (has_terminal && args.interactive).then(RawTerminal::enter).transpose()?;
    let input = args.interactive.then(pipes::input);
    let ended = converse(writer, reader, input, has_terminal).await;
    drop(raw);
    ended
}

async fn converse(
    writer: ConversationWriter<ToTask>,
    reader: ConversationReader<FromTask>,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    has_terminal: bool,
) -> Result<Ended, Failure> {
    let resized = signal(SignalKind::window_change())?;
    let [mut interrupt, mut terminate, mut hang_up] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    let mut out = Out::start();
    let ended = tokio::select! {
        ended = show(reader, &mut out) => ended?,
        failed = send(writer, input, resized, has_terminal) => return Err(failed),
        // Leaving ends the command.
        _ = interrupt.recv() => return Ok(Ended::Interrupted),
        _ = terminate.recv() => return Ok(Ended::Interrupted),
        _ = hang_up.recv() => return Ok(Ended::Interrupted),
    };
    out.finish().await?;
    Ok(ended)
}

/// Shows what the command writes, until it has ended.
async fn show(mut reader: ConversationReader<FromTask>, out: &mut Out) -> Result<Ended, Failure> {
    loop {
        match next(&mut reader).await? {
            FromTask::Output { stream: LogStream::Stdout, bytes } => out.write(To::Output, bytes).await?,
            FromTask::Output { stream: LogStream::Stderr, bytes } => out.write(To::Error, bytes).await?,
            FromTask::Exited(Exit::Code(code)) => return Ok(Ended::Exited(code as u8)),
            FromTask::Exited(Exit::Signal(signal)) => {
                return Ok(Ended::Exited(128u8.saturating_add(signal as u8)));
            }
            FromTask::Exited(Exit::NotStarted(_) | Exit::Unseen) => {
                return Err(Failure::Task("nobody saw how the command ended".to_owned()));
            }
            _ => return Err(Failure::Answer("something else than a command's output")),
        }
    }
}

/// Sends input and sizes for as long as the server takes them. The stream stays open at the end of input: ending it is
/// taking one's leave.
async fn send(
    mut writer: ConversationWriter<ToTask>,
    mut input: Option<mpsc::Receiver<Vec<u8>>>,
    mut resized: Signal,
    has_terminal: bool,
) -> Failure {
    loop {
        let message = tokio::select! {
            Some(bytes) = more(&mut input) => match bytes.is_empty() {
                true => {
                    input = None;
                    ToTask::InputEnd
                }
                false => ToTask::Input(bytes),
            },
            Some(()) = resized.recv(), if has_terminal => ToTask::Resize(window()),
        };
        if writer.send(&message).await.is_err() {
            // What is read says why.
            std::future::pending::<()>().await;
        }
    }
}

async fn more(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(pieces) => pieces.recv().await,
        None => std::future::pending().await,
    }
}

/// The size of this terminal.
fn window() -> Window {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
    let size = size.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(Window { rows: 24, columns: 80 }, |size| Window { rows: size.ws_row, columns: size.ws_col })
}

/// This terminal while every key goes to the command: it is as it was once this is dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<RawTerminal, Failure> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(io::Error::from)?;
        Ok(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Fails when the terminal has gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
