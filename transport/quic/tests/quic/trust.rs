//! Who is let in: clients that the server must refuse, each told why, while the server goes on.

use quinn::ConnectionError;
use rcgen::date_time_ymd;
use transport::Role;
use transport_quic::{Client, ConnectError, Credentials};

use crate::cell::{Cell, assert_served, echo, soon};
use crate::raw::{self, Shown, forge, good};

/// The number of a TLS alert as QUIC carries it.
fn alert(number: u64) -> u64 {
    0x100 + number
}

/// Name, certificate, protocol, expected code, expected words of the reason.
type Refused = (&'static str, Option<Shown>, &'static [u8], u64, &'static str);

#[tokio::test]
async fn parties_that_dont_belong_are_refused_with_a_reason() {
    let (cell, other) = (Cell::new("west"), Cell::new("west"));
    let server = cell.serve(echo);
    let good_client = cell.client(server, Role::Scheduler, "batch").await;
    let ours = "ohm://west/scheduler/raw";
    let expired = |p: &mut rcgen::CertificateParams| {
        (p.not_before, p.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    };
    let early = |p: &mut rcgen::CertificateParams| p.not_before = date_time_ymd(2900, 1, 1);
    let server_only = |p: &mut rcgen::CertificateParams| {
        p.extended_key_usages.remove(0);
    };
    let ohm = transport::ALPN;
    let table: Vec<Refused> = vec![
        ("no certificate", None, ohm, alert(116), "no certificates"),
        ("another authority of the same name", Some(good(&other)), ohm, alert(51), "BadSignature"),
        ("expired", Some(forge(&cell, &[ours], expired)), ohm, alert(45), "expired"),
        ("not valid yet", Some(forge(&cell, &[ours], early)), ohm, alert(45), "not valid yet"),
        ("not for clients", Some(forge(&cell, &[ours], server_only)), ohm, alert(43), "extended key usage"),
        (
            "another cell",
            Some(forge(&cell, &["ohm://east/scheduler/raw"], |_| ())),
            ohm,
            1,
            "is for cell \"east\"",
        ),
        ("no identity", Some(forge(&cell, &[], |_| ())), ohm, 1, "names no party"),
        (
            "two identities",
            Some(forge(&cell, &[ours, "ohm://west/operator/raw"], |_| ())),
            ohm,
            1,
            "several parties",
        ),
        ("unknown role", Some(forge(&cell, &["ohm://west/king/raw"], |_| ())), ohm, 1, "\"king\" is no role"),
        ("another protocol", Some(good(&cell)), b"ohm/0", alert(120), "protocol"),
        ("no protocol", Some(good(&cell)), b"h3", alert(120), "protocol"),
    ];
    for (name, shown, protocol, code, words) in table {
        let error = soon(raw::connect(server, &cell, shown, protocol)).await.err().expect(name);
        let (found, reason) = match &error {
            ConnectionError::ApplicationClosed(close) => (u64::from(close.error_code), close.reason.to_vec()),
            ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), close.reason.to_vec()),
            other => panic!("{name}: {other:?}"),
        };
        let reason = String::from_utf8(reason).unwrap();
        assert!(found == code && reason.contains(words), "{name}: code {found:#x}, {reason}");
        assert_served(&good_client).await;
    }
}

/// Credentials in a directory of their own: the certificate of one cell with the authority of another.
fn mixed(shown_by: &Cell, trusting: &Cell, role: Role, name: &str) -> Credentials {
    let dir = tempfile::tempdir().expect("a temporary directory");
    shown_by.authority.issue(role, name, dir.path()).expect("a certificate");
    std::fs::copy(trusting.dir.path().join("ca.pem"), dir.path().join("ca.pem")).expect("a copy");
    Credentials::load(dir.path(), role, name).expect("whole files")
}

fn reason(error: ConnectError) -> String {
    assert!(!error.is_passing(), "{error}");
    match error {
        ConnectError::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn our_own_client_says_in_one_sentence_why_it_was_refused() {
    let (cell, namesake, east) = (Cell::new("west"), Cell::new("west"), Cell::new("east"));
    let server = cell.serve(echo);
    // The server doesn't know the client's authority.
    let stranger = mixed(&namesake, &cell, Role::User, "ann");
    let said = reason(soon(Client::connect(server, &stranger)).await.unwrap_err());
    assert!(said.contains("ohm://west/user/ann: it was issued by another authority"), "{said}");
    // The client doesn't know the server's authority.
    let stranger = namesake.credentials(Role::User, "ann");
    let said = reason(soon(Client::connect(server, &stranger)).await.unwrap_err());
    assert!(
        said.contains("server's certificate ohm://west/server/s1 was issued by another authority"),
        "{said}"
    );
    // Another cell altogether.
    let stranger = east.credentials(Role::User, "ann");
    let said = reason(soon(Client::connect(server, &stranger)).await.unwrap_err());
    assert_eq!(said, "the server's certificate is for cell \"west\", ours is for \"east\"");
    // Nobody of these has hurt the server.
    assert_served(&cell.client(server, Role::User, "ann").await).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_isnt_there_is_a_passing_error() {
    let cell = Cell::new("west");
    let silent = tokio::net::UdpSocket::bind(crate::cell::ANY_PORT).await.unwrap();
    let address = silent.local_addr().unwrap();
    let error = Client::connect(address, &cell.credentials(Role::User, "ann")).await.unwrap_err();
    assert!(error.is_passing());
    assert_eq!(
        error.to_string(),
        format!("no answer from {address} within 5 s; is the server running there?")
    );
}
