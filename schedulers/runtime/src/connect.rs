//! Getting and keeping a connection: the first try may fail for good, later ones go on for ever.

use std::time::Duration;

use cell_state::SessionId;
use cell_state::admit::Answer;
use transport::message::{Refusal, Reply, Request};
use transport_quic::{CallError, Client, ConnectError};

use crate::bounds::{RECONNECT_FIRST, RECONNECT_MAX};
use crate::config::{Config, RuntimeError};

/// A session on a connection.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    pub(crate) last_number: u64,
}

/// Pauses between tries: doubling up to a bound, each shortened by chance so that schedulers that lost the same server
/// don't come back in step.
pub(crate) struct Pauses {
    next: Duration,
    draw: u64,
}

impl Pauses {
    pub(crate) fn new(instance: u64) -> Pauses {
        Pauses { next: RECONNECT_FIRST, draw: instance }
    }

    /// The connection worked: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.next = RECONNECT_FIRST;
    }

    pub(crate) async fn pause(&mut self) {
        // A step of a linear generator is chance enough for a pause.
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let shortened = self.next.mul_f64(0.5 + (self.draw >> 40) as f64 / (1u64 << 25) as f64);
        self.next = (self.next * 2).min(RECONNECT_MAX);
        tokio::time::sleep(shortened).await;
    }
}

/// Connects and opens the session, trying again until that works.
///
/// # Errors
/// What trying again won't change, as long as it has never worked: wrong credentials, a role that may not schedule. Later
/// the server is known to have been right once, so the process waits for it to be so again.
pub(crate) async fn connect(
    config: &Config,
    instance: u64,
    pauses: &mut Pauses,
    worked_before: bool,
) -> Result<Opened, RuntimeError> {
    loop {
        match Client::connect(config.server, &config.credentials).await {
            Ok(client) => match open(&client, instance).await {
                Ok((session, last_number)) => return Ok(Opened { client, session, last_number }),
                Err(CallError::Refused(refusal)) if !worked_before && !is_passing(&refusal) => {
                    let name = config.credentials.identity().name.clone();
                    return Err(RuntimeError::Session { name, source: refusal });
                }
                Err(error) => tracing::warn!(%error, "can't open a session"),
            },
            Err(error) if !worked_before && !error.is_passing() => return Err(RuntimeError::Connect(error)),
            Err(error) => tell(&error, worked_before),
        }
        pauses.pause().await;
    }
}

async fn open(client: &Client, instance: u64) -> Result<(SessionId, u64), CallError> {
    match client.call(Request::OpenSession { instance }).await? {
        Reply::Done { answer: Answer::Session { session, last_number }, .. } => Ok((session, last_number)),
        other => Err(CallError::Lost(format!("the server answered a new session with {other:?}"))),
    }
}

fn is_passing(refusal: &Refusal) -> bool {
    use cell_state::admit::RejectionCode;
    match refusal {
        Refusal::Busy | Refusal::Unavailable(_) => true,
        Refusal::Rejected(rejection) => rejection.code == RejectionCode::Full,
        Refusal::NotPermitted { .. } | Refusal::Malformed(_) | Refusal::TooOld { .. } => false,
    }
}

fn tell(error: &ConnectError, worked_before: bool) {
    if worked_before {
        tracing::debug!(%error, "can't connect again yet");
    } else {
        tracing::warn!(%error, "can't connect yet");
    }
}
