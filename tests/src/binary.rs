//! The `ohm` binary under test: built once per test process, the way the tests themselves were built.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

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
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As a part of the tests of the whole workspace, so that nothing of `cargo test --workspace` is built twice: the
    // binary is what this integration test of its package stands on.
    command.args(["test", "--workspace", "--no-run", "--test", "help", "--message-format", "json"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // What cargo tells a test about its package would tell build scripts that something has changed.
    for (key, _) in std::env::vars_os() {
        let word = key.to_string_lossy();
        let of_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if of_package.iter().any(|start| word.starts_with(start)) || word == "LD_LIBRARY_PATH" {
            command.env_remove(key);
        }
    }
    let output = command.current_dir(source::root()).stderr(Stdio::inherit()).output();
    let output = output.expect("cargo can be started");
    assert!(output.status.success(), "cargo could not build ohm");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut artifacts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ohm = artifacts.find(|a| a["target"]["name"] == "ohm" && a["profile"]["test"] == false);
    let path = ohm.and_then(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    path.expect("cargo built ohm and says where")
}
