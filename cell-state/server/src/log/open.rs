//! Opening a log: every file is walked from end to end, a torn tail is cut off, damage is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell_state::Seq;
use parking_lot::RwLock;

use super::disk::{Disk, DiskFile};
use super::format::{self, GROUP_HEADER_BYTES, GroupHeader, HEADER_BLOCK_BYTES, LogHeader, LogId};
use super::reading::{Segment, SegmentList, damage};
use super::scan::{self, Bad, Item, WalkError, Walker};
use super::segments::{Options, Segments, io_error, make_segment};
use super::spare::Spare;
use super::{Damage, LogError};

/// An open log, and what had to be done to it.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Segments,
    /// The torn tail that was cut off, if there was one.
    pub cut: Option<Cut>,
    /// Whether the log was made just now.
    pub created: bool,
}

/// A torn tail: the remains of a group that never became durable, so nobody was ever told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where it was cut.
    pub offset: u64,
    /// The last seq that stays.
    pub last: Seq,
    /// What was found there.
    pub what: String,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cut { path, offset, last, what } = self;
        write!(f, "torn tail of {} at offset {offset}, after seq {last}: {what}", path.display())
    }
}

/// One file of a log, walked from end to end.
#[derive(Debug)]
pub struct Walked {
    /// What its header block says.
    pub header: LogHeader,
    /// Its last sound seq; one before the first when it has none.
    pub last: Seq,
    /// Where the sound groups end.
    pub end: u64,
    /// Its length.
    pub file_bytes: u64,
    /// The first place that is neither sound nor zero.
    pub bad: Option<Bad>,
    /// A sound group behind that place: what precedes it was durable once.
    pub proof: Option<u64>,
}

/// Walks the whole file, and calls `see` for each group and record.
///
/// # Errors
/// The file can't be read, or its header block is bad.
pub fn walk_file(file: &dyn DiskFile, mut see: impl FnMut(Item<'_>)) -> Result<Walked, WalkError> {
    let header = scan::header(file)?;
    let file_bytes = file.length()?;
    let mut end = HEADER_BLOCK_BYTES as u64;
    let mut last = Seq(header.first.0.saturating_sub(1));
    let mut walker = Walker::new(file, header.id, end, header.first, file_bytes);
    let mut bad = loop {
        match walker.step() {
            Ok(Some(item)) => see(item),
            Ok(None) => break None,
            Err(WalkError::Bad(bad)) => break Some(bad),
            Err(WalkError::Io(error)) => return Err(error.into()),
        }
        last = Seq(walker.next_seq().0 - 1);
        end = walker.offset();
    };
    if bad.is_none()
        && let Some(offset) = scan::first_nonzero(file, end, file_bytes)?
    {
        bad = Some(Bad { offset, after: last, what: "bytes behind the last group".to_owned(), group: None });
    }
    let proof = match &bad {
        // The bad group's own header proves nothing, so the search starts behind it.
        Some(bad) => {
            let from = bad.group.map_or(end, |(offset, _)| offset + GROUP_HEADER_BYTES as u64);
            scan::later_group(file, header.id, from, file_bytes, last)?
        }
        None => None,
    };
    Ok(Walked { header, last, end, file_bytes, bad, proof })
}

/// The segment files in a directory by their first seq, in order.
///
/// # Errors
/// The operating system refused.
pub fn segment_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<(Seq, PathBuf)>, LogError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    let mut files: Vec<_> =
        names.iter().filter_map(|name| Some((format::first_of(name)?, dir.join(name)))).collect();
    files.sort();
    Ok(files)
}

impl Segments {
    /// Whether there is a log in the directory.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, LogError> {
        Ok(!segment_files(disk, dir)?.is_empty())
    }

    /// Opens the log in a directory, and makes one if there is none.
    ///
    /// # Errors
    /// The operating system refused, a file is damaged, or it is the log of another cell.
    pub fn open(disk: Arc<dyn Disk>, mut options: Options) -> Result<Opened, LogError> {
        let dir = options.dir.clone();
        disk.create_dir(&dir).map_err(io_error("make", &dir))?;
        let files = segment_files(&*disk, &dir)?;
        if files.is_empty() {
            return create(disk, options);
        }
        let mut list = SegmentList { segments: Default::default() };
        let mut id = None;
        let mut cut = None;
        let count = files.len();
        for (index, (first, path)) in files.into_iter().enumerate() {
            let (segment, header, torn) = load(&*disk, first, &path, index + 1 == count)?;
            if !options.cell.is_empty() && header.cell != options.cell {
                return Err(LogError::OtherCell { path, found: header.cell, expected: options.cell });
            }
            options.cell = header.cell;
            let expected = list.segments.back().map_or(first, |before: &Segment| before.last.next());
            check_sequence(&segment, expected, *id.get_or_insert(header.id), header.id)?;
            list.segments.push_back(segment);
            cut = torn;
        }
        let active = list.segments.back().expect("the directory holds a file");
        let (file, path) = (active.file.clone(), active.path.clone());
        let (end, last) = (active.end, active.last);
        make_sure(&*file, active).map_err(io_error("sync", &path))?;
        disk.sync_dir(&dir).map_err(io_error("sync", &dir))?;
        let id = id.expect("the directory holds a file");
        let list = Arc::new(RwLock::new(list));
        let spare = Spare::None;
        let (appended, failed) = (false, false);
        let mut log = Segments {
            disk,
            options,
            id,
            list,
            spare,
            active: file,
            active_path: path,
            end,
            last,
            appended,
            failed,
        };
        log.make_spare();
        Ok(Opened { log, cut, created: false })
    }
}

/// Makes the last group durable before anyone builds on it. The process may have been killed before its sync, or the
/// sync may have failed, after which the kernel takes pages it never wrote for written: so it is written again.
fn make_sure(file: &dyn DiskFile, segment: &Segment) -> std::io::Result<()> {
    if let Some(start) = segment.last_group {
        let mut bytes = vec![0; (segment.end - start) as usize];
        let read = file.read_at(&mut bytes, start)?;
        file.write_at(&bytes[..read], start)?;
    }
    file.sync()
}

fn check_sequence(segment: &Segment, expected: Seq, id: LogId, found: LogId) -> Result<(), LogError> {
    let what = if found != id {
        format!("it belongs to log {found}, the files before it to log {id}")
    } else if segment.first != expected {
        format!(
            "it starts at seq {} where {expected} should be: a file is missing or cut short",
            segment.first
        )
    } else {
        return Ok(());
    };
    let after = Seq(expected.0.saturating_sub(1));
    Err(Damage { path: segment.path.clone(), offset: 0, after, what }.into())
}

/// Walks one file; of the last one the torn tail is cut off.
fn load(
    disk: &dyn Disk,
    first: Seq,
    path: &Path,
    is_last: bool,
) -> Result<(Segment, LogHeader, Option<Cut>), LogError> {
    let file: Arc<dyn DiskFile> = Arc::from(disk.open(path).map_err(io_error("open", path))?);
    let file_bytes = file.length().map_err(io_error("read", path))?;
    let mut segment = Segment::empty(Seq(first.0.max(1)), path.to_owned(), file.clone(), file_bytes);
    let mut open: Option<(GroupHeader, u64)> = None;
    let walked = walk_file(&*file, |item| match item {
        Item::Group { header, offset } => open = (header.length > 0).then_some((header, offset)),
        Item::Record { seq, .. } => {
            if let Some((group, offset)) = open.filter(|(group, _)| group.last == seq) {
                let end = offset + GROUP_HEADER_BYTES as u64 + u64::from(group.length);
                segment.grow(group.first, offset, group.last, end);
            }
        }
    });
    let walked = walked.map_err(|error| damage(error, path.to_owned()))?;
    if walked.header.first != first {
        let what = format!("its name says seq {first}, its header {}", walked.header.first);
        return Err(Damage { path: path.to_owned(), offset: 0, after: Seq(0), what }.into());
    }
    let Some(bad) = walked.bad else {
        segment.end = walked.end;
        return Ok((segment, walked.header, None));
    };
    let behind = match walked.proof {
        Some(offset) => Some(format!("a sound group follows at offset {offset}")),
        None if !is_last => Some("a later file follows".to_owned()),
        None => None,
    };
    if let Some(behind) = behind {
        let what = format!("{}; it is no torn tail, for {behind}", bad.what);
        return Err(Damage { path: path.to_owned(), offset: bad.offset, after: bad.after, what }.into());
    }
    let cut = cut_off(&*file, path, walked.header.id, &mut segment, &bad, walked.end)?;
    Ok((segment, walked.header, Some(cut)))
}

/// Cuts a torn tail off: what is sound of its group stays, the rest becomes zeros again.
fn cut_off(
    file: &dyn DiskFile,
    path: &Path,
    id: LogId,
    segment: &mut Segment,
    bad: &Bad,
    end: u64,
) -> Result<Cut, LogError> {
    tracing::warn!(
        file = %path.display(), offset = bad.offset, last_seq = bad.after.0, found = bad.what,
        "the log ends in a torn group, which was never acknowledged: cutting it off"
    );
    let mut from = end;
    if let Some((offset, header)) = bad.group {
        // `end` is behind the group's last sound record, or behind its header when it has none.
        let body = end - offset - GROUP_HEADER_BYTES as u64;
        if body > 0 {
            let shorter = GroupHeader { first: header.first, last: bad.after, length: body as u32 };
            file.write_at(&shorter.to_bytes(id), offset).map_err(io_error("write", path))?;
            segment.grow(shorter.first, offset, shorter.last, end);
        } else {
            from = offset;
        }
    }
    zero(file, from).map_err(io_error("write", path))?;
    file.sync().map_err(io_error("sync", path))?;
    segment.end = from;
    Ok(Cut { path: path.to_owned(), offset: from, last: bad.after, what: bad.what.clone() })
}

/// Fills the file with zeros from here to its end, but leaves alone what is zero already.
fn zero(file: &dyn DiskFile, from: u64) -> std::io::Result<()> {
    let length = file.length()?;
    let zeros = vec![0; 64 << 10];
    let mut at = from;
    while let Some(start) = scan::first_nonzero(file, at, length)? {
        let piece = zeros.len().min((length - start) as usize);
        file.write_at(&zeros[..piece], start)?;
        at = start + piece as u64;
    }
    Ok(())
}

fn create(disk: Arc<dyn Disk>, options: Options) -> Result<Opened, LogError> {
    let header = LogHeader { id: options.new_id, cell: options.cell.clone(), first: Seq(1) };
    let mut spare = Spare::None;
    let (path, file) = make_segment(&*disk, &mut spare, &options, &header)?;
    let segment = Segment::empty(header.first, path.clone(), file.clone(), options.segment_bytes);
    let list = Arc::new(RwLock::new(SegmentList { segments: [segment].into() }));
    let end = HEADER_BLOCK_BYTES as u64;
    let mut log = Segments {
        disk,
        id: options.new_id,
        options,
        list,
        spare,
        active: file,
        active_path: path,
        end,
        last: Seq(0),
        appended: false,
        failed: false,
    };
    log.make_spare();
    Ok(Opened { log, cut: None, created: true })
}
