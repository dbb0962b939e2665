//! The deciding part of a scheduler process, without any IO: it follows the log, keeps the queue, has a policy plan,
//! proposes, and digests answers. Steps 3 (see), 4 (think), 5 (propose) and 8 (answer) of a placement's life.
//!
//! A shell drives it through four doors: [`Scheduler::follow`] for each entry of the log, [`Scheduler::answer`] for each
//! answer of the server, [`Scheduler::decide`] for the next transaction to send, and [`Scheduler::next_time`] for when
//! to ask again. The copy of the cell belongs to the shell, so that a simulator may share one among many schedulers.

mod loads;

use std::collections::BTreeSet;
use std::sync::Arc;

use cell_state::bounds::{SESSION_OUTCOME_OPS_MAX, SESSION_OUTCOMES_MAX, TXN_OPS_MAX};
use cell_state::event::Event;
use cell_state::job::Job;
use cell_state::transaction::{Atomicity, Detection, Transaction};
use cell_state::{Cell, JobId, Seq, SessionId, TaskId, Time, TxnId};
use rand::SeedableRng;

use crate::bounds::{ALARMS_MAX, BUSY_US, FRUITLESS_PLANS_MAX, REJECTED_US};
use crate::class::Class;
use crate::digest::{Alarm, Answer, Verdict, back_off_us, digest};
use crate::effects::Effects;
use crate::exclude::Exclusions;
use crate::flights::Flights;
use crate::offer::Offer;
use crate::pace::Pace;
use crate::plan::{Plan, Rng};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::rendezvous;
use crate::settings::Settings;
use crate::stats::Stats;

/// A transaction to send.
#[derive(Clone, PartialEq, Debug)]
pub struct Proposal {
    /// The transaction.
    pub txn: Arc<Transaction>,
    /// Not to be sent before: the end of the artificial decision time.
    pub send_at: Time,
}

/// What to do next.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Send this, and ask again.
    Propose(Proposal),
    /// Nothing came of it so far, but there is more to try: let input and output have their turn, then ask again.
    Again,
    /// Nothing to do before something arrives or [`Scheduler::next_time`] is reached.
    Wait,
}

/// The deciding part of a scheduler process.
pub struct Scheduler {
    settings: Settings,
    policy: Box<dyn Policy>,
    rng: Rng,
    queue: Queue,
    flights: Flights,
    session: Option<SessionId>,
    last_number: u64,
    /// Live processes of this name.
    instances: Vec<u64>,
    pace: Pace,
    /// The furthest position the server is known to have reached.
    server_at: Seq,
    thinking_until: Time,
    stats: Stats,
    alarms: Vec<Alarm>,
}

impl Scheduler {
    /// A scheduler that has seen nothing yet.
    pub fn new(policy: Box<dyn Policy>, mut settings: Settings) -> Scheduler {
        if policy.takes_whole_jobs() {
            settings.terms.atomicity = Atomicity::AllOrNothing;
        }
        let whole_jobs = settings.terms.atomicity == Atomicity::AllOrNothing;
        let tasks = if whole_jobs { TXN_OPS_MAX } else { settings.tasks_per_txn.clamp(1, TXN_OPS_MAX) };
        // The server remembers only so many ops of a session; more in flight couldn't be asked for again.
        let remembered = (SESSION_OUTCOME_OPS_MAX / tasks).clamp(1, SESSION_OUTCOMES_MAX);
        let in_flight = settings.in_flight.clamp(1, remembered);
        Scheduler {
            rng: Rng::seed_from_u64(settings.seed),
            pace: Pace::new(in_flight, tasks, settings.adaptive && !whole_jobs),
            settings,
            policy,
            queue: Queue::new(),
            flights: Flights::default(),
            session: None,
            last_number: 0,
            instances: Vec::new(),
            server_at: Seq(0),
            thinking_until: Time(0),
            stats: Stats::default(),
            alarms: Vec::new(),
        }
    }

    /// The server has opened or resumed the session of this process. Transactions of another session are given up:
    /// the server has forgotten that one. A server that lost its data begins a new log, and may give the new session
    /// the old one's number: it then remembers no transaction, so what was judged before is void.
    pub fn opened(&mut self, cell: &Cell, session: SessionId, last_number: u64) {
        if self.session.is_some_and(|known| known != session) {
            self.flights.numbers().into_iter().for_each(|number| self.land(cell, number));
            self.last_number = 0;
        } else if last_number == 0 {
            self.flights.judged_numbers().into_iter().for_each(|number| self.land(cell, number));
        }
        // How far the server is shows anew, and may be less than it was.
        self.server_at = Seq(0);
        self.session = Some(session);
        self.last_number = self.last_number.max(last_number);
    }

    /// The copy was rebuilt from a snapshot: everything derived from it is derived anew.
    pub fn restored(&mut self, cell: &Cell) {
        self.server_at = self.server_at.max(cell.seq());
        self.flights.restored();
        self.settle(cell);
        self.instances = rendezvous::live_instances(cell, &self.settings.name);
        self.take_up_all(cell);
        self.queue.sweep_soon();
    }

    /// Applies the next entry of the log to the copy and takes note of what it changes.
    pub fn follow(&mut self, cell: &mut Cell, now: Time, seq: Seq, event: &Event) {
        let effects = Effects::of(cell, event);
        cell.follow(seq, event);
        self.flights.columns.follow(cell, event);
        self.server_at = self.server_at.max(seq);
        if let Event::Committed(committed) = event
            && Some(committed.txn.session) == self.session
            && self.flights.waiting_for(committed.txn.number).is_some()
        {
            // Its own entry is as good as the answer, which may be lost or still under way.
            let (outcomes, failed_assertion) =
                (committed.outcomes.clone(), committed.failed_assertion.clone());
            self.judged(cell, now, committed.txn.number, &Verdict { at: seq, outcomes, failed_assertion });
        }
        self.settle(cell);
        if effects.sessions {
            let instances = rendezvous::live_instances(cell, &self.settings.name);
            if instances != self.instances {
                self.instances = instances;
                self.take_up_all(cell);
            }
        }
        for job in effects.jobs {
            self.take_up(cell, job, true);
        }
        for machine in effects.freed {
            self.queue.freed(machine);
        }
        if effects.everything {
            self.queue.sweep_soon();
        }
    }

    /// The server has answered a transaction. An answer may come more than once; only the first counts.
    pub fn answer(&mut self, cell: &Cell, now: Time, number: u64, answer: Answer) {
        let Some((job, _)) = self.flights.waiting_for(number) else { return };
        match answer {
            Answer::Verdict(verdict) => {
                self.server_at = self.server_at.max(verdict.at);
                self.judged(cell, now, number, &verdict);
                self.settle(cell);
            }
            Answer::Busy => {
                self.stats.busy += 1;
                self.pace.busy();
                self.queue.pause(job, now.plus(BUSY_US));
                self.land(cell, number);
            }
            Answer::Forgotten => {
                self.stats.forgotten += 1;
                self.land(cell, number);
            }
            Answer::Rejected => {
                self.stats.rejected += 1;
                self.queue.pause(job, now.plus(REJECTED_US));
                self.land(cell, number);
            }
        }
    }

    /// The next thing to do. Plans at most a few jobs before it returns.
    pub fn decide(&mut self, cell: &Cell, now: Time) -> Decision {
        if self.queue.advance(cell, &self.flights.overlay, now) {
            self.take_up_all(cell);
        }
        let Some(session) = self.session.filter(|_| self.may_propose(cell) && now >= self.thinking_until)
        else {
            return Decision::Wait;
        };
        for _ in 0..FRUITLESS_PLANS_MAX {
            let Some(job) = self.queue.pop() else { return Decision::Wait };
            let txn = self.plan(cell, now, session, job);
            self.queue.planned(job);
            if let Some(txn) = txn {
                return Decision::Propose(self.launch(txn, job, now));
            }
        }
        if self.queue.has_ready() { Decision::Again } else { Decision::Wait }
    }

    /// When to ask for a decision again if nothing arrives before; `None` when only something that arrives helps.
    pub fn next_time(&self, cell: &Cell) -> Option<Time> {
        let next = self.queue.next_time()?;
        self.may_propose(cell).then(|| next.max(self.thinking_until))
    }

    /// Transactions without an answer, in order: to be sent again, as they are, on a new connection.
    pub fn unanswered(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.flights.unanswered()
    }

    /// The session of this process, once it was opened.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Jobs in the queue: with something to place, in flight or not.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How much may be in flight now.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The policy's name.
    pub fn policy_name(&self) -> &str {
        self.policy.name()
    }

    /// Plans that were wrong when they were made, since this was last asked.
    pub fn take_alarms(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.alarms)
    }

    fn may_propose(&self, cell: &Cell) -> bool {
        let lag = self.server_at.0.saturating_sub(cell.seq().0);
        self.session.is_some()
            && lag <= self.settings.lag_max
            && self.flights.unanswered_count() < self.pace.in_flight()
    }

    /// Plans one job. `None` when nothing came of it; the job is then where it belongs in the queue.
    fn plan(&mut self, cell: &Cell, now: Time, session: SessionId, id: JobId) -> Option<Transaction> {
        let Some(job) = self.mine(cell, id) else {
            self.queue.forget(id);
            return None;
        };
        if let Some(exclusions) = self.queue.exclusions_mut(id) {
            exclusions.prune(cell.machines(), cell.seq());
        }
        // A group that waits is part of the whole.
        let whole = self.settings.terms.atomicity == Atomicity::AllOrNothing;
        let blocked = if whole { Vec::new() } else { self.queue.blocked_groups(id) };
        let offer = Offer::of(cell, job, &self.flights.overlay, &blocked, self.pace.tasks(), now);
        if let Some(time) = offer.next_due {
            self.queue.wake_at(id, time);
        }
        if offer.tasks.is_empty() {
            return None;
        }
        let exclusions = self.queue.exclusions(id).clone();
        let mut plan = Plan::new(cell, id, now, &mut self.flights.overlay, &mut self.rng)?
            .on_terms(self.settings.terms)
            .excluding(&exclusions)
            .with_columns(&mut self.flights.columns)
            .with_in_flight(&self.flights.crowded);
        self.policy.plan(&mut plan, &offer.tasks);
        if whole && (plan.placed().count() < offer.tasks.len() || offer.more) {
            plan.undo_all();
        }
        let placed: BTreeSet<TaskId> = plan.placed().collect();
        let hopeless = plan.hopeless().clone();
        let cut_short = plan.is_full() && !plan.is_empty();
        let txn = plan.into_transaction(TxnId { session, number: self.last_number + 1 });
        for tasks in offer.tasks.chunk_by(|a, b| a.group == b.group) {
            let group = tasks[0].group;
            if !cut_short && !tasks.iter().any(|task| placed.contains(task)) {
                self.group_blocked(job, group, hopeless.contains(&group));
            }
        }
        self.stats.plans += 1;
        if txn.is_some() {
            self.queue.fruitful(id);
        } else {
            self.stats.fruitless += 1;
            self.queue.fruitless(id);
        }
        if !whole && (offer.more || placed.len() < offer.tasks.len()) {
            // Blocked groups aren't offered again; if nothing else is left this finds that out cheaply.
            self.queue.requeue(id);
        }
        txn
    }

    fn group_blocked(&mut self, job: &Job, group: u16, no_quota: bool) {
        let class = match no_quota {
            true => Class::of_quota(job, group),
            false => Class::of_room(job, group, self.queue.exclusions(job.id)),
        };
        self.queue.block(job.id, group, class);
    }

    fn launch(&mut self, txn: Transaction, job: JobId, now: Time) -> Proposal {
        let think = self.settings.think_job_us + self.settings.think_task_us * txn.ops.len() as u64;
        self.thinking_until = now.plus(think);
        self.last_number = txn.id.number;
        self.stats.transactions += 1;
        self.stats.proposed += txn.ops.len() as u64;
        self.stats.think_us += think;
        let txn = Arc::new(txn);
        self.flights.launch(txn.clone(), job);
        Proposal { txn, send_at: self.thinking_until }
    }

    /// Digests the verdict on a transaction that has none yet.
    fn judged(&mut self, cell: &Cell, now: Time, number: u64, verdict: &Verdict) {
        let Some((job, txn)) = self.flights.waiting_for(number) else { return };
        self.flights.judged(number, verdict.at, &verdict.outcomes);
        let mut unqueued = Exclusions::default();
        let digest = digest(&txn, verdict, self.queue.exclusions_mut(job).unwrap_or(&mut unqueued));
        self.stats.add(&digest);
        self.pace.verdict(digest.placed + digest.changed, digest.conflicts.len() as u64 + digest.aborted);
        let losses = self.queue.count_loss(job, digest.lost());
        let pause = back_off_us(losses, &mut self.rng);
        if pause > 0 {
            self.queue.pause(job, now.plus(pause));
        }
        if let Some(found) = cell.job(job) {
            digest.no_quota.iter().for_each(|group| self.group_blocked(found, *group, true));
        }
        let room = ALARMS_MAX.saturating_sub(self.alarms.len());
        self.alarms.extend(digest.alarms.into_iter().take(room));
    }

    /// Ends the flights whose outcome the copy shows.
    fn settle(&mut self, cell: &Cell) {
        while let Some(number) = self.flights.next_due(cell.seq()) {
            self.land(cell, number);
        }
    }

    /// Ends a flight, and has the queue look at what is left to do.
    fn land(&mut self, cell: &Cell, number: u64) {
        let Some(landed) = self.flights.land(number) else { return };
        // Nobody else will tell those who wait for room that was counted as taken and isn't.
        let coarse = self.settings.terms.detection == Detection::Version;
        let lost = !landed.given_back.is_empty();
        let free_again = if coarse { landed.chosen } else { landed.given_back };
        free_again.into_iter().for_each(|machine| self.queue.freed(machine));
        self.take_up(cell, landed.job, lost);
        landed.preempted.into_iter().for_each(|job| self.take_up(cell, job, true));
    }

    /// The job may have something to place; `anew` when what blocked it may no longer hold.
    fn take_up(&mut self, cell: &Cell, id: JobId, anew: bool) {
        match self.mine(cell, id).filter(|job| job.counts().pending > 0) {
            None => self.queue.forget(id),
            Some(job) if anew => self.queue.offer(id, job.spec().priority),
            Some(job) => self.queue.nudge(id, job.spec().priority),
        }
    }

    /// Looks at every job there is: those that are this process's are taken up, the others left.
    fn take_up_all(&mut self, cell: &Cell) {
        let known: Vec<JobId> = self.queue.jobs().collect();
        for id in known {
            if self.mine(cell, id).is_none_or(|job| job.counts().pending == 0) {
                self.queue.forget(id);
            }
        }
        for job in cell.jobs().filter(|job| job.counts().pending > 0) {
            if self.mine(cell, job.id).is_some() {
                self.queue.ensure(job.id, job.spec().priority);
            }
        }
    }

    /// The job, if it is this process's to take care of.
    fn mine<'c>(&self, cell: &'c Cell, id: JobId) -> Option<&'c Job> {
        let job = cell.job(id).filter(|job| job.spec().scheduler == self.settings.name)?;
        (rendezvous::owner(id, &self.instances) == Some(self.settings.instance)).then_some(job)
    }
}
