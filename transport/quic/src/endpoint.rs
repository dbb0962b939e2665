//! UDP sockets and QUIC settings of both ends.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    TokioRuntime, TransportConfig,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use transport::bounds::{CONVERSATIONS_MAX, STREAMS_MAX, SUBSCRIPTIONS_MAX};

use crate::bounds::{
    AGENT_REQUESTS_MAX, CLIENT_STREAM_WINDOW_BYTES, CLIENT_WINDOW_BYTES, DATAGRAM_BYTES_MAX,
    HEARTBEAT_BUFFER_BYTES, IDLE_TIMEOUT, INITIAL_ROUND_TRIP, KEEP_ALIVE, RESET_INTERVAL, SEND_WINDOW_BYTES,
    SERVER_STREAM_WINDOW_BYTES, SERVER_WINDOW_BYTES, SOCKET_BUFFER_BYTES,
};
use crate::pki::Credentials;

/// The endpoint of a server.
pub(crate) fn listening(
    address: SocketAddr,
    credentials: &Credentials,
    config: quinn::ServerConfig,
) -> io::Result<Endpoint> {
    Endpoint::new(settings(credentials), Some(config), socket(address)?, Arc::new(TokioRuntime))
}

/// The endpoint of a client that is going to talk to `server`.
pub(crate) fn calling(server: SocketAddr, credentials: &Credentials) -> io::Result<Endpoint> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    Endpoint::new(settings(credentials), None, socket(any)?, Arc::new(TokioRuntime))
}

fn socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for sized in
        [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = sized {
            tracing::debug!(%error, "the kernel keeps its own socket buffer size");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Settings that outlive a restart of the process: the key of stateless resets comes from the party's private key, so
/// a server that was killed and started again can tell its former clients at once that their connections are gone.
fn settings(credentials: &Credentials) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, credentials.key.secret_der());
    let reset_key = hmac::sign(&secret, b"ohm stateless reset");
    let mut settings = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key.as_ref())));
    settings.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    settings.min_reset_interval(RESET_INTERVAL);
    settings.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("the bound is within what QUIC allows");
    settings
}

/// Connection ids that any life of the process takes for its own. Quinn's default drops packets for ids that it didn't
/// make itself, and then no stateless reset is sent.
struct RandomIds(SystemRandom);

const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_BYTES];
        self.0.fill(&mut bytes).expect("the system gives random bytes");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn both_ends(peer: SocketAddr) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(
            IdleTimeout::try_from(IDLE_TIMEOUT).expect("the bound is within what QUIC allows"),
        ))
        .initial_rtt(INITIAL_ROUND_TRIP)
        .send_window(SEND_WINDOW_BYTES)
        // Quinn sends none from an endpoint that takes none.
        .datagram_receive_buffer_size(Some(HEARTBEAT_BUFFER_BYTES))
        .datagram_send_buffer_size(HEARTBEAT_BUFFER_BYTES);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    transport.mtu_discovery_config(Some(discovery));
    if peer.ip().is_loopback() {
        // The loopback device takes 64 KiB: nothing to discover.
        transport.initial_mtu(DATAGRAM_BYTES_MAX);
    }
    transport
}

/// How a client talks.
pub(crate) fn client_transport(server: SocketAddr) -> TransportConfig {
    let mut transport = both_ends(server);
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(CLIENT_STREAM_WINDOW_BYTES.into())
        .receive_window(CLIENT_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams((AGENT_REQUESTS_MAX + CONVERSATIONS_MAX as u32).into())
        // One more than subscriptions: the welcome.
        .max_concurrent_uni_streams((SUBSCRIPTIONS_MAX + 1).into());
    transport
}

/// How a server talks to one client.
pub(crate) fn server_transport(client: SocketAddr) -> TransportConfig {
    let mut transport = both_ends(client);
    transport
        .stream_receive_window(SERVER_STREAM_WINDOW_BYTES.into())
        .receive_window(SERVER_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u32.into());
    transport
}
