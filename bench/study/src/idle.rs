//! Peers that do nothing but be there: subscribers that follow a log in which nothing happens, and agents that show that
//! they are alive. Each has a connection of its own, as in processes of their own.

use std::net::SocketAddr;
use std::time::Duration;

use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::{Resources, Seq};
use tokio::task::JoinSet;
use transport::{Reply, Request, Scope};
use transport_quic::{CallError, Client, Credentials};

use crate::bounds::{IDLE_CONNECTING_MAX, IDLE_HEARTBEAT_EVERY};
use crate::load::{LoadError, MACHINE_CPU_MILLI, MACHINE_MEMORY};

/// What the peers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Follow the whole log from where it is now.
    Subscribers,
    /// One machine each: registered, its part of the log followed, a heartbeat every second.
    Agents,
}

/// Peers that are connected; they go when this is dropped.
pub struct Peers {
    working: JoinSet<Result<(), LoadError>>,
}

/// Connects so many, and returns once all of them are there.
///
/// # Errors
/// The server can't be reached, or refuses one.
pub async fn connect(
    server: SocketAddr,
    credentials: &Credentials,
    kind: Kind,
    count: u32,
    instance: u64,
) -> Result<Peers, LoadError> {
    let mut working = JoinSet::new();
    let mut connecting: JoinSet<Result<Peer, LoadError>> = JoinSet::new();
    for number in 0..count {
        if connecting.len() >= IDLE_CONNECTING_MAX
            && let Some(peer) = connecting.join_next().await
        {
            working.spawn(stay(peer??, kind));
        }
        let credentials = credentials.clone();
        connecting.spawn(async move { one(server, &credentials, kind, number, instance).await });
    }
    while let Some(peer) = connecting.join_next().await {
        working.spawn(stay(peer??, kind));
    }
    Ok(Peers { working })
}

impl Peers {
    /// Waits for the first that loses its connection.
    ///
    /// # Errors
    /// Always: peers stay until they are dropped.
    pub async fn lost(&mut self) -> Result<(), LoadError> {
        match self.working.join_next().await {
            Some(ended) => ended?,
            None => std::future::pending().await,
        }
    }
}

/// One connected peer.
struct Peer {
    client: Client,
    subscription: transport_quic::Subscription,
}

async fn one(
    server: SocketAddr,
    credentials: &Credentials,
    kind: Kind,
    number: u32,
    instance: u64,
) -> Result<Peer, LoadError> {
    let client = Client::connect(server, credentials).await?;
    let (scope, after) = match kind {
        Kind::Subscribers => (Scope::Full, Some(position(&client).await?)),
        Kind::Agents => {
            register(&client, number, instance).await?;
            (Scope::Machines, None)
        }
    };
    let subscription = client.subscribe(scope, after).await.map_err(LoadError::call("subscribing"))?;
    Ok(Peer { client, subscription })
}

async fn position(client: &Client) -> Result<Seq, LoadError> {
    const WHAT: &str = "asking for the server's status";
    match client.call(Request::Status).await.map_err(LoadError::call(WHAT))? {
        Reply::Status(status) => Ok(status.seq),
        _ => Err(LoadError::Answer(WHAT)),
    }
}

async fn register(client: &Client, number: u32, incarnation: u64) -> Result<(), LoadError> {
    let prefix = client.identity().name.trim_end_matches('*');
    let spec = MachineSpec {
        name: format!("{prefix}{number}"),
        capacity: Resources::cpu_memory(MACHINE_CPU_MILLI, MACHINE_MEMORY),
        attributes: Default::default(),
        devices: Vec::new(),
        ports: DEFAULT_PORTS,
    };
    let request = Request::RegisterMachine { spec, incarnation };
    crate::load::patient(client, request, "registering a machine").await.map(drop)
}

/// Stays, and reads what comes.
async fn stay(peer: Peer, kind: Kind) -> Result<(), LoadError> {
    const WHAT: &str = "following the log";
    let Peer { client, mut subscription } = peer;
    let beat = async {
        let mut number = 0;
        loop {
            tokio::time::sleep(match kind {
                Kind::Subscribers => Duration::MAX,
                Kind::Agents => IDLE_HEARTBEAT_EVERY,
            })
            .await;
            number += 1;
            client.heartbeat(number);
        }
    };
    let follow = async {
        while subscription.next().await.map_err(LoadError::call(WHAT))?.is_some() {}
        Err(LoadError::call(WHAT)(CallError::Lost("the server ended the subscription".to_owned())))
    };
    tokio::select! {
        () = beat => Ok(()),
        ended = follow => ended,
    }
}
