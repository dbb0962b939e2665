//! The `ohm` binary under test: built once per test process, the way the tests themselves were built.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::source;

/// The path of `ohm`. Building it costs nothing when `cargo test --workspace` just did.
///
/// `OHM_BIN` names a ready one instead.
pub fn ohm() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("OHM_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "test" } else { "release" };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "ohm", "--profile", profile, "--message-format", "json"])
        .current_dir(source::root())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo could not build ohm");
    let text = String::from_utf8_lossy(&output.stdout);
    let artifacts = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = artifacts.filter_map(|a| a["executable"].as_str().map(PathBuf::from));
    let ohm = executables.find(|path| path.file_stem().is_some_and(|stem| stem == "ohm"));
    ohm.expect("cargo built ohm and says where")
}
