//! The machine's runtime for containers: found by name, and taken only when it has run one.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::config::PATH;

/// Those that are known to work, the better first.
const NAMES: [&str; 2] = ["runc", "crun"];

/// A program that runs containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Runtime {
    pub(super) path: PathBuf,
    /// Its name and version.
    pub(super) version: String,
}

/// The runtimes that this machine has.
pub(super) fn installed() -> Vec<Runtime> {
    NAMES.iter().filter_map(|name| find(name)).collect()
}

fn find(name: &str) -> Option<Runtime> {
    let own = std::env::var("PATH").unwrap_or_default();
    let places = own.split(':').chain(PATH.split(':')).filter(|place| place.starts_with('/'));
    let path = places.map(|place| PathBuf::from(place).join(name)).find(|path| path.is_file())?;
    let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = version(&text)?;
    output.status.success().then_some(Runtime { path, version })
}

/// `runc version 1.1.5+ds1` is `runc 1.1.5+ds1`.
fn version(text: &str) -> Option<String> {
    let (name, version) = text.lines().next()?.split_once(" version ")?;
    Some(format!("{name} {}", version.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("runc version 1.1.5+ds1\ncommit: x\n").as_deref(), Some("runc 1.1.5+ds1"));
        assert_eq!(version("crun version 1.8.1\n").as_deref(), Some("crun 1.8.1"));
        assert_eq!(version("usage: runc"), None);
    }
}
