//! Care: once a second the server looks after machines, scheduler sessions and old jobs, and asks itself for what has
//! to change. These requests go through the intake like all others; when it is full, the next look asks again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cell_state::admit::Command;
use cell_state::machine::MachineState;
use cell_state::{Cell, SessionId};

use crate::bounds::CARE_EVERY;
use crate::clock;
use crate::connection::{Binding, Parties};
use crate::forgetting::Forgetting;
use crate::liveness::{Findings, Liveness};
use crate::server::Server;

struct Carer {
    server: Arc<Server>,
    liveness: Liveness,
    forgetting: Forgetting,
}

/// Looks after everything until it is dropped.
pub(crate) async fn run(server: Arc<Server>) {
    let now = Instant::now();
    let mut carer = Carer {
        liveness: Liveness::new(server.config.down_after, now),
        forgetting: Forgetting::new(server.config.retain_jobs),
        server,
    };
    let mut ticks = tokio::time::interval(
        CARE_EVERY.min(carer.server.config.down_after / 4).max(Duration::from_millis(10)),
    );
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A look may take milliseconds, which the sessions of this runtime should not wait.
        let look = tokio::task::spawn_blocking(move || {
            carer.look();
            carer
        });
        match look.await {
            Ok(back) => carer = back,
            Err(error) => return tracing::error!(%error, "the look after the cell failed"),
        }
    }
}

impl Carer {
    fn look(&mut self) {
        let server = Arc::clone(&self.server);
        let now = Instant::now();
        // One after another, since publish waits while the mirror is read.
        let findings = self.liveness.look(now, &server.mirror.read(), &server.parties);
        server.usage.forget_old();
        let mut asks = look_at_sessions(&server, now);
        let forget = self.forgetting.look(&server.mirror.read(), clock::now());
        if !forget.is_empty() {
            asks.push(Command::ForgetJobs { jobs: forget });
        }
        self.report(findings);
        for ask in asks {
            server.intake.offer_own(ask);
        }
    }

    fn report(&self, findings: Findings) {
        if findings.deferred > 0 {
            tracing::warn!(
                now = findings.down.len(),
                deferred = findings.deferred,
                "very many machines are silent at once; they are declared down bit by bit"
            );
        }
        for (machine, silent_us) in findings.down {
            let silent = Duration::from_micros(silent_us);
            tracing::warn!(machine, ?silent, "the machine is silent and counts as down");
            self.server.intake.offer_own(Command::SetMachineState {
                machine,
                state: MachineState::Down,
                grace_us: Some(silent_us),
            });
        }
        let stale: BTreeMap<u64, String> = findings.stale.into_iter().collect();
        for (connection, machine) in stale {
            if let Some(connection) = self.server.parties.connections.get(&connection) {
                connection.session.close(&format!("machine {machine} was declared down; register it again"));
            }
        }
    }
}

fn look_at_sessions(server: &Server, now: Instant) -> Vec<Command> {
    let cell = server.mirror.read();
    server.stats.retain(|session| cell.session(session).is_some());
    server.parties.telemetry.retain(|session, _| cell.session(*session).is_some());
    sessions(now, &cell, &server.parties, server.config.session_grace)
}

/// What has to be asked for scheduler sessions: an end for those nobody has spoken for during the grace period, a new
/// start for one that ended just as its process came back.
fn sessions(now: Instant, cell: &Cell, parties: &Parties, grace: Duration) -> Vec<Command> {
    let mut asks = Vec::new();
    for session in cell.sessions().live() {
        let nobody = Binding { connection: 0, seen: now };
        let mut binding = parties.schedulers.entry(session.id).or_insert(nobody);
        if parties.is_open(binding.connection) {
            binding.seen = now;
        } else if now.saturating_duration_since(binding.seen) > grace {
            tracing::info!(
                session = session.id.0,
                scheduler = session.scheduler,
                "a scheduler process is gone"
            );
            asks.push(Command::EndSession { session: session.id });
        }
    }
    let mut over: Vec<SessionId> = Vec::new();
    for entry in &parties.schedulers {
        match cell.session(*entry.key()) {
            Some(session) if session.live => {}
            Some(session) if parties.is_open(entry.connection) => {
                let (scheduler, instance) = (session.scheduler.clone(), session.instance);
                asks.push(Command::OpenSession { scheduler, instance });
            }
            Some(_) | None => over.push(*entry.key()),
        }
    }
    for session in over {
        parties.schedulers.remove_if(&session, |_, binding| !parties.is_open(binding.connection));
    }
    asks
}
