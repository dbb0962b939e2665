//! What the server's answers mean for the fleet.

use std::sync::Arc;

use agent::{Input, Refused, Spec};
use cell_state::admit::{Answer, Rejection, RejectionCode};
use cell_state::job::JobSpec;
use transport::Reply;
use transport::message::{Acknowledged, Refusal};
use transport_quic::CallError;

use super::Host;
use crate::calls::{self, Call};
use crate::config::AgentError;
use crate::specs;

impl Host {
    /// Takes an answer.
    pub(super) fn on_answer(&mut self, (call, answer): calls::Answer) -> Result<(), AgentError> {
        match call {
            Call::Status => self.on_status(answer),
            Call::Lease { sent } => {
                self.leasing = false;
                if answer.is_ok() {
                    self.tell_all(Input::Heard { sent });
                }
            }
            Call::Register { slot } => return self.on_registered(slot, answer),
            Call::Spec { job, version } => match answer {
                Ok(Reply::Spec(spec)) => self.spec_here((job, version), *spec),
                Ok(_) | Err(_) => {
                    for slot in self.specs.missing((job, version)) {
                        self.fleet.handle(self.clock.now(), slot, Input::NoSpec { job, version });
                    }
                }
            },
            Call::Report { slot } => self.on_reported(slot, answer),
            Call::Reports { slots } => self.on_all_reported(slots, answer),
        }
        Ok(())
    }

    fn on_status(&mut self, answer: Result<Reply, CallError>) {
        match answer {
            Ok(Reply::Status(status)) => {
                self.overcommit = status.config.overcommit;
                self.tell_all(Input::Connected { overcommit: self.overcommit });
            }
            other => self.give_up_connection("asking for the cell's settings", &other),
        }
    }

    fn on_registered(&mut self, slot: usize, answer: Result<Reply, CallError>) -> Result<(), AgentError> {
        self.registering = self.registering.saturating_sub(1);
        match answer {
            Ok(Reply::Done { at, answer: Answer::Machine(machine) }) => {
                self.fleet.handle(self.clock.now(), slot, Input::Registered { machine, at });
                let online = self.registering == 0;
                if online {
                    tracing::info!(machines = self.fleet.agents().len(), %at, "registered");
                }
                if online && (self.follower.is_none() || !self.fleet.is_synced()) {
                    self.follow(false);
                }
            }
            Err(CallError::Refused(Refusal::Rejected(rejection))) => {
                return Err(self.refused(slot, &rejection));
            }
            Err(CallError::Refused(refusal @ Refusal::NotPermitted { .. })) => {
                return Err(self.refused(slot, &refusal));
            }
            other => self.give_up_connection("registering a machine", &other),
        }
        Ok(())
    }

    fn refused(&self, slot: usize, reason: &impl std::fmt::Display) -> AgentError {
        let machine = self.fleet.agents()[slot].spec().name.clone();
        AgentError::Refused { machine, reason: reason.to_string() }
    }

    /// An answer that makes no sense: only another connection can help.
    fn give_up_connection(&self, doing: &str, answer: &Result<Reply, CallError>) {
        // A lost connection is told by itself.
        if matches!(answer, Err(CallError::Lost(_))) {
            return;
        }
        tracing::error!(?answer, "unexpected answer when {doing}");
        if let Some(client) = self.calls.client() {
            client.close("an unexpected answer");
        }
    }

    fn spec_here(&mut self, (job, version): specs::Version, spec: JobSpec) {
        let spec = Arc::new(Spec::compile(spec));
        for slot in self.specs.arrived((job, version), Arc::clone(&spec)) {
            self.fleet.handle(self.clock.now(), slot, Input::Spec { job, version, spec: &spec });
        }
    }

    fn on_all_reported(&mut self, slots: Vec<usize>, answer: Result<Reply, CallError>) {
        let refused = match answer {
            Ok(Reply::Reported(answers)) => {
                for (slot, answer) in slots.into_iter().zip(answers) {
                    let reply =
                        |Acknowledged { at, upto }| Reply::Done { at, answer: Answer::Reported { upto } };
                    self.on_reported(slot, answer.map(reply).map_err(CallError::Refused));
                }
                return;
            }
            Ok(_) => CallError::Refused(Refusal::Busy),
            Err(error) => error,
        };
        for slot in slots {
            self.on_reported(slot, Err(refused.clone()));
        }
    }

    fn on_reported(&mut self, slot: usize, answer: Result<Reply, CallError>) {
        let input = match answer {
            Ok(Reply::Done { at, answer: Answer::Reported { upto } }) => Input::Acknowledged { upto, at },
            Err(CallError::Lost(_)) => return,
            Err(CallError::Refused(Refusal::Rejected(rejection))) => Input::Refused(why(&rejection)),
            Ok(_) | Err(CallError::Refused(_)) => Input::Refused(Refused::Busy),
        };
        self.fleet.handle(self.clock.now(), slot, input);
    }
}

fn why(rejection: &Rejection) -> Refused {
    tracing::warn!(%rejection, "reports were rejected");
    match rejection.code {
        RejectionCode::NotFound | RejectionCode::NotAllowed => Refused::Unregistered,
        RejectionCode::Invalid if rejection.field == "first" => Refused::Gap,
        RejectionCode::Invalid | RejectionCode::Full | RejectionCode::Forgotten => Refused::Busy,
    }
}
