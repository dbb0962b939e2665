//! The names of the files a task's output is in: the stream, and the offset of the file's first byte.

use std::path::Path;
use std::{fs, io};

/// The offsets that files of `stream` in a directory begin at, lowest first.
pub(crate) fn starts(dir: &Path, stream: &str) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(dir)? {
        starts.extend(entry?.file_name().to_str().and_then(|name| offset(name, stream)));
    }
    starts.sort_unstable();
    Ok(starts)
}

/// The file of `stream` whose first byte is at `offset`.
pub(crate) fn of(stream: &str, offset: u64) -> String {
    format!("{stream}-{offset:020}.log")
}

/// The offset in the name of a file of `stream`.
pub(crate) fn offset(name: &str, stream: &str) -> Option<u64> {
    name.strip_prefix(stream)?.strip_prefix('-')?.strip_suffix(".log")?.parse().ok()
}
