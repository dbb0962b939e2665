//! The host: one loop that gives the fleet what happened and does what it says.

mod answers;
mod driver;

use std::future::Future;
use std::time::Duration;

use agent::{Agent, Fleet, Input, Output, Start, Write};
use cell_state::bounds::REPORTS_MAX;
use cell_state::resources::Overcommit;
use tokio::sync::mpsc;
use transport::Request;
use transport::message::MachineReports;

use crate::bounds::{LEASE_EVERY, NEWS_MAX};
use crate::calls::{Call, Calls};
use crate::clock::{Clock, sleep_until};
use crate::config::{AgentConfig, AgentError, Machines};
use crate::connector::{self, News};
use crate::dns::{self, Sockets};
use crate::exec;
use crate::follow::{Follower, Reader};
use crate::records::Progress;
use crate::specs::{self, Specs};
use crate::usage::{self, Round};
use driver::{Driver, Noticed};

/// Runs an agent until `shutdown`. Then it lets go of the server; tasks of a real machine go on, and the next agent on
/// this data directory finds them again. A lost server is looked for again for ever.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    config.check()?;
    let (news_of, news) = mpsc::channel(NEWS_MAX);
    let mut host = Host::open(&config, news_of.clone())?;
    let names = match config.dns {
        Some(address) => {
            let sockets = Sockets::bind(address).await;
            let sockets = sockets.map_err(|source| AgentError::Dns { address, source })?;
            Some(tokio::spawn(dns::run(config.clone(), sockets)))
        }
        None => None,
    };
    let connector = tokio::spawn(connector::connect(config, news_of));
    let ended = host.run(news, shutdown).await;
    connector.abort();
    names.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(client) = host.calls.client() {
        client.close("the agent stops");
        client.closed().await;
    }
    host.close();
    ended
}

struct Host {
    clock: Clock,
    fleet: Fleet,
    driver: Driver,
    calls: Calls,
    specs: Specs,
    overcommit: Overcommit,
    /// Registrations not yet answered: the log is followed once there are none.
    registering: usize,
    follower: Option<Follower>,
    /// Whether a question of the lease is unanswered.
    leasing: bool,
    /// When the next one is due.
    lease_at: tokio::time::Instant,
    /// The number of the last stream.
    streams: u64,
    reader: Reader,
    news: mpsc::Sender<News>,
    sampling: Option<Sampling>,
}

/// When what tasks use is to be sampled next, and who does it.
struct Sampling {
    every: Duration,
    next: tokio::time::Instant,
    rounds: mpsc::Sender<Round>,
}

impl Host {
    fn open(config: &AgentConfig, news: mpsc::Sender<News>) -> Result<Host, AgentError> {
        let (driver, setups) = match &config.machines {
            Machines::Real(spec) => driver::open_real(config, spec)?,
            Machines::Simulated { prefix: _, specs } => driver::open_simulated(config, specs)?,
        };
        Ok(Host {
            clock: Clock::start(),
            fleet: Fleet::new(setups.into_iter().map(Agent::new).collect()),
            driver,
            calls: Calls::default(),
            specs: Specs::default(),
            overcommit: Overcommit::default(),
            registering: 0,
            follower: None,
            leasing: false,
            lease_at: tokio::time::Instant::now(),
            streams: 0,
            reader: Reader::default(),
            news,
            sampling: Sampling::of(config),
        })
    }

    fn close(self) {
        match self.driver {
            Driver::Exec { exec, happened, records, .. } => {
                drop((exec, happened));
                records.close();
            }
            Driver::Simulated(_) => {}
        }
    }

    async fn run(
        &mut self,
        mut news: mpsc::Receiver<News>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AgentError> {
        tokio::pin!(shutdown);
        loop {
            self.act().await?;
            let timeout = self.next_timeout();
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                Some(first) = news.recv() => {
                    self.on_news(first)?;
                    // What has come meanwhile is looked at together, so that its reports go out together.
                    while let Ok(next) = news.try_recv() {
                        self.on_news(next)?;
                    }
                }
                first = self.calls.answer() => {
                    self.on_answer(first)?;
                    while let Some(next) = self.calls.try_answer() {
                        self.on_answer(next)?;
                    }
                }
                () = tokio::time::sleep_until(self.lease_at), if self.needs_lease() => self.renew_lease(),
                happened = self.driver.happened() => {
                    self.on_happened(happened)?;
                    // What has happened meanwhile goes into the same group of records and reports.
                    while let Some(next) = self.driver.happened_too() {
                        self.on_happened(Some(next))?;
                    }
                }
                () = sleep_until(timeout) => self.on_time(),
                () = sleep_until(self.sampling.as_ref().map(|sampling| sampling.next)) => self.sample(),
            }
        }
    }

    /// Whether the server must be asked now and then, because a task is to stop when it doesn't answer.
    fn needs_lease(&self) -> bool {
        let real = matches!(self.driver, Driver::Exec { .. });
        real && !self.leasing && self.fleet.agents().iter().any(Agent::needs_lease)
    }

    fn renew_lease(&mut self) {
        self.lease_at = tokio::time::Instant::now() + LEASE_EVERY;
        self.leasing = self.calls.client().is_some();
        self.calls.make(Call::Lease { sent: self.clock.now() }, Request::Status);
    }

    fn next_timeout(&self) -> Option<tokio::time::Instant> {
        let driver = match &self.driver {
            Driver::Exec { .. } => None,
            Driver::Simulated(simulated) => simulated.next_timeout(),
        };
        let first = self.fleet.next_timeout().into_iter().chain(driver).min();
        first.map(|at| self.clock.instant(at))
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if let Driver::Simulated(simulated) = &mut self.driver {
            while let Some((slot, input)) = simulated.ended(now) {
                self.fleet.handle(now, slot, input);
            }
        }
        self.fleet.wake(now);
    }

    /// Has what tasks use sampled, unless that is still going on.
    fn sample(&mut self) {
        let (Some(sampling), Some(client)) = (&mut self.sampling, self.calls.client()) else {
            // Nobody is there to be told.
            return self.sampling.iter_mut().for_each(Sampling::put_off);
        };
        sampling.put_off();
        let Ok(place) = sampling.rounds.try_reserve() else { return };
        let online = self.fleet.agents().iter().filter(|agent| agent.is_online());
        let machines = online.filter_map(|agent| Some((agent.machine()?, agent.running().collect())));
        place.send(Round { client: client.clone(), machines: machines.collect() });
    }

    /// Tells every machine the same.
    fn tell_all(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        for slot in 0..self.fleet.agents().len() {
            self.fleet.handle(now, slot, input);
        }
    }

    fn on_news(&mut self, news: News) -> Result<(), AgentError> {
        match news {
            News::Up(client) => {
                // What was asked for without a connection was asked of nobody.
                self.specs.clear();
                self.calls.connected(client);
                self.calls.make(Call::Status, Request::Status);
            }
            News::Down => {
                self.calls.disconnected();
                self.specs.clear();
                self.follower = None;
                self.registering = 0;
                self.leasing = false;
                self.tell_all(Input::Disconnected);
            }
            News::Impossible(error) => return Err(error.into()),
            News::Records(number, bytes) if self.is_followed(number) => self.read(&bytes),
            News::StreamEnded(number, why) if self.is_followed(number) => {
                tracing::info!(%why, "the stream of the log ended; it is followed again");
                self.follow(true);
            }
            // Of a stream that was given up.
            News::Records(..) | News::StreamEnded(..) => {}
        }
        Ok(())
    }

    fn is_followed(&self, number: u64) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.number == number)
    }

    /// Follows the log from where the fleet is, or from a snapshot if it needs one.
    fn follow(&mut self, again: bool) {
        let Some(client) = self.calls.client() else { return };
        let after = Some(self.fleet.seq()).filter(|at| at.0 > 0 && self.fleet.is_synced());
        self.streams += 1;
        self.reader = Reader::default();
        self.follower = Some(Follower::start(client, after, self.streams, again, &self.news));
    }

    fn read(&mut self, bytes: &[u8]) {
        let now = self.clock.now();
        match self.reader.read(now, bytes, &mut self.fleet) {
            Ok(aside) => {
                // A snapshot from before what is known already says nothing: ask for a later one.
                if aside.snapshot_ended && !self.fleet.is_synced() {
                    self.follow(true);
                }
                if let Driver::Exec { exec, .. } = &self.driver
                    && !aside.forgotten.is_empty()
                {
                    exec.forget_jobs(aside.forgotten);
                }
            }
            Err(problem) => {
                tracing::error!(%problem, "the stream of the log is unreadable; it is followed again");
                self.follow(true);
            }
        }
    }

    fn on_happened(&mut self, happened: Option<Noticed>) -> Result<(), AgentError> {
        let now = self.clock.now();
        let input = match happened {
            Some(Noticed::Process(happened)) => driver::input(happened),
            Some(Noticed::Recorded(Progress { upto, failed: None })) => Input::Recorded { upto },
            Some(Noticed::Recorded(Progress { upto: _, failed: Some(problem) })) => {
                return Err(AgentError::RecordsLost(problem));
            }
            None => return Err(AgentError::RecordsLost("their writer stopped".to_owned())),
        };
        self.fleet.handle(now, 0, input);
        Ok(())
    }

    /// Does all that the fleet says.
    async fn act(&mut self) -> Result<(), AgentError> {
        let mut batch = Vec::new();
        while let Some((slot, output)) = self.fleet.poll() {
            match output {
                Output::Record { number, write } => self.record(slot, number, write).await?,
                Output::Prepare(id, job) => match &self.driver {
                    Driver::Exec { exec, .. } => exec.prepare(id, job),
                    Driver::Simulated(_) => self.fleet.handle(self.clock.now(), slot, Input::Prepared(id)),
                },
                Output::Start(start) => self.start(slot, *start),
                Output::Signal(id, signal) => match &self.driver {
                    Driver::Exec { exec, .. } => exec.signal(id, signal),
                    Driver::Simulated(simulated) => {
                        self.fleet.handle(self.clock.now(), slot, simulated.signal(id, signal));
                    }
                },
                Output::Register { spec, incarnation } => {
                    self.registering += 1;
                    let spec = (*spec).clone();
                    self.calls.make(Call::Register { slot }, Request::RegisterMachine { spec, incarnation });
                }
                Output::FetchSpec { job, version } => self.fetch(slot, (job, version)),
                Output::Report { machine, incarnation, first, reports } => {
                    tracing::debug!(step = "report", slot, first, count = reports.len());
                    batch.push((slot, MachineReports { machine, incarnation, first, reports }));
                }
            }
        }
        self.report(batch);
        Ok(())
    }

    /// Sends what the machines have to report, several in one message as far as that goes.
    fn report(&mut self, batch: Vec<(usize, MachineReports)>) {
        let mut batch = batch.into_iter().peekable();
        while let Some((slot, first)) = batch.next() {
            let (mut slots, mut count, mut all) = (vec![slot], first.reports.len(), vec![first]);
            while let Some((slot, more)) =
                batch.next_if(|(_, more)| count + more.reports.len() <= REPORTS_MAX)
            {
                count += more.reports.len();
                slots.push(slot);
                all.push(more);
            }
            match <[MachineReports; 1]>::try_from(all) {
                Ok([MachineReports { machine, incarnation, first, reports }]) => {
                    let request = Request::Report { machine, incarnation, first, reports };
                    self.calls.make(Call::Report { slot }, request);
                }
                Err(all) => self.calls.make(Call::Reports { slots }, Request::Reports(all)),
            }
        }
    }

    async fn record(&mut self, slot: usize, number: u64, write: Write) -> Result<(), AgentError> {
        match &self.driver {
            Driver::Exec { records, progress, .. } => {
                if !records.write(number, write).await {
                    let failed = progress.borrow().failed.clone();
                    return Err(AgentError::RecordsLost(failed.unwrap_or_default()));
                }
            }
            Driver::Simulated(_) => {
                self.fleet.handle(self.clock.now(), slot, Input::Recorded { upto: number })
            }
        }
        Ok(())
    }

    fn start(&mut self, slot: usize, start: Start) {
        match &mut self.driver {
            Driver::Exec { exec, .. } => exec.start(start),
            Driver::Simulated(simulated) => {
                let now = self.clock.now();
                let input = simulated.start(now, slot, &start);
                self.fleet.handle(now, slot, input);
            }
        }
    }

    fn fetch(&mut self, slot: usize, (job, version): specs::Version) {
        match self.specs.ask((job, version), slot) {
            specs::Found::Here(spec) => {
                self.fleet.handle(self.clock.now(), slot, Input::Spec { job, version, spec: &spec });
            }
            specs::Found::Fetch => {
                self.calls.make(Call::Spec { job, version }, Request::GetSpec { job, version });
            }
            specs::Found::Coming => {}
        }
    }
}

impl Sampling {
    /// `None` when nothing is to be sampled.
    fn of(config: &AgentConfig) -> Option<Sampling> {
        let every = config.usage_every?;
        let source = match (&config.machines, config.simulated_usage) {
            (Machines::Real(_), _) => usage::Source::Processes(exec::root(&config.data)),
            (Machines::Simulated { .. }, Some(percent)) => usage::Source::Simulated(percent),
            (Machines::Simulated { .. }, None) => return None,
        };
        Some(Sampling { every, next: tokio::time::Instant::now() + every, rounds: usage::start(source) })
    }

    fn put_off(&mut self) {
        self.next = tokio::time::Instant::now() + self.every;
    }
}
