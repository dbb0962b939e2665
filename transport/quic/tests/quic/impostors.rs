//! Servers that a client must not trust.

use rcgen::date_time_ymd;
use transport::Role;
use transport_quic::{Client, ConnectError};

use crate::cell::{Cell, soon};
use crate::raw::{Shown, forge, listen};

#[tokio::test]
async fn impostors_are_refused_by_the_client_with_a_reason() {
    let (cell, namesake) = (Cell::new("west"), Cell::new("west"));
    let credentials = cell.credentials(Role::User, "ann");
    let server = "ohm://west/server/s1";
    let expired = |p: &mut rcgen::CertificateParams| {
        (p.not_before, p.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    };
    let client_only = |p: &mut rcgen::CertificateParams| {
        p.extended_key_usages.truncate(1);
    };
    let nameless = |p: &mut rcgen::CertificateParams| {
        p.subject_alt_names.truncate(1);
    };
    // Certificate, protocol, expected words.
    let ohm = transport::ALPN;
    let table: Vec<(Shown, &[u8], &str)> = vec![
        (forge(&cell, &["ohm://west/agent/m1"], |_| ()), ohm, "ohm://west/agent/m1 is not that of a server"),
        (
            forge(&cell, &["ohm://west/operator/eve"], |_| ()),
            ohm,
            "ohm://west/operator/eve is not that of a server",
        ),
        (forge(&cell, &["ohm://east/server/s1"], |_| ()), ohm, "is for cell \"east\", ours is for \"west\""),
        (forge(&cell, &[], |_| ()), ohm, "is no server of a cell"),
        (forge(&cell, &["https://west"], |_| ()), ohm, "is no server of a cell"),
        (forge(&cell, &[server], expired), ohm, "ohm://west/server/s1 has expired"),
        (forge(&cell, &[server], client_only), ohm, "can't be verified"),
        (forge(&cell, &[server], nameless), ohm, "can't be verified"),
        (forge(&namesake, &[server], |_| ()), ohm, "was issued by another authority"),
        (forge(&cell, &[server], |_| ()), b"ohm/0", "doesn't speak ohm/1"),
    ];
    for (shown, protocol, words) in table {
        let address = listen(&cell, shown, protocol);
        match soon(Client::connect(address, &credentials)).await {
            Err(ConnectError::Refused { reason, .. }) if reason.contains(words) => {}
            other => panic!("{words}: {other:?}"),
        }
    }
    // The very same with nothing wrong is accepted, so it was not the set-up that failed.
    let address = listen(&cell, forge(&cell, &[server], |_| ()), ohm);
    soon(Client::connect(address, &credentials)).await.unwrap();
}
