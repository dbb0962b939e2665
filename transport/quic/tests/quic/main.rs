//! Real endpoints on the loopback device: who is let in, what they may do, and what bad ones can't break.

mod agents;
mod calls;
mod cell;
mod conversations;
mod hostile;
mod impostors;
mod permissions;
mod pipelines;
mod pki;
mod protocol_doc;
mod raw;
mod restart;
mod subscriptions;
mod trust;
