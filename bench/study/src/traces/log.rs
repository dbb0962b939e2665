//! The log of a cell of our own: the segment files in the data directory of its server, as docs/log-format.md
//! describes them. Nothing is changed. A torn tail of the last file, which nobody was ever told of, is left out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bench::recording::Recording;
use cell_state::Seq;
use cell_state::bounds::RECORD_BYTES_MAX;
use cell_state::record::{self, RecordError};

use super::Traced;
use crate::bounds::LOG_GROUP_BYTES_MAX;

/// Bytes before the first group of a file, and before the records of a group.
const HEADER_BLOCK_BYTES: usize = 4_096;
const GROUP_HEADER_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"OHMLOG\r\n";
const GROUP_MAGIC: [u8; 4] = [0x89, b'G', b'r', b'p'];

/// A log that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file or directory.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The directory holds no log.
    #[error("{path} holds no log; give the data directory of a server, which has log/*.log in it")]
    None {
        /// The directory.
        path: String,
    },
    /// The beginning has been deleted.
    #[error(
        "the log in {path} begins at seq {first}: what came before was deleted, and with it which jobs and machines \
         there were; let the server keep more of its log (--retain-log) and record again"
    )]
    Trimmed {
        /// The directory.
        path: String,
        /// The first seq there is.
        first: u64,
    },
    /// A file isn't what it should be.
    #[error("{path}, byte {offset}: {problem}; `ohm server verify` tells more")]
    Damaged {
        /// The file.
        path: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
}

/// Reads the log in a data directory.
pub(super) fn read(dir: &Path) -> Result<Traced, LogError> {
    let files = segments(dir)?;
    let mut recording = Recording::default();
    let mut next = Seq(1);
    for (number, path) in files.iter().enumerate() {
        let last = number + 1 == files.len();
        segment(path, last, &mut next, &mut recording)?;
    }
    let (scenario, notes) = recording.finish();
    Ok(Traced { scenario, notes })
}

/// The segment files, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let shown = || dir.display().to_string();
    let inner = dir.join("log");
    let folder = if inner.is_dir() { inner } else { dir.to_owned() };
    let entries = fs::read_dir(&folder).map_err(|source| LogError::Read { path: shown(), source })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| LogError::Read { path: shown(), source })?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20);
        if let Some(first) = digits.and_then(|digits| digits.parse::<u64>().ok()) {
            files.push((first, path));
        }
    }
    files.sort();
    match files.first() {
        None => Err(LogError::None { path: shown() }),
        Some((1, _)) => Ok(files.into_iter().map(|(_, path)| path).collect()),
        Some((first, _)) => Err(LogError::Trimmed { path: shown(), first: *first }),
    }
}

fn segment(path: &Path, last: bool, next: &mut Seq, recording: &mut Recording) -> Result<(), LogError> {
    let damaged = |offset: u64, problem: String| LogError::Damaged {
        path: path.display().to_string(),
        offset,
        problem,
    };
    let read_error = |source| LogError::Read { path: path.display().to_string(), source };
    let mut file = io::BufReader::new(File::open(path).map_err(read_error)?);
    let mut block = [0; HEADER_BLOCK_BYTES];
    file.read_exact(&mut block).map_err(read_error)?;
    if block[..8] != MAGIC || crc32c::crc32c(&block[12..]) != u32_at(&block, 8) {
        return Err(damaged(0, "no header of a segment file".to_owned()));
    }
    let id: [u8; 8] = block[16..24].try_into().expect("eight bytes");
    let mut offset = HEADER_BLOCK_BYTES as u64;
    loop {
        let mut header = [0; GROUP_HEADER_BYTES];
        match file.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(source) => return Err(read_error(source)),
        }
        if header == [0; GROUP_HEADER_BYTES] {
            return Ok(()); // The unwritten rest of the file.
        }
        match group(&header, id, &mut file) {
            Ok(records) => {
                events(&records, next, recording).map_err(|problem| damaged(offset, problem))?;
                offset += (GROUP_HEADER_BYTES + records.len()) as u64;
            }
            // Only the last file has a tail that a crash may have torn.
            Err(_) if last => return Ok(()),
            Err(problem) => return Err(damaged(offset, problem)),
        }
    }
}

/// The records of a group.
fn group(header: &[u8; GROUP_HEADER_BYTES], id: [u8; 8], file: &mut impl Read) -> Result<Vec<u8>, String> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&id), &header[8..]);
    if header[..4] != GROUP_MAGIC || u32_at(header, 4) != crc {
        return Err("no header of a group".to_owned());
    }
    let length = u32_at(header, 24) as usize;
    if length > LOG_GROUP_BYTES_MAX {
        return Err(format!("a group of {length} bytes, over the bound of {LOG_GROUP_BYTES_MAX}"));
    }
    let mut records = vec![0; length];
    file.read_exact(&mut records).map_err(|e| format!("the group is cut short: {e}"))?;
    // A group whose records don't all check is torn, even if its header is whole.
    let mut rest = &records[..];
    while !rest.is_empty() {
        match record::read(rest) {
            Ok(Some((_, length))) => rest = &rest[length..],
            Ok(None) => {
                return Err(format!("a record is cut short (records have up to {RECORD_BYTES_MAX} bytes)"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(records)
}

fn events(mut records: &[u8], next: &mut Seq, recording: &mut Recording) -> Result<(), String> {
    let told = |error: RecordError| error.to_string();
    while let Some((record, length)) = record::read(records).map_err(told)? {
        if record.seq != *next {
            return Err(format!("seq {} where {} should be", record.seq, next));
        }
        recording.take(&record.event().map_err(|e| e.to_string())?);
        *next = next.next();
        records = &records[length..];
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
