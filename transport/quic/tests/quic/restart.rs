//! A server that is killed and started again on its address.

use std::net::SocketAddr;
use std::sync::mpsc;

use tokio::runtime::Runtime;
use transport::Role;
use transport_quic::{Client, Credentials, Listener};

use crate::cell::{ANY_PORT, Cell, answer_all, assert_served, echo, numbered, soon};

/// A server on a runtime of its own: dropping that is as sudden as killing a process, nobody is told.
fn start(address: SocketAddr, credentials: &Credentials) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (told, bound) = mpsc::channel();
    let credentials = credentials.clone();
    runtime.spawn(async move {
        let listener = Listener::bind(address, &credentials).expect("the address");
        told.send(listener.local_addr()).expect("somebody waits");
        while let Some(session) = listener.accept().await {
            tokio::spawn(answer_all(session, echo));
        }
    });
    let address = bound.recv().expect("a listener");
    (runtime, address)
}

#[tokio::test]
async fn clients_of_a_killed_server_learn_of_it_from_the_next_one() {
    let cell = Cell::new("west");
    let server = cell.credentials(Role::Server, "s1");
    let (first, address) = start(ANY_PORT, &server);
    let credentials = cell.credentials(Role::Scheduler, "batch");
    let client = Client::connect(address, &credentials).await.unwrap();
    assert_served(&client).await;
    first.shutdown_background();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(numbered(1)).await }
    });
    // The old socket may take a moment to be gone.
    let second = loop {
        match std::net::UdpSocket::bind(address) {
            Ok(free) => {
                drop(free);
                break start(address, &server).0;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    };
    // Not from silence, which would take the idle timeout and say so.
    assert_eq!(soon(client.closed()).await, "the other end restarted and no longer knows this connection");
    assert!(soon(call).await.unwrap().is_err());
    let client = Client::connect(address, &credentials).await.unwrap();
    assert_served(&client).await;
    second.shutdown_background();
}

#[tokio::test]
async fn a_server_that_stays_away_is_noticed_by_its_silence() {
    let cell = Cell::new("west");
    let (server, address) = start(ANY_PORT, &cell.credentials(Role::Server, "s1"));
    let client = cell.client(address, Role::Scheduler, "batch").await;
    assert_served(&client).await;
    server.shutdown_background();
    // Nothing else happens from here on, so the clock may run to the next timer at once.
    tokio::time::pause();
    assert_eq!(client.closed().await, "nothing heard from the other end for 15 s");
}
