//! Tests of the side log of attempts.

use bytes::Bytes;
use cell_state::ids::{Seq, SessionId, Time};
use cell_state::record;
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{ConflictKind, Winner};

use super::*;
use crate::bounds::{ATTEMPTS_KEPT, ATTEMPTS_PER_BLOCK};
use crate::log::faulty::FaultyDisk;
use crate::log::{Group, Log, Options, Segments};

fn transaction(number: u64, conflicts: usize) -> Committed {
    let conflict = Conflict {
        task: Some(cell_state::TaskId { job: JobId((number % 5) as u32), group: 0, index: 0 }),
        machine: None,
        kind: ConflictKind::NoMachine,
        winner: Some(Winner {
            txn: TxnId { session: SessionId(9), number: 1 },
            scheduler: "service".to_owned(),
        }),
        stale_entries: 3,
        spurious: number.is_multiple_of(2),
        divergence: false,
    };
    let mut outcomes = vec![Outcome::Aborted];
    outcomes.extend(std::iter::repeat_n(Outcome::Conflict(Box::new(conflict)), conflicts));
    Committed {
        txn: TxnId { session: SessionId(u32::from(number.is_multiple_of(3))), number },
        basis: Seq(0),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        time: Time(number),
        outcomes: outcomes.into(),
        failed_assertion: None,
    }
}

/// A log in memory, and the entries written to it.
struct Written {
    log: Segments,
    entries: Vec<(Seq, Event)>,
}

impl Written {
    fn new() -> Written {
        let mut options = Options::new("/data/log".into(), "test", LogId(7));
        options.segment_bytes = 64 << 10;
        options.ahead = false;
        let log = Segments::open(Arc::new(FaultyDisk::new()), options).unwrap().log;
        Written { log, entries: Vec::new() }
    }

    /// Makes these events durable, with a report-like entry before each.
    fn add(&mut self, events: impl Iterator<Item = Event>) -> &[(Seq, Event)] {
        let start = self.entries.len();
        let (mut bytes, first) = (Vec::new(), self.log.last().next());
        let mut seq = self.log.last();
        for event in events {
            for event in [Event::JobsForgotten { jobs: Vec::new() }, event] {
                seq = seq.next();
                record::append_event(&mut bytes, seq, &event);
                self.entries.push((seq, event));
            }
        }
        self.log.append(&Group { first, last: seq, bytes: Bytes::from(bytes) }).unwrap();
        &self.entries[start..]
    }

    fn open(&self, path: &Path) -> Attempts {
        let sessions = [(SessionId(0), "batch".to_owned()), (SessionId(1), "gang".to_owned())];
        Attempts::open(path, self.log.id(), self.log.reader(), sessions.into_iter()).unwrap()
    }
}

fn note(log: &Attempts, entries: &[(Seq, Event)]) {
    log.note(entries.iter().map(|(seq, event)| (*seq, event)));
}

fn everything() -> Wanted {
    Wanted { limit: usize::MAX, ..Wanted::default() }
}

fn numbers(found: &[Found]) -> Vec<u64> {
    found.iter().map(|found| found.committed.txn.number).collect()
}

#[test]
fn attempts_are_found_again_after_a_restart_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    let mut written = Written::new();
    let log = written.open(&path);
    note(&log, written.add((1..=30).map(|n| Event::Committed(transaction(n, (n % 4) as usize)))));
    log.save().unwrap();
    log.flush().unwrap();
    // These are durable in the log, and a crash takes them from the side log before it is written again.
    let late = written.add((31..=60).map(|n| Event::Committed(transaction(n, (n % 4) as usize)))).to_vec();
    note(&log, &late);
    let counted = log.conflicts();
    drop(log);
    for _ in 0..2 {
        let log = written.open(&path);
        assert_eq!(numbers(&log.latest(&everything()).unwrap()), (1..=60).rev().collect::<Vec<_>>());
        let three = log.latest(&Wanted { limit: 3, ..Wanted::default() }).unwrap();
        assert_eq!(numbers(&three), [60, 59, 58]);
        assert_eq!((three[0].scheduler.as_str(), three[0].at), ("gang", Seq(120)));
        let gang = Wanted { scheduler: Some("gang".to_owned()), ..everything() };
        assert_eq!(log.latest(&gang).unwrap().len(), 20);
        let lost = Wanted { conflicts_only: true, job: Some(JobId(1)), ..everything() };
        let expected = (1..=60u64).rev().filter(|n| n % 5 == 1 && n % 4 != 0).collect::<Vec<_>>();
        assert_eq!(numbers(&log.latest(&lost).unwrap()), expected);
        let txn = transaction(17, 0).txn;
        assert_eq!(log.get(txn).unwrap().map(|found| found.committed), Some(transaction(17, 1)));
        assert_eq!(log.get(TxnId { session: SessionId(1), number: 99 }).unwrap(), None);
        assert_eq!(log.conflicts(), counted, "nothing is counted twice");
        log.save().unwrap();
        log.flush().unwrap();
    }
    assert_eq!((counted[0].loser.as_str(), counted[0].winner.as_str()), ("batch", "service"));
    assert_eq!(counted[0].count, (1..=60u64).filter(|n| n % 3 != 0).map(|n| n % 4).sum::<u64>());
}

#[test]
fn old_attempts_make_room_for_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    let mut written = Written::new();
    let log = written.open(&path);
    let total = (ATTEMPTS_KEPT + 3 * ATTEMPTS_PER_BLOCK + 5) as u64;
    for first in (0..total).step_by(40_000) {
        let some = (first..total.min(first + 40_000)).map(|n| Event::Committed(transaction(n + 1, 0)));
        note(&log, written.add(some));
        log.save().unwrap();
    }
    log.flush().unwrap();
    kept_of(&log, total);
    drop(log);
    kept_of(&written.open(&path), total);
}

/// Checks that the side log keeps the latest of so many transactions.
fn kept_of(log: &Attempts, total: u64) {
    let kept: Vec<u64> = {
        let state = log.0.state.lock();
        state.rows.before(u64::MAX).map(|(_, row)| row.txn.number).collect()
    };
    assert!((ATTEMPTS_KEPT..=ATTEMPTS_KEPT + ATTEMPTS_PER_BLOCK).contains(&kept.len()));
    assert!(kept.iter().rev().copied().eq(total + 1 - kept.len() as u64..=total));
    assert_eq!(log.get(transaction(5, 0).txn).unwrap(), None);
}

#[test]
fn what_the_log_has_trimmed_is_no_longer_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Written::new();
    let log = written.open(&dir.path().join("attempts"));
    for first in (1..=40u64).step_by(10) {
        note(&log, written.add((first..first + 10).map(|n| Event::Committed(transaction(n, 300)))));
    }
    assert_eq!(log.latest(&everything()).unwrap().len(), 40);
    let oldest = written.log.trim(Seq(40)).unwrap();
    let left = log.latest(&everything()).unwrap();
    assert!(oldest > Seq(1) && left.len() < 40 && left.iter().all(|found| found.at >= oldest));
    assert_eq!(log.get(transaction(1, 0).txn).unwrap(), None);
}

#[test]
fn one_that_is_damaged_or_of_another_log_or_layout_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    let mut written = Written::new();
    {
        // As layout 1 had it.
        let db = sled::open(&path).unwrap();
        db.open_tree("attempts-0").unwrap().insert("a", "b").unwrap();
        db.flush().unwrap();
    }
    let log = written.open(&path);
    assert!(path.with_extension("old").exists());
    note(&log, written.add([Event::Committed(transaction(1, 1))].into_iter()));
    log.save().unwrap();
    log.flush().unwrap();
    drop(log);
    let other = Attempts::open(&path, LogId(8), Written::new().log.reader(), std::iter::empty()).unwrap();
    assert_eq!((other.conflicts(), other.latest(&everything()).unwrap()), (vec![], vec![]));
    drop(other);
    std::fs::write(path.join("conf"), "segment_size: 7\n").unwrap();
    let again = written.open(&path);
    assert_eq!(again.conflicts()[0].count, 1, "read from the log again");
    assert_eq!(again.latest(&everything()).unwrap().len(), 1);
}
