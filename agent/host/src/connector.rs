//! The connection to the server: made again whenever it is lost, kept alive by heartbeats, asked for logs.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use transport::message::{AgentReply, AgentRequest, LogRequest};
use transport_quic::{AgentResponder, Client, ConnectError};

use crate::bounds::{RECONNECT_FIRST, RECONNECT_MAX};
use crate::config::AgentConfig;
use crate::conversation::{self, Place};
use crate::log_read;

/// What connection and stream tell the host.
#[derive(Debug)]
pub(crate) enum News {
    /// There is a connection.
    Up(Client),
    /// It is lost.
    Down,
    /// There can be none.
    Impossible(ConnectError),
    /// Records of the log, on the stream of this number.
    Records(u64, Bytes),
    /// That stream has ended.
    StreamEnded(u64, String),
}

/// Connects for ever. Returns when nobody listens any more, or the first attempt shows that none can succeed.
pub(crate) async fn connect(config: AgentConfig, news: mpsc::Sender<News>) {
    let mut pause = RECONNECT_FIRST;
    let mut was_connected = false;
    loop {
        let client = match Client::connect(config.server, &config.credentials).await {
            Ok(client) => client,
            Err(error) if !was_connected && !error.is_passing() => {
                return drop(news.send(News::Impossible(error)).await);
            }
            Err(error) => {
                tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "can't reach the server");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = news.closed() => return,
                }
                pause = (pause * 2).min(RECONNECT_MAX);
                continue;
            }
        };
        tracing::info!(server = %config.server, "connected");
        (pause, was_connected) = (RECONNECT_FIRST, true);
        if news.send(News::Up(client.clone())).await.is_err() {
            return;
        }
        let why = attend(&config, &client, &news).await;
        tracing::warn!(%why, "connection lost");
        if news.send(News::Down).await.is_err() {
            return;
        }
    }
}

/// Shows that the agent is there and answers the server, until the connection ends.
async fn attend(config: &AgentConfig, client: &Client, news: &mpsc::Sender<News>) -> String {
    let mut number = 0;
    let mut beat = tokio::time::interval(config.heartbeat.max(Duration::from_millis(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let desk = Desk::of(config);
    loop {
        tokio::select! {
            why = client.closed() => return why,
            () = news.closed() => return "the agent stops".to_owned(),
            _ = beat.tick() => {
                number += 1;
                client.heartbeat(number);
            }
            request = client.next_agent_request() => match request {
                // The transport bounds how many there are at a time.
                Some((request, responder)) => drop(tokio::spawn(desk.clone().answer(request, responder))),
                None => return client.closed().await,
            },
        }
    }
}

/// Where the output of tasks is, and what else is asked of them.
#[derive(Clone)]
struct Desk {
    /// `None`: machines that are played have no tasks to talk to.
    place: Option<Place>,
}

impl Desk {
    fn of(config: &AgentConfig) -> Desk {
        Desk { place: Place::of(config) }
    }

    async fn answer(self, request: AgentRequest, responder: AgentResponder) {
        let (machine, request) = match request {
            AgentRequest::ReadLog { machine, request } => (machine, request),
            AgentRequest::Task { machine, request } => {
                return conversation::answer(self.place, machine, request, responder).await;
            }
        };
        let read = tokio::task::spawn_blocking(move || self.read(&machine, &request)).await;
        let failed = || AgentReply::Failed("the agent is stopping".to_owned());
        responder.reply(read.unwrap_or_else(|_| failed())).await;
    }

    fn read(&self, machine: &str, request: &LogRequest) -> AgentReply {
        let Some(root) =
            self.place.as_ref().filter(|place| place.machine == machine).map(|place| &place.root)
        else {
            return AgentReply::Failed(format!("{machine} is a simulated machine; its tasks have no output"));
        };
        read_log(root, request)
    }
}

fn read_log(root: &Path, request: &LogRequest) -> AgentReply {
    match log_read::read(root, request) {
        Ok(piece) => AgentReply::Log(piece),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            AgentReply::Failed(format!("{error}{}", cause.unwrap_or_default()))
        }
    }
}
