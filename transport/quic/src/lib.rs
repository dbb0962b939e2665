//! The shell half of the transport: QUIC endpoints with mutual TLS, identities from certificates, framed streams.
//!
//! ```text
//! Client ── call ─────────▶ one long-lived bidirectional stream ──▶ Session::next_request ──▶ Responder
//! Pipeline ── exchange ───▶ one more, for a party that calls thousands of times a second ──▶ the same
//! Client ◀─ Subscription ── one unidirectional stream each ◀─────── SubscriptionWriter
//! Client ── heartbeat ────▶ datagrams ────────────────────────────▶ Session::next_heartbeat
//! Client ◀─ conversation ──▶ one bidirectional stream each, to a task ◀▶ Incoming::take_conversation, Session::converse
//! Client ◀─ agent requests ─ one bidirectional stream each ◀─────── Session::ask_agent
//! ```
//!
//! What travels is described in `docs/protocol.md`, the messages are in the `transport` package, and every bound is in
//! [`bounds`]. Everything here runs on the tokio runtime it was started from; on few cores a current-thread runtime
//! per endpoint is the fastest.

mod ask;
pub mod bounds;
mod client;
mod closing;
mod conversation;
mod endpoint;
mod identity;
mod listener;
mod pipeline;
pub mod pki;
mod replies;
mod requests;
mod serve;
mod session;
mod subscription;
mod tls;
mod traffic;

pub use ask::AgentResponder;
pub use client::{CallError, Client, ConnectError};
pub use conversation::{ConversationReader, ConversationWriter, HopReader, HopWriter, Offered};
pub use listener::{BindError, Listener};
pub use pipeline::{Answered, Pipeline};
pub use pki::{Authority, Credentials, PkiError};
pub use replies::Responder;
pub use serve::Incoming;
pub use session::{SendError, Session};
pub use subscription::{Subscription, SubscriptionWriter};
pub use traffic::{Carried, Traffic};
