//! Requests to the server: many in flight, answers in any order, all given up when the connection is lost.

use std::collections::VecDeque;

use cell_state::{JobId, Time};
use tokio::task::JoinSet;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client};

use crate::bounds::{BUSY_PAUSE, CALLS_MAX};

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Status,
    /// Only to hear whether there is an answer, to a question sent at this time.
    Lease {
        sent: Time,
    },
    Register {
        slot: usize,
    },
    Spec {
        job: JobId,
        version: u32,
    },
    Report {
        slot: usize,
    },
    /// What several machines have to report.
    Reports {
        slots: Vec<usize>,
    },
}

/// An answer.
pub(crate) type Answer = (Call, Result<Reply, CallError>);

#[derive(Default)]
pub(crate) struct Calls {
    client: Option<Client>,
    flying: JoinSet<Answer>,
    /// Bounded by what can be asked at all: one registration and one report per machine, one fetch per spec.
    waiting: VecDeque<(Call, Request)>,
}

impl Calls {
    /// From now on calls go to this client.
    pub(crate) fn connected(&mut self, client: Client) {
        *self = Calls { client: Some(client), ..Calls::default() };
    }

    /// Gives up all calls.
    pub(crate) fn disconnected(&mut self) {
        *self = Calls::default();
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Makes a request; without a connection it goes nowhere, and the agents ask again once there is one.
    pub(crate) fn make(&mut self, call: Call, request: Request) {
        if self.client.is_some() {
            self.waiting.push_back((call, request));
            self.fill();
        }
    }

    /// The next answer. Waits for ever when nothing was asked.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.flying.join_next().await {
            Some(answer) => self.landed(answer),
            None => std::future::pending().await,
        }
    }

    /// The next answer that is there already.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let answer = self.flying.try_join_next()?;
        Some(self.landed(answer))
    }

    fn landed(&mut self, answer: Result<Answer, tokio::task::JoinError>) -> Answer {
        self.fill();
        answer.expect("a call neither panics nor is aborted while it is held")
    }

    fn fill(&mut self) {
        let Some(client) = &self.client else { return };
        while self.flying.len() < CALLS_MAX
            && let Some((call, request)) = self.waiting.pop_front()
        {
            self.flying.spawn(make(client.clone(), call, request));
        }
    }
}

async fn make(client: Client, call: Call, request: Request) -> Answer {
    if let Call::Report { .. } | Call::Reports { .. } = call {
        // The agent itself minds a busy server: meanwhile more reports may join.
        return (call, client.call(request).await);
    }
    loop {
        match client.call(request.clone()).await {
            Err(CallError::Refused(Refusal::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
            answer => return (call, answer),
        }
    }
}
