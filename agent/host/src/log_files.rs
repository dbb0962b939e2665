//! The names of the files a task's output is in: the stream, and the offset of the file's first byte.

/// The file of `stream` whose first byte is at `offset`.
pub(crate) fn of(stream: &str, offset: u64) -> String {
    format!("{stream}-{offset:020}.log")
}

/// The offset in the name of a file of `stream`.
pub(crate) fn offset(name: &str, stream: &str) -> Option<u64> {
    name.strip_prefix(stream)?.strip_prefix('-')?.strip_suffix(".log")?.parse().ok()
}
