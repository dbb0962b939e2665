//! The store keeps exactly what `Kept` says each write means, across restarts and damage.

use super::*;

use agent::Intent;
use cell_state::event::{Report, Seen};
use cell_state::job::care::LostAfter;
use cell_state::machine::Grant;
use cell_state::task::Exit;
use cell_state::{JobId, Resources, TaskId};
use proptest::prelude::*;

fn id(n: u8) -> PlacementId {
    PlacementId { task: TaskId { job: JobId(u32::from(n % 4)), group: 0, index: u32::from(n % 3) }, epoch: 1 }
}

/// Numbers become writes that make sense after those before them.
fn write(kept: &Kept, (what, n): (u8, u8)) -> Write {
    let report = |seen| Write::Report {
        number: kept.reported + 1,
        report: Report { task: id(n).task, epoch: 1, seen },
    };
    match what % 6 {
        0 => Write::Intent(Box::new(Intent {
            id: id(n),
            version: u32::from(n),
            resources: Resources::cpu_memory(u64::from(n), 1),
            grant: Grant { ports: vec![u16::from(n)], devices: Vec::new() },
            stop_grace_us: 5,
            stop_after_us: None,
            lost_after: LostAfter::Down,
        })),
        1 => report(Seen::Started),
        2 => report(Seen::Ended(Exit::Code(i32::from(n)))),
        3 => Write::Acknowledged { upto: kept.reported.saturating_sub(u64::from(n % 4)) },
        4 => Write::Forget(id(n)),
        _ => Write::Reincarnate { incarnation: u64::from(n) },
    }
}

fn open(dir: &Path) -> (Records, Kept) {
    Records::open(dir, "c", || Ok(7)).unwrap()
}

/// Hands over writes and waits until they are durable.
fn put(records: &Records, first: u64, writes: Vec<Write>) {
    let mut progress = records.progress();
    let upto = first + writes.len() as u64 - 1;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for (number, write) in (first..).zip(writes) {
            assert!(records.write(number, write).await);
        }
        progress.wait_for(|progress| progress.upto >= upto).await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_there_after_a_restart(lives in prop::collection::vec(
        prop::collection::vec(any::<(u8, u8)>(), 1..20), 1..4))
    {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("records");
        let mut model = Kept::new(7);
        for life in lives {
            let (records, kept) = open(&dir);
            prop_assert_eq!(&kept, &model);
            let mut writes = Vec::new();
            for numbers in life {
                let write = write(&model, numbers);
                model.apply(&write);
                writes.push(write);
            }
            put(&records, 1, writes);
            records.close();
        }
        prop_assert_eq!(open(&dir).1, model);
    }
}

type Damage<'a> = &'a dyn Fn(&Path);

#[test]
fn damaged_records_are_set_aside_and_new_ones_begun() {
    let of_another_format = |dir: &Path| drop(super::open(dir).ok().unwrap().insert(b"n", b"\x02x").unwrap());
    let garbage = |name: &'static str| move |dir: &Path| fs::write(dir.join(name), vec![0x5a; 100]).unwrap();
    let damages: [(&str, Damage<'_>); 2] = [("a value", &of_another_format), ("settings", &garbage("conf"))];
    for (what, damage) in damages {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("records");
        let (records, kept) = open(&dir);
        put(&records, 1, vec![write(&kept, (0, 1))]);
        records.close();
        damage(&dir);
        let (_records, kept) = Records::open(&dir, "c", || Ok(8)).unwrap();
        assert_eq!(kept, Kept::new(8), "{what}");
        assert!(root.path().join("records.damaged").is_dir(), "{what}");
    }
}

#[test]
fn records_of_another_cell_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("records");
    open(&dir).0.close();
    let refused = Records::open(&dir, "other", || Ok(8)).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("cell \"c\""));
}
