//! Messages of the wire: whatever arrives is a message or an error, and a message reads back as it was.

use cell_state::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use transport::Identity;
use transport::frame::{FrameBuffer, unframe};
use transport::message::{AgentReply, AgentRequest, Heartbeat, ReplyFrame, RequestFrame};
use transport::view::Telemetry;

pub(super) fn requests(bytes: &[u8]) {
    RequestFrame::id_of(bytes);
    if let Some(frame) = message::<RequestFrame>(bytes) {
        // What permissions and metrics look at.
        frame.request.kind();
        assert_eq!(RequestFrame::id_of(&codec::encode(&frame)), Some(frame.id));
    }
    frames::<RequestFrame>(bytes);
}

pub(super) fn replies(bytes: &[u8]) {
    if let Some(ReplyFrame { reply: Err(refusal), .. }) = message(bytes) {
        // What people are shown.
        assert!(!format!("{refusal}").is_empty());
    }
    frames::<ReplyFrame>(bytes);
}

pub(super) fn agent_messages(bytes: &[u8]) {
    message::<AgentRequest>(bytes);
    message::<AgentReply>(bytes);
    message::<Heartbeat>(bytes);
    message::<Telemetry>(bytes);
    if let Ok(identity) = String::from_utf8_lossy(bytes).parse::<Identity>() {
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }
}

/// Decodes bytes as a message; one that decodes is written the same way for ever.
fn message<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let message: T = codec::decode(bytes).ok()?;
    let written = codec::encode(&message);
    let again: T = codec::decode(&written).expect("what we write can be read");
    assert_eq!(codec::encode(&again), written, "a message changed on the way");
    Some(message)
}

/// Cuts bytes into frames, in pieces whose length the first byte chooses: the pieces must make no difference.
fn frames<T: DeserializeOwned>(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let mut rest = bytes;
    let mut at_once = Vec::new();
    loop {
        let length = transport::frame::PREFIX_BYTES + rest.len();
        match unframe::<T>(rest) {
            Ok(Some((_, used))) => {
                assert!(used <= length, "a frame is longer than its bytes");
                at_once.push(rest[transport::frame::PREFIX_BYTES..used].to_vec());
                rest = &rest[used..];
            }
            Ok(None) | Err(_) => break,
        }
    }
    let mut buffer = FrameBuffer::default();
    let mut in_pieces = Vec::new();
    'pieces: for piece in bytes.chunks(usize::from(*step) + 1) {
        buffer.push(piece);
        loop {
            match buffer.next_message() {
                Ok(Some(message)) => in_pieces.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    // The buffer goes on over messages that don't decode; up to there both see the same.
    assert!(in_pieces.starts_with(&at_once), "frames depend on where the bytes were cut");
}
