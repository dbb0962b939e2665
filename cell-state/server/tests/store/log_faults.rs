//! The log on a disk that fails, tears, fills up or loses power at every single operation.

use crate::script::{append, assert_whole, open, open_wide};
use cell_server::log::faulty::{Fault, FaultyDisk};
use cell_server::log::{Log, LogError};
use cell_state::Seq;

/// What was acknowledged and asked for before the disk gave up.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) acknowledged: u64,
    pub(crate) submitted: u64,
    pub(crate) trimmed: u64,
}

enum Act {
    Append(u64),
    Trim(u64),
    Reopen,
}

/// A few files' worth of groups, with trims and a restart.
const SCRIPT: [Act; 14] = [
    Act::Append(1),
    Act::Append(2),
    Act::Append(5),
    Act::Append(1),
    Act::Trim(4),
    Act::Append(3),
    Act::Append(7),
    Act::Reopen,
    Act::Append(1),
    Act::Trim(12),
    Act::Append(4),
    Act::Append(2),
    Act::Trim(100),
    Act::Append(2),
];

pub(crate) fn run(disk: &FaultyDisk) -> (Run, Result<(), LogError>) {
    let mut run = Run::default();
    let result = play(disk, &mut run);
    (run, result)
}

fn play(disk: &FaultyDisk, run: &mut Run) -> Result<(), LogError> {
    let mut log = open(disk)?.log;
    for act in &SCRIPT {
        match act {
            Act::Append(count) => {
                run.submitted += count;
                let appended = append(&mut log, *count);
                if appended.is_err() {
                    assert!(
                        matches!(append(&mut log, 1), Err(LogError::Stopped)),
                        "a failed log takes no more"
                    );
                }
                appended?;
                run.acknowledged += count;
            }
            Act::Trim(upto) => {
                run.trimmed = run.trimmed.max(*upto);
                // A trim that fails gives no room back and is no reason to stop.
                let _ = log.trim(Seq(*upto));
            }
            Act::Reopen => {
                drop(log);
                log = open(disk)?.log;
            }
        }
    }
    Ok(())
}

/// After whatever happened: nothing acknowledged is lost, nothing is invented, and the log goes on.
pub(crate) fn assert_recovers(disk: &FaultyDisk, run: Run, what: &str) {
    let opened = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut log = opened.log;
    assert!(log.last() >= Seq(run.acknowledged), "{what}: lost {:?}, last {}", run, log.last());
    assert!(log.last() <= Seq(run.submitted), "{what}: invented {:?}, last {}", run, log.last());
    assert!(log.first() <= Seq(run.trimmed + 1), "{what}: trimmed too far");
    assert_whole(&log, 700);
    let before = log.last();
    // Whatever was found may be shown to others at once, so it must be durable by now.
    for seed in 0..2 {
        let at_once = open(&disk.after_power_cut(seed)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(at_once.log.last(), before, "{what}: lost by a second power cut");
    }
    append(&mut log, 3).unwrap();
    append(&mut log, 2).unwrap();
    drop(log);
    let again = open(disk).unwrap();
    assert_eq!(again.cut, None, "{what}: a closed log has no torn tail");
    assert_eq!(again.log.last(), Seq(before.0 + 5));
    assert_whole(&again.log, 1 << 20);
}

#[test]
fn every_fault_at_every_operation_with_and_without_a_power_cut() {
    let healthy = FaultyDisk::new();
    let (whole, result) = run(&healthy);
    result.unwrap();
    assert_eq!(healthy.paths().len(), 1, "all files but the newest are trimmed");
    let operations = healthy.operations();
    assert!(operations > 40);
    for fault in Fault::ALL {
        for n in 0..operations {
            for heals in [false, true] {
                let disk = FaultyDisk::new();
                disk.break_at(n, fault, heals);
                let (done, result) = run(&disk);
                let what = format!("{fault:?} at operation {n}, heals {heals}: {result:?}");
                assert!(done.submitted <= whole.submitted);
                for seed in 0..4 {
                    assert_recovers(&disk.after_power_cut(seed), done, &format!("{what}, power cut {seed}"));
                }
                disk.break_at(u64::MAX / 2, fault, true);
                assert_recovers(&disk, done, &what);
            }
        }
    }
}

#[test]
fn a_power_cut_while_a_torn_tail_is_being_cut_off() {
    let disk = FaultyDisk::new();
    let mut log = open_wide(&disk, 60_000);
    append(&mut log, 2).unwrap();
    let acknowledged = log.last();
    disk.break_at(1, Fault::Fails, false);
    append(&mut log, 6).unwrap_err();
    drop(log);
    let (mut torn, mut cut_tails) = (0, 0);
    for seed in 0..40 {
        let found = disk.after_power_cut(seed);
        for n in 0..6 {
            let start = found.after_power_cut(0);
            start.break_at(n, Fault::Tears, false);
            match open(&start) {
                Ok(opened) => cut_tails += u32::from(opened.cut.is_some()),
                Err(_) => torn += 1,
            }
            for second in 0..4 {
                let run = Run { acknowledged: acknowledged.0, submitted: 8, trimmed: 0 };
                assert_recovers(&start.after_power_cut(second), run, &format!("seed {seed}, operation {n}"));
            }
        }
    }
    assert!(torn > 10 && cut_tails > 10, "torn {torn}, cut {cut_tails}");
}
