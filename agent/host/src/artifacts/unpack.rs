//! Unpacking archives that nobody vouches for: entries stay below their directory, are of plain kinds, not too many and
//! not too large together.
//!
//! Symbolic links are made last, so that no entry is written through one, and only those that lead to something inside.
//! Devices, pipes and the like are refused; owners and set-user-id bits are not taken over.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cell_state::job::data::{Artifact, Unpack};
use cell_state::task::ArtifactProblem;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::inside::Inside;
use crate::bounds::ARCHIVE_ENTRIES_MAX;

/// Unpacks an artifact at its destination.
pub(super) fn unpack(
    artifact: &Artifact,
    file: File,
    work: &Inside,
    bytes_max: u64,
) -> Result<(), ArtifactProblem> {
    let inside = work.below(Path::new(&artifact.destination)).map_err(|error| error.problem())?;
    let file = std::io::BufReader::new(file);
    match artifact.unpack {
        Unpack::TarGz => entries(MultiGzDecoder::new(file), &inside, bytes_max),
        Unpack::Tar | Unpack::No => entries(file, &inside, bytes_max),
    }
}

fn entries(from: impl Read, inside: &Inside, bytes_max: u64) -> Result<(), ArtifactProblem> {
    let bad = |_| ArtifactProblem::BadArchive;
    let mut archive = Archive::new(from);
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut left = bytes_max;
    for (count, entry) in archive.entries().map_err(bad)?.enumerate() {
        if count >= ARCHIVE_ENTRIES_MAX {
            return Err(ArtifactProblem::TooLarge);
        }
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.into_owned();
        let target = entry.link_name().map_err(bad)?.map(|target| target.into_owned());
        let written = match (entry.header().entry_type(), target) {
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                left = left.checked_sub(entry.size()).ok_or(ArtifactProblem::TooLarge)?;
                let (mode, size) = (entry.header().mode().map_err(bad)?, entry.size());
                inside.file(&path, mode, &mut entry, size)
            }
            (EntryType::Directory, _) => inside.directory(&path).map(drop),
            (EntryType::Link, Some(target)) => inside.link(&path, &target),
            (EntryType::Symlink, Some(target)) => {
                links.push((path, target));
                Ok(())
            }
            // Remarks about the archive as a whole.
            (EntryType::XGlobalHeader, _) => Ok(()),
            _ => return Err(ArtifactProblem::BadArchive),
        };
        written.map_err(|error| error.problem())?;
    }
    for (path, target) in links {
        inside.symlink(&path, &target).map_err(|error| error.problem())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt;

    use tar::{Builder, Header};

    use super::*;

    /// An archive of entries: kind, path, content or target. Paths are written as they are, however bad.
    fn archive(list: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, text) in list {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            let is_file = *kind == EntryType::Regular;
            if !is_file {
                let target = &mut header.as_old_mut().linkname;
                target[..text.len()].copy_from_slice(text.as_bytes());
            }
            let content = if is_file { text.as_bytes() } else { &[] };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(
        list: &[(EntryType, &str, &str)],
        bytes_max: u64,
    ) -> (tempfile::TempDir, Result<(), ArtifactProblem>) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let inside = Inside::open(&root.path().join("work"), None).unwrap();
        let result = entries(Cursor::new(archive(list)), &inside, bytes_max);
        (root, result)
    }

    #[test]
    fn files_directories_and_links_that_stay_inside_come_out() {
        let list = [
            (EntryType::Directory, "app", ""),
            (EntryType::Symlink, "app/current", "v1/run"),
            (EntryType::Regular, "app/v1/run", "#!"),
            (EntryType::Link, "app/again", "app/v1/run"),
        ];
        let (root, result) = unpacked(&list, 100);
        assert_eq!(result, Ok(()));
        let work = root.path().join("work");
        for path in ["app/v1/run", "app/current", "app/again"] {
            assert_eq!(fs::read(work.join(path)).unwrap(), b"#!", "{path}");
        }
        let mode = fs::metadata(work.join("app/v1/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "the set-user-id bit is not taken over");
    }

    #[test]
    fn what_would_leave_its_place_is_refused() {
        let file = EntryType::Regular;
        let bad: [&[(EntryType, &str, &str)]; 8] = [
            &[(file, "../evil", "x")],
            &[(file, "/evil", "x")],
            &[(file, "a/../../evil", "x")],
            &[(EntryType::Symlink, "out", "../..")],
            &[(EntryType::Symlink, "out", "/etc")],
            &[(EntryType::Link, "passwd", "/etc/passwd")],
            &[(EntryType::Char, "null", "")],
            &[(EntryType::Fifo, "pipe", "")],
        ];
        for list in bad {
            let (root, result) = unpacked(list, 100);
            assert_eq!(result, Err(ArtifactProblem::BadArchive), "{list:?}");
            let outside: Vec<_> =
                fs::read_dir(root.path()).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(outside, ["work"], "{list:?}");
        }
    }

    #[test]
    fn a_link_comes_too_late_to_be_written_through() {
        let list = [(EntryType::Symlink, "dir", "elsewhere"), (EntryType::Regular, "dir/x", "x")];
        let (_, result) = unpacked(&list, 100);
        assert_eq!(result, Err(ArtifactProblem::BadArchive), "the link finds a directory in its place");
    }

    #[test]
    fn too_much_is_refused_before_it_is_written() {
        let list = [(EntryType::Regular, "a", "12345"), (EntryType::Regular, "b", "678901")];
        let (root, result) = unpacked(&list, 10);
        assert_eq!(result, Err(ArtifactProblem::TooLarge));
        assert!(!root.path().join("work/b").exists());
    }
}
