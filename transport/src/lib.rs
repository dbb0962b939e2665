//! Messages, roles and frame limits: the pure half of the transport. The bytes travel in `transport-quic`.

pub mod agent;
pub mod bounds;
pub mod frame;
pub mod hot;
mod kind;
pub mod message;
pub mod records;
pub mod role;
pub mod task;
pub mod usage;
pub mod view;

pub use frame::{FrameBuffer, FrameError, frame, unframe};
pub use message::{Reply, Request, RequestKind, Scope};
pub use records::RecordBuffer;
pub use role::{Identity, Role};

/// The application protocol of TLS: the number changes with every incompatible change of the messages.
pub const ALPN: &[u8] = b"ohm/1";
