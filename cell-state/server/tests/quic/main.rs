//! The server as its parties see it: over real QUIC, with a real log and checkpoint in a fresh directory.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails, and says where")]

mod commit;
mod follower;
mod harness;
mod liveness;
mod machines;
mod reads;
mod restart;
mod scoped;
mod streams;
