//! Requests: where each goes. What changes the cell goes to the intake, after the checks that only the connection can
//! make; what reads goes to a thread; a subscription becomes a task.

use std::sync::Arc;
use std::time::Duration;

use cell_state::admit::{Command, Rejection, RejectionCode};
use cell_state::bounds::REPORTS_MAX;
use cell_state::job::JobSpec;
use cell_state::job::care::LostAfter;
use cell_state::{MachineId, SessionId};
use tracing::Instrument;
use transport::Identity;
use transport::bounds::{MACHINES_PER_AGENT_MAX, SUBSCRIPTIONS_MAX, USAGE_ROWS_MAX};
use transport::message::{Refusal, Reply, Request, Scope, ServerStatus};
use transport::usage::MachineUsage;
use transport_quic::{Incoming, Responder};

use crate::bounds::SESSIONS_PER_CONNECTION_MAX;
use crate::connection::{Connection, SubscriptionSlot};
use crate::error::FollowError;
use crate::intake::{AnswerTo, Ask, Item};
use crate::server::Server;
use crate::{answers, conversations, follow, follow_jobs, follow_machines, memory};

/// Sends a request on its way. Never waits.
pub(crate) fn dispatch(server: &Arc<Server>, connection: &Arc<Connection>, mut incoming: Incoming) {
    connection.pulse.beat();
    let stream = incoming.take_conversation();
    let (request, responder) = incoming.into_parts();
    match request {
        Request::Status => responder.reply(Ok(Reply::Status(status(server)))),
        Request::Stages => responder.reply(Ok(Reply::Stages(server.stages.view()))),
        Request::Telemetry(telemetry) => {
            for session in connection.opened() {
                server.parties.telemetry.insert(session, telemetry.clone());
            }
            responder.reply(Ok(Reply::Noted));
        }
        Request::Subscribe { scope, after } => subscribe(server, connection, scope, after, responder),
        Request::Usage(samples) => responder.reply(note_usage(server, connection, samples)),
        Request::Task(request) => conversations::spawn(server, connection, request, stream, responder),
        Request::Read { .. }
        | Request::ListSchedulers
        | Request::ListAttempts { .. }
        | Request::GetAttempt { .. }
        | Request::TopConflicts
        | Request::Audit
        | Request::ReadUsage { .. }
        | Request::ReadLog(_)
        | Request::GetSpec { .. } => answers::spawn(server, request, responder),
        Request::OpenSession { .. }
        | Request::Commit(_)
        | Request::RegisterMachine { .. }
        | Request::Report { .. }
        | Request::Reports(_)
        | Request::SubmitJob(_)
        | Request::StopJob { .. }
        | Request::SetMachineState { .. }
        | Request::SetQuota { .. }
        | Request::Configure(_) => match ask(server, connection, request) {
            Ok(ask) => {
                let to = AnswerTo::Party { responder, connection: Arc::clone(connection) };
                if let Err((AnswerTo::Party { responder, .. }, refusal)) =
                    server.intake.offer(Item { ask, to })
                {
                    responder.reply(Err(refusal));
                }
            }
            Err(rejection) => responder.reply(Err(Refusal::Rejected(rejection))),
        },
    }
}

/// What the commit thread is asked, once the connection may ask it.
fn ask(server: &Server, connection: &Connection, request: Request) -> Result<Ask, Rejection> {
    let identity = connection.session.identity();
    let command = match request {
        Request::Commit(txn) => {
            own_session(connection, txn.id.session)?;
            return Ok(Ask::Transaction(txn));
        }
        Request::Reports(all) => {
            let count: usize = all.iter().map(|of| of.reports.len()).sum();
            if count > REPORTS_MAX {
                let problem = format!("{count} reports in one message, allowed are {REPORTS_MAX}");
                return Err(Rejection::invalid("reports", problem));
            }
            all.iter().try_for_each(|of| own_machine(connection, of.machine))?;
            return Ok(Ask::Reports(all));
        }
        Request::OpenSession { instance } => {
            if !connection.may_open(instance) {
                let problem = format!("this connection has {SESSIONS_PER_CONNECTION_MAX}, the bound");
                return Err(Rejection::new(RejectionCode::Full, "session", problem));
            }
            Command::OpenSession { scheduler: identity.name.clone(), instance }
        }
        Request::RegisterMachine { spec, incarnation } => {
            speaks_for(connection, identity, &spec.name)?;
            Command::RegisterMachine { spec, incarnation }
        }
        Request::Report { machine, incarnation, first, reports } => {
            own_machine(connection, machine)?;
            Command::Report { machine, incarnation, first, reports }
        }
        Request::SubmitJob(spec) => {
            outlasts(&spec, server.config.down_after)?;
            Command::SubmitJob(spec)
        }
        Request::StopJob { name } => Command::StopJob { name },
        Request::SetMachineState { machine, state, grace_us } => {
            Command::SetMachineState { machine, state, grace_us }
        }
        Request::SetQuota { team, band, limit } => Command::SetQuota { team, band, limit },
        Request::Configure(config) => Command::Configure(config),
        other => unreachable!("{:?} doesn't change the cell", other.kind()),
    };
    Ok(Ask::Command(command))
}

/// Whether tasks that say how long their machine may be silent say more than what any machine may be.
fn outlasts(spec: &JobSpec, down_after: Duration) -> Result<(), Rejection> {
    for (index, group) in spec.groups.iter().enumerate() {
        let LostAfter::Silent(us) = group.run.lost_after() else { continue };
        if Duration::from_micros(us) <= down_after {
            let problem = format!(
                "{:?} is no longer than this server lets any machine be silent ({down_after:?}, its --down-after); make it \
                 longer, or leave it out",
                Duration::from_micros(us)
            );
            return Err(Rejection::invalid(format!("groups[{index}].lost_after"), problem));
        }
    }
    Ok(())
}

fn own_session(connection: &Connection, session: SessionId) -> Result<(), Rejection> {
    if connection.has_opened(session) {
        return Ok(());
    }
    let problem = format!("{} was not opened on this connection; open it first", session.0);
    Err(Rejection::new(RejectionCode::NotAllowed, "id.session", problem))
}

fn own_machine(connection: &Connection, machine: MachineId) -> Result<(), Rejection> {
    if connection.has_registered(machine) {
        return Ok(());
    }
    let problem = format!("{} was not registered on this connection; register it first", machine.0);
    Err(Rejection::new(RejectionCode::NotAllowed, "machine", problem))
}

fn speaks_for(connection: &Connection, identity: &Identity, machine: &str) -> Result<(), Rejection> {
    if !identity.speaks_for(machine) {
        let problem = format!("{machine:?} is not for {identity} to play");
        return Err(Rejection::new(RejectionCode::NotAllowed, "spec.name", problem));
    }
    if !connection.may_register() {
        let problem = format!("this connection plays {MACHINES_PER_AGENT_MAX} machines, the bound");
        return Err(Rejection::new(RejectionCode::Full, "spec.name", problem));
    }
    Ok(())
}

fn note_usage(server: &Server, connection: &Connection, samples: MachineUsage) -> Result<Reply, Refusal> {
    own_machine(connection, samples.machine).map_err(Refusal::Rejected)?;
    if samples.tasks.len() > USAGE_ROWS_MAX {
        let problem = format!("{} samples in one message, allowed are {USAGE_ROWS_MAX}", samples.tasks.len());
        return Err(Refusal::Rejected(Rejection::invalid("tasks", problem)));
    }
    let live = server.mirror.read().machine(samples.machine).map_or(0, |machine| machine.load.tasks.len());
    server.usage.note(samples, live);
    Ok(Reply::Noted)
}

fn status(server: &Server) -> ServerStatus {
    let checkpoint = server.checkpointed();
    ServerStatus {
        config: server.cell_config(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seq: server.log.last(),
        oldest: server.log.first(),
        checkpoint,
        started: server.started,
        sessions: server.parties.by_role(),
        memory_bytes: memory::resident_bytes(),
        divergences: server.stats.divergences(),
    }
}

fn subscribe(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    scope: Scope,
    after: Option<cell_state::Seq>,
    responder: Responder,
) {
    let Some(slot) = connection.subscribe() else {
        let problem =
            format!("this connection has {SUBSCRIPTIONS_MAX} subscriptions, the bound; end one first");
        let rejection = Rejection::new(RejectionCode::Full, "scope", problem);
        return responder.reply(Err(Refusal::Rejected(rejection)));
    };
    let feed = match scope {
        Scope::Machines => Some(connection.open_feed()),
        Scope::Full | Scope::Jobs { .. } => None,
    };
    responder.reply(Ok(Reply::Subscribed { subscription: slot.number }));
    let span =
        tracing::debug_span!("stream", connection = connection.session.id(), subscription = slot.number);
    let (server, connection) = (Arc::clone(server), Arc::clone(connection));
    let serve = async move {
        let served = match (scope, &feed) {
            (Scope::Jobs { scheduler }, _) => {
                serve_jobs(&server, &slot, &connection, &scheduler, after).await
            }
            (Scope::Machines, Some(feed)) => serve_machines(&server, &slot, &connection, feed, after).await,
            (Scope::Full | Scope::Machines, _) => serve(&server, &slot, &connection, after).await,
        };
        if let Some(feed) = &feed {
            follow_machines::end(&server, &connection, feed);
        }
        match served {
            Ok(()) | Err(FollowError::Gone(_)) => tracing::debug!("subscription ended"),
            Err(error) => tracing::error!(%error, "subscription failed"),
        }
    };
    tokio::spawn(serve.instrument(span));
}

async fn serve(
    server: &Arc<Server>,
    slot: &SubscriptionSlot,
    connection: &Connection,
    after: Option<cell_state::Seq>,
) -> Result<(), FollowError> {
    let mut writer = connection.session.open_subscription(slot.number).await?;
    follow::follow(server, &mut writer, after).await
}

async fn serve_jobs(
    server: &Arc<Server>,
    slot: &SubscriptionSlot,
    connection: &Connection,
    scheduler: &str,
    after: Option<cell_state::Seq>,
) -> Result<(), FollowError> {
    let mut writer = connection.session.open_subscription(slot.number).await?;
    follow_jobs::follow(server, &mut writer, scheduler, after).await
}

async fn serve_machines(
    server: &Arc<Server>,
    slot: &SubscriptionSlot,
    connection: &Arc<Connection>,
    feed: &Arc<crate::feeds::Feed>,
    after: Option<cell_state::Seq>,
) -> Result<(), FollowError> {
    let mut writer = connection.session.open_subscription(slot.number).await?;
    follow_machines::follow(server, connection, feed, &mut writer, after).await
}
