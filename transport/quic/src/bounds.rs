//! Every bound of the QUIC endpoints, with its reason. The bounds of messages are in `transport::bounds`.

use std::time::Duration;

/// A connection on which nothing was heard for this long is dead. Longer than any pause a loaded machine makes, and
/// longer than the 10 s after which a silent machine counts as down: that is decided by heartbeats, not by this.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a client shows that it is there: three can be lost before the connection counts as dead. At 10,000
/// connections this is 2,500 small packets per second.
pub const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// How long a client waits to be let in; a handshake takes about 2 ms of processor time.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long the server lets a handshake take.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// How long a closed endpoint waits for the other end to have been told.
pub const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Handshakes at a time: each costs 1 ms of processor time and up to 100 KiB before its party is known.
pub const HANDSHAKES_MAX: usize = 256;

/// Connections of one server: an idle one costs it 113 KiB, so these cost 1.8 GiB.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Sessions whose handshake is done and that the server hasn't taken yet.
pub const SESSIONS_WAITING_MAX: usize = 64;

/// Bytes of the send and receive buffers of a UDP socket. With the usual 208 KiB the kernel drops thousands of
/// datagrams of a bulk transfer, with these none. The kernel may grant less; that is not an error.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Bytes of the largest UDP payload, used where the path takes it (loopback, jumbo frames): it halves the processor
/// time of bulk transfers. Ten of them, what one send call batches, must stay under the 65,507 bytes of one UDP send.
pub const DATAGRAM_BYTES_MAX: u16 = 6_400;

/// The round trip assumed before one is measured: a lost first packet is repeated after about three of them. The
/// machines of a cell are near each other.
pub const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(50);

/// The least time between two stateless resets, which tell peers of a server's former life that it restarted.
pub const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// Unread bytes a client accepts on one stream: a subscription at 500 MB/s with 8 ms between two reads.
pub const CLIENT_STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Unread bytes a client accepts on all its streams.
pub const CLIENT_WINDOW_BYTES: u32 = 16 << 20;

/// Unread bytes the server accepts on one stream.
pub const SERVER_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Unread bytes the server accepts on all streams of one connection.
pub const SERVER_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes sent and not yet acknowledged, on all streams of one connection: 10 Gbit/s at a round trip of 3 ms.
pub const SEND_WINDOW_BYTES: u64 = 4 << 20;

/// Bytes of heartbeats not yet read or sent; older ones are dropped for newer ones.
pub const HEARTBEAT_BUFFER_BYTES: usize = 16 << 10;

/// Bytes taken from a stream at a time where few arrive.
pub const READ_BYTES: usize = 64 << 10;

/// Pieces of a request stream the server takes at a time, each at most one packet's worth: 100 KiB in all. A frame of a
/// few bytes may be refused with a longer reply, so this also bounds how far the replies can grow before the sender has
/// to read some.
pub const REQUEST_PIECES: usize = 16;

/// Pieces of a subscription or of replies taken at a time, each one packet's worth, and handed out together.
pub const READ_PIECES: usize = 64;

/// Bytes of replies that a session may leave unread before its next requests wait.
pub const UNREAD_REPLY_BYTES: usize = 4 << 20;

/// Bytes of unread replies at which the session is closed: the replies to what was already taken are all added to the
/// former bound, and this holds 1,024 transactions of 500 placements each.
pub const UNREAD_REPLY_BYTES_MAX: usize = 64 << 20;

/// Requests the server may have unanswered at one agent.
pub const AGENT_REQUESTS_MAX: u32 = 64;

/// How long the server waits for an agent's answer: it reads at most one piece of a file.
pub const AGENT_ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long a client waits for the stream of a subscription that was granted.
pub const SUBSCRIPTION_WAIT: Duration = Duration::from_secs(10);

/// Bytes of a reason for closing; the rest would not fit one packet.
pub const REASON_BYTES_MAX: usize = 512;

/// Bytes of a certificate or key file: a real one has less than 1 KiB.
pub const PEM_BYTES_MAX: u64 = 64 << 10;

/// How long the certificate of a cell's authority is valid: 10 years.
pub const AUTHORITY_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long the certificate of a party is valid: one year, then it is issued anew.
pub const CERTIFICATE_VALID: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far in the past a new certificate becomes valid: clocks of machines differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(3600);
