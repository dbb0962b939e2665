//! The embedded log: append-only segment files, preallocated and zero-filled, one sync per group.
//!
//! ```text
//! log/00000000000000000001.log   header block │ group │ group │ … │ group │ zeros
//! log/00000000000000052114.log   header block │ group │ zeros
//! log/spare                      zeros: the next segment, before it has a name
//! ```
//!
//! **Why a torn tail is never acknowledged data.** One group is in flight at a time: it is written, synced, and only
//! then is anyone told and the next one written. So a power cut can only touch the last group of the last file, whole
//! or in parts and in any order, and nobody was told of that group. Whoever finds a bad place with a sound group
//! *after* it therefore looks at bytes that were durable once: that is damage, never a torn tail, and opening refuses.
//! A file gets its name only after its header is durable, and the next file only when every group of the one before
//! is, so a bad place in any file but the last is damage too. A clean close ends the log with a *mark*, an empty
//! group, which proves the same for the last group.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell_state::Seq;
use parking_lot::RwLock;

use super::disk::{Disk, DiskFile};
use super::format::{self, GROUP_HEADER_BYTES, GroupHeader, HEADER_BLOCK_BYTES, LogHeader, LogId};
use super::reading::{Segment, SegmentList};
use super::spare::Spare;
use super::{Group, Log, LogError, LogReader};
use crate::bounds::{SEGMENT_BYTES, SEGMENT_INDEX_STRIDE};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// The name of the cell; empty takes whatever the files say.
    pub cell: String,
    /// The size of new files. A group larger than that gets a file of its own size.
    pub segment_bytes: u64,
    /// Whether the next file is made ahead of need by a thread; without, in line, which tests can count on.
    pub ahead: bool,
    /// The id of a log that has to be made.
    pub new_id: LogId,
}

impl Options {
    /// The settings for production.
    pub fn new(dir: PathBuf, cell: &str, new_id: LogId) -> Options {
        Options { dir, cell: cell.to_owned(), segment_bytes: SEGMENT_BYTES, ahead: true, new_id }
    }
}

/// A log in segment files. Opened by [`Segments::open`].
pub struct Segments {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) id: LogId,
    pub(super) list: Arc<RwLock<SegmentList>>,
    pub(super) spare: Spare,
    /// The file that is written to, its end, and the last seq.
    pub(super) active: Arc<dyn DiskFile>,
    pub(super) active_path: PathBuf,
    pub(super) end: u64,
    pub(super) last: Seq,
    /// Whether anything was appended since it was opened.
    pub(super) appended: bool,
    pub(super) failed: bool,
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segments({}, last {}, {})", self.active_path.display(), self.last, self.id)
    }
}

pub(super) fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { act, path, source }
}

/// Makes a segment file out of the spare: it has its name only once its header is durable.
pub(super) fn make_segment(
    disk: &dyn Disk,
    spare: &mut Spare,
    options: &Options,
    header: &LogHeader,
) -> Result<(PathBuf, Arc<dyn DiskFile>), LogError> {
    let dir = &options.dir;
    let path = dir.join(format::file_name(header.first));
    let blank =
        spare.take(disk, dir, options.segment_bytes).map_err(io_error("preallocate a file for", &path))?;
    let file = disk.open(&blank).map_err(io_error("open", &blank))?;
    file.write_at(&header.to_block(), 0).map_err(io_error("write", &blank))?;
    file.sync().map_err(io_error("sync", &blank))?;
    disk.rename(&blank, &path).map_err(io_error("name", &path))?;
    disk.sync_dir(dir).map_err(io_error("sync", dir))?;
    Ok((path, Arc::from(file)))
}

impl Segments {
    fn write(&mut self, group: &Group) -> Result<(), LogError> {
        let length = GROUP_HEADER_BYTES as u64 + group.bytes.len() as u64;
        if self.end + length > self.options.segment_bytes && self.end > HEADER_BLOCK_BYTES as u64 {
            self.roll()?;
        }
        let length_field = u32::try_from(group.bytes.len()).expect("a group is bounded far below 4 GiB");
        let header = GroupHeader { first: group.first, last: group.last, length: length_field };
        let path = &self.active_path;
        // Header and records in one write: for small groups, the usual case, the copy costs less than a second call.
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend(header.to_bytes(self.id));
        bytes.extend(&group.bytes[..]);
        self.active.write_at(&bytes, self.end).map_err(io_error("append to", path))?;
        self.active.sync().map_err(io_error("sync", path))?;
        let start = self.end;
        self.end += length;
        self.last = group.last;
        self.appended = true;
        let mut list = self.list.write();
        let segment = list.segments.back_mut().expect("a log has at least one file");
        segment.grow(group.first, start, group.last, self.end);
        Ok(())
    }

    /// Goes on in a new file.
    fn roll(&mut self) -> Result<(), LogError> {
        let header = LogHeader { id: self.id, cell: self.options.cell.clone(), first: self.last.next() };
        let (path, file) = make_segment(&*self.disk, &mut self.spare, &self.options, &header)?;
        self.active = file.clone();
        self.active_path = path.clone();
        self.end = HEADER_BLOCK_BYTES as u64;
        let segment = Segment::empty(header.first, path, file, self.options.segment_bytes);
        self.list.write().segments.push_back(segment);
        self.make_spare();
        Ok(())
    }

    pub(super) fn make_spare(&mut self) {
        if self.options.ahead {
            self.spare.settle();
            self.spare =
                Spare::start(self.disk.clone(), self.options.dir.clone(), self.options.segment_bytes);
        }
    }
}

impl Log for Segments {
    fn append(&mut self, group: &Group) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Stopped);
        }
        let records = group.last.0.wrapping_sub(group.first.0).wrapping_add(1);
        if group.first != self.last.next() || group.last < group.first || (group.bytes.len() as u64) < records
        {
            return Err(LogError::Gap { first: group.first, last: group.last, after: self.last });
        }
        let written = self.write(group);
        self.failed = written.is_err();
        written
    }

    fn first(&self) -> Seq {
        self.list.read().first()
    }

    fn last(&self) -> Seq {
        self.last
    }

    fn id(&self) -> LogId {
        self.id
    }

    fn bytes(&self) -> u64 {
        self.list.read().segments.iter().map(|s| s.file_bytes.max(s.end)).sum()
    }

    fn reader(&self) -> LogReader {
        LogReader::new(Arc::new(super::reading::SegmentReader { list: self.list.clone(), id: self.id }))
    }

    fn trim(&mut self, upto: Seq) -> Result<Seq, LogError> {
        loop {
            let path = {
                let list = self.list.read();
                match (list.segments.front(), list.segments.get(1)) {
                    (Some(oldest), Some(next)) if next.first <= upto.next() => oldest.path.clone(),
                    (Some(_) | None, Some(_) | None) => return Ok(list.first()),
                }
            };
            // Readers first: one that is in the middle of the file keeps its handle, no new one starts.
            let gone = self.list.write().segments.pop_front();
            // One by one from the old end, each durable before the next, so that no power cut leaves a gap.
            let removed = match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(io_error("delete", &path)(error))
                }
                // Not found: an earlier trim deleted it and then failed to sync.
                Ok(()) | Err(_) => Ok(()),
            };
            let removed = removed.and_then(|()| {
                self.disk.sync_dir(&self.options.dir).map_err(io_error("sync", &self.options.dir))
            });
            if let (Err(error), Some(segment)) = (removed, gone) {
                self.list.write().segments.push_front(segment);
                return Err(error);
            }
        }
    }
}

impl Drop for Segments {
    /// Ends a log that is closed in good order with a mark, so that the next start can tell damage of the last
    /// group from a torn tail. Without it nothing is lost, hence errors are ignored.
    fn drop(&mut self) {
        self.spare.settle();
        if !self.failed && self.appended {
            let mark = GroupHeader::mark(self.last).to_bytes(self.id);
            let _ = self.active.write_at(&mark, self.end).and_then(|()| self.active.sync());
        }
    }
}

/// Bytes of group starts between two entries of a file's index: what a reader has to skip at most, besides one group.
pub(super) const STRIDE: u64 = SEGMENT_INDEX_STRIDE;
