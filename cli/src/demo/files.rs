//! Real files of this machine for real tasks, and what the tasks must find in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bounds::{DEMO_FILE_BYTES, DEMO_FILES_LOOKED_AT, DEMO_FOLDER_DEPTH};

/// Where files are looked for: what most systems have and everybody may read.
const FOLDERS: [&str; 5] = ["/usr/bin", "/usr/lib", "/usr/share", "/etc", "/opt"];

/// Up to `count` regular files, drawn by the seed among those of a handy size.
pub(super) fn choose(count: usize, seed: u64) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let mut left = DEMO_FILES_LOOKED_AT;
        collect(Path::new(folder), DEMO_FOLDER_DEPTH, &mut left, &mut found);
    }
    // A shuffle that needs no generator: the order of the hashes of seed and name.
    let order = |path: &PathBuf| checksum_of(format!("{seed} {}", path.display()).as_bytes());
    found.sort_by_cached_key(order);
    // Only now are files opened: most are never needed.
    found.into_iter().filter(|path| fs::File::open(path).is_ok()).take(count).collect()
}

fn collect(folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        // Does not follow links, so there are no circles and no devices.
        let Ok(metadata) = entry.metadata() else { continue };
        let path = entry.path();
        // A name with a line break would be two lines of the list that the tasks read.
        let plain = path.to_str().is_some_and(|p| !p.contains(['\n', '\r', '\\']));
        if metadata.is_dir() && depth > 0 {
            folders.push(path);
        } else if metadata.is_file() && plain && DEMO_FILE_BYTES.contains(&metadata.len()) {
            found.push(path);
        }
    }
    for folder in folders {
        collect(&folder, depth - 1, left, found);
    }
}

/// The SHA-256 of a file and its length, computed here.
pub(super) fn checksum(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex(&hash.finalize()), length)),
            n => {
                hash.update(&buffer[..n]);
                length += n as u64;
            }
        }
    }
}

/// The SHA-256 of some bytes.
pub(super) fn checksum_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The commands of this machine among those wanted, by name.
pub(super) fn commands(wanted: &[&'static str]) -> BTreeMap<&'static str, PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let find = |name: &'static str| {
        let found = folders.iter().map(|f| f.join(name)).find(|p| p.is_file())?;
        Some((name, found))
    };
    wanted.iter().filter_map(|name| find(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_draws_readable_files() {
        let files = choose(20, 7);
        assert_eq!(files, choose(20, 7));
        assert!(files.iter().all(|f| checksum(f).is_ok()));
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(checksum(file.path()).unwrap(), (known.to_owned(), 3));
        assert_eq!(checksum_of(b"abc"), known);
    }
}
