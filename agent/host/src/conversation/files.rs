//! A task's files: what is in a directory, what is in a file. Nothing outside of the task's own directory is shown.

use std::fs::File;
use std::io::Read;

use cell_state::Time;
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use tokio::sync::mpsc;
use transport::bounds::{CONVERSATION_PIECE_BYTES, FILE_ROWS_MAX};
use transport::task::{FileKind, FileRow, FromTask};

use super::log::blocking;
use super::open_beneath::hold;
use super::{Problem, Reader, Writer, gone};
use crate::bounds::FILES_LISTED_MAX;
use crate::task_dir::TaskDir;

/// Sends the entries of a directory, or the one of a file.
pub(super) async fn list(
    dir: TaskDir,
    path: String,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    let rows = blocking(move || rows(&dir, &path)).await??;
    tokio::select! {
        sent = async {
            for some in rows.chunks(FILE_ROWS_MAX) {
                if writer.send(FromTask::Files(some.to_vec())).await.is_err() {
                    return Ok(None);
                }
            }
            Ok(Some(FromTask::Done))
        } => sent,
        () = gone(reader) => Ok(None),
    }
}

/// Sends what is in a file.
pub(super) async fn read(
    dir: TaskDir,
    path: String,
    writer: &Writer,
    reader: Reader,
) -> Result<Option<FromTask>, Problem> {
    let file = blocking(move || open_file(&dir, &path)).await??;
    // A few pieces ahead of the reader; when it goes, so does the receiver, and reading ends.
    let (pieces, mut read) = mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || read_all(file, &pieces));
    let sent = tokio::select! {
        sent = async {
            while let Some(piece) = read.recv().await {
                if writer.send(FromTask::Piece(piece)).await.is_err() {
                    return None;
                }
            }
            Some(FromTask::Done)
        } => sent,
        () = gone(reader) => None,
    };
    drop(read);
    let failed = reading.await.map_err(|_| "the agent is stopping".to_owned())?;
    match failed {
        Err(error) if sent.is_some() => Err(format!("can't read the file: {error}")),
        Ok(()) | Err(_) => Ok(sent),
    }
}

fn open_file(dir: &TaskDir, path: &str) -> Result<File, Problem> {
    let held = hold(&dir.work(), path)?;
    match held.kind {
        FileType::RegularFile => {
            held.open().map_err(|error| format!("path: {path:?} can't be read: {error}"))
        }
        FileType::Directory => {
            Err(format!("path: {path:?} is a directory; `ohm task fs ls` shows what is in it"))
        }
        other => Err(format!("path: {path:?} is a {}, which has no content to read", special(other))),
    }
}

fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => "special file",
    }
}

fn read_all(mut file: File, pieces: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    loop {
        let mut piece = Vec::new();
        (&mut file).take(CONVERSATION_PIECE_BYTES as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || pieces.blocking_send(piece).is_err() {
            return Ok(());
        }
    }
}

fn rows(dir: &TaskDir, path: &str) -> Result<Vec<FileRow>, Problem> {
    let held = hold(&dir.work(), path)?;
    let failed = |error: std::io::Error| format!("path: {path:?} can't be read: {error}");
    if held.kind != FileType::Directory {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stat = statat(held.descriptor(), "", AtFlags::EMPTY_PATH).map_err(|e| failed(e.into()))?;
        return Ok(vec![row(name.to_owned(), &stat)]);
    }
    let opened = held.open().map_err(failed)?;
    let mut rows = Vec::new();
    for entry in Dir::read_from(&opened).map_err(|error| failed(error.into()))? {
        let entry = entry.map_err(|error| failed(error.into()))?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        if rows.len() == FILES_LISTED_MAX {
            return Err(format!(
                "path: {path:?} has more than {FILES_LISTED_MAX} entries; `ohm task exec` can list a part of them"
            ));
        }
        // One that has gone meanwhile is not there.
        let Ok(stat) = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        rows.push(row(name.to_string_lossy().into_owned(), &stat));
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn row(name: String, stat: &Stat) -> FileRow {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => FileKind::Other,
    };
    let modified = u64::try_from(stat.st_mtime).unwrap_or(0).saturating_mul(1_000_000);
    FileRow { name, kind, mode: stat.st_mode & 0o7777, bytes: stat.st_size as u64, modified: Time(modified) }
}
