//! Reading the log while it is being written: a list of files with a sparse index each, shared with the writer.
//!
//! Only what is durable is in the list, so a reader can't see a group before it is acknowledged.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cell_state::Seq;
use parking_lot::RwLock;

use super::disk::DiskFile;
use super::format::{HEADER_BLOCK_BYTES, LogId};
use super::scan::{Item, WalkError, Walker};
use super::segments::{STRIDE, io_error};
use super::{Damage, Group, LogError, Piece, ReadError, ReadLog};

/// The files of a log, oldest first. Their seqs follow each other without gaps.
#[derive(Debug)]
pub(super) struct SegmentList {
    pub(super) segments: VecDeque<Segment>,
}

/// One file.
pub(super) struct Segment {
    pub(super) first: Seq,
    /// Its last seq; one before `first` while it is empty.
    pub(super) last: Seq,
    /// Where its groups end.
    pub(super) end: u64,
    /// The length of the file, preallocated space included.
    pub(super) file_bytes: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Where its last group starts.
    pub(super) last_group: Option<u64>,
    /// The first seq and the offset of some groups, at least `STRIDE` bytes apart.
    index: Vec<(Seq, u64)>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({}: {}..={})", self.path.display(), self.first, self.last)
    }
}

impl Segment {
    pub(super) fn empty(first: Seq, path: PathBuf, file: Arc<dyn DiskFile>, file_bytes: u64) -> Segment {
        let (last, end) = (Seq(first.0 - 1), HEADER_BLOCK_BYTES as u64);
        Segment { first, last, end, file_bytes, path, file, last_group: None, index: Vec::new() }
    }

    /// Notes a group that starts at `start` and after which the file holds records up to `last` and ends at `end`.
    pub(super) fn grow(&mut self, first: Seq, start: u64, last: Seq, end: u64) {
        if self.index.last().is_none_or(|(_, offset)| start >= offset + STRIDE) {
            self.index.push((first, start));
        }
        self.last = last;
        self.end = end;
        self.last_group = Some(start);
    }

    /// A group start at or before the record of this seq.
    fn start_of(&self, seq: Seq) -> (Seq, u64) {
        let after = self.index.partition_point(|(first, _)| *first <= seq);
        match after.checked_sub(1) {
            Some(at) => self.index[at],
            None => (self.first, HEADER_BLOCK_BYTES as u64),
        }
    }
}

impl SegmentList {
    pub(super) fn first(&self) -> Seq {
        self.segments.front().expect("a log has at least one file").first
    }

    pub(super) fn last(&self) -> Seq {
        self.segments.back().expect("a log has at least one file").last
    }

    /// The file that holds the record of this seq.
    fn holding(&self, seq: Seq) -> Option<&Segment> {
        let after = self.segments.partition_point(|s| s.first <= seq);
        self.segments.get(after.checked_sub(1)?).filter(|s| seq <= s.last)
    }
}

/// The reader of [`super::Segments`].
pub(super) struct SegmentReader {
    pub(super) list: Arc<RwLock<SegmentList>>,
    pub(super) id: LogId,
}

/// What a read needs to know of a file, taken out of the list so that the writer isn't held up.
struct Place {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    first: Seq,
    offset: u64,
    end: u64,
}

impl SegmentReader {
    /// Where to start for `from`, or `None` when it is one past the last.
    fn place(&self, from: Seq) -> Result<Option<Place>, ReadError> {
        let list = self.list.read();
        let (oldest, last) = (list.first(), list.last());
        if from < oldest {
            return Err(ReadError::TooOld { wanted: from, oldest });
        }
        let Some(segment) = list.holding(from) else {
            return if from == last.next() {
                Ok(None)
            } else {
                Err(ReadError::TooNew { wanted: from, last })
            };
        };
        let (first, offset) = segment.start_of(from);
        let (file, path) = (segment.file.clone(), segment.path.clone());
        Ok(Some(Place { file, path, first, offset, end: segment.end }))
    }
}

impl ReadLog for SegmentReader {
    fn read(&self, from: Seq, bytes_max: usize) -> Result<Piece, ReadError> {
        let Some(place) = self.place(from)? else { return Ok(Group::none(from)) };
        let walker = Walker::new(&*place.file, self.id, place.offset, place.first, place.end);
        let mut walker = walker.reading_ahead(bytes_max.saturating_add(STRIDE as usize));
        let mut out = Vec::with_capacity(bytes_max.min(STRIDE as usize));
        let mut last = None;
        loop {
            match walker.step() {
                Ok(Some(Item::Group { .. })) => {}
                Ok(Some(Item::Record { seq, bytes })) if seq >= from => {
                    if !out.is_empty() && out.len() + bytes.len() > bytes_max {
                        break;
                    }
                    out.extend_from_slice(bytes);
                    last = Some(seq);
                }
                Ok(Some(Item::Record { .. })) => {}
                Ok(None) => break,
                // What is sound comes first; the damage is reported when it is reached.
                Err(_) if !out.is_empty() => break,
                Err(error) => return Err(damage(error, place.path).into()),
            }
        }
        let Some(last) = last else {
            let what = format!("the file ends before seq {from}");
            return Err(LogError::from(Damage {
                path: place.path,
                offset: walker.offset(),
                after: walker.next_seq(),
                what,
            })
            .into());
        };
        Ok(Piece { first: from, last, bytes: Bytes::from(out) })
    }

    fn range(&self) -> (Seq, Seq) {
        let list = self.list.read();
        (list.first(), list.last())
    }

    fn oldest_within(&self, bytes: u64) -> Seq {
        let list = self.list.read();
        let mut sum = 0;
        let kept = list.segments.iter().rev().take_while(|segment| {
            sum += segment.file_bytes.max(segment.end);
            sum <= bytes
        });
        kept.last()
            .map_or_else(|| list.segments.back().expect("a log has at least one file").first, |s| s.first)
    }
}

pub(super) fn damage(error: WalkError, path: PathBuf) -> LogError {
    match error {
        WalkError::Io(source) => io_error("read", &path)(source),
        WalkError::Bad(bad) => Damage { path, offset: bad.offset, after: bad.after, what: bad.what }.into(),
    }
}
