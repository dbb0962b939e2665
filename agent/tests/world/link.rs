//! The connection: requests, answers and the log in order, all lost together when it breaks.

use std::collections::VecDeque;

use agent::{Agent, Input, Output, Refused};
use cell_state::admit::{Answer, Command, RejectionCode, admit};
use cell_state::event::Event;
use cell_state::{JobId, MachineId, Seq};

use super::{World, overcommit, seq_of, spec_of};

#[derive(Default)]
pub(crate) struct Link {
    up: bool,
    requests: VecDeque<Output>,
    answers: VecDeque<Reply>,
    /// How far the subscription has delivered; `None` before its snapshot.
    delivered: Option<Seq>,
}

enum Reply {
    Registered(MachineId, Seq),
    Spec(JobId, u32),
    Reported(u64, Seq),
    Refused(Refused),
}

impl Link {
    pub(crate) fn send(&mut self, output: Output) {
        if self.up {
            self.requests.push_back(output);
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.requests.len() + self.answers.len()
    }

    pub(crate) fn is_idle(&self, log: &[Event]) -> bool {
        self.pending() == 0 && self.delivered == Some(seq_of(log))
    }
}

impl World {
    pub(crate) fn connect(&mut self) {
        if !self.link.up && self.agent.is_some() {
            self.link.up = true;
            self.tell(Input::Connected { overcommit: overcommit() });
        }
    }

    /// Requests that left may still reach the server; their answers don't come back.
    pub(crate) fn disconnect(&mut self) {
        if self.link.up {
            self.serve();
            let delivered = self.link.delivered;
            // A restarted agent begins with a snapshot; one that lives on resumes.
            let delivered = delivered.filter(|_| self.agent.is_some());
            self.link = Link { delivered, ..Link::default() };
            self.tell(Input::Disconnected);
        }
    }

    pub(crate) fn serve(&mut self) {
        let Some(request) = self.link.requests.pop_front() else { return };
        let reply = match request {
            Output::Register { spec, incarnation } => {
                self.command(Command::RegisterMachine { spec: (*spec).clone(), incarnation });
                Reply::Registered(MachineId(0), self.cell.seq())
            }
            Output::FetchSpec { job, version } => Reply::Spec(job, version),
            Output::Report { machine, incarnation, first, reports } => {
                self.reported(Command::Report { machine, incarnation, first, reports })
            }
            Output::Record { .. } | Output::Prepare(..) | Output::Start(_) | Output::Signal(..) => {
                unreachable!("no request")
            }
        };
        self.link.answers.push_back(reply);
    }

    fn reported(&mut self, command: Command) -> Reply {
        match admit(&self.cell, self.now, command) {
            Ok(admitted) => {
                if let Some(event) = admitted.event {
                    self.append(event);
                }
                let Answer::Reported { upto } = admitted.answer else { panic!("{:?}", admitted.answer) };
                Reply::Reported(upto, self.cell.seq())
            }
            Err(rejection) => Reply::Refused(match rejection.code {
                RejectionCode::NotFound | RejectionCode::NotAllowed => Refused::Unregistered,
                RejectionCode::Invalid => {
                    assert!(self.cell_was_replaced(), "{rejection:?}");
                    Refused::Gap
                }
                RejectionCode::Full | RejectionCode::Forgotten => panic!("{rejection:?}"),
            }),
        }
    }

    /// Only a cell that was made anew may see a gap: it has seen no report at all.
    fn cell_was_replaced(&self) -> bool {
        self.cell.machine(MachineId(0)).is_some_and(|m| m.reports_seen == 0)
    }

    pub(crate) fn answer(&mut self) {
        let Some(reply) = self.link.answers.pop_front() else { return };
        match reply {
            Reply::Registered(machine, at) => self.tell(Input::Registered { machine, at }),
            Reply::Spec(job, version) => match spec_of(&self.cell, job, version) {
                Some(spec) => self.tell(Input::Spec { job, version, spec: &spec }),
                None => self.tell(Input::NoSpec { job, version }),
            },
            Reply::Reported(upto, at) => self.tell(Input::Acknowledged { upto, at }),
            Reply::Refused(why) => self.tell(Input::Refused(why)),
        }
    }

    pub(crate) fn stream(&mut self, n: u8) {
        if !self.agent.as_ref().is_some_and(|agent| agent.is_online() && self.link.up) {
            return;
        }
        let synced = self.agent.as_ref().is_some_and(Agent::is_synced);
        let end = seq_of(&self.log);
        let delivered = self.link.delivered.filter(|at| synced && !n.is_multiple_of(16) && *at <= end);
        match delivered {
            // A new subscription, or one that fell behind.
            None => {
                let lag = usize::from(n / 16) % self.states.len();
                let state = &self.states[self.states.len() - 1 - lag];
                let (at, assigned) = (state.seq(), state.assigned(MachineId(0)));
                self.tell(Input::Snapshot { at, assigned: &assigned });
                self.link.delivered = Some(at);
            }
            Some(at) => {
                for at in at.0..end.0.min(at.0 + u64::from(n % 4)) {
                    let event = self.log[at as usize].clone();
                    self.tell(Input::Event { at: Seq(at + 1), event: &event });
                    self.link.delivered = Some(Seq(at + 1));
                }
            }
        }
    }
}
