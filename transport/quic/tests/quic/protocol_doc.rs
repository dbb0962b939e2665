//! What docs/protocol.md says of roles, bounds and the version is what the code does.

use std::time::Duration;

use transport::bounds::{
    CONVERSATION_WINDOW, CONVERSATIONS_MAX, FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX, STREAMS_MAX,
    SUBSCRIPTIONS_MAX,
};
use transport::{RequestKind, Role};
use transport_quic::bounds::{
    AGENT_ANSWER_WAIT, CONNECT_WAIT, CONNECTIONS_MAX, HANDSHAKES_MAX, IDLE_TIMEOUT, KEEP_ALIVE,
    UNREAD_REPLY_BYTES, UNREAD_REPLY_BYTES_MAX,
};

const TEXT: &str = include_str!("../../../../docs/protocol.md");

/// The cells of every table row that begins with a word in backquotes.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let cells = TEXT.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let named = cells.filter_map(|cells| {
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, cells[2..cells.len() - 1].to_vec()))
    });
    named.collect()
}

#[test]
fn the_permission_table_is_the_one_that_is_enforced() {
    let roles: Vec<&str> = Role::ALL.map(Role::word).to_vec();
    assert!(TEXT.contains(&format!("| request | {} |", roles.join(" | "))));
    let rows = rows();
    for kind in RequestKind::ALL {
        let (_, cells) =
            rows.iter().find(|(name, _)| *name == kind.to_string()).expect("a row for each kind");
        let expected = Role::ALL.map(|role| if role.may(kind) { "x" } else { "" });
        assert_eq!(*cells, expected, "{kind}");
    }
}

#[test]
fn bounds_and_version_are_as_said() {
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    let table = [
        ("FRAME_BYTES_MAX", mib(FRAME_BYTES_MAX)),
        ("REQUESTS_IN_FLIGHT_MAX", REQUESTS_IN_FLIGHT_MAX.to_string()),
        ("STREAMS_MAX", STREAMS_MAX.to_string()),
        ("SUBSCRIPTIONS_MAX", SUBSCRIPTIONS_MAX.to_string()),
        ("UNREAD_REPLY_BYTES", mib(UNREAD_REPLY_BYTES)),
        ("UNREAD_REPLY_BYTES_MAX", mib(UNREAD_REPLY_BYTES_MAX)),
        ("CONNECTIONS_MAX", CONNECTIONS_MAX.to_string()),
        ("HANDSHAKES_MAX", HANDSHAKES_MAX.to_string()),
        ("IDLE_TIMEOUT", seconds(IDLE_TIMEOUT)),
        ("KEEP_ALIVE", seconds(KEEP_ALIVE)),
        ("CONNECT_WAIT", seconds(CONNECT_WAIT)),
        ("AGENT_ANSWER_WAIT", seconds(AGENT_ANSWER_WAIT)),
        ("CONVERSATION_WINDOW", format!("{} KiB", CONVERSATION_WINDOW >> 10)),
        ("CONVERSATIONS_MAX", CONVERSATIONS_MAX.to_string()),
    ];
    let rows = rows();
    for (name, value) in &table {
        assert!(
            rows.iter().any(|(row, cells)| row == name && cells == &[value.as_str()]),
            "{name} is {value}"
        );
    }
    let upper = rows.iter().filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    assert_eq!(upper.count(), table.len(), "every bound in the text is checked here");
    let version = String::from_utf8_lossy(transport::ALPN);
    assert!(TEXT.contains(&format!("The ALPN name is `{version}`.")));
}
