//! What is asked about running tasks: where they can be reached, what they use, and themselves.

use std::time::Instant;

use cell_state::endpoint::Endpoint;
use transport::bounds::ROWS_MAX;
use transport::message::Refusal;
use transport::task::{FromTask, TaskRequest, ToTask};
use transport::usage::UsageView;
use transport::view::{Body, Query, ServiceRow};
use transport::{Reply, Request};
use transport_quic::{CallError, ConversationReader, ConversationWriter};

use super::{Asker, odd};
use crate::bounds::{BUSY_PAUSE, RECONNECT_MAX};
use crate::failure::Failure;

impl Asker {
    /// The services with running tasks.
    pub(crate) async fn services(&mut self) -> Result<Vec<ServiceRow>, Failure> {
        match self.read(None, Query::Services { limit: ROWS_MAX }).await? {
            (_, Body::Services(rows)) => Ok(rows),
            _ => Err(Failure::Answer("services")),
        }
    }

    /// Where the tasks are that a name means.
    pub(crate) async fn endpoints(&mut self, name: &str) -> Result<Vec<Endpoint>, Failure> {
        match self.read(None, Query::Endpoints { name: name.to_owned() }).await? {
            (_, Body::Endpoints(endpoints)) => Ok(endpoints),
            _ => Err(Failure::Answer("endpoints")),
        }
    }

    /// What tasks use, of one machine or of all.
    pub(crate) async fn usage(&mut self, machine: Option<&str>, limit: u32) -> Result<UsageView, Failure> {
        match self.ask(Request::ReadUsage { machine: machine.map(str::to_owned), limit }).await? {
            Reply::Usage(view) => Ok(*view),
            other => Err(odd(&other)),
        }
    }

    /// Opens a conversation with a task.
    pub(crate) async fn converse(
        &mut self,
        request: &TaskRequest,
    ) -> Result<(ConversationWriter<ToTask>, ConversationReader<FromTask>), Failure> {
        let until = Instant::now() + RECONNECT_MAX;
        loop {
            match self.client.converse(request.clone()).await {
                Ok(opened) => return Ok(opened),
                Err(CallError::Refused(Refusal::Busy)) if Instant::now() < until => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(CallError::Lost(reason)) if Instant::now() < until => {
                    self.reconnect(until, &reason).await?
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
