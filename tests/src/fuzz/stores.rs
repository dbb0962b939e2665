//! What is read from disk and from streams: records, log files, pages of a snapshot, keys and values of a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cell_server::checkpoint::layout;
use cell_server::log::disk::Disk;
use cell_server::log::faulty::FaultyDisk;
use cell_server::log::format::{GroupHeader, LogHeader, file_name};
use cell_server::log::{Group, Log, LogId, Options, Segments};
use cell_state::audit::audit;
use cell_state::page::{PageKey, Restore};
use cell_state::record::{self, Kind};
use cell_state::{Cell, JobId, MachineId, Seq, SessionId};
use transport::RecordBuffer;

use super::draw::Draw;

/// Bytes as records, and as the body of records whose checksum is right.
pub(super) fn records(bytes: &[u8]) {
    walk(bytes);
    let mut buffer = RecordBuffer::default();
    for piece in bytes.chunks(7) {
        buffer.push(piece);
        match buffer.take() {
            Ok(Some(whole)) => walk(&whole),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    let Some((first, body)) = bytes.split_first() else { return };
    let kinds = Kind::ALL;
    let mut sealed = Vec::new();
    record::append(&mut sealed, Seq(u64::from(*first)), kinds[usize::from(*first) % kinds.len()], &());
    sealed.extend_from_slice(body);
    let length = (sealed.len() - record::HEADER_BYTES) as u32;
    sealed[..4].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&sealed[8..]);
    sealed[4..8].copy_from_slice(&crc.to_le_bytes());
    walk(&sealed);
}

fn walk(mut bytes: &[u8]) {
    while let Ok(Some((record, length))) = record::read(bytes) {
        if let Ok(event) = record.event() {
            let mut again = Vec::new();
            record::append_event(&mut again, record.seq, &event);
            let (record, _) = record::read(&again).expect("what we write is sound").expect("and whole");
            assert_eq!(record.event().expect("an event"), event, "an event changed on the way");
        }
        drop((record.page(), record.hash(), record.loads()));
        bytes = &bytes[length..];
    }
}

const LOG_ID: LogId = LogId(0x0123_4567_89ab_cdef);
const LOG_DIR: &str = "/data/log";

/// Bytes behind the sound header of a log file; the first says how much of what follows is made sound, too. Opening is
/// an error or a log that reads to its end and goes on.
pub(super) fn log_file(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut file = LogHeader { id: LOG_ID, cell: "dev".to_owned(), first: Seq(1) }.to_block().to_vec();
    match mode % 4 {
        0 => file.truncate(0),
        1 => {}
        2 => {
            // A sound group header before any bytes.
            let length = bytes.len() as u32;
            file.extend(GroupHeader { first: Seq(1), last: Seq(u64::from(*mode)), length }.to_bytes(LOG_ID));
        }
        _ => {
            // And a sound record in it.
            let mut sound = Vec::new();
            record::append(&mut sound, Seq(1), Kind::Event, &u64::from(*mode));
            let length = (sound.len() + bytes.len() / 2) as u32;
            file.extend(GroupHeader { first: Seq(1), last: Seq(2), length }.to_bytes(LOG_ID));
            file.extend(sound);
        }
    }
    file.extend_from_slice(bytes);
    file.resize(file.len() + 512, 0);

    let disk = FaultyDisk::new();
    let path = Path::new(LOG_DIR).join(file_name(Seq(1)));
    drop(disk.create(&path).expect("an empty disk"));
    disk.sync_dir(Path::new(LOG_DIR)).expect("a sound disk");
    disk.set_bytes(&path, file);
    let mut options = Options::new(PathBuf::from(LOG_DIR), "dev", LOG_ID);
    (options.segment_bytes, options.ahead) = (64 << 10, false);
    let Ok(opened) = Segments::open(Arc::new(disk.clone()), options.clone()) else { return };
    let mut log = opened.log;
    read_whole(&log);
    let next = log.last().next();
    let mut one = Vec::new();
    record::append(&mut one, next, Kind::Event, &7u64);
    log.append(&Group { first: next, last: next, bytes: Bytes::from(one) }).expect("an opened log goes on");
    drop(log);
    let again = Segments::open(Arc::new(disk), options).expect("a log that was closed opens");
    assert_eq!((again.log.last(), again.cut), (next, None), "what was appended is there");
    read_whole(&again.log);
}

fn read_whole(log: &Segments) {
    let reader = log.reader();
    let mut next = log.first();
    while next <= log.last() {
        let piece = reader.read(next, 1_000).expect("an opened log reads");
        assert!(piece.first == next && piece.last >= next, "a piece without records");
        next = piece.last.next();
    }
}

/// Pages, one after another: kind, number, length, bytes. They make a state, which can be looked at and written, or an
/// error.
pub(super) fn pages(bytes: &[u8]) {
    let mut restore = Restore::new(Seq(9));
    let mut draw = Draw(bytes);
    while !draw.is_over() {
        let number = u32::from(draw.below(4));
        let key = match draw.below(8) {
            0 => PageKey::Meta,
            1 => PageKey::Specs(number),
            2 => PageKey::Machines(number),
            3 => PageKey::Jobs(number),
            4 => PageKey::Tasks(number),
            5 => PageKey::Group(JobId(number), 0, 0),
            6 => PageKey::Session(SessionId(number)),
            _ => PageKey::Assigned(MachineId(number)),
        };
        let length = usize::from(u16::from_le_bytes([draw.byte(), draw.byte()])).min(draw.0.len());
        let (body, rest) = draw.0.split_at(length);
        draw.0 = rest;
        if restore.add(key, body).is_err() {
            return;
        }
    }
    if let Ok(mut cell) = restore.finish() {
        cell.hash();
        // Pages that contradict each other make a state that the audit complains about.
        if audit(&cell).is_empty() {
            same_from_its_pages(&mut cell);
        }
    }
}

/// A cell is the same when it is read back from its own pages.
pub(super) fn same_from_its_pages(cell: &mut Cell) {
    let mut restore = Restore::new(cell.seq());
    for key in cell.page_keys() {
        let bytes = cell.encode_page(&key).expect("a page of the state");
        restore.add(key, &bytes).expect("a page we wrote");
    }
    let mut restored = restore.finish().expect("pages we wrote fit together");
    assert_eq!(restored.hash(), cell.hash(), "another state came back from its pages");
}

/// Names of pages: bytes are a name or none, and their order is the names'.
pub(super) fn page_keys(bytes: &[u8]) {
    let keys: Vec<(&[u8], PageKey)> =
        bytes.chunks(11).filter_map(|bytes| Some((bytes, PageKey::from_bytes(bytes)?))).collect();
    let empty = Cell::new();
    for (bytes, key) in &keys {
        let written = key.to_bytes();
        assert_eq!(PageKey::from_bytes(&written), Some(*key), "a name reads back");
        assert!(written.len() == bytes.len() && written[0] == bytes[0], "a name has one form");
        // Nobody but the cell's own pages names one, but asking for any is harmless.
        if *key != PageKey::Meta {
            assert_eq!(empty.encode_page(key), None, "{key:?} of an empty cell");
        }
    }
    for pair in keys.windows(2) {
        let (one, two) = (pair[0].1, pair[1].1);
        assert_eq!(one.cmp(&two), one.to_bytes().cmp(&two.to_bytes()), "{one:?} {two:?}");
    }
}

/// Keys and values of a checkpoint, as they are and with a right checksum.
pub(super) fn checkpoint(bytes: &[u8]) {
    let _ = layout::Meta::from_bytes(bytes);
    layout::parse_key(bytes);
    let Some((key_length, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*key_length).min(rest.len()));
    let _ = layout::parse_value(key, value);
    if let Some((page, at, piece)) = layout::parse_key(key) {
        assert_eq!(layout::parse_key(&layout::key(&page, at, piece)), Some((page, at, piece)));
    }
    let mut joined = Vec::new();
    for (key, value) in layout::entries(PageKey::Meta, Seq(3), Some(value)) {
        let piece = layout::parse_value(&key, &value).expect("what we write reads back");
        joined.extend_from_slice(piece.body);
    }
    assert_eq!(joined, value, "a page changed in a checkpoint");
}
