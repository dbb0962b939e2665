//! The workspace's layers: which package may depend on which, and that pure packages stay pure.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use cell_tests::source;

/// Every package of the workspace with its folder and the packages of ours it may depend on. Arrows point down only:
/// the binary, then shells, then pure packages, then `cell-state`.
const LAYERS: [(&str, &str, &[&str]); 12] = [
    ("cell-state", "cell-state", &[]),
    ("transport", "transport", &["cell-state"]),
    ("schedulers", "schedulers", &["cell-state"]),
    ("agent", "agent", &["cell-state"]),
    ("bench", "bench", &["agent", "cell-state", "schedulers"]),
    ("transport-quic", "transport/quic", &["cell-state", "transport"]),
    ("cell-server", "cell-state/server", &["cell-state", "transport", "transport-quic"]),
    ("scheduler-runtime", "schedulers/runtime", &["cell-state", "schedulers", "transport", "transport-quic"]),
    ("agent-host", "agent/host", &["agent", "cell-state", "transport", "transport-quic"]),
    ("study", "bench/study", &["bench", "cell-state", "transport", "transport-quic"]),
    (
        "ohm",
        "cli",
        &[
            "agent-host",
            "bench",
            "cell-server",
            "cell-state",
            "scheduler-runtime",
            "schedulers",
            "study",
            "transport",
            "transport-quic",
        ],
    ),
    ("cell-tests", "tests", &["cell-state", "transport", "transport-quic"]),
];

/// Packages of ours that only the tests of a package may use besides.
const TEST_ONLY: [(&str, &[&str]); 2] =
    [("scheduler-runtime", &["cell-server"]), ("agent-host", &["cell-server"])];

/// Outside packages that pure packages may use: none of them reads a clock, a disk or a socket.
const PURE_DEPENDENCIES: [&str; 11] = [
    "bincode",
    "bytes",
    "crc32c",
    "hdrhistogram",
    "rand",
    "rand_chacha",
    "rand_distr",
    "regex",
    "serde",
    "thiserror",
    "xxhash-rust",
];

/// Packages in a top-level folder are pure; the nested ones, the binary and the tests do IO.
fn is_pure(folder: &str) -> bool {
    !folder.contains('/') && folder != "cli" && folder != "tests"
}

fn metadata() -> Metadata {
    let manifest = source::root().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo describes the workspace")
}

fn dependencies(package: &Package, kind: DependencyKind) -> BTreeSet<&str> {
    package.dependencies.iter().filter(|d| d.kind == kind).map(|d| d.name.as_str()).collect()
}

#[test]
fn every_edge_between_our_packages_is_in_the_table() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _, _)| *name).collect();
    let found: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(found, ours, "the packages of the workspace and of the table differ");
    let test_only = BTreeMap::from(TEST_ONLY);
    for (name, _, allowed) in LAYERS {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == name).unwrap();
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
            let tests = if kind == DependencyKind::Development { test_only.get(name) } else { None };
            for used in dependencies(package, kind).intersection(&ours) {
                let fine = allowed.contains(used) || tests.is_some_and(|t| t.contains(used));
                assert!(fine, "{name} may not depend on {used} ({kind:?}): see the table of layers");
            }
        }
    }
}

#[test]
fn the_table_points_down_only() {
    let mut below: Vec<&str> = Vec::new();
    for (name, _, allowed) in LAYERS {
        assert!(
            allowed.iter().all(|a| below.contains(a)),
            "{name} depends on a package of its own level or above"
        );
        below.push(name);
    }
}

#[test]
fn packages_sit_in_their_folders_and_share_the_lints() {
    for (name, folder, _) in LAYERS {
        let manifest = source::text(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{folder} is not the package {name}");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{folder}/Cargo.toml lacks the workspace's lints"
        );
    }
}

#[test]
fn pure_packages_use_nothing_that_does_io() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _, _)| *name).collect();
    for (name, _, _) in LAYERS.into_iter().filter(|(_, folder, _)| is_pure(folder)) {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == name).unwrap();
        for used in dependencies(package, DependencyKind::Normal) {
            let fine = ours.contains(used) || PURE_DEPENDENCIES.contains(&used);
            assert!(fine, "{name} is pure and may not use {used}");
        }
    }
}

#[test]
fn only_shells_opt_out_of_the_purity_bans() {
    for (name, folder, _) in LAYERS {
        // Clippy takes the nearest file, so a pure package without one falls under the bans of the root's.
        let own = source::root().join(folder).join("clippy.toml").exists();
        assert_eq!(
            own,
            !is_pure(folder),
            "{name}: a clippy.toml of its own belongs to shells, and only to them"
        );
    }
    let bans = source::text("clippy.toml");
    for banned in ["Instant::now", "SystemTime::now", "thread::spawn", "fs::read", "HashMap", "UdpSocket"] {
        assert!(bans.contains(banned), "the root's clippy.toml no longer bans {banned}");
    }
}
