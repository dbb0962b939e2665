//! Golden files: what is on disk must equal what the code makes. `UPDATE_GOLDEN=1` rewrites them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a golden file; empty when it is about to be made.
pub(crate) fn read(path: &str) -> String {
    let text = std::fs::read_to_string(place(path));
    if updating() { text.unwrap_or_default() } else { text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// The names in a folder of golden files.
pub(crate) fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place(folder)).expect("the folder is part of the repository");
    entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Compares what was made with the file, line by line, or rewrites the file.
#[expect(clippy::disallowed_methods, reason = "a person asked for the golden files to be rewritten")]
pub(crate) fn compare(path: &str, made: &str) {
    let written = read(path);
    if written == made {
        return;
    }
    if updating() {
        std::fs::write(place(path), made).expect("the repository is writable");
        return;
    }
    for (number, (w, m)) in written.lines().zip(made.lines()).enumerate() {
        assert_eq!(w, m, "{path}:{} (left: the file, right: what came)", number + 1);
    }
    panic!("{path} has {} lines, {} were made", written.lines().count(), made.lines().count());
}
