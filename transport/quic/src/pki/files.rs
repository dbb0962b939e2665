//! Files of certificates and keys: never overwritten, keys never readable by others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::{PkiError, unusable};
use crate::bounds::PEM_BYTES_MAX;

const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o700;

/// Writes a key and its certificate, each a path and a text, in a directory that is made if need be. Both are written
/// or none.
pub(super) fn write_pair(dir: &Path, key: (&Path, &str), certificate: (&Path, &str)) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
        .map_err(|source| failed("make", dir, source))?;
    if let Some(path) = [key.0, certificate.0].into_iter().find(|path| path.exists()) {
        return Err(PkiError::Exists { path: path.to_owned() });
    }
    write_new(key.0, key.1, KEY_MODE)?;
    write_new(certificate.0, certificate.1, CERTIFICATE_MODE).inspect_err(|_| {
        // A key without its certificate is of no use and would block the next attempt.
        let _ = fs::remove_file(key.0);
    })
}

/// Writes a certificate unless the very same is there.
pub(super) fn write_once(path: &Path, text: &str) -> Result<(), PkiError> {
    match write_new(path, text, CERTIFICATE_MODE) {
        Err(PkiError::Exists { .. }) if read(path, String::new)? == text => Ok(()),
        Err(PkiError::Exists { .. }) => {
            Err(unusable(path, "belongs to another authority; choose another directory".to_owned()))
        }
        written => written,
    }
}

/// The text of a file of a plausible size; `hint` says what makes it when it isn't there.
pub(super) fn read(path: &Path, hint: impl Fn() -> String) -> Result<String, PkiError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => PkiError::Missing { path: path.to_owned(), hint: hint() },
        _ => failed("read", path, source),
    })?;
    let mut text = String::new();
    let read = file.take(PEM_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|source| failed("read", path, source))?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err(unusable(path, format!("is over {PEM_BYTES_MAX} bytes, so it is no certificate or key")));
    }
    Ok(text)
}

/// Others may have put a key here with a looser mode than ours; that is theirs to decide, and worth a warning.
pub(super) fn warn_if_shared(path: &Path) {
    let shared = fs::metadata(path).is_ok_and(|facts| facts.mode() & 0o077 != 0);
    if shared {
        tracing::warn!(path = %path.display(), "this private key can be read by other users; its mode should be 0600");
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => PkiError::Exists { path: path.to_owned() },
        _ => failed("create", path, source),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        let _ = fs::remove_file(path);
        failed("write", path, source)
    })
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> PkiError {
    PkiError::Io { act, path: path.to_owned(), source }
}
