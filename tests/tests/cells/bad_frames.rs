//! Bytes that no client of ours would send, from a party whose certificate is good: each stream gets one error or is
//! closed, nothing changes, and everybody else is served as before.

use std::time::Duration;

use cell_tests::stranger::{SERVER_NAME, Stranger};
use cell_tests::test_cell::TestCell;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use transport::frame::{frame, unframe};
use transport::message::{Refusal, ReplyFrame, RequestFrame};
use transport::{Request, Role};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the server sends until it ends the stream, at most 64 KiB of it.
async fn answer(mut receive: RecvStream) -> Vec<u8> {
    let all = receive.read_to_end(64 << 10);
    // An end, a reset, and a closed connection are all fine; silence is not, but a stream that is kept open for more
    // requests is only silent.
    match tokio::time::timeout(Duration::from_secs(2), all).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

async fn send(connection: &Connection, bytes: &[u8]) -> Option<(SendStream, RecvStream)> {
    let (mut out, back) = connection.open_bi().await.ok()?;
    out.write_all(bytes).await.ok()?;
    Some((out, back))
}

fn status_frame(id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&RequestFrame { id, request: Request::Status }, &mut bytes);
    bytes
}

fn unchanged(cell: &TestCell, seq: &serde_json::Value) {
    assert_eq!(cell.json(&["status"])["seq"], *seq);
    assert_eq!(cell.json(&["audit"])["sound"], true);
}

#[test]
fn without_a_certificate_there_is_no_connection() {
    let cell = TestCell::start(&[]);
    runtime().block_on(async {
        let stranger = Stranger::without_certificate(&cell);
        // With TLS 1.3 the client may think it is in until the server has looked at what it showed.
        if let Ok(connection) = stranger.endpoint.connect(cell.address(), SERVER_NAME).unwrap().await {
            let reason = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await;
            assert!(reason.is_ok(), "nobody closed it");
        }
    });
    cell.run(&["status"]);
}

#[test]
fn oversized_frames_are_refused_before_anything_is_allocated() {
    let cell = TestCell::start(&[]);
    let seq = cell.json(&["status"])["seq"].clone();
    let before = cell.json(&["status"])["memory_bytes"].as_u64().unwrap();
    runtime().block_on(async {
        let stranger = Stranger::with_certificate(&cell, Role::Operator, "admin");
        let connection = stranger.connection().await;
        for claim in [transport::bounds::FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
            if let Some((mut out, back)) = send(&connection, &claim.to_le_bytes()).await {
                // Some bytes of what was announced; the server has stopped listening by now.
                let _ = out.write_all(&[0; 1024]).await;
                answer(back).await;
            }
        }
        // On another stream of the same connection, or on a new one, life goes on.
        let connection =
            if connection.close_reason().is_some() { stranger.connection().await } else { connection };
        let (mut out, back) = send(&connection, &status_frame(1)).await.expect("a stream");
        out.finish().unwrap();
        assert!(!answer(back).await.is_empty(), "no answer after an oversized frame");
    });
    let after = cell.json(&["status"])["memory_bytes"].as_u64().unwrap();
    assert!(after < before + (64 << 20), "{before} bytes before, {after} after");
    unchanged(&cell, &seq);
}

#[test]
fn a_request_with_trailing_or_missing_bytes_gets_one_clear_error() {
    let cell = TestCell::start(&[]);
    let seq = cell.json(&["status"])["seq"].clone();
    runtime().block_on(async {
        let stranger = Stranger::with_certificate(&cell, Role::Operator, "admin");
        let connection = stranger.connection().await;
        let mut trailing = status_frame(7);
        trailing.push(0);
        let length = trailing.len() as u32 - 4;
        trailing[..4].copy_from_slice(&length.to_le_bytes());
        let (mut out, back) = send(&connection, &trailing).await.expect("a stream");
        out.finish().unwrap();
        let told = answer(back).await;
        let (reply, _) = unframe::<ReplyFrame>(&told).unwrap().expect("one reply");
        assert!(matches!((reply.id, &reply.reply), (7, Err(Refusal::Malformed(_)))), "{reply:?}");
        // A frame that ends in the middle.
        let connection = stranger.connection().await;
        let cut = status_frame(8);
        let (mut out, back) = send(&connection, &cut[..cut.len() - 1]).await.expect("a stream");
        out.finish().unwrap();
        let told = answer(back).await;
        let reply = unframe::<ReplyFrame>(&told).ok().flatten();
        assert!(reply.is_none_or(|(reply, _)| reply.reply.is_err()), "half a request was answered");
    });
    unchanged(&cell, &seq);
}

#[test]
fn random_bytes_on_streams_and_in_datagrams_harm_nobody() {
    let cell = TestCell::start(&[]);
    let seq = cell.json(&["status"])["seq"].clone();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    runtime().block_on(async {
        let stranger = Stranger::with_certificate(&cell, Role::Operator, "admin");
        let mut connection = stranger.connection().await;
        for round in 0..400u32 {
            if connection.close_reason().is_some() {
                connection = stranger.connection().await;
            }
            let mut bytes = vec![0; rng.random_range(0..600)];
            rng.fill_bytes(&mut bytes);
            match round % 4 {
                // A sound length, then noise: it reaches the decoder.
                0 if bytes.len() >= 4 => {
                    let length = bytes.len() as u32 - 4;
                    bytes[..4].copy_from_slice(&length.to_le_bytes());
                }
                // A sound request with one byte changed.
                1 => {
                    bytes = status_frame(u64::from(round));
                    let at = rng.random_range(4..bytes.len());
                    bytes[at] = rng.random();
                }
                2 => {
                    let _ = connection.send_datagram(bytes.into());
                    continue;
                }
                _ => {}
            }
            if round % 8 == 3 {
                // Only the server opens unidirectional streams; these are not for it to read.
                let opened = tokio::time::timeout(Duration::from_millis(50), connection.open_uni()).await;
                if let Ok(Ok(mut out)) = opened {
                    let _ = out.write_all(&bytes).await;
                }
            } else if let Some((mut out, mut back)) = send(&connection, &bytes).await {
                let _ = out.finish();
                let _ = tokio::time::timeout(Duration::from_millis(20), back.read_to_end(1 << 16)).await;
                let _ = back.stop(VarInt::from_u32(0));
            }
        }
    });
    unchanged(&cell, &seq);
}
