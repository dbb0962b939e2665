//! The loop of a scheduler process on one connection: records in, decisions out, answers in.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use cell_state::Seq;
use schedulers::copy::CopyError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use transport::message::{Refusal, Request, Scope};
use transport_quic::{CallError, Client, Subscription};

use crate::bounds::{BATCHES_PER_TURN, FAREWELL, RESUBSCRIBE_PAUSE, TELEMETRY_EVERY};
use crate::calls::{Calls, Purpose};
use crate::connect::Opened;
use crate::process::{Process, Turn};

/// Why the loop ended.
pub(crate) enum Ended {
    /// The process was asked to stop, and has said farewell.
    Asked,
    /// The connection is lost.
    Lost(String),
}

/// Schedules over a connection until it is lost or the process is asked to stop.
pub(crate) async fn serve(
    process: &mut Process,
    opened: Opened,
    shutdown: &mut Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let Opened { client, session, last_number } = opened;
    let mut calls = Calls::default();
    for txn in process.opened(session, last_number) {
        calls.make(&client, Purpose::Commit(txn.id.number), Request::Commit((*txn).clone()));
    }
    let ended = match follow(process, &client, &mut calls, shutdown).await {
        Ok(()) => Ended::Asked,
        Err(reason) => Ended::Lost(reason),
    };
    if matches!(ended, Ended::Asked) {
        farewell(process, &client, &mut calls).await;
    }
    ended
}

/// The loop itself: returns when asked to stop, and fails when the connection is lost.
async fn follow(
    process: &mut Process,
    client: &Client,
    calls: &mut Calls,
    shutdown: &mut Pin<&mut impl Future<Output = ()>>,
) -> Result<(), String> {
    let position = process.position();
    let mut subscription = subscribe(client, &process.scope, position).await?;
    let mut telemetry = interval(TELEMETRY_EVERY);
    telemetry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        drain(process, client, calls, &mut subscription).await?;
        let wait = match process.decide() {
            Turn::Send(txn) => {
                let _span =
                    tracing::debug_span!("propose", number = txn.id.number, ops = txn.ops.len()).entered();
                calls.make(client, Purpose::Commit(txn.id.number), Request::Commit((*txn).clone()));
                Duration::ZERO
            }
            Turn::Again => Duration::ZERO,
            Turn::Wait(None) => TELEMETRY_EVERY,
            Turn::Wait(Some(wait)) => wait,
        };
        tokio::select! {
            biased;
            () = shutdown.as_mut() => return Ok(()),
            (purpose, reply) = calls.next() => answer(process, purpose, reply)?,
            batch = subscription.next() => take(process, client, &mut subscription, batch).await?,
            _ = telemetry.tick() => {
                if !calls.has(Purpose::Telemetry) {
                    calls.make(client, Purpose::Telemetry, Request::Telemetry(process.telemetry()));
                }
            }
            () = pause(wait) => {}
        }
    }
}

/// Takes everything that has arrived, up to a bound, so that what is decided next is decided on the newest copy.
async fn drain(
    process: &mut Process,
    client: &Client,
    calls: &mut Calls,
    subscription: &mut Subscription,
) -> Result<(), String> {
    while let Some((purpose, reply)) = at_once(calls.next()).await {
        answer(process, purpose, reply)?;
    }
    for _ in 0..BATCHES_PER_TURN {
        let Some(batch) = at_once(subscription.next()).await else { return Ok(()) };
        take(process, client, subscription, batch).await?;
    }
    Ok(())
}

fn answer(
    process: &mut Process,
    purpose: Purpose,
    reply: Result<transport::message::Reply, CallError>,
) -> Result<(), String> {
    match (purpose, reply) {
        (Purpose::Commit(number), reply) => process.answer(number, reply),
        (Purpose::Telemetry, Err(CallError::Lost(reason))) => Err(reason),
        (Purpose::Telemetry, Ok(_) | Err(CallError::Refused(_))) => Ok(()),
    }
}

/// Takes a batch of records; when the stream has ended or makes no sense, subscribes anew.
async fn take(
    process: &mut Process,
    client: &Client,
    subscription: &mut Subscription,
    batch: Result<Option<Bytes>, CallError>,
) -> Result<(), String> {
    match batch {
        Ok(Some(bytes)) => match process.records(&bytes) {
            Ok(()) => return Ok(()),
            Err(error @ CopyError::Mismatch { .. }) => {
                tracing::error!(%error, "the copy differs from the server's state; it is dropped and made anew");
            }
            Err(error) => tracing::error!(%error, "the subscription makes no sense; subscribing anew"),
        },
        Ok(None) => tracing::warn!("fell behind what the server keeps for its subscribers; subscribing anew"),
        Err(CallError::Lost(reason)) => return Err(reason),
        Err(CallError::Refused(refusal)) => {
            tracing::error!(%refusal, "the subscription ended; subscribing anew")
        }
    }
    sleep(RESUBSCRIBE_PAUSE).await;
    let position = process.position();
    *subscription = subscribe(client, &process.scope, position).await?;
    Ok(())
}

/// Subscribes to what follows a position, or from a snapshot when the server no longer has what follows it.
async fn subscribe(client: &Client, scope: &Scope, after: Option<Seq>) -> Result<Subscription, String> {
    let mut after = after;
    loop {
        match client.subscribe(scope.clone(), after).await {
            Ok(subscription) => return Ok(subscription),
            Err(CallError::Lost(reason)) => return Err(reason),
            Err(CallError::Refused(Refusal::TooOld { .. })) if after.is_some() => after = None,
            Err(CallError::Refused(refusal)) => {
                tracing::warn!(%refusal, "can't subscribe yet");
                sleep(RESUBSCRIBE_PAUSE).await;
            }
        }
    }
}

/// Waits for the answers that are coming, tells the server how it went, and closes the connection.
async fn farewell(process: &mut Process, client: &Client, calls: &mut Calls) {
    let deadline = Instant::now() + FAREWELL;
    calls.make(client, Purpose::Telemetry, Request::Telemetry(process.telemetry()));
    while calls.has_commits() || calls.has(Purpose::Telemetry) {
        let Ok((purpose, reply)) = timeout_at(deadline, calls.next()).await else { break };
        if answer(process, purpose, reply).is_err() {
            break;
        }
    }
    client.close("the scheduler was asked to stop");
    client.closed().await;
}

/// The future's result if it is there at once.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    }
}

/// Waits; for no time at all it lets everything else on this thread have its turn once.
async fn pause(wait: Duration) {
    if wait.is_zero() { tokio::task::yield_now().await } else { sleep(wait).await }
}
