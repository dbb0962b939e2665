//! The run itself: warm-up, the measured time, and the answers and reports that are still due then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use transport::view::StageTimes;
use transport::{Reply, Request};
use transport_quic::Traffic;

use super::board::Phase;
use super::churn::Reporter;
use super::copies::LogBytes;
use super::counts::Tally;
use super::error::LoadError;
use super::schedulers::Proposer;
use super::server_cost::Used;
use super::settings::Proposing;
use super::wires::Party;
use super::{Load, Parties, Progress, policy, within};
use crate::bounds::{LOAD_END_WAIT, LOAD_TELL_EVERY};

/// What was counted between the two ends of the measured time.
pub(super) struct Stretch {
    pub(super) tally: Tally,
    pub(super) seconds: f64,
    pub(super) used: Option<Used>,
    pub(super) by_stage: BTreeMap<&'static str, u64>,
    pub(super) own_used: Option<Used>,
    pub(super) log_bytes: Option<LogBytes>,
    pub(super) traffic: BTreeMap<Party, Traffic>,
}

/// What is read off at both ends of the measured time.
struct Look {
    at: Instant,
    used: Option<Used>,
    stages: StageTimes,
    own_used: Option<Used>,
    log_bytes: Option<LogBytes>,
    traffic: BTreeMap<Party, Traffic>,
}

/// Those who are at work; dropping it ends them.
struct Working {
    proposers: JoinSet<Result<Tally, LoadError>>,
    reporter: JoinHandle<Result<Reporter, LoadError>>,
    tally: Tally,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.reporter.abort();
    }
}

impl Load {
    /// Runs the load to its end: nothing is placed any more.
    pub(super) async fn drive(
        &self,
        parties: &Parties,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Stretch, LoadError> {
        let settings = &self.field.settings;
        let mut working = self.start(parties).await?;
        let started = Instant::now();
        self.pass(started, settings.warm_up, &mut working, tell).await?;
        let before = self.look(parties).await?;
        self.field.board.enter(Phase::Measured);
        self.pass(started, settings.warm_up + settings.duration, &mut working, tell).await?;
        self.field.board.enter(Phase::Over);
        let mut stretch = self.look(parties).await?.since(before);
        let end = async {
            while let Some(ended) = working.proposers.join_next().await {
                working.tally.merge(&ended??);
            }
            let mut reporter = (&mut working.reporter).await??;
            reporter.clear().await
        };
        within("ending the load", LOAD_END_WAIT, end).await?;
        stretch.tally = std::mem::take(&mut working.tally);
        Ok(stretch)
    }

    async fn start(&self, parties: &Parties) -> Result<Working, LoadError> {
        let mut proposers = JoinSet::new();
        for (owner, opened) in self.opened.iter().enumerate() {
            let field = Arc::clone(&self.field);
            match self.field.settings.proposing {
                Proposing::Blind => {
                    field.wires.add(Party::Schedulers, &opened.client);
                    proposers.spawn(Proposer::new(owner, field, opened).await?.run());
                }
                Proposing::Policy(policy) => {
                    let credentials = parties.schedulers[owner].clone();
                    let (server, instance) = (parties.server, parties.instance);
                    let author = policy::Author { owner, server, credentials, instance, policy };
                    proposers.spawn(policy::run(author, field));
                }
            }
        }
        let field = Arc::clone(&self.field);
        let reporter = Reporter::new(field, &self.machines.client, parties.instance).await?;
        let hold = self.field.settings.hold;
        let reporter = tokio::spawn(reporter.churn(hold));
        Ok(Working { proposers, reporter, tally: Tally::default() })
    }

    /// Lets the load run until so long after its start, or until there is nothing left to place.
    async fn pass(
        &self,
        started: Instant,
        until: Duration,
        working: &mut Working,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), LoadError> {
        while started.elapsed() < until {
            tell(Progress::Running(self.field.board.placed(), started.elapsed()));
            let rest = until.saturating_sub(started.elapsed());
            tokio::select! {
                ended = working.proposers.join_next() => match ended {
                    Some(ended) => working.tally.merge(&ended??),
                    None => return Ok(()),
                },
                // It goes on until the load is over, unless it fails.
                ended = &mut working.reporter => drop(ended??),
                () = tokio::time::sleep(rest.min(LOAD_TELL_EVERY)) => {}
            }
        }
        Ok(())
    }

    async fn look(&self, parties: &Parties) -> Result<Look, LoadError> {
        const WHAT: &str = "asking what the server's stages have used";
        let stages = match self.machines.client.call(Request::Stages).await.map_err(LoadError::call(WHAT))? {
            Reply::Stages(stages) => stages,
            _ => return Err(LoadError::Answer(WHAT)),
        };
        Ok(Look {
            stages,
            used: parties.process.as_ref().and_then(|(pid, _)| Used::of(*pid)),
            own_used: Used::of(std::process::id()),
            log_bytes: self.copies.log_bytes(),
            traffic: self.field.wires.traffic(),
            at: Instant::now(),
        })
    }
}

impl Look {
    fn since(self, before: Look) -> Stretch {
        let earlier = |party: &Party| before.traffic.get(party).copied().unwrap_or_default();
        let traffic = self.traffic.into_iter().map(|(party, now)| (party, now - earlier(&party)));
        Stretch {
            tally: Tally::default(),
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            used: self.used.zip(before.used).map(|(now, then)| now.since(&then)),
            by_stage: self
                .stages
                .named()
                .into_iter()
                .zip(before.stages.named())
                .map(|((name, now), (_, then))| (name, now.saturating_sub(then)))
                .collect(),
            own_used: self.own_used.zip(before.own_used).map(|(now, then)| now.since(&then)),
            log_bytes: self.log_bytes.zip(before.log_bytes).map(|(now, then)| LogBytes {
                transactions: now.transactions - then.transactions,
                others: now.others - then.others,
            }),
            traffic: traffic.collect(),
        }
    }
}
