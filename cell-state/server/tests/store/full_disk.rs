//! The log on a disk that fills up: at every size, with and without a power cut, and while it stays full.

use cell_server::log::Log;
use cell_server::log::faulty::FaultyDisk;
use cell_state::Seq;

use crate::log_faults::{assert_recovers, run};
use crate::script::{append, assert_whole, open};

/// Sizes of the disk are this far apart: prime, so that every place within a sector is met.
const STEP_BYTES: usize = 61;

#[test]
fn a_disk_that_fills_up_at_any_byte_loses_nothing_that_was_acknowledged() {
    let healthy = FaultyDisk::new();
    let (whole, result) = run(&healthy);
    result.unwrap();
    let mut sizes = (0..40_000).step_by(STEP_BYTES);
    let (mut stopped, mut enough) = (0, 0);
    for size in &mut sizes {
        let disk = FaultyDisk::new();
        disk.limit_to(Some(size));
        let (done, result) = run(&disk);
        let what = format!("a disk of {size} bytes: {result:?}");
        assert!(disk.bytes_used() <= size, "{what}: {} bytes are used", disk.bytes_used());
        assert!(done.submitted <= whole.submitted);
        match result {
            Ok(()) => enough += 1,
            Err(_) => stopped += 1,
        }
        // While it is full the log opens with all that was acknowledged, or says that it can't.
        for found in [disk.after_power_cut(size as u64), disk.after_power_cut(1), disk.clone()] {
            if let Ok(opened) = open(&found) {
                assert!(opened.log.last() >= Seq(done.acknowledged), "{what}: lost {done:?}");
                assert_whole(&opened.log, 700);
            }
            // Once there is room, everything is as it should be.
            found.limit_to(None);
            assert_recovers(&found, done, &what);
        }
    }
    assert!(stopped > 50 && enough > 50, "stopped {stopped}, enough {enough}");
}

#[test]
fn trimming_makes_room_again() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).unwrap().log;
    for _ in 0..10 {
        append(&mut log, 4).unwrap();
    }
    let full = disk.bytes_used();
    disk.limit_to(Some(full));
    // Deleting what is no longer needed is all it takes to go on for as long as one likes on the same disk.
    for _ in 0..40 {
        log.trim(log.last()).unwrap();
        append(&mut log, 4).unwrap();
        assert!(disk.bytes_used() <= full);
    }
    assert_whole(&log, 700);
}
