//! The workspace's layers: which package may depend on which, and that pure packages stay pure.

use std::collections::{BTreeMap, BTreeSet};

use std::process::Command;

use cell_tests::source;
use serde_json::Value;

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
    ("study", "bench/study", &["bench", "cell-state", "schedulers", "transport", "transport-quic"]),
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
    ("cell-tests", "tests", &["cell-server", "cell-state", "transport", "transport-quic"]),
];

/// Packages of ours that only the tests of a package may use besides.
const TEST_ONLY: [(&str, &[&str]); 2] =
    [("scheduler-runtime", &["cell-server"]), ("agent-host", &["cell-server"])];

/// Outside packages that pure packages may use: none of them reads a clock, a disk or a socket. Tables of `hashbrown`
/// are used with the fixed hash of `rustc-hash` alone, and nothing shows their order.
const PURE_DEPENDENCIES: [&str; 15] = [
    "bincode",
    "bytes",
    "crc32c",
    "hashbrown",
    "hdrhistogram",
    "libm",
    "rand",
    "rand_chacha",
    "rand_distr",
    "regex",
    "rustc-hash",
    "serde",
    "smallvec",
    "thiserror",
    "xxhash-rust",
];

/// Packages in a top-level folder are pure; the nested ones, the binary and the tests do IO.
fn is_pure(folder: &str) -> bool {
    !folder.contains('/') && folder != "cli" && folder != "tests"
}

/// What cargo says of each package of the workspace.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(source::root());
    let output = command.output().expect("cargo can be started");
    let described: Value = serde_json::from_slice(&output.stdout).expect("cargo describes the workspace");
    described["packages"].as_array().expect("a list").clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("packages have names")
}

/// The dependencies of a package; `kind` is `null`, `"build"` or `"dev"`.
fn dependencies<'a>(package: &'a Value, kind: &Value) -> BTreeSet<&'a str> {
    let all = package["dependencies"].as_array().expect("a list").iter();
    all.filter(|d| d["kind"] == *kind).filter_map(|d| d["name"].as_str()).collect()
}

#[test]
fn every_edge_between_our_packages_is_in_the_table() {
    let packages = packages();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _, _)| *name).collect();
    let found: BTreeSet<&str> = packages.iter().map(name).collect();
    assert_eq!(found, ours, "the packages of the workspace and of the table differ");
    let test_only = BTreeMap::from(TEST_ONLY);
    for package in &packages {
        let (_, _, allowed) = LAYERS.iter().find(|(known, _, _)| *known == name(package)).unwrap();
        for kind in [Value::Null, "build".into(), "dev".into()] {
            let tests = if kind == "dev" { test_only.get(name(package)) } else { None };
            for used in dependencies(package, &kind).intersection(&ours) {
                let fine = allowed.contains(used) || tests.is_some_and(|t| t.contains(used));
                assert!(fine, "{} may not depend on {used} ({kind}): see the table of layers", name(package));
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
    let packages = packages();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _, _)| *name).collect();
    for (pure, _, _) in LAYERS.into_iter().filter(|(_, folder, _)| is_pure(folder)) {
        let package = packages.iter().find(|p| name(p) == pure).unwrap();
        for used in dependencies(package, &Value::Null) {
            let fine = ours.contains(used) || PURE_DEPENDENCIES.contains(&used);
            assert!(fine, "{pure} is pure and may not use {used}");
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
