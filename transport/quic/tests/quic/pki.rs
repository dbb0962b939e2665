//! Certificates and keys on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use transport::Role;
use transport_quic::{Authority, Credentials, PkiError};

use crate::cell::Cell;
use crate::raw::forge;

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn keys_are_for_their_owner_only_and_nothing_is_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("deep/pki");
    let authority = Authority::create("west", &dir).unwrap();
    authority.issue(Role::Agent, "sim-*", &dir).unwrap();
    authority.issue(Role::User, "ann", &dir).unwrap();
    assert_eq!((mode(&dir), mode(dir.join("ca.key")), mode(dir.join("ca.pem"))), (0o700, 0o600, 0o644));
    assert_eq!((mode(dir.join("agent-sim-_.key")), mode(dir.join("user-ann.key"))), (0o600, 0o600));
    let files = |dir: &Path| {
        fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    };
    let before: Vec<Vec<u8>> = files(&dir);
    let again = [Authority::create("west", &dir).map(|_| ()), authority.issue(Role::User, "ann", &dir)];
    for error in again.map(Result::unwrap_err) {
        assert!(matches!(error, PkiError::Exists { .. }), "{error:?}");
        assert!(error.to_string().contains("exists and is not overwritten; move it away"), "{error}");
    }
    assert_eq!(files(&dir), before);
}

#[test]
fn an_authority_reads_back_and_issues_for_other_places() {
    let cell = Cell::new("west");
    let authority = Authority::load(cell.dir.path()).unwrap();
    assert_eq!(authority.cell(), "west");
    let elsewhere = tempfile::tempdir().unwrap();
    authority.issue(Role::Scheduler, "batch", elsewhere.path()).unwrap();
    let credentials = Credentials::load(elsewhere.path(), Role::Scheduler, "batch").unwrap();
    assert_eq!(credentials.identity().to_string(), "ohm://west/scheduler/batch");
    assert!(!elsewhere.path().join("ca.key").exists());
    assert!(!format!("{credentials:?} {authority:?}").contains("PRIVATE"));
    // A directory of another cell is left alone.
    let error = Cell::new("east").authority.issue(Role::User, "ann", elsewhere.path()).unwrap_err();
    assert!(error.to_string().contains("belongs to another authority"), "{error}");
}

#[test]
fn names_that_cant_be_in_a_certificate_are_refused() {
    let cell = Cell::new("west");
    for name in ["", "a/b", "a b", "*", "m*1", "../x", "-x", "ä", &"x".repeat(200)] {
        for role in [Role::Agent, Role::User] {
            let error = cell.authority.issue(role, name, cell.dir.path()).unwrap_err();
            assert!(matches!(error, PkiError::Name { .. }), "{role} {name:?}: {error:?}");
        }
        assert!(Authority::create(name, cell.dir.path()).is_err(), "{name:?}");
    }
    // Only an agent may speak for several machines.
    assert!(cell.authority.issue(Role::User, "a*", cell.dir.path()).is_err());
    assert_eq!(fs::read_dir(cell.dir.path()).unwrap().count(), 2);
}

#[test]
fn files_that_are_missing_or_wrong_are_named() {
    let cell = Cell::new("west");
    let dir = cell.dir.path();
    cell.credentials(Role::User, "ann");
    cell.credentials(Role::User, "bob");
    let expired = forge(&cell, &["ohm://west/user/old"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    fs::write(dir.join("user-old.pem"), &expired.certificate_pem).unwrap();
    fs::write(dir.join("user-old.key"), &expired.key_pem).unwrap();
    fs::copy(dir.join("user-bob.pem"), dir.join("user-eve.pem")).unwrap();
    fs::copy(dir.join("user-bob.key"), dir.join("user-eve.key")).unwrap();
    fs::copy(dir.join("user-ann.pem"), dir.join("user-bad.pem")).unwrap();
    fs::write(dir.join("user-bad.key"), "not a key").unwrap();
    fs::copy(dir.join("user-ann.pem"), dir.join("user-lone.pem")).unwrap();
    fs::write(dir.join("user-junk.pem"), [0xff; 40]).unwrap();
    fs::write(dir.join("user-huge.pem"), vec![b'x'; 1 << 20]).unwrap();
    let table = [
        ("nobody", "user-nobody.pem is missing; `ohm pki issue` makes the files of user nobody"),
        ("old", "user-old.pem: expired on Jan"),
        ("eve", "user-eve.pem: is the certificate of ohm://west/user/bob, not of ohm://west/user/eve"),
        ("bad", "user-bad.key: not a private key in PEM form"),
        ("lone", "user-lone.key is missing"),
        ("junk", "can't read"),
        ("huge", "is over 65536 bytes"),
    ];
    for (name, words) in table {
        let error = Credentials::load(dir, Role::User, name).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
    // A certificate of a party is no authority, and a key must fit its certificate.
    let wrong = tempfile::tempdir().unwrap();
    let put = |from: &str, to: &str| fs::copy(dir.join(from), wrong.path().join(to)).unwrap();
    put("user-ann.pem", "ca.pem");
    put("ca.key", "ca.key");
    let error = Authority::load(wrong.path()).unwrap_err().to_string();
    assert!(error.contains("ca.pem: is not the certificate of a cell's authority"), "{error}");
    put("ca.pem", "ca.pem");
    put("user-ann.key", "ca.key");
    let error = Authority::load(wrong.path()).unwrap_err().to_string();
    assert!(error.contains("ca.key: is not the key of"), "{error}");
    fs::remove_file(wrong.path().join("ca.key")).unwrap();
    let error = Authority::load(wrong.path()).unwrap_err().to_string();
    assert!(error.contains("ca.key is missing; `ohm pki init` makes it"), "{error}");
}
