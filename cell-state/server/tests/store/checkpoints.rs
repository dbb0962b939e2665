//! Checkpoints: saving what changed, power cuts at every step of a save, damaged databases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cell_server::checkpoint::{NAMES, SaveError, Step};
use cell_server::log::Log;
use cell_server::log::faulty::Chance;
use cell_server::recovery::RecoveryError;
use cell_state::Seq;
use cell_state::page::{PageKey, StateHash};

use crate::server::{Image, Server, image, recover, write_image};

#[test]
fn saves_take_turns_and_every_state_loads_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), 1);
    let mut pages = BTreeSet::new();
    for round in 0..16u64 {
        server.run(10 + round * 7);
        pages.extend(server.recovered.cell.page_keys().into_iter().map(|key| key.to_bytes()[0]));
        let before = server.recovered.checkpoints.newest().map_or(Seq(0), |meta| meta.seq);
        server.save().unwrap();
        let checkpoints = &server.recovered.checkpoints;
        let newest = checkpoints.newest().unwrap();
        assert_eq!((newest.seq, newest.hash), (server.history.cell.seq(), server.hash_at(newest.seq)));
        assert_eq!(checkpoints.trim_to(), before, "the log stays from the older one on");
        let reader = checkpoints.reader();
        for (wanted, expected) in [(newest.seq, newest.seq), (Seq(newest.seq.0 - 1), before)] {
            let loaded = reader.load_at_or_before(wanted).unwrap();
            let mut cell = match loaded {
                None => {
                    assert_eq!(expected, Seq(0));
                    continue;
                }
                Some(cell) => cell,
            };
            assert_eq!(cell.seq(), expected);
            assert_eq!(cell.hash(), server.hash_at(expected));
        }
        drop(reader);
        if round % 5 == 4 {
            server = server.restart(round % 2 == 0);
        }
    }
    assert!(pages.len() >= 7, "the history has pages of {} kinds", pages.len());
    assert!(pages.contains(&PageKey::Tasks(0).to_bytes()[0]));
    assert!(server.recovered.log.first() > Seq(1), "the log was trimmed");
    assert!(server.recovered.report.replayed < 200);
}

#[test]
fn a_save_writes_what_changed_and_needs_no_list_of_it_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), 2);
    server.run(300);
    server.save().unwrap();
    server.run(1);
    server.save().unwrap();
    server = server.restart(false);
    // After a restart every page counts as changed; the two databases know better.
    server.run(1);
    let changed = server.changed();
    assert!(changed.len() > 20);
    let (seq, hash) = (server.recovered.cell.seq(), server.recovered.cell.hash());
    let database = |name: &str| dir.path().join(name).join("db");
    let bytes = |path: PathBuf| std::fs::read(path).unwrap();
    let before = NAMES.map(|name| bytes(database(name)));
    let checkpoints = &mut server.recovered.checkpoints;
    checkpoints.save(seq, hash, &changed).unwrap();
    let after = NAMES.map(|name| bytes(database(name)));
    let grown = |i: usize| before[i].iter().zip(&after[i]).filter(|(a, b)| a != b).count();
    assert_eq!(grown(1), 0, "the newer one is left alone");
    let all: usize = changed.iter().map(|(_, bytes)| bytes.as_ref().map_or(0, |b| b.len())).sum();
    assert!(grown(0) < all, "{} bytes written of {all}", grown(0));
    // The same position again is nothing to do, an earlier one a mistake.
    checkpoints.save(seq, hash, &changed).unwrap();
    let back = checkpoints.save(Seq(seq.0 - 1), hash, &changed);
    assert!(matches!(back, Err(SaveError::Backwards { .. })));
    server.restart(true);
}

/// The directory after a power cut: of what changed since the last sync, some sectors survive and some don't.
fn after_power_cut(durable: &Image, current: &Image, seed: u64) -> Image {
    let mut chance = Chance(seed);
    let mut survived = Image::new();
    for (path, now) in current {
        let synced = durable.get(path);
        if synced.is_none() && chance.below(2) == 0 {
            continue;
        }
        let mut bytes = synced.cloned().unwrap_or_default();
        for start in (0..now.len()).step_by(4096) {
            let end = (start + 4096).min(now.len());
            if bytes.get(start..end) == Some(&now[start..end]) || chance.below(2) == 0 {
                continue;
            }
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(&now[start..end]);
        }
        survived.insert(path.clone(), bytes);
    }
    survived
}

#[test]
fn a_power_cut_at_every_step_of_a_save_and_of_the_trim_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), 3);
    let mut durable = image(dir.path());
    let mut cuts = 0;
    let mut loaded = BTreeSet::new();
    for round in 0..7u64 {
        server.run(40 + round * 9);
        // The log syncs each of its groups.
        let refresh = |durable: &mut Image, all: bool| {
            let kept = |path: &Path| !all && !path.starts_with("log");
            let now = image(dir.path());
            durable.retain(|path, _| kept(path));
            durable.extend(now.into_iter().filter(|(path, _)| !kept(path)));
        };
        refresh(&mut durable, false);
        let mut images: Vec<(Step, Image)> = Vec::new();
        let save = server.save_observed(&mut |step, _| {
            for seed in 0..3 {
                images.push((step, after_power_cut(&durable, &image(dir.path()), round * 100 + seed)));
            }
            match step {
                Step::PagesDurable | Step::MetaDurable => refresh(&mut durable, true),
                Step::Cleared | Step::PagesWritten | Step::MetaWritten | Step::Done => {}
            }
        });
        save.unwrap();
        // The trim that followed has synced the directory of the log.
        refresh(&mut durable, false);
        images.push((Step::Done, after_power_cut(&durable, &image(dir.path()), round)));
        for (step, found) in images {
            let copy = tempfile::tempdir().unwrap();
            write_image(&found, copy.path());
            let recovered =
                recover(copy.path()).unwrap_or_else(|error| panic!("round {round}, {step:?}: {error}"));
            server.assert_recovered(&recovered);
            assert_eq!(recovered.report.set_aside, [], "round {round}, {step:?}");
            loaded.insert((step as u8, recovered.report.checkpoint == Some(server.history.cell.seq())));
            cuts += 1;
        }
    }
    assert!(cuts > 120, "{cuts}");
    // Before the meta value is written the old state is found, once it is durable the new one.
    assert!(
        !loaded.contains(&(Step::PagesDurable as u8, true)) && !loaded.contains(&(Step::Done as u8, false))
    );
}

/// Flips bits all over a database.
fn wreck(dir: &Path, name: &str, seed: u64) {
    let path = dir.join(name).join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    let mut chance = Chance(seed);
    for _ in 0..200 {
        let at = chance.below(end as u64) as usize;
        bytes[at] ^= 1 << chance.below(8);
    }
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_made_again() {
    let mut noticed = 0;
    for seed in 0..8u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::new(dir.path(), 4 + seed);
        for round in 0..4 {
            server.run(60);
            server.save().unwrap();
            if round == 2 && seed < 4 {
                // sled then has files that say how far its own log must be readable.
                server = server.restart(false);
            }
        }
        server.run(10);
        let hashes = server.hashes.clone();
        let Server { recovered, history, .. } = server;
        drop(recovered);
        let name = NAMES[seed as usize % 2];
        wreck(dir.path(), name, seed);
        let recovered = recover(dir.path()).unwrap();
        let aside = &recovered.report.set_aside;
        // Otherwise sled took the damage for the end of its log: an older state, or none, is found there.
        if let [aside] = &aside[..] {
            noticed += 1;
            assert!(aside.path.exists() && aside.path.to_string_lossy().contains(".damaged-"));
            assert!(recovered.report.to_string().contains("set aside"));
            assert_eq!(
                recovered.checkpoints.trim_to(),
                Seq(0),
                "with one checkpoint left the log isn't trimmed"
            );
        }
        assert!(recovered.report.checkpoint >= Some(Seq(180)), "seed {seed}: {}", recovered.report);
        let mut server = Server { recovered, history, hashes, trims: true };
        server.assert_recovered(&server.recovered);
        for _ in 0..2 {
            server.run(20);
            server.save().unwrap();
        }
        assert!(server.recovered.checkpoints.trim_to() >= Seq(260));
        server.restart(true);
    }
    assert!(noticed >= 3, "{noticed} of 8");
}

#[test]
fn with_both_checkpoints_damaged_only_a_whole_log_helps() {
    for trims in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::new(dir.path(), 20);
        server.trims = trims;
        for _ in 0..4 {
            server.run(120);
            server.save().unwrap();
        }
        let Server { recovered, history, hashes, .. } = server;
        drop(recovered);
        for name in NAMES {
            wreck(dir.path(), name, 5);
        }
        let result = recover(dir.path());
        if trims {
            let error = result.unwrap_err();
            assert!(matches!(error, RecoveryError::NoStart { .. }), "{error}");
            assert!(error.to_string().contains("Restore a checkpoint directory"), "{error}");
        } else {
            let recovered = result.unwrap();
            assert_eq!((recovered.report.checkpoint, recovered.report.replayed), (None, 480));
            Server { recovered, history, hashes, trims }.restart(false);
        }
    }
}

#[test]
fn a_checkpoint_with_a_wrong_hash_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), 30);
    for _ in 0..2 {
        server.run(50);
        server.save().unwrap();
    }
    server.run(50);
    let (seq, changed) = (server.history.cell.seq(), server.changed());
    server.recovered.checkpoints.save(seq, StateHash(1), &changed).unwrap();
    let server = server.restart(true);
    let report = &server.recovered.report;
    assert_eq!((report.checkpoint, report.set_aside.len()), (Some(Seq(100)), 1));
    assert!(report.set_aside[0].why.contains("has hash"), "{}", report.set_aside[0].why);
}

#[test]
fn a_save_that_fails_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), 40);
    for _ in 0..3 {
        server.run(50);
        server.save().unwrap();
    }
    server.run(30);
    let (seq, hash, changed) = (server.history.cell.seq(), server.recovered.cell.hash(), server.changed());
    // The database's files vanish in the middle of a save: its sync fails.
    let failed = server.recovered.checkpoints.save_observed(seq, hash, &changed, &mut |step, path| {
        if step == Step::PagesWritten {
            std::fs::remove_dir_all(path.join("blobs")).unwrap();
        }
    });
    assert!(matches!(failed, Err(SaveError::Target(_))), "{failed:?}");
    assert_eq!(server.recovered.checkpoints.newest().unwrap().seq, Seq(150));
    server.recovered.checkpoints.save(seq, hash, &changed).unwrap();
    assert_eq!(server.recovered.checkpoints.newest().unwrap().seq, seq);
    server.run(10);
    server.save().unwrap();
    server.restart(true);
}
