//! The log with flipped bits, torn tails and missing files: cut off what was never acknowledged, refuse the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::script::{DIR, append, assert_whole, group, open, open_wide, options};
use cell_server::log::disk::{Disk, RealDisk};
use cell_server::log::faulty::FaultyDisk;
use cell_server::log::format::{GROUP_HEADER_BYTES, HEADER_BLOCK_BYTES, file_name};
use cell_server::log::{Damage, Log, LogError, Opened, ReadError, Segments};
use cell_state::Seq;

/// Two full files and a third with three groups: 20..=21, 22 and 23..=25. Closed with a mark, or killed.
fn sample(closed: bool) -> (FaultyDisk, Vec<PathBuf>) {
    let disk = FaultyDisk::new();
    let mut log = open_wide(&disk, 6_000);
    while log.reader().first() == Seq(1) && disk.paths().len() < 3 {
        let count = 1 + log.last().0 % 3;
        append(&mut log, count).unwrap();
    }
    for count in [1, 2, 3] {
        append(&mut log, count).unwrap();
    }
    if closed {
        drop(log);
    } else {
        // Killed: nothing runs.
        std::mem::forget(log);
    }
    let paths = disk.paths();
    assert_eq!(paths.len(), 3);
    (disk, paths)
}

fn flip(disk: &FaultyDisk, path: &Path, offset: usize, bit: u8) {
    let mut bytes = disk.bytes(path).unwrap();
    bytes[offset] ^= 1 << bit;
    disk.set_bytes(path, bytes);
}

/// Where the groups of a file start and end, and their last seqs.
fn groups(disk: &FaultyDisk, path: &Path) -> Vec<(usize, usize, u64)> {
    let bytes = disk.bytes(path).unwrap();
    let mut at = HEADER_BLOCK_BYTES;
    let mut found = Vec::new();
    while bytes[at..].iter().take(GROUP_HEADER_BYTES).any(|b| *b != 0) {
        let field = |from: usize| u64::from_le_bytes(bytes[at + from..at + from + 8].try_into().unwrap());
        let length = u32::from_le_bytes(bytes[at + 24..at + 28].try_into().unwrap()) as usize;
        found.push((at, at + GROUP_HEADER_BYTES + length, field(16)));
        at += GROUP_HEADER_BYTES + length;
    }
    found
}

fn damage_of(result: Result<Opened, LogError>) -> Option<Damage> {
    match result {
        Err(LogError::Damaged(damage)) => Some(damage),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[test]
fn flipped_bits_and_what_becomes_of_them() {
    /// Which file, which place in it, whether the log was closed, and what opening says: a torn tail, or these words.
    #[derive(Clone, Copy)]
    enum Place {
        Byte(usize),
        /// A byte of the n-th group from the end (0 is the last).
        Group(usize, usize),
        EndOfZeros,
    }
    use Place::{Byte, EndOfZeros, Group};
    let torn = "";
    let table: &[(usize, Place, bool, &str)] = &[
        (0, Byte(0), false, "wrong magic"),
        (0, Byte(9), false, "header block's checksum"),
        (1, Byte(24), false, "header block's checksum"),
        (2, Byte(3000), true, "header block's checksum"),
        (0, Group(2, 0), false, "neither a group header nor zeros"),
        (0, Group(0, 5), false, "a later file follows"),
        (0, Group(0, 40), false, "a later file follows"),
        (1, Group(1, 9), true, "a sound group follows"),
        (1, Group(1, 36), true, "wrong checksum"),
        (1, EndOfZeros, true, "a later file follows"),
        (2, Group(1, 3), false, "a sound group follows"),
        (2, Group(1, 33), false, "a sound group follows"),
        (2, Group(1, 60), false, "wrong checksum"),
        (2, Group(0, 3), false, torn),
        (2, Group(0, 33), false, torn),
        (2, Group(0, 60), false, torn),
        (2, EndOfZeros, false, torn),
        (2, Group(1, 3), true, "a sound group follows"),
        (2, Group(1, 60), true, "wrong checksum"),
        (2, Group(0, 3), true, torn),
    ];
    for (row, (file, place, closed, expected)) in table.iter().enumerate() {
        let (disk, paths) = sample(*closed);
        let path = &paths[*file];
        let all = groups(&disk, path);
        let offset = match *place {
            Byte(offset) => offset,
            Group(back, offset) => all[all.len() - 1 - back].0 + offset,
            EndOfZeros => disk.bytes(path).unwrap().len() - 1,
        };
        flip(&disk, path, offset, 5);
        let before: Vec<_> = paths.iter().map(|p| disk.bytes(p)).collect();
        let result = open(&disk);
        if expected.is_empty() {
            let opened = result.unwrap_or_else(|error| panic!("row {row}: {error}"));
            assert!(opened.cut.is_some(), "row {row}");
            assert_whole(&opened.log, 1000);
        } else {
            let damage = damage_of(result).unwrap_or_else(|| panic!("row {row} opened"));
            assert_eq!(&damage.path, path, "row {row}: {damage}");
            let text = damage.to_string();
            assert!(text.contains(expected) && text.contains("ohm server verify"), "row {row}: {text}");
            let after: Vec<_> = paths.iter().map(|p| disk.bytes(p)).collect();
            assert!(before == after, "row {row}: a damaged log isn't touched");
        }
    }
}

#[test]
fn no_flipped_bit_anywhere_changes_an_acknowledged_record_unnoticed() {
    for closed in [true, false] {
        let (disk, paths) = sample(closed);
        let whole = open(&disk.after_power_cut(0)).unwrap().log.last();
        let last_group = groups(&disk, &paths[2]).last().copied().unwrap();
        let (mut refused, mut cut) = (0, 0);
        for (file, path) in paths.iter().enumerate() {
            let length = disk.bytes(path).unwrap().len();
            // The unused part of the header block is checked sparsely, everything else byte by byte.
            let offsets = (0..length).filter(|at| *at < 200 || *at >= HEADER_BLOCK_BYTES || at % 97 == 0);
            for offset in offsets {
                let copy = disk.after_power_cut(0);
                flip(&copy, path, offset, (offset % 8) as u8);
                match open(&copy) {
                    Err(LogError::Damaged(_)) => refused += 1,
                    Err(error) => panic!("{error}"),
                    Ok(opened) => {
                        cut += 1;
                        assert!(opened.cut.is_some(), "byte {offset} of file {file}");
                        assert!(file == 2 && offset >= last_group.0, "byte {offset} of file {file}");
                        let kept = opened.log.last();
                        assert!(kept <= whole && (!closed || kept == whole), "kept {kept} of {whole}");
                        assert_whole(&opened.log, 1 << 20);
                    }
                }
            }
        }
        assert!(refused > 5_000 && cut > 100, "refused {refused}, cut {cut}");
    }
}

#[test]
fn a_tail_torn_at_every_byte_of_the_last_group() {
    let (disk, paths) = sample(false);
    let path = &paths[2];
    let (start, end, last) = *groups(&disk, path).last().unwrap();
    let first = last - 2;
    for torn_at in start..end {
        for garbage in [0u8, 0xa7] {
            let copy = disk.after_power_cut(0);
            let mut bytes = copy.bytes(path).unwrap();
            bytes[torn_at..end].fill(garbage);
            copy.set_bytes(path, bytes);
            let opened = open(&copy).unwrap_or_else(|error| panic!("torn at {torn_at}: {error}"));
            let mut log = opened.log;
            assert!((first - 1..=last).contains(&log.last().0));
            // The whole records before the tear stay.
            let mut whole = first - 1;
            let mut at = start + GROUP_HEADER_BYTES;
            while at + group(Seq(whole + 1), 1).bytes.len() <= torn_at && whole < last {
                whole += 1;
                at += group(Seq(whole), 1).bytes.len();
            }
            assert!(log.last().0 >= whole, "torn at {torn_at}: {} of {whole}", log.last());
            let never_there = torn_at == start && garbage == 0;
            assert_eq!(opened.cut.is_none(), log.last().0 == last || never_there, "torn at {torn_at}");
            append(&mut log, 2).unwrap();
            drop(log);
            assert_whole(&open(&copy).unwrap().log, 900);
        }
    }
}

#[test]
fn missing_and_foreign_files_are_refused() {
    let (disk, paths) = sample(true);
    let gap = disk.after_power_cut(0);
    Disk::remove(&gap, &paths[1]).unwrap();
    let damage = damage_of(open(&gap)).unwrap();
    assert!(damage.to_string().contains("a file is missing or cut short"), "{damage}");

    let renamed = disk.after_power_cut(0);
    let other = Path::new(DIR).join(file_name(Seq(7777)));
    Disk::rename(&renamed, &paths[2], &other).unwrap();
    assert!(damage_of(open(&renamed)).unwrap().to_string().contains("its name says seq 7777"));

    let mut options = options();
    options.cell = "prod".to_owned();
    let error = Segments::open(Arc::new(disk.after_power_cut(0)), options).unwrap_err();
    assert!(error.to_string().contains("is the log of cell \"dev\", not of \"prod\""), "{error}");

    let mut stranger = crate::script::options();
    stranger.new_id = cell_server::log::LogId(1);
    let strange = FaultyDisk::new();
    drop(Segments::open(Arc::new(strange.clone()), stranger).unwrap());
    let mixed = disk.after_power_cut(0);
    mixed.set_bytes(&paths[0], strange.bytes(&strange.paths()[0]).unwrap());
    assert!(damage_of(open(&mixed)).unwrap().to_string().contains("belongs to log"));
}

#[test]
fn trimming_keeps_what_is_needed_and_readers_are_told() {
    let (disk, _) = sample(true);
    let mut log = open(&disk).unwrap().log;
    let reader = log.reader();
    let last = log.last();
    assert_eq!(log.trim(Seq(0)).unwrap(), Seq(1));
    let second = log.trim(Seq(8)).unwrap();
    assert!(second <= Seq(9), "nothing after what was named goes");
    let oldest = log.trim(last).unwrap();
    assert!(oldest > second && oldest <= last, "the newest file stays");
    assert_eq!(reader.first(), oldest);
    assert!(matches!(reader.read(Seq(1), 10), Err(ReadError::TooOld { oldest: o, .. }) if o == oldest));
    assert!(matches!(reader.read(Seq(last.0 + 2), 10), Err(ReadError::TooNew { .. })));
    assert_whole(&log, 1);
    assert_eq!(reader.oldest_within(u64::MAX), oldest);
    drop(log);
    assert_eq!(open(&disk).unwrap().log.first(), oldest);
}

#[test]
fn on_the_real_disk_with_a_reader_that_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.dir = dir.path().join("log");
    options.segment_bytes = 16 << 10;
    options.ahead = true;
    let real = Arc::new(RealDisk::new());
    let mut log = Segments::open(real.clone(), options.clone()).unwrap().log;
    let reader = log.reader();
    let follower = std::thread::spawn(move || {
        let mut next = Seq(1);
        while next <= Seq(400) {
            let piece = reader.read(next, 3_000).unwrap();
            if piece.is_empty() {
                std::thread::yield_now();
                continue;
            }
            assert_eq!(piece.bytes, group(piece.first, piece.last.0 - piece.first.0 + 1).bytes);
            next = piece.last.next();
        }
    });
    for _ in 0..100 {
        append(&mut log, 4).unwrap();
    }
    follower.join().unwrap();
    drop(log);
    let log = Segments::open(real, options).unwrap().log;
    assert_eq!((log.first(), log.last()), (Seq(1), Seq(400)));
    assert_whole(&log, 64 << 10);
}
