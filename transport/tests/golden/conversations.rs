//! Every shape of a conversation with a task.

use cell_state::Time;
use cell_state::task::Exit;
use transport::message::LogStream;
use transport::task::{
    FileKind, FileRow, FromTask, LogStart, TaskAct, TaskRequest, Terminal, ToTask, Window,
};

use crate::requests::task;

pub(crate) fn asked() -> Vec<(&'static str, TaskRequest)> {
    let log = |stream, from, follow| TaskAct::FollowLog { stream, from, follow };
    let command = vec!["sh".into(), "-c".into(), "id".into()];
    let terminal = Terminal { kind: "xterm".into(), window: Window { rows: 24, columns: 80 } };
    let acts = [
        ("FollowLog.offset", log(LogStream::Stdout, LogStart::Offset(1 << 40), true)),
        ("FollowLog.bytes", log(LogStream::Stderr, LogStart::Bytes(4_096), false)),
        ("FollowLog.lines", log(LogStream::Stdout, LogStart::Lines(20), true)),
        ("FollowLog.last", log(LogStream::Stdout, LogStart::Last(600_000_000), true)),
        ("Exec.plain", TaskAct::Exec { command: command.clone(), terminal: None, input: false }),
        ("Exec.terminal", TaskAct::Exec { command, terminal: Some(terminal), input: true }),
        ("ListFiles", TaskAct::ListFiles { path: ".".into() }),
        ("ReadFile", TaskAct::ReadFile { path: "out/part-0".into() }),
        ("Signal", TaskAct::Signal { signal: 1 }),
    ];
    acts.map(|(name, act)| (name, TaskRequest { task: task(4, 2), epoch: 3, act })).into()
}

pub(crate) fn to_task() -> Vec<(&'static str, ToTask)> {
    vec![
        ("Input", ToTask::Input(b"ls\n".to_vec())),
        ("InputEnd", ToTask::InputEnd),
        ("Resize", ToTask::Resize(Window { rows: 50, columns: 300 })),
    ]
}

pub(crate) fn from_task() -> Vec<(&'static str, FromTask)> {
    let row = |name: &str, kind| FileRow {
        name: name.into(),
        kind,
        mode: 0o644,
        bytes: 5_000_000_000,
        modified: Time(1_700_000_000_000_000),
    };
    let files = vec![
        row("a", FileKind::File),
        row("b", FileKind::Directory),
        row("c", FileKind::Link),
        row("d", FileKind::Other),
    ];
    vec![
        ("Log", FromTask::Log { offset: 1 << 33, bytes: b"hello\n".to_vec() }),
        ("Output.stdout", FromTask::Output { stream: LogStream::Stdout, bytes: b"1".to_vec() }),
        ("Output.stderr", FromTask::Output { stream: LogStream::Stderr, bytes: b"2".to_vec() }),
        ("Files", FromTask::Files(files)),
        ("Piece", FromTask::Piece(vec![0, 255])),
        ("Done", FromTask::Done),
        ("Exited.code", FromTask::Exited(Exit::Code(3))),
        ("Exited.signal", FromTask::Exited(Exit::Signal(9))),
        ("Failed", FromTask::Failed("no such file".into())),
        ("Lost", FromTask::Lost("the agent restarted".into())),
    ]
}
