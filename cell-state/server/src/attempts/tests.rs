//! Tests of the side log of attempts.

use cell_state::ids::{Seq, SessionId, Time};
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{ConflictKind, Winner};

use super::*;

fn attempt(number: u64, conflicts: usize) -> Attempt {
    let conflict = Conflict {
        task: None,
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
    Attempt {
        txn: TxnId { session: SessionId(1), number },
        scheduler: if number.is_multiple_of(3) { "gang" } else { "batch" }.to_owned(),
        at: Seq(number * 10),
        time: Time(number),
        basis: Seq(number),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        outcomes: vec![Outcome::Conflict(Box::new(conflict)); conflicts].into(),
        failed_assertion: None,
        machines: Vec::new(),
        jobs: vec![(JobId((number % 5) as u32), "job".to_owned())],
    }
}

#[test]
fn attempts_are_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    let all: Vec<Attempt> = (1..=60).map(|n| attempt(n, (n % 4) as usize)).collect();
    // One too large for a single value.
    let large = attempt(61, 9_000);
    assert!(codec::encode(&large).len() > 2 * PIECE_BYTES);
    let log = Attempts::open(&path).unwrap();
    log.record(&all).unwrap();
    log.record(std::slice::from_ref(&large)).unwrap();
    for restarted in [false, true] {
        let again = restarted.then(|| {
            log.flush().unwrap();
            Attempts::open(&path)
        });
        assert!(again.is_none_or(|result| matches!(result, Err(DatabaseError::InUse { .. }))));
        let wanted = Wanted { limit: 3, ..Wanted::default() };
        assert_eq!(log.latest(&wanted).unwrap(), [large.clone(), all[59].clone(), all[58].clone()]);
        let gang = Wanted { limit: 100, scheduler: Some("gang".to_owned()), ..Wanted::default() };
        assert_eq!(log.latest(&gang).unwrap().len(), 20);
        let lost = Wanted { limit: 100, conflicts_only: true, job: Some(JobId(1)), scheduler: None };
        let expected =
            all.iter().chain([&large]).filter(|a| a.jobs[0].0 == JobId(1) && !a.outcomes.is_empty());
        assert_eq!(log.latest(&lost).unwrap().len(), expected.count());
        assert_eq!(log.get(all[16].txn).unwrap(), Some(all[16].clone()));
        assert_eq!(log.get(large.txn).unwrap(), Some(large.clone()));
        assert_eq!(log.get(TxnId { session: SessionId(1), number: 99 }).unwrap(), None);
    }
    let counted = log.conflicts();
    drop(log);
    assert_eq!(counted[0].loser, "batch");
    assert_eq!(
        counted[0].count,
        9_000 + (1..=60u64).filter(|n| !n.is_multiple_of(3)).map(|n| n % 4).sum::<u64>()
    );
    let again = Attempts::open(&path).unwrap();
    assert_eq!(again.conflicts(), counted);
    assert_eq!(again.get(large.txn).unwrap(), Some(large));
}

#[test]
fn old_attempts_make_room_for_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let log = Attempts::open(&dir.path().join("attempts")).unwrap();
    let blocks = ATTEMPT_BLOCKS as u64 + 1;
    for block in 0..blocks {
        let first = 1 + block * ATTEMPT_BLOCK_ITEMS as u64;
        let some: Vec<_> = (first..first + ATTEMPT_BLOCK_ITEMS as u64).map(|n| attempt(n, 0)).collect();
        log.record(&some).unwrap();
    }
    let everything = log.latest(&Wanted { limit: usize::MAX, ..Wanted::default() }).unwrap();
    assert_eq!(everything.len(), ATTEMPT_BLOCKS * ATTEMPT_BLOCK_ITEMS);
    assert_eq!(log.get(TxnId { session: SessionId(1), number: 5 }).unwrap(), None);
    assert!(log.0.db.tree_names().len() < 2 * ATTEMPT_BLOCKS + 4);
}

#[test]
fn a_damaged_side_log_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    Attempts::open(&path).unwrap().record(&[attempt(1, 1)]).unwrap();
    std::fs::write(path.join("conf"), "segment_size: 7\n").unwrap();
    let log = Attempts::open(&path).unwrap();
    assert_eq!(log.conflicts(), []);
    log.record(&[attempt(2, 1)]).unwrap();
}
