//! Names of services for programs that know nothing of cells: a small responder of the domain name system.
//!
//! It answers from a copy of the whole cell that it follows by itself, so it goes on answering what it last knew while the
//! server is away. It knows the names below the cell's own name and nothing else: what is asked beyond that is refused, for a
//! resolver to ask elsewhere.

mod answer;
mod replica;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use cell_state::Cell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use transport::Scope;
use transport_quic::Client;

use crate::bounds::{DNS_CONNECTIONS_MAX, DNS_QUERY_BYTES_MAX, DNS_WAIT, FOLLOW_AGAIN, RECONNECT_MAX};
use crate::config::AgentConfig;
use answer::{Carrier, answer};
use replica::Replica;

/// What is known of the cell; `None` until the first snapshot is whole.
type Known = Arc<RwLock<Option<Cell>>>;

/// The sockets of a responder: had before anything starts, so that an address that is taken is told at once.
#[derive(Debug)]
pub(crate) struct Sockets {
    datagrams: UdpSocket,
    connections: TcpListener,
}

impl Sockets {
    /// Listens, for datagrams and connections alike.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Sockets> {
        let connections = TcpListener::bind(address).await?;
        // Port 0 became some port, which is to be the same for both.
        let datagrams = UdpSocket::bind(connections.local_addr()?).await?;
        tracing::info!(address = %connections.local_addr()?, "answering names of services");
        Ok(Sockets { datagrams, connections })
    }
}

/// Answers until it is dropped.
pub(crate) async fn run(config: AgentConfig, sockets: Sockets) {
    let known = Known::default();
    tokio::join!(
        follow(&config, &known),
        datagrams(sockets.datagrams, &known),
        connections(sockets.connections, &known)
    );
}

/// Follows the cell for ever.
async fn follow(config: &AgentConfig, known: &Known) {
    let mut replica = Replica::default();
    loop {
        match Client::connect(config.server, &config.credentials).await {
            Ok(client) => {
                let problem = follow_once(&client, &mut replica, known).await;
                tracing::info!(%problem, "the copy for names of services stands still; it is followed again");
                tokio::time::sleep(FOLLOW_AGAIN).await;
            }
            Err(error) => {
                tracing::debug!(%error, "no copy for names of services");
                tokio::time::sleep(RECONNECT_MAX).await;
            }
        }
    }
}

/// Follows until something breaks, and says what.
async fn follow_once(client: &Client, replica: &mut Replica, known: &Known) -> String {
    let after = known.read().ok().and_then(|cell| cell.as_ref().map(Cell::seq));
    let mut subscription = match client.subscribe(Scope::Full, after).await {
        Ok(subscription) => subscription,
        Err(error) => return error.to_string(),
    };
    loop {
        let bytes = match subscription.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return "the server ended the stream".to_owned(),
            Err(error) => return error.to_string(),
        };
        let Ok(mut cell) = known.write() else { return "a reader panicked".to_owned() };
        if let Err(problem) = replica.take(&bytes, &mut cell) {
            // What is wrong may be any part of it: from a snapshot on it is right again.
            *cell = None;
            return problem;
        }
    }
}

fn answered(known: &Known, query: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
    let cell = known.read().ok()?;
    answer(cell.as_ref(), query, carrier)
}

async fn datagrams(socket: UdpSocket, known: &Known) {
    let mut query = vec![0; DNS_QUERY_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else { continue };
        if let Some(reply) = answered(known, &query[..length], Carrier::Datagram) {
            // One that is lost is asked for again.
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn connections(listener: TcpListener, known: &Known) {
    let places = Arc::new(Semaphore::new(DNS_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let known = Arc::clone(known);
        tokio::spawn(async move {
            // Whoever dawdles makes room for others.
            let _ = tokio::time::timeout(DNS_WAIT, serve(stream, &known)).await;
            drop(place);
        });
    }
}

/// Answers the queries of one connection, each with its length before it.
async fn serve(mut stream: TcpStream, known: &Known) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        if length > DNS_QUERY_BYTES_MAX {
            return Ok(());
        }
        let mut query = vec![0; length];
        stream.read_exact(&mut query).await?;
        let Some(reply) = answered(known, &query, Carrier::Connection) else { return Ok(()) };
        let Ok(length) = u16::try_from(reply.len()) else { return Ok(()) };
        stream.write_u16(length).await?;
        stream.write_all(&reply).await?;
    }
}
