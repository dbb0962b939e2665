//! The bytes of every message, pinned: `messages.txt` has one line per message, its name and its encoding in hex.
//! A change of those bytes is a change of the protocol and needs another number in `transport::ALPN`. After such a
//! change, or for a new message, `UPDATE_GOLDEN=1 cargo test -p transport` writes the file anew.

mod conversations;
mod hot;
mod replies;
mod requests;
mod usage;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use cell_state::codec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use transport::message::{AgentReply, AgentRequest, Heartbeat, ReplyFrame, RequestFrame, RequestFrameRef};
use transport::task::{FromTask, Hop, ToTask};
use transport::{RequestKind, frame, unframe};

/// A number as large as it gets takes the longest encoding, so that the width of numbers is pinned as well.
const LARGE: u64 = u64::MAX - 1;

/// Says why bytes don't read back as the message they should be.
type Check = Box<dyn Fn(&[u8]) -> Result<(), String>>;

struct Line {
    name: String,
    bytes: Vec<u8>,
    check: Check,
}

fn line<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(name: &str, message: T) -> Line {
    let bytes = codec::encode(&message);
    let check = move |bytes: &[u8]| match codec::decode::<T>(bytes) {
        Ok(decoded) if decoded == message => Ok(()),
        Ok(decoded) => Err(format!("decodes to {decoded:?}, expected {message:?}")),
        Err(error) => Err(error.to_string()),
    };
    Line { name: name.to_owned(), bytes, check: Box::new(check) }
}

fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for (id, (name, request)) in (1..).zip(requests::all()) {
        lines.push(line(&format!("request.{name}"), RequestFrame { id, request }));
    }
    lines.push(line("request.large-id", RequestFrame { id: LARGE, request: transport::Request::Status }));
    for (id, (name, reply)) in (1..).zip(replies::all()) {
        lines.push(line(&format!("reply.{name}"), ReplyFrame { id, reply: Ok(reply) }));
    }
    for (id, (name, refusal)) in (1..).zip(replies::refusals()) {
        lines.push(line(&format!("refusal.{name}"), ReplyFrame { id, reply: Err(refusal) }));
    }
    for (name, request) in requests::to_agents() {
        lines.push(line(&format!("agent-request.{name}"), request));
    }
    for (name, reply) in replies::of_agents() {
        lines.push(line(&format!("agent-reply.{name}"), reply));
    }
    for (name, message) in conversations::to_task() {
        lines.push(line(&format!("to-task.{name}"), Hop::Message(message)));
    }
    for (name, message) in conversations::from_task() {
        lines.push(line(&format!("from-task.{name}"), Hop::Message(message)));
    }
    lines.push(line("hop.credit", Hop::<ToTask>::Credit(65_536)));
    lines.push(line("heartbeat.first", Heartbeat { number: 1 }));
    lines.push(line("heartbeat.large", Heartbeat { number: LARGE }));
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex digits")).collect()
}

#[test]
fn a_request_that_its_sender_keeps_has_the_same_bytes() {
    for (id, (name, request)) in (1..).zip(requests::all()) {
        let kept = codec::encode(&RequestFrameRef { id, request: &request });
        assert_eq!(kept, codec::encode(&RequestFrame { id, request }), "{name}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the golden file when asked to")]
fn every_message_has_the_bytes_it_always_had() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/messages.txt");
    let lines = lines();
    let text: String = lines.iter().map(|line| format!("{} {}\n", line.name, hex(&line.bytes))).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let golden: Vec<(&str, &str)> = golden.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let names: Vec<&str> = golden.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>());
    for (line, (name, bytes)) in lines.iter().zip(golden) {
        assert_eq!(hex(&line.bytes), bytes, "{name} is written otherwise than before");
        if let Err(problem) = (line.check)(&unhex(bytes)) {
            panic!("{name} is read otherwise than before: {problem}");
        }
    }
}

#[test]
fn no_kind_of_message_is_forgotten() {
    let kinds: BTreeSet<RequestKind> = requests::all().iter().map(|(_, request)| request.kind()).collect();
    assert_eq!(kinds, BTreeSet::from(RequestKind::ALL));
    let replies: BTreeSet<&str> = replies::all().iter().map(|(_, reply)| replies::kind(reply)).collect();
    assert_eq!(replies, BTreeSet::from(replies::KINDS));
    let refusals: BTreeSet<&str> =
        replies::refusals().iter().map(|(_, r)| replies::refusal_kind(r)).collect();
    assert_eq!(refusals, BTreeSet::from(replies::REFUSAL_KINDS));
    let names: Vec<String> = lines().into_iter().map(|line| line.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "two lines of one name");
}

#[test]
fn cut_and_extended_messages_are_refused_and_keep_their_number() {
    for (id, (name, request)) in (1..).zip(requests::all()) {
        let bytes = codec::encode(&RequestFrame { id, request });
        assert_eq!(RequestFrame::id_of(&bytes), Some(id), "{name}");
        for cut in 0..bytes.len() {
            assert!(codec::decode::<RequestFrame>(&bytes[..cut]).is_err(), "{name} cut to {cut} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(codec::decode::<RequestFrame>(&longer).is_err(), "{name} with a byte more");
        assert_eq!(RequestFrame::id_of(&longer), Some(id), "{name}");
    }
    for id in [0, 250, 251, 65_535, 65_536, u64::from(u32::MAX), LARGE] {
        let bytes = codec::encode(&RequestFrame { id, request: transport::Request::Status });
        assert_eq!(RequestFrame::id_of(&bytes), Some(id));
    }
    assert_eq!(RequestFrame::id_of(&[]), None);
    assert_eq!(RequestFrame::id_of(&[253, 1, 2]), None);
}

/// Decodes bytes as every type that comes from outside; none may panic or allocate beyond the bound.
fn decode_all(bytes: &[u8]) {
    let _ = codec::decode::<RequestFrame>(bytes);
    let _ = codec::decode::<ReplyFrame>(bytes);
    let _ = codec::decode::<AgentRequest>(bytes);
    let _ = codec::decode::<AgentReply>(bytes);
    let _ = codec::decode::<Heartbeat>(bytes);
    let _ = codec::decode::<Hop<ToTask>>(bytes);
    let _ = codec::decode::<Hop<FromTask>>(bytes);
    let _ = RequestFrame::id_of(bytes);
    let _ = unframe::<RequestFrame>(bytes);
    let _ = unframe::<ReplyFrame>(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(),
                                    byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let lines = lines();
        let mut bytes = lines[pick.index(lines.len())].bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        decode_all(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        decode_all(&bytes);
    }

    #[test]
    fn whatever_is_framed_is_read_back(id in any::<u64>(), name in ".{0,40}") {
        let sent = RequestFrame { id, request: transport::Request::StopJob { name } };
        let mut bytes = Vec::new();
        frame(&sent, &mut bytes);
        let (read, used) = unframe::<RequestFrame>(&bytes).unwrap().unwrap();
        prop_assert_eq!((read, used), (sent, bytes.len()));
    }
}

proptest! {
    /// What is decoded by hand is what the codec decodes, and what the codec refuses is refused: for whole messages, for
    /// messages with a changed byte, and for messages that are cut short.
    #[test]
    fn messages_decoded_by_hand_mean_what_the_codec_says(
        places in prop::collection::vec((any::<u32>(), any::<u16>(), any::<u32>(), 0usize..18, any::<u32>()), 0..40),
        numbers in (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for message in [hot::commit(&places, numbers), hot::verdicts(&places, numbers)] {
            let mut changed = message.clone();
            changed[at.index(message.len())] = byte;
            let cut = message[..at.index(message.len())].to_vec();
            let longer = [&message[..], &[byte]].concat();
            for bytes in [message, changed, cut, longer] {
                let by_hand = transport::hot::request(&bytes).map_err(|e| e.to_string());
                prop_assert_eq!(by_hand, codec::decode(&bytes).map_err(|e| e.to_string()));
                let by_hand = transport::hot::reply(&bytes).map_err(|e| e.to_string());
                prop_assert_eq!(by_hand, codec::decode(&bytes).map_err(|e| e.to_string()));
            }
        }
    }
}
