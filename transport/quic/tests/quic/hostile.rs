//! Clients that are let in and then misbehave: each gets one clear answer, and neither the server nor its other sessions,
//! and mostly not even the session itself, is hurt.

use cell_state::{Seq, codec};
use quinn::{RecvStream, SendStream};
use transport::bounds::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX, STREAMS_MAX};
use transport::message::{Refusal, Reply, RequestFrame};
use transport::{Role, frame};

use crate::cell::{Cell, assert_served, echo, is_pending, numbered, soon};
use crate::raw::{self, Raw, Replies};

fn framed(id: u64, n: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&RequestFrame { id, request: numbered(n) }, &mut bytes);
    bytes
}

/// A frame around any bytes.
fn wrapped(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_le_bytes()[..], message].concat()
}

fn message(id: u64) -> Vec<u8> {
    codec::encode(&RequestFrame { id, request: numbered(7) })
}

fn answered(id: u64, n: u32) -> Option<(u64, Result<Reply, Refusal>)> {
    Some((id, Ok(Reply::Audit { at: Seq(u64::from(n)), violations: Vec::new() })))
}

async fn send(raw: &Raw, bytes: &[u8]) -> (SendStream, Replies) {
    let (mut send, receive): (SendStream, RecvStream) = raw.connection.open_bi().await.expect("a stream");
    send.write_all(bytes).await.expect("room");
    (send, Replies::new(receive))
}

/// A new stream of the same session works.
async fn assert_session_lives(raw: &Raw) {
    let (_send, mut replies) = send(raw, &framed(1, 5)).await;
    assert_eq!(soon(replies.next()).await, answered(1, 5));
}

#[tokio::test]
async fn messages_that_dont_decode_are_refused_by_number_and_the_stream_goes_on() {
    let cell = Cell::new("west");
    let server = cell.serve(echo);
    let other = cell.client(server, Role::Scheduler, "batch").await;
    let raw = raw::scheduler(server, &cell).await;
    let good = message(300);
    let table: [(&str, Vec<u8>, u64, &str); 7] = [
        ("empty", Vec::new(), 0, "not a valid RequestFrame"),
        ("number cut", good[..2].to_vec(), 0, "not a valid RequestFrame"),
        ("number only", good[..3].to_vec(), 300, "not a valid RequestFrame"),
        ("truncated", good[..good.len() - 1].to_vec(), 300, "not a valid RequestFrame"),
        ("a byte more", [&good[..], &[9]].concat(), 300, "1 bytes left over after a RequestFrame"),
        ("unknown request", vec![7, 200], 7, "not a valid RequestFrame"),
        (
            "a length over every bound",
            [&[8, 12, 253][..], &[0xff; 8]].concat(),
            8,
            "not a valid RequestFrame",
        ),
    ];
    for (name, bytes, id, words) in table {
        let (_send, mut replies) = send(&raw, &[wrapped(&bytes), framed(9, 4)].concat()).await;
        match soon(replies.next()).await {
            Some((found, Err(Refusal::Malformed(why)))) if found == id && why.contains(words) => {}
            unexpected => panic!("{name}: {unexpected:?}"),
        }
        assert_eq!(soon(replies.next()).await, answered(9, 4), "{name}");
        assert_served(&other).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_their_stream_only() {
    let cell = Cell::new("west");
    let server = cell.serve(echo);
    let other = cell.client(server, Role::Scheduler, "batch").await;
    let raw = raw::scheduler(server, &cell).await;
    let over = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes().to_vec();
    let table: [(&str, Vec<u8>, &str); 5] = [
        ("over the bound", over.clone(), "a frame of 4194305 bytes, over the bound of 4194304"),
        ("far over the bound", vec![0xff; 4], "a frame of 4294967295 bytes"),
        ("over the bound, with bytes", [over, vec![1; 100_000]].concat(), "over the bound"),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a frame of 542393671 bytes"),
        ("after a good one", [framed(3, 6), vec![0xee; 64]].concat(), "over the bound"),
    ];
    for (name, bytes, words) in table {
        let (stream, mut replies) = send(&raw, &bytes).await;
        let mut reply = soon(replies.next()).await;
        if name == "after a good one" {
            // Nothing says which of the two is answered first.
            let next = soon(replies.next()).await;
            let good = answered(3, 6);
            assert!(reply == good || next == good, "{reply:?} {next:?}");
            reply = if reply == good { next } else { reply };
        }
        match reply {
            Some((0, Err(Refusal::Malformed(why)))) if why.contains(words) => {}
            unexpected => panic!("{name}: {unexpected:?}"),
        }
        assert!(soon(replies.next()).await.is_none(), "{name}: the stream goes on");
        assert!(soon(stream.stopped()).await.is_ok(), "{name}: the connection broke");
        assert_session_lives(&raw).await;
        assert_served(&other).await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_told_so() {
    let cell = Cell::new("west");
    let server = cell.serve(echo);
    let raw = raw::scheduler(server, &cell).await;
    let whole = framed(3, 6);
    for cut in 1..whole.len() {
        let (mut stream, mut replies) = send(&raw, &whole[..cut]).await;
        stream.finish().unwrap();
        let expected = Refusal::Malformed(format!("the stream ended {cut} bytes into a frame"));
        assert_eq!(soon(replies.next()).await, Some((0, Err(expected))));
        assert!(soon(replies.next()).await.is_none());
    }
    // Ending where a frame ends is no fault, and the replies still come.
    let (mut stream, mut replies) = send(&raw, &whole).await;
    stream.finish().unwrap();
    assert_eq!(soon(replies.next()).await, answered(3, 6));
    assert!(soon(replies.next()).await.is_none());
    assert_session_lives(&raw).await;
}

#[tokio::test]
async fn random_bytes_on_streams_and_datagrams_hurt_nobody() {
    let cell = Cell::new("west");
    let server = cell.serve(echo);
    let other = cell.client(server, Role::Agent, "m1").await;
    let raw = raw::scheduler(server, &cell).await;
    // A plain generator with a fixed seed: what it finds, it finds again.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        let bytes: Vec<u8> = (0..random() % 2_000).map(|_| random() as u8).collect();
        // Half of them in frames of the right length, so that they reach the decoder.
        let bytes = if round % 2 == 0 { wrapped(&bytes) } else { bytes };
        let (mut stream, mut replies) = send(&raw, &bytes).await;
        let _ = stream.finish();
        while soon(replies.next()).await.is_some() {}
        raw.connection.send_datagram(bytes[..bytes.len().min(900)].to_vec().into()).unwrap();
    }
    assert_session_lives(&raw).await;
    assert_served(&other).await;
    // And bytes at the port that are not even QUIC.
    let socket = tokio::net::UdpSocket::bind(crate::cell::ANY_PORT).await.unwrap();
    for length in [0, 1, 20, 1_200, 9_000] {
        let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        socket.send_to(&bytes, server).await.unwrap();
    }
    assert_served(&other).await;
}

#[tokio::test]
async fn streams_over_the_bound_have_to_wait() {
    let cell = Cell::new("west");
    let server = cell.serve(echo);
    let other = cell.client(server, Role::Scheduler, "batch").await;
    let raw = raw::scheduler(server, &cell).await;
    let mut streams = Vec::new();
    for n in 0..STREAMS_MAX {
        let (send, mut replies) = send(&raw, &framed(1, n)).await;
        assert_eq!(soon(replies.next()).await, answered(1, n));
        streams.push((send, replies));
    }
    let mut one_more = Box::pin(raw.connection.open_bi());
    assert!(is_pending(&mut one_more).await);
    assert_served(&other).await;
    assert!(is_pending(&mut one_more).await);
    // A unidirectional stream is for the server to open.
    assert!(is_pending(&mut Box::pin(raw.connection.open_uni())).await);
    // QUIC hands out places for streams a few at a time.
    for (mut stream, mut replies) in streams.drain(..4) {
        stream.finish().unwrap();
        assert!(soon(replies.next()).await.is_none());
    }
    soon(one_more).await.unwrap();
}

/// Sends requests whose replies are of this size, and reads none of them.
async fn flood(raw: &Raw, requests: u32) -> (SendStream, Replies) {
    let bytes: Vec<u8> = (1..=requests).flat_map(|n| framed(u64::from(n), 1_000_000)).collect();
    send(raw, &bytes).await
}

fn bulky(size: usize) -> impl Fn(transport::Request) -> Result<Reply, Refusal> + Clone {
    move |request| match request {
        request if request == numbered(1_000_000) => {
            Ok(Reply::Audit { at: Seq(0), violations: vec!["x".repeat(size)] })
        }
        other => echo(other),
    }
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_only_itself() {
    let cell = Cell::new("west");
    let server = cell.serve(bulky(32 << 10));
    let other = cell.client(server, Role::Scheduler, "batch").await;
    let raw = raw::scheduler(server, &cell).await;
    let requests = 5_000;
    let (_stream, mut replies) = flood(&raw, requests).await;
    for _ in 0..50 {
        assert_served(&other).await;
    }
    // Once it reads, it gets a reply to each: the answer, or that it had too many requests at once.
    let (mut answers, mut busy) = (0, 0);
    while answers + busy < requests {
        match soon(replies.next()).await {
            Some((_, Ok(Reply::Audit { violations, .. }))) if violations[0].len() == 32 << 10 => answers += 1,
            Some((_, Err(Refusal::Busy))) => busy += 1,
            unexpected => panic!("{unexpected:?}"),
        }
    }
    assert!(answers >= REQUESTS_IN_FLIGHT_MAX as u32, "{answers} answers, {busy} times busy");
    assert_session_lives(&raw).await;
}

#[tokio::test]
async fn a_client_that_lets_replies_pile_up_is_cut_off() {
    let cell = Cell::new("west");
    let server = cell.serve(bulky(1 << 20));
    let other = cell.client(server, Role::Scheduler, "batch").await;
    let raw = raw::scheduler(server, &cell).await;
    let _unread = flood(&raw, 500).await;
    let ended = soon(raw.connection.closed()).await;
    assert!(ended.to_string().contains("bytes of replies are unread, over the bound"), "{ended}");
    assert_served(&other).await;
}
