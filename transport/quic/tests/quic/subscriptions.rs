//! Subscriptions: whole records, flow control, and every way a stream can end.

use bytes::Bytes;
use cell_state::Seq;
use cell_state::bounds::RECORD_BYTES_MAX;
use cell_state::record::{self, HEADER_BYTES, Kind};
use transport::Role;
use transport::bounds::SUBSCRIPTIONS_MAX;
use transport::message::{Reply, Request, Scope};
use transport_quic::{CallError, Client, SendError, Session, SubscriptionWriter};

use crate::cell::{Cell, answer_all, assert_served, echo, is_pending, soon};

/// A scheduler and its session at the server.
async fn pair(cell: &Cell) -> (Client, Session, transport_quic::Listener) {
    let listener = cell.listener();
    let client = cell.client(listener.local_addr(), Role::Scheduler, "batch").await;
    let session = soon(listener.accept()).await.expect("the client's session");
    (client, session, listener)
}

/// Answers the next request, a subscription, with this number.
async fn grant(session: &Session, number: u32) -> SubscriptionWriter {
    let (request, responder) = soon(session.next_request()).await.expect("a request").into_parts();
    assert!(matches!(request, Request::Subscribe { scope: Scope::Full, after: Some(Seq(7)) }), "{request:?}");
    // By turns the reply and the stream are first.
    if number.is_multiple_of(2) {
        responder.reply(Ok(Reply::Subscribed { subscription: number }));
        session.open_subscription(number).await.expect("a stream")
    } else {
        let writer = session.open_subscription(number).await.expect("a stream");
        responder.reply(Ok(Reply::Subscribed { subscription: number }));
        writer
    }
}

fn records(lengths: impl Iterator<Item = usize>) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for (n, length) in lengths.enumerate() {
        record::append(&mut bytes, Seq(n as u64), Kind::Event, &vec![n as u8; length]);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[tokio::test]
async fn records_arrive_whole_and_in_order_however_they_were_sent() {
    let cell = Cell::new("west");
    let (client, session, _listener) = pair(&cell).await;
    let (bytes, ends) = records((0..400).map(|n| n * 37 % 300).chain([100_000, 3 << 20, 5]));
    let bytes = Bytes::from(bytes);
    let mut cut = 1;
    for number in 0..4 {
        let (writer, reader) =
            tokio::join!(grant(&session, number), client.subscribe(Scope::Full, Some(Seq(7))));
        let (mut writer, mut reader) = (writer, reader.unwrap());
        let sent = bytes.clone();
        tokio::spawn(async move {
            let mut rest = sent;
            while !rest.is_empty() {
                // Pieces of all sizes, small ones first and far larger than a packet at the end.
                cut = (cut * 31 + 7 + number as usize) % 5_000 + rest.len() / 50;
                writer.send(rest.split_to(cut.clamp(1, rest.len()))).await.unwrap();
            }
            writer.finish();
        });
        let mut seen = Vec::new();
        while let Some(piece) = soon(reader.next()).await.unwrap() {
            seen.extend_from_slice(&piece);
            assert!(ends.contains(&seen.len()), "a record was cut");
        }
        assert!(seen == bytes, "subscription {number}");
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_holds_up_only_its_own_writer() {
    let cell = Cell::new("west");
    let (slow, slow_session, listener) = pair(&cell).await;
    let quick = cell.client(listener.local_addr(), Role::Reader, "web").await;
    let quick_session = soon(listener.accept()).await.unwrap();
    let full = || (Scope::Full, Some(Seq(7)));
    let (slow_writer, reader) = tokio::join!(grant(&slow_session, 1), slow.subscribe(full().0, full().1));
    let (mut slow_writer, _unread) = (slow_writer, reader.unwrap());
    let (writer, reader) = tokio::join!(grant(&quick_session, 1), quick.subscribe(full().0, full().1));
    let (mut writer, mut reader) = (writer, reader.unwrap());
    let (bytes, _) = records([1 << 20].into_iter());
    let bytes = Bytes::from(bytes);
    // More than the windows of both ends hold: the writer that nobody reads from comes to a stand.
    let flood = async {
        for _ in 0..64 {
            slow_writer.send(bytes.clone()).await.unwrap();
        }
    };
    let mut flood = Box::pin(flood);
    let follow = async {
        for _ in 0..64 {
            writer.send(bytes.clone()).await.unwrap();
            assert_eq!(soon(reader.next()).await.unwrap().unwrap().len(), bytes.len());
        }
    };
    tokio::select! {
        () = &mut flood => panic!("64 MiB went to a reader that reads nothing"),
        () = follow => {}
    }
    assert!(is_pending(&mut flood).await);
}

#[tokio::test]
async fn every_way_a_subscription_can_end() {
    let cell = Cell::new("west");
    let (client, session, _listener) = pair(&cell).await;
    let (good, _) = records([10, 20].into_iter());
    let over = [&(RECORD_BYTES_MAX as u32 + 1).to_le_bytes()[..], &[0; HEADER_BYTES]].concat();
    let table: [(&str, Vec<u8>, &str); 4] = [
        ("between records", Vec::new(), ""),
        ("in a header", good[..HEADER_BYTES - 1].to_vec(), "ended 19 bytes into a record"),
        ("in a body", good[..HEADER_BYTES + 3].to_vec(), "ended 23 bytes into a record"),
        ("at a record over the bound", over, "a record of 4194305 bytes, over the bound of 4194304"),
    ];
    for (number, (name, ending, words)) in (10..).zip(table) {
        let (writer, reader) =
            tokio::join!(grant(&session, number), client.subscribe(Scope::Full, Some(Seq(7))));
        let (mut writer, mut reader) = (writer, reader.unwrap());
        writer.send(good.clone().into()).await.unwrap();
        writer.send(ending.into()).await.unwrap();
        writer.finish();
        let mut seen = Vec::new();
        let end = loop {
            match soon(reader.next()).await {
                Ok(Some(piece)) => seen.extend_from_slice(&piece),
                end => break end,
            }
        };
        assert_eq!(seen, good, "{name}: what was whole is handed out");
        match end {
            Ok(None) if words.is_empty() => {}
            Err(CallError::Lost(why)) if !words.is_empty() && why.contains(words) => {}
            unexpected => panic!("{name}: {unexpected:?}"),
        }
    }
    // A reader that goes away.
    let (writer, reader) = tokio::join!(grant(&session, 20), client.subscribe(Scope::Full, Some(Seq(7))));
    let mut writer = writer;
    drop(reader.unwrap());
    soon(writer.closed()).await;
    assert_eq!(writer.send(good.clone().into()).await, Err(SendError::Unwanted));
    // A server that goes away.
    let (_writer, reader) = tokio::join!(grant(&session, 21), client.subscribe(Scope::Full, Some(Seq(7))));
    let mut reader = reader.unwrap();
    session.close("maintenance");
    assert_eq!(soon(reader.next()).await, Err(CallError::Lost("maintenance".into())));
}

#[tokio::test]
async fn subscriptions_over_the_bound_are_refused_until_one_ends() {
    let cell = Cell::new("west");
    let (client, session, _listener) = pair(&cell).await;
    let mut writers = Vec::new();
    for number in 0..SUBSCRIPTIONS_MAX {
        writers.push(soon(session.open_subscription(number)).await.unwrap());
    }
    assert_eq!(soon(session.open_subscription(99)).await.unwrap_err(), SendError::TooMany);
    let last = Reply::Subscribed { subscription: SUBSCRIPTIONS_MAX - 1 };
    tokio::spawn(answer_all(session.clone(), move |request| match request {
        Request::Subscribe { .. } => Ok(last.clone()),
        other => echo(other),
    }));
    assert_served(&client).await;
    // Once one is ended, and read to its end, there is a place for another.
    writers.pop().unwrap().finish();
    let mut ended = soon(client.subscribe(Scope::Full, None)).await.unwrap();
    assert_eq!(soon(ended.next()).await, Ok(None));
    soon(session.open_subscription(99)).await.unwrap();
}
