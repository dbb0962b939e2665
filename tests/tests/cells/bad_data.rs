//! A data directory that was damaged: the server cuts a torn tail and says so, refuses a flipped bit and says what to
//! do, and `ohm server verify` finds both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cell_tests::test_cell::{TestCell, text, wait_for};

/// A stopped cell with a few entries in its log.
fn stopped() -> (TestCell, u64, PathBuf) {
    // No checkpoint is made while it runs for a moment, so everything depends on the log.
    let mut cell = TestCell::start(&["--checkpoint-every", "1h"]);
    for i in 0..20 {
        cell.run(&["quota", "set", &format!("team{i}"), "batch", "--cpu", "2"]);
    }
    let seq = cell.json(&["status"])["seq"].as_u64().unwrap();
    cell.get("server").kill();
    let data = cell.path("server");
    (cell, seq, data)
}

/// The log file that was written last.
fn last_segment(data: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("log")
                && fs::read(&path).unwrap().iter().any(|b| *b != 0)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter().rfind(|p| written(p) > 1_000).expect("a log with entries")
}

/// What a group begins with, and where the first one is: docs/log-format.md.
const GROUP: [u8; 4] = *b"\x89Grp";
const FIRST_GROUP: usize = 4_096;

/// Where the last group ends.
fn end_of_groups(bytes: &[u8]) -> usize {
    let mut at = FIRST_GROUP;
    while bytes[at..at + 4] == GROUP {
        let records = u32::from_le_bytes(bytes[at + 24..at + 28].try_into().unwrap());
        at += 32 + records as usize;
    }
    at
}

/// Bytes up to the last that isn't zero.
fn written(path: &Path) -> usize {
    fs::read(path).unwrap().iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)
}

fn verify(cell: &TestCell, data: &Path) -> std::process::Output {
    cell.ohm(&["server", "verify", &data.display().to_string()])
}

#[test]
fn sound_data_verifies_and_starts_again() {
    let (mut cell, seq, data) = stopped();
    let output = verify(&cell, &data);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    cell.get("server").restart();
    let back = wait_for("the server's return", || {
        let output = cell.ohm(&["status", "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    assert!(back["seq"].as_u64() >= Some(seq), "{back}");
}

#[test]
fn a_torn_tail_is_cut_and_everything_before_it_is_there() {
    let (mut cell, seq, data) = stopped();
    let segment = last_segment(&data);
    let mut bytes = fs::read(&segment).unwrap();
    let end = end_of_groups(&bytes);
    // The beginning of a write that was under way when the power went.
    bytes[end..end + 4].copy_from_slice(&GROUP);
    bytes[end + 8..end + 20].fill(7);
    fs::write(&segment, bytes).unwrap();
    let output = verify(&cell, &data);
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(told.contains("torn"), "{told}");
    cell.get("server").restart();
    let back = wait_for("the server's return", || {
        let output = cell.ohm(&["status", "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    assert!(back["seq"].as_u64() >= Some(seq), "{back}");
    assert_eq!(cell.json(&["quota", "list"]).as_array().map(Vec::len), Some(20));
    assert_eq!(cell.json(&["audit"])["sound"], true);
}

#[test]
fn a_flipped_bit_in_the_log_is_refused_with_what_to_do() {
    let (mut cell, _, data) = stopped();
    let segment = last_segment(&data);
    let mut bytes = fs::read(&segment).unwrap();
    let at = written(&segment) / 2;
    bytes[at] ^= 0x10;
    fs::write(&segment, bytes).unwrap();

    let output = verify(&cell, &data);
    assert!(!output.status.success());
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(told.contains(&*segment.file_name().unwrap().to_string_lossy()), "{told}");

    let server = cell.get("server");
    let before = server.printed().len();
    server.restart();
    let status = server.wait(Duration::from_secs(30)).expect("it does not start on damaged data");
    assert_eq!(status.code(), Some(3), "the exit code of data that must be looked at");
    let told = server.printed()[before..].to_owned();
    assert!(told.contains("verify") || told.contains("docs/"), "it does not say what to do:\n{told}");
    // Nothing was cut away or overwritten: the same bytes are there for whoever repairs them.
    assert!(written(&segment) >= at);
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_rebuilt_from_the_log() {
    let mut cell = TestCell::start(&["--checkpoint-every", "1s"]);
    for i in 0..5 {
        cell.run(&["quota", "set", &format!("team{i}"), "batch", "--cpu", "2"]);
    }
    wait_for("a checkpoint", || (cell.json(&["status"])["checkpoint"].as_u64() > Some(0)).then_some(()));
    let before = cell.json(&["state"]);
    assert!(cell.get("server").stop().success());
    let damaged = damage_checkpoints(&cell.path("server"));
    assert!(damaged > 0, "no checkpoint to damage");
    cell.get("server").restart();
    let back = wait_for("the server's return", || {
        let seq = before["at"].as_u64().unwrap().to_string();
        let output = cell.ohm(&["state", "--at", &seq, "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    assert_eq!(back["hash"], before["hash"]);
}

/// Overwrites the middle of every checkpoint file.
fn damage_checkpoints(data: &Path) -> usize {
    let mut damaged = 0;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("checkpoint") && fs::metadata(&path).unwrap().len() > 64
            {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                let end = (middle + 4096).min(bytes.len());
                bytes[..64].fill(0x5a);
                bytes[middle..end].fill(0xa5);
                fs::write(&path, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    damaged
}
