//! A short, varied log to break: what the tests of the log and of recovery write.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cell_server::log::faulty::{Chance, FaultyDisk};
use cell_server::log::{Group, Log, LogError, LogId, Opened, Options, Segments};
use cell_state::event::Event;
use cell_state::ids::{JobId, SessionId, Time};
use cell_state::{Seq, record};

pub(crate) const DIR: &str = "/data/log";

/// Small files, made in line, so that operations can be counted.
pub(crate) fn options() -> Options {
    let mut options = Options::new(PathBuf::from(DIR), "dev", LogId(0x0123_4567_89ab_cdef));
    options.segment_bytes = 4096 + 2_000;
    options.ahead = false;
    options
}

pub(crate) fn open(disk: &FaultyDisk) -> Result<Opened, LogError> {
    Segments::open(Arc::new(disk.clone()), options())
}

/// The same with files that hold `bytes` bytes of groups.
pub(crate) fn open_wide(disk: &FaultyDisk, bytes: u64) -> Segments {
    let mut options = options();
    options.segment_bytes = 4096 + bytes;
    Segments::open(Arc::new(disk.clone()), options).unwrap().log
}

/// The event at a seq: of very different sizes.
pub(crate) fn event(seq: Seq) -> Event {
    let mut chance = Chance(seq.0);
    match chance.below(3) {
        0 => Event::SessionEnded { session: SessionId(seq.0 as u32), time: Time(seq.0) },
        1 => Event::JobsForgotten { jobs: (0..chance.below(60) as u32).map(JobId).collect() },
        _ => {
            Event::JobsForgotten { jobs: (0..chance.below(400) as u32).map(|n| JobId(n * 100_000)).collect() }
        }
    }
}

pub(crate) fn record(seq: Seq) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::append_event(&mut bytes, seq, &event(seq));
    bytes
}

/// The group of `count` records from `first` on.
pub(crate) fn group(first: Seq, count: u64) -> Group {
    let last = Seq(first.0 + count - 1);
    let bytes: Vec<u8> = (first.0..=last.0).flat_map(|seq| record(Seq(seq))).collect();
    Group { first, last, bytes: Bytes::from(bytes) }
}

/// Appends the next `count` records as one group.
pub(crate) fn append(log: &mut Segments, count: u64) -> Result<(), LogError> {
    log.append(&group(log.last().next(), count))
}

/// Reads everything and compares it with what was written, in pieces of `piece` bytes.
pub(crate) fn assert_whole(log: &Segments, piece: usize) {
    let reader = log.reader();
    let mut next = log.first();
    while next <= log.last() {
        let read = reader.read(next, piece).unwrap();
        assert_eq!(read.first, next);
        assert_eq!(read.bytes, group(read.first, read.last.0 - read.first.0 + 1).bytes);
        next = read.last.next();
    }
    assert!(reader.read(next, piece).unwrap().is_empty());
}
