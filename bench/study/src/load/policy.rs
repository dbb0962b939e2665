//! The proposers of a load that run a policy: each is the deciding part of a real scheduler process, with a copy of the
//! cell, a connection and a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cell_state::verdict::Outcome;
use cell_state::{Cell, Seq, Time};
use schedulers::copy::{Copy, Step};
use schedulers::digest::{Answer, Verdict};
use schedulers::plan::Terms;
use schedulers::scheduler::{Decision, Scheduler};
use schedulers::settings::Settings as SchedulerSettings;
use tokio::sync::oneshot;
use transport::message::Refusal;
use transport::{Reply, Request, Scope};
use transport_quic::{Answered, CallError, Client, Credentials, Pipeline, Subscription};

use super::calls;
use super::counts::Tally;
use super::error::LoadError;
use super::field::{Field, Placement};
use super::wires::Party;
use crate::bounds::{LOAD_LOOK_EVERY, LOAD_PLANS_PER_TURN};

const WHAT: &str = "committing a transaction of a policy";

/// Who a proposer with a policy is.
pub(super) struct Author {
    pub(super) owner: usize,
    pub(super) server: std::net::SocketAddr,
    pub(super) credentials: Credentials,
    pub(super) instance: u64,
    pub(super) policy: &'static str,
}

/// Runs one on a thread of its own until the load is over and all it proposed is answered.
pub(super) async fn run(author: Author, field: Arc<Field>) -> Result<Tally, LoadError> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("load-policy-{}", author.owner));
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ran = match runtime {
            Ok(runtime) => runtime.block_on(propose(author, field)),
            Err(error) => Err(LoadError::system("can't start the runtime of a policy")(error)),
        };
        // Nobody waits any more when the load was cut off.
        drop(done.send(ran));
    };
    thread.spawn(work).map_err(LoadError::system("can't start the thread of a policy"))?;
    result.await.map_err(|_| LoadError::Answer("running a policy"))?
}

async fn propose(author: Author, field: Arc<Field>) -> Result<Tally, LoadError> {
    // A connection driven by this thread: the session, opened before, moves here.
    let opened = calls::open(author.server, &author.credentials, author.instance).await?;
    field.wires.add(Party::Schedulers, &opened.client);
    let mut process = Process::new(&author, field, &opened.client).await?;
    process.scheduler.opened(&Cell::new(), opened.session, opened.last_number);
    process.run().await
}

/// One proposer with its policy.
struct Process {
    owner: usize,
    field: Arc<Field>,
    scheduler: Scheduler,
    copy: Copy,
    subscription: Subscription,
    pipeline: Pipeline,
    /// When each unanswered transaction was sent.
    sent: BTreeMap<u64, Instant>,
    tally: Tally,
}

impl Process {
    async fn new(author: &Author, field: Arc<Field>, client: &Client) -> Result<Process, LoadError> {
        let policy =
            schedulers::policy::built_in(author.policy).ok_or(LoadError::Answer("naming a policy"))?;
        let load = &field.settings;
        let settings = SchedulerSettings {
            terms: Terms { atomicity: load.atomicity, detection: load.detection },
            in_flight: load.in_flight as usize,
            tasks_per_txn: load.ops as usize,
            adaptive: false,
            ..SchedulerSettings::new(
                author.credentials.identity().name.clone(),
                author.instance,
                load.seed ^ ((author.owner as u64) << 40),
            )
        };
        let subscription = client.subscribe(Scope::Full, None).await;
        Ok(Process {
            owner: author.owner,
            scheduler: Scheduler::new(policy, settings),
            copy: Copy::new(),
            subscription: subscription.map_err(LoadError::call("following the log"))?,
            pipeline: client.pipeline().await.map_err(LoadError::call(WHAT))?,
            sent: BTreeMap::new(),
            tally: Tally::default(),
            field,
        })
    }

    async fn run(mut self) -> Result<Tally, LoadError> {
        let mut answers = Vec::new();
        loop {
            let wait = self.decide()?;
            if self.field.board.is_over() && self.pipeline.unanswered() == 0 {
                return Ok(self.tally);
            }
            tokio::select! {
                biased;
                exchanged = self.pipeline.exchange(&mut answers), if self.pipeline.unanswered() > 0 => {
                    exchanged.map_err(LoadError::call(WHAT))?;
                    self.answered(&mut answers)?;
                }
                records = self.subscription.next() => {
                    let records = records.map_err(LoadError::call("following the log"))?;
                    let records = records.ok_or_else(|| LoadError::Copy("the log ended".to_owned()))?;
                    self.follow(&records)?;
                }
                () = pause(wait) => {}
            }
        }
    }

    /// Proposes what the policy finds now; how long to wait when nothing arrives.
    fn decide(&mut self) -> Result<Duration, LoadError> {
        let Some(cell) = self.copy.cell() else { return Ok(LOAD_LOOK_EVERY) };
        if self.field.board.is_over() {
            return Ok(LOAD_LOOK_EVERY);
        }
        for _ in 0..LOAD_PLANS_PER_TURN {
            match self.scheduler.decide(cell, now()) {
                Decision::Propose(proposal) => {
                    let number = proposal.txn.id.number;
                    self.sent.insert(number, Instant::now());
                    let request = Request::Commit((*proposal.txn).clone());
                    self.pipeline.add(number, &request).map_err(LoadError::call(WHAT))?;
                }
                Decision::Again => {}
                Decision::Wait => {
                    let next = self.scheduler.next_time(cell);
                    let wait = next.map(|time| Duration::from_micros(time.since(now()).max(1)));
                    return Ok(wait.unwrap_or(LOAD_LOOK_EVERY).min(LOAD_LOOK_EVERY));
                }
            }
        }
        Ok(Duration::ZERO)
    }

    fn follow(&mut self, mut records: &[u8]) -> Result<(), LoadError> {
        let broken = |error: schedulers::copy::CopyError| LoadError::Copy(error.to_string());
        while let Some(step) = self.copy.take(&mut records).map_err(broken)? {
            let Some(cell) = self.copy.cell_mut() else { continue };
            match step {
                Step::Restored => self.scheduler.restored(cell),
                Step::Event(seq, event) => self.scheduler.follow(cell, now(), seq, &event),
                Step::Loads(seq, loads) => self.scheduler.loads(cell, seq, &loads),
                Step::Checked(..) | Step::Nothing => {}
            }
        }
        Ok(())
    }

    fn answered(&mut self, answers: &mut Vec<Answered>) -> Result<(), LoadError> {
        let (arrived, phase) = (Instant::now(), self.field.board.phase());
        let (before, mut positions) = (self.tally.whole.placed, Vec::<Seq>::new());
        let empty = Cell::new();
        for (number, answer) in answers.drain(..) {
            let sent = self.sent.remove(&number).unwrap_or(arrived);
            let answer = match answer {
                Ok(Reply::Verdicts { at, outcomes, failed_assertion }) => {
                    positions.push(at);
                    self.tally.answered(phase, arrived - sent, &outcomes);
                    self.hold(&outcomes);
                    Answer::Verdict(Verdict { at, outcomes, failed_assertion })
                }
                Ok(_) => return Err(LoadError::Answer(WHAT)),
                Err(Refusal::Busy) => {
                    self.tally.note(phase, |counts| counts.busy += 1);
                    Answer::Busy
                }
                Err(refusal) => return Err(LoadError::call(WHAT)(CallError::Refused(refusal))),
            };
            self.scheduler.answer(self.copy.cell().unwrap_or(&empty), now(), number, answer);
        }
        let placed = self.tally.whole.placed - before;
        self.field.board.acknowledged(phase, arrived, &positions, placed);
        Ok(())
    }

    /// Tells the machines what is placed on them.
    fn hold(&self, outcomes: &[Outcome]) {
        let mut held = self.field.held();
        for outcome in outcomes {
            if let Outcome::Placed(placed) = outcome
                && let Some(at) = self.field.place_of(placed.machine)
            {
                let owner = self.owner as u32;
                held[at].push(Placement { owner, task: placed.task, epoch: placed.epoch });
            }
        }
    }
}

async fn pause(wait: Duration) {
    match wait {
        // A timer would take up to a millisecond.
        Duration::ZERO => tokio::task::yield_now().await,
        wait => tokio::time::sleep(wait).await,
    }
}

/// The time of this machine's clock, as a scheduler process tells it.
fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
}
