//! Recovery as a whole, reading earlier states, and the offline audit.

use std::path::Path;

use cell_server::data_dir::DataDirError;
use cell_server::log::Log;
use cell_server::recovery::{History, HistoryError, RecoveryError};
use cell_server::verify::{VerifyError, verify};
use cell_state::Seq;

use crate::server::{Image, Server, image, recover, write_image};

/// A directory with trimmed log files, two checkpoints and a tail.
fn sample(dir: &Path, trims: bool) -> Server {
    let mut server = Server::new(dir, 50);
    server.trims = trims;
    for _ in 0..4 {
        server.run(100);
        server.save().unwrap();
    }
    server.run(70);
    server
}

fn log_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    files.sort();
    files
}

#[test]
fn a_restart_gives_the_same_state_whatever_ended_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = sample(dir.path(), true);
    for round in 0..6 {
        server = server.restart(round % 2 == 0);
        let report = &server.recovered.report;
        assert!(!report.created && report.cut.is_none() && report.set_aside.is_empty());
        server.run(30);
    }
}

#[test]
fn what_does_not_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(sample(dir.path(), true));
    let whole = image(dir.path());
    let files = log_files(dir.path());
    let name = |path: &Path| path.strip_prefix(dir.path()).unwrap().to_owned();
    assert!(files.len() > 3);

    let check = |change: &dyn Fn(&Path), expected: &str| {
        let copy = tempfile::tempdir().unwrap();
        write_image(&whole, copy.path());
        change(copy.path());
        let log = |all: &Image| all.iter().filter(|(path, _)| path.starts_with("log")).count();
        let before = image(copy.path());
        let error = recover(copy.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
        let after = image(copy.path());
        let kept =
            before.iter().all(|(path, bytes)| !path.starts_with("log") || after.get(path) == Some(bytes));
        assert!(kept && log(&before) == log(&after), "a refusal leaves the log alone");
        let report = verify(copy.path());
        assert!(report.is_err() || !report.unwrap().is_sound());
        error
    };
    let no_log = check(&|dir| std::fs::remove_dir_all(dir.join("log")).unwrap(), "checkpoints but no log");
    assert!(matches!(no_log, RecoveryError::NoLog { .. }));
    let short = check(
        &|dir| {
            for file in &files[1..] {
                std::fs::remove_file(dir.join(name(file))).unwrap();
            }
        },
        "log files are missing",
    );
    assert!(matches!(short, RecoveryError::LogTooShort { .. }));
    check(&|dir| std::fs::remove_file(dir.join(name(&files[1]))).unwrap(), "a file is missing or cut short");
    let gone = check(
        &|dir| {
            for checkpoint in cell_server::checkpoint::NAMES {
                std::fs::remove_dir_all(dir.join(checkpoint)).unwrap();
            }
        },
        "no sound checkpoint reaches the log",
    );
    assert!(matches!(gone, RecoveryError::NoStart { .. }));
    check(
        &|dir| {
            let path = dir.join(name(&files[0]));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[5_000] ^= 4;
            std::fs::write(path, bytes).unwrap();
        },
        "ohm server verify DIR",
    );
    let _running = recover(dir.path()).unwrap();
    assert!(matches!(recover(dir.path()), Err(RecoveryError::DataDir(DataDirError::InUse { .. }))));
    let live = verify(dir.path()).unwrap_err();
    assert!(matches!(live, VerifyError::DataDir(DataDirError::InUse { .. })));
    assert!(live.to_string().contains("stop it first"), "{live}");
}

#[test]
fn a_mixed_up_directory_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(sample(one.path(), true));
    let server = sample(other.path(), false);
    drop(server);
    // Another cell's checkpoint: same name, other log.
    let id_of = |dir: &Path| recover(dir).unwrap().log.id();
    assert_eq!(id_of(one.path()), id_of(other.path()));
    let foreign = tempfile::tempdir().unwrap();
    {
        let data = cell_server::data_dir::DataDir::lock(foreign.path()).unwrap();
        let options = cell_server::log::Options::new(data.log(), "dev", cell_server::log::LogId(78));
        drop(cell_server::recovery::recover_with(data, options).unwrap());
    }
    std::fs::remove_dir_all(foreign.path().join("log")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut mixed = image(one.path());
    mixed.retain(|path, _| !path.starts_with("log"));
    write_image(&mixed, copy.path());
    let data = cell_server::data_dir::DataDir::lock(copy.path()).unwrap();
    std::fs::create_dir(data.log()).unwrap();
    let disk = std::sync::Arc::new(cell_server::log::disk::RealDisk::new());
    let options = cell_server::log::Options::new(data.log(), "dev", cell_server::log::LogId(78));
    drop(cell_server::log::Segments::open(disk, options).unwrap());
    drop(data);
    let error = recover(copy.path()).unwrap_err();
    assert!(error.to_string().contains("the data directory is mixed up"), "{error}");
}

#[test]
fn every_earlier_state_can_be_read_while_the_server_runs() {
    for trims in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let server = sample(dir.path(), trims);
        let history = History::new(server.recovered.log.reader(), server.recovered.checkpoints.reader());
        let (oldest, last) = (history.oldest(), server.history.cell.seq());
        assert_eq!(oldest, if trims { Seq(300) } else { Seq(0) });
        for seq in (oldest.0..=last.0).step_by(7).chain([last.0]) {
            let mut cell = history.state_at(Seq(seq)).unwrap();
            assert_eq!((cell.seq(), cell.hash()), (Seq(seq), server.hash_at(Seq(seq))));
        }
        assert!(matches!(history.state_at(last.next()), Err(HistoryError::TooNew { .. })));
        if trims {
            let old = history.state_at(Seq(120));
            assert!(matches!(old, Err(HistoryError::TooOld { oldest: Seq(300), .. })));
        }
    }
}

#[test]
fn the_audit_of_a_sound_directory_changes_nothing() {
    for trims in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let server = sample(dir.path(), trims);
        let expected = (server.history.cell.seq(), *server.hashes.last().unwrap());
        drop(server);
        let before = image(dir.path());
        let report = verify(dir.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!(report.state, Some(expected));
        assert!(before == image(dir.path()));
        let text = report.to_string();
        for word in
            ["checkpoint-a", "checkpoint-b", "log/0000", "replay", "invariants", "sound: the state at seq"]
        {
            assert!(text.contains(word), "{word} in {text}");
        }
        // A plain copy can be audited too, and next to a running server.
        let copy = tempfile::tempdir().unwrap();
        write_image(&before, copy.path());
        let _running = recover(dir.path()).unwrap();
        assert!(verify(copy.path()).unwrap().is_sound());
    }
    let empty = tempfile::tempdir().unwrap();
    let error = verify(empty.path()).unwrap_err();
    assert!(error.to_string().contains("is not the data directory of a server"), "{error}");
}

#[test]
fn the_audit_finds_what_is_wrong_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let server = sample(dir.path(), true);
    std::mem::forget(server.recovered.log);
    drop((server.recovered.checkpoints, server.recovered.data));
    let whole = image(dir.path());
    let files = log_files(dir.path());
    let last = files.last().unwrap();
    let end = |path: &Path| std::fs::read(path).unwrap().iter().rposition(|b| *b != 0).unwrap();
    let offset_in_last = end(last) - 3;
    // File, offset of a flipped bit, what the audit says about it, whether that is damage.
    let table: &[(&Path, usize, &str, bool)] = &[
        (&files[0], 4_200, "damaged at offset", true),
        (&files[1], 100, "header block", true),
        (last, 4_140, "damaged at offset", true),
        (last, offset_in_last, "torn tail", false),
        (Path::new("checkpoint-a/conf"), 3, "can't be used", true),
    ];
    for (file, offset, expected, damage) in table {
        let copy = tempfile::tempdir().unwrap();
        write_image(&whole, copy.path());
        let path = copy.path().join(file.strip_prefix(dir.path()).unwrap_or(file));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[*offset] ^= 16;
        std::fs::write(&path, bytes).unwrap();
        let report = verify(copy.path()).unwrap();
        assert_eq!(report.is_sound(), !damage, "{report}");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let name = if name == "conf" { "checkpoint-a" } else { &name };
        let text = report.to_string();
        let line = text.lines().find(|line| line.contains(name) && line.contains(expected));
        assert!(line.is_some(), "{expected} about {name} in\n{text}");
    }
}
