//! Sessions: one task per connection that takes its requests, one that takes its heartbeats.

use std::sync::Arc;

use tracing::Instrument;
use transport_quic::{Listener, Session};

use crate::connection::Connection;
use crate::requests;
use crate::server::Server;

/// Takes connections until the listener is closed or this is dropped.
pub(crate) async fn accept(server: Arc<Server>, listener: Arc<Listener>) {
    while let Some(session) = listener.accept().await {
        let span = tracing::info_span!("session", id = session.id(), party = %session.identity());
        tokio::spawn(serve(Arc::clone(&server), session).instrument(span));
    }
}

async fn serve(server: Arc<Server>, session: Session) {
    let connection = Connection::enter(session, &server.parties);
    let heartbeats = tokio::spawn(heartbeats(Arc::clone(&connection)));
    while let Some(batch) = connection.session.next_requests().await {
        batch.into_iter().for_each(|incoming| requests::dispatch(&server, &connection, incoming));
    }
    let reason = connection.session.closed().await;
    tracing::debug!(reason, "session over");
    heartbeats.abort();
    connection.leave();
}

async fn heartbeats(connection: Arc<Connection>) {
    while connection.session.next_heartbeat().await.is_some() {
        connection.pulse.beat();
    }
}
