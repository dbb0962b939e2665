//! Walking a segment file: group by group, record by record, checking every checksum and every seq on the way.
//!
//! Opening, reading, recovery and the audit all walk with this, so they agree on what a sound file is.

use std::io;

use cell_state::Seq;
use cell_state::record::{self, HEADER_BYTES, Kind, RecordError};

use super::disk::DiskFile;
use super::format::{GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader, HEADER_BLOCK_BYTES, LogHeader, LogId};

/// Bytes read from the file at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What stands at a place of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A group starts at this offset.
    Group {
        /// Its header.
        header: GroupHeader,
        /// The offset of the header.
        offset: u64,
    },
    /// A record, whole and with a right checksum.
    Record {
        /// Its seq.
        seq: Seq,
        /// All of it.
        bytes: &'a [u8],
    },
}

/// Why a walk can't go on.
#[derive(Debug)]
pub enum WalkError {
    /// The operating system refused.
    Io(io::Error),
    /// The bytes aren't what was written.
    Bad(Bad),
}

/// A place where the bytes aren't what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// Where.
    pub offset: u64,
    /// The last sound seq before it.
    pub after: Seq,
    /// What is wrong, in words.
    pub what: String,
    /// The group it is in, if that has a sound header: its offset and the header.
    pub group: Option<(u64, GroupHeader)>,
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> WalkError {
        WalkError::Io(error)
    }
}

/// Reads the header block of a segment file.
///
/// # Errors
/// The operating system refused, or it isn't one.
pub fn header(file: &dyn DiskFile) -> Result<LogHeader, WalkError> {
    let mut block = [0; HEADER_BLOCK_BYTES];
    let read = file.read_at(&mut block, 0)?;
    let bad = |what: String| WalkError::Bad(Bad { offset: 0, after: Seq(0), what, group: None });
    if read < block.len() {
        return Err(bad(format!("only {read} bytes, less than the header block")));
    }
    LogHeader::from_block(&block).map_err(bad)
}

/// A position in a segment file and the bytes read around it.
pub struct Walker<'a> {
    file: &'a dyn DiskFile,
    id: LogId,
    /// No byte from here on is looked at.
    end: u64,
    at: u64,
    next: Seq,
    group: Option<OpenGroup>,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

/// The group the walker is in.
#[derive(Clone, Copy)]
struct OpenGroup {
    offset: u64,
    header: GroupHeader,
    left: u64,
}

impl<'a> Walker<'a> {
    /// Starts before the group at `at`, whose first record is `next`, and never looks beyond `end`.
    pub fn new(file: &'a dyn DiskFile, id: LogId, at: u64, next: Seq, end: u64) -> Walker<'a> {
        let window_bytes = WINDOW_BYTES;
        Walker { file, id, end, at, next, group: None, window: Vec::new(), window_at: at, window_bytes }
    }

    /// The same, reading at most about `bytes` ahead.
    pub fn reading_ahead(mut self, bytes: usize) -> Walker<'a> {
        self.window_bytes = bytes.clamp(GROUP_HEADER_BYTES, WINDOW_BYTES);
        self
    }

    /// The offset of the next thing.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The seq of the next record.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The next thing, or `None` at the end, or at zeros where a group could start.
    ///
    /// # Errors
    /// The file can't be read, or the bytes are neither a sound group or record nor zeros.
    pub fn step(&mut self) -> Result<Option<Item<'_>>, WalkError> {
        match self.group {
            Some(group) if group.left > 0 => self.record(group).map(Some),
            Some(_) | None => self.group_header(),
        }
    }

    fn group_header(&mut self) -> Result<Option<Item<'_>>, WalkError> {
        self.group = None;
        let (at, next, id) = (self.at, self.next, self.id);
        let bytes = self.peek(GROUP_HEADER_BYTES)?;
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = bytes.first_chunk().and_then(|chunk| GroupHeader::from_bytes(chunk, id));
        let Some(header) = header else {
            return Err(self.bad("neither a group header nor zeros".to_owned()));
        };
        if header.first != next {
            return Err(self.bad(format!("a group that starts at seq {} instead of {next}", header.first)));
        }
        if header.length > 0 {
            self.group = Some(OpenGroup { offset: at, header, left: u64::from(header.length) });
        }
        self.at += GROUP_HEADER_BYTES as u64;
        Ok(Some(Item::Group { header, offset: at }))
    }

    fn record(&mut self, group: OpenGroup) -> Result<Item<'_>, WalkError> {
        let head = self.peek(HEADER_BYTES)?;
        let Some(head) = head.first_chunk::<HEADER_BYTES>() else {
            return Err(self.bad("the file ends inside a group".to_owned()));
        };
        let length = match record::length(head) {
            Ok(length) => length,
            Err(error) => return Err(self.bad(error.to_string())),
        };
        if length as u64 > group.left {
            return Err(
                self.bad(format!("a record of {length} bytes where its group has {} left", group.left))
            );
        }
        let next = self.next;
        let left = group.left - length as u64;
        let whole = self.peek(length)?;
        let sound = check(whole, next, left == 0, group.header.last);
        if let Err(what) = sound {
            return Err(self.bad(what));
        }
        self.group = Some(OpenGroup { left, ..group });
        let start = (self.at - self.window_at) as usize;
        self.at += length as u64;
        self.next = next.next();
        Ok(Item::Record { seq: next, bytes: &self.window[start..start + length] })
    }

    /// Up to `want` bytes from the current place; fewer only when the file ends before.
    fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        let have = self.window_at + self.window.len() as u64;
        let need = (self.at + want as u64).min(self.end);
        if self.at < self.window_at || need > have {
            let room = (self.end - self.at.min(self.end)) as usize;
            self.window.resize(want.max(self.window_bytes).min(room), 0);
            let read = self.file.read_at(&mut self.window, self.at)?;
            self.window.truncate(read);
            self.window_at = self.at;
        }
        let start = (self.at - self.window_at) as usize;
        let end = (start + want).min(self.window.len());
        Ok(&self.window[start.min(end)..end])
    }

    fn bad(&self, what: String) -> WalkError {
        let after = Seq(self.next.0.saturating_sub(1));
        let group = self.group.map(|group| (group.offset, group.header));
        WalkError::Bad(Bad { offset: self.at, after, what, group })
    }
}

fn check(whole: &[u8], next: Seq, ends_group: bool, group_last: Seq) -> Result<(), String> {
    let record = match record::read(whole) {
        Ok(Some((record, _))) => record,
        Ok(None) => return Err("the file ends inside a record".to_owned()),
        Err(RecordError::Checksum { stored, computed, .. }) => {
            return Err(format!(
                "the record that should be seq {next} has a wrong checksum (stored {stored:08x}, computed {computed:08x})"
            ));
        }
        Err(error) => return Err(error.to_string()),
    };
    if record.kind != Kind::Event {
        return Err(format!("a {:?} record, but a log holds events", record.kind));
    }
    if record.seq != next {
        return Err(format!("seq {} where {next} should be", record.seq));
    }
    if ends_group != (next == group_last) {
        return Err(format!(
            "seq {next} ends its group: {ends_group}, but the group should end at {group_last}"
        ));
    }
    Ok(())
}

/// The first byte from `from` on that isn't zero, if there is one.
///
/// # Errors
/// What the operating system says.
pub fn first_nonzero(file: &dyn DiskFile, from: u64, end: u64) -> io::Result<Option<u64>> {
    search(file, from, end, 1, |bytes| bytes.iter().position(|b| *b != 0))
}

/// The offset of a sound group header after `after`, anywhere from `from` on: proof that what precedes it was durable
/// once, since a group is only written when those before it are.
///
/// # Errors
/// What the operating system says.
pub fn later_group(
    file: &dyn DiskFile,
    id: LogId,
    from: u64,
    end: u64,
    after: Seq,
) -> io::Result<Option<u64>> {
    search(file, from, end, GROUP_HEADER_BYTES, |bytes| {
        bytes.windows(GROUP_HEADER_BYTES).position(|w| {
            w[0] == GROUP_MAGIC[0]
                && w.first_chunk()
                    .and_then(|c| GroupHeader::from_bytes(c, id))
                    .is_some_and(|g| g.first > after)
        })
    })
}

/// Looks for something of `size` bytes, window by window, overlapping so that nothing is missed between two.
fn search(
    file: &dyn DiskFile,
    from: u64,
    end: u64,
    size: usize,
    find: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = from;
    while at + size as u64 <= end {
        let want = window.len().min((end - at) as usize);
        let read = file.read_at(&mut window[..want], at)?;
        if read < size {
            break;
        }
        if let Some(found) = find(&window[..read]) {
            return Ok(Some(at + found as u64));
        }
        at += (read - size + 1) as u64;
    }
    Ok(None)
}
