//! Reading a task's output from its files, rotated ones included.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use agent::PlacementId;
use transport::bounds::LOG_BYTES_MAX;
use transport::message::{LogFrom, LogPiece, LogRequest};

use crate::log_files as name;
use crate::log_tail;
use crate::task_dir::TaskDir;

/// Why there is no piece.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The task never ran here, or its files were removed.
    #[error("no output of {0} is kept on this machine")]
    NotHere(String),
    /// The files can't be read.
    #[error("can't read the output of {task}")]
    Read {
        /// The placement.
        task: String,
        /// The cause.
        source: io::Error,
    },
}

/// The piece of output that is asked for, from the directories below `root`.
///
/// # Errors
/// See [`LogError`].
pub fn read(root: &Path, request: &LogRequest) -> Result<LogPiece, LogError> {
    let LogRequest { task, epoch, .. } = *request;
    let id = match epoch {
        0 => latest(root, request)?,
        epoch => PlacementId { task, epoch },
    };
    let dir = TaskDir::of(root, id);
    let failed = |source| LogError::Read { task: id.to_string(), source };
    // Asked before the files are read: what was written before the end is in them by now.
    let ended = dir.exit().map_err(failed)?.is_some();
    let stream = log_tail::word(request.stream);
    match name::starts(dir.path(), stream) {
        Ok(files) => piece(dir.path(), stream, &files, request, ended).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LogError::NotHere(id.to_string())),
        Err(error) => Err(failed(error)),
    }
}

fn latest(root: &Path, request: &LogRequest) -> Result<PlacementId, LogError> {
    let not_here = || LogError::NotHere(request.task.to_string());
    let all =
        TaskDir::list(root).map_err(|source| LogError::Read { task: request.task.to_string(), source })?;
    let of_task = all.into_iter().map(|(id, _)| id).filter(|id| id.task == request.task);
    of_task.max().ok_or_else(not_here)
}

fn piece(dir: &Path, stream: &str, files: &[u64], request: &LogRequest, ended: bool) -> io::Result<LogPiece> {
    let Some((first, last)) = files.first().zip(files.last()) else {
        return Ok(LogPiece { offset: 0, bytes: Vec::new(), ended });
    };
    let end = last + fs::metadata(dir.join(name::of(stream, *last)))?.len();
    let wanted = match request.from {
        LogFrom::Offset(offset) => offset,
        LogFrom::End(before) => end.saturating_sub(before),
    };
    let offset = wanted.clamp(*first, end);
    let limit = u64::from(request.limit.min(LOG_BYTES_MAX));
    let mut bytes = Vec::new();
    for (i, start) in files.iter().enumerate() {
        let next = files.get(i + 1).copied().unwrap_or(end);
        let at = offset + bytes.len() as u64;
        if at < *start || at >= next || bytes.len() as u64 >= limit {
            continue;
        }
        let mut file = match File::open(dir.join(name::of(stream, *start))) {
            Ok(file) => file,
            // Rotated away meanwhile: the reader asks again and is told a later offset.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(at - start))?;
        file.take((next - at).min(limit - bytes.len() as u64)).read_to_end(&mut bytes)?;
    }
    Ok(LogPiece { offset, bytes, ended })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::task::Exit;
    use cell_state::{JobId, TaskId};
    use transport::message::LogStream;

    const TASK: TaskId = TaskId { job: JobId(1), group: 0, index: 2 };

    fn request(epoch: u32, from: LogFrom, limit: u32) -> LogRequest {
        LogRequest { task: TASK, epoch, stream: LogStream::Stdout, from, limit }
    }

    /// Bytes 20..47, in files of 10; byte `n` has the value `n`.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for epoch in [1, 2] {
            let dir = TaskDir::of(root.path(), PlacementId { task: TASK, epoch });
            fs::create_dir(dir.path()).unwrap();
            for start in [20u8, 30, 40] {
                let bytes: Vec<u8> = (start..(start + 10).min(47)).collect();
                fs::write(dir.path().join(name::of("stdout", start.into())), bytes).unwrap();
            }
        }
        root
    }

    #[test]
    fn pieces_span_files_and_offsets_count_from_the_first_byte() {
        let root = root();
        let table = [
            (LogFrom::Offset(0), 100, 20, 20..47),
            (LogFrom::Offset(25), 10, 25, 25..35),
            (LogFrom::Offset(30), 10, 30, 30..40),
            (LogFrom::Offset(46), 100, 46, 46..47),
            (LogFrom::Offset(47), 100, 47, 47..47),
            (LogFrom::Offset(99), 100, 47, 47..47),
            (LogFrom::End(5), 100, 42, 42..47),
            (LogFrom::End(99), 3, 20, 20..23),
            (LogFrom::End(0), 3, 47, 47..47),
        ];
        for (from, limit, offset, bytes) in table {
            let piece = read(root.path(), &request(1, from, limit)).unwrap();
            assert_eq!((piece.offset, piece.bytes), (offset, bytes.collect::<Vec<u8>>()), "{from:?} {limit}");
        }
    }

    #[test]
    fn epoch_0_is_the_latest_and_an_end_is_told() {
        let root = root();
        let ended = |epoch| read(root.path(), &request(epoch, LogFrom::Offset(0), 1)).unwrap().ended;
        TaskDir::of(root.path(), PlacementId { task: TASK, epoch: 2 }).write_exit(Exit::Code(0)).unwrap();
        assert_eq!((ended(0), ended(1), ended(2)), (true, false, true));
        assert!(matches!(read(root.path(), &request(3, LogFrom::Offset(0), 1)), Err(LogError::NotHere(_))));
    }
}
