//! Why connections end: the application codes, and every cause in words a person can use.

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};
use transport::Identity;

use crate::bounds::{IDLE_TIMEOUT, REASON_BYTES_MAX};

/// An ordinary end: this side is done or shuts down.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);
/// The party isn't let in.
pub(crate) const REFUSED: VarInt = VarInt::from_u32(1);
/// The party doesn't read what it asked for.
pub(crate) const UNREAD: VarInt = VarInt::from_u32(2);
/// Code of a stream whose bytes are no frames.
pub(crate) const BAD_FRAME: VarInt = VarInt::from_u32(3);

/// Closes a connection with a code and a reason.
pub(crate) fn close(connection: &Connection, code: VarInt, reason: &str) {
    connection.close(code, &reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
}

/// Why a connection ended.
pub(crate) fn why(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            "closed by the other end".to_owned()
        }
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        ConnectionError::ConnectionClosed(close) => format!("closed by the other end: {close}"),
        ConnectionError::TransportError(error) => format!("protocol error: {error}"),
        ConnectionError::TimedOut => {
            format!("nothing heard from the other end for {} s", IDLE_TIMEOUT.as_secs())
        }
        ConnectionError::Reset => "the other end restarted and no longer knows this connection".to_owned(),
        ConnectionError::LocallyClosed => "closed on this side".to_owned(),
        ConnectionError::VersionMismatch => "the other end speaks another version of QUIC".to_owned(),
        ConnectionError::CidsExhausted => "the endpoint has run out of connection ids".to_owned(),
    }
}

/// Why the connection, already known to be of no use, ended; `otherwise` when it hasn't.
pub(crate) fn why_or(connection: &Connection, otherwise: &str) -> String {
    connection.close_reason().map_or_else(|| otherwise.to_owned(), |error| why(&error))
}

/// What a failed handshake means for the person who started the client.
pub(crate) fn refusal(code: TransportErrorCode, reason: &str, own: &Identity) -> Option<String> {
    let code = u64::from(code);
    if code == u64::from(TransportErrorCode::CONNECTION_REFUSED) {
        return Some("the server has as many connections as its bound allows; try again later".to_owned());
    }
    // QUIC puts the number of a TLS alert into the low byte of codes from 0x100 on.
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    Some(match alert {
        42..=44 | 46 | 49 => format!("the server refused our certificate {own}: {reason}"),
        45 => format!(
            "our certificate {own} isn't valid by the server's clock ({reason}); `ohm pki issue` makes a new one"
        ),
        48 | 51 => format!(
            "the server refused our certificate {own}: it was issued by another authority than that of the server's cell"
        ),
        116 => "the server wants a certificate and got none".to_owned(),
        120 => {
            let ours = String::from_utf8_lossy(transport::ALPN);
            format!("the other end doesn't speak {ours}: it is another version of Ohm, or something else")
        }
        _ => format!("the TLS handshake failed: {reason} (alert {alert})"),
    })
}
