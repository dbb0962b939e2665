//! Queues and decisions: which job a scheduler takes up, how long it thinks, and when it proposes.

use cell_state::{JobId, TaskId};
use schedulers::offer::Offer;
use schedulers::plan::Terms;

use super::agenda::Due;
use super::run::Run;
use super::scheduler::{Flight, Planned, Stage, Thought};

impl Run<'_> {
    /// A job has tasks to place: it goes to the end of its scheduler's queue.
    pub(super) fn queue(&mut self, job: JobId) {
        if !self.waiting.contains_key(&job) {
            return;
        }
        let number = self.info(job).scheduler as usize;
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        waiting.again = false;
        if waiting.queued_at.is_none() {
            waiting.queued_at = Some(self.now);
            self.schedulers[number].queue.push_back(job);
        }
        self.think(number);
    }

    /// The rest of a job whose first tasks were proposed: it goes on before others.
    pub(super) fn queue_rest(&mut self, number: usize, job: JobId) {
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        if waiting.queued_at.is_none() && !waiting.again {
            waiting.queued_at = Some(self.now);
            self.schedulers[number].queue.push_front(job);
        }
    }

    /// Takes up jobs of a scheduler's queue, if it has time.
    pub(super) fn think(&mut self, number: usize) {
        while self.schedulers[number].is_free() {
            if self.schedulers[number].queue.is_empty() {
                return self.answer_offer(number);
            }
            if let Some(offers) = &mut self.offers
                && !offers.take_up(number)
            {
                return self.answer_offer(number);
            }
            if let Some(job) = self.schedulers[number].queue.pop_front() {
                self.take_up(number, job);
            }
        }
    }

    /// An offer is no longer used; another one is asked for if there are jobs.
    fn answer_offer(&mut self, number: usize) {
        let wants = !self.schedulers[number].queue.is_empty();
        let Some(offers) = &mut self.offers else { return };
        // Transactions in flight still need it.
        if !self.schedulers[number].flights.is_empty() {
            return;
        }
        offers.answer(number);
        if wants && offers.ask(number) {
            self.agenda.at(self.now.plus(offers.every_us), Due::Offers);
        }
    }

    /// Makes offers to who wants one, the smallest dominant share first.
    pub(super) fn make_offers(&mut self) {
        if let Some(offers) = &mut self.offers {
            offers.planned = false;
        }
        while let Some(who) = self.offers.as_ref().and_then(|offers| offers.neediest()) {
            let jobs = self.schedulers[who].queue.len();
            if let Some(offers) = &mut self.offers {
                offers.make(who, jobs);
            }
            self.think(who);
        }
        self.offers_again();
    }

    /// Plans another round of offers if somebody is left who wants one.
    fn offers_again(&mut self) {
        let Some(offers) = &mut self.offers else { return };
        if offers.anybody_wants() && !std::mem::replace(&mut offers.planned, true) {
            self.agenda.at(self.now.plus(offers.every_us), Due::Offers);
        }
    }

    /// Begins a decision on a job.
    fn take_up(&mut self, number: usize, job: JobId) {
        let way = self.way(job);
        let scheduler = &self.schedulers[number];
        let limit = if way.gang { usize::MAX } else { scheduler.pace.tasks() };
        let offer = match self.cell.job(job) {
            Some(found) => Offer::of(&self.cell, found, &scheduler.overlay, &[], limit, self.now),
            None => Offer::default(),
        };
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        let queued_at = waiting.queued_at.take().unwrap_or(self.now);
        waiting.waited_us += self.now.since(queued_at);
        if offer.tasks.is_empty() {
            return self.leftovers(number, job, false);
        }
        waiting.tries += 1;
        let first = (waiting.tries == 1 && !waiting.back).then(|| self.now.since(waiting.since));
        let escalates = self.settings.escalate_after > 0 && waiting.losses >= self.settings.escalate_after;
        let counts = self.class_counts(self.info(job).class);
        if let Some(us) = first {
            counts.waits_first.add(us);
        }
        counts.decisions += 1;
        let takes_us = way.think_job_us + way.think_task_us * offer.tasks.len() as u64;
        let stage = if self.is_monolithic() {
            Stage::Late(offer.tasks)
        } else if escalates && self.claim(number, job, &offer.tasks, takes_us) {
            Stage::Claimed
        } else {
            Stage::Planned(self.plan(number, job, &offer.tasks))
        };
        self.schedulers[number].thinking = Some(Thought { job, takes_us, more: offer.more, stage });
        self.agenda.at(self.now.plus(takes_us), Due::Decision(number));
    }

    /// A job that has lost too often claims machines before its decision: it is planned on the cell as it is and judged
    /// at once, and its tasks start when the decision is over. Until then it holds what it doesn't use. False when
    /// there was nothing to claim.
    fn claim(&mut self, number: usize, job: JobId, tasks: &[TaskId], takes_us: u64) -> bool {
        let way = self.way(job);
        let terms = Terms { atomicity: way.atomicity, detection: way.detection };
        let Some(txn) = self.plan_live(number, job, tasks, &way, terms) else { return false };
        let planned = Planned { txn, seen_at: self.now };
        self.class_counts(self.info(job).class).escalated += 1;
        self.judge(number, Flight { job, takes_us, more: false, planned }, takes_us);
        true
    }

    /// A decision is over.
    pub(super) fn decide(&mut self, number: usize) {
        let thought = self.schedulers[number].thinking.take().expect("a decision ends a thought");
        let Thought { job, takes_us, more, stage } = thought;
        let planned = match stage {
            Stage::Late(tasks) => self.plan(number, job, &tasks),
            Stage::Planned(planned) => planned,
            Stage::Claimed => {
                self.leftovers(number, job, more);
                return self.think(number);
            }
        };
        match planned {
            None => self.found_nothing(number, job, takes_us),
            Some(planned) => self.propose(number, Flight { job, takes_us, more, planned }),
        }
        self.think(number);
    }

    fn found_nothing(&mut self, number: usize, job: JobId, takes_us: u64) {
        let counts = self.class_counts(self.info(job).class);
        counts.fruitless += 1;
        counts.fruitless_us += takes_us;
        if let Some(waiting) = self.waiting.get_mut(&job) {
            waiting.misses += 1;
        }
        self.leftovers(number, job, false);
    }

    fn propose(&mut self, number: usize, flight: Flight) {
        if self.settings.commit_us == 0 {
            return self.judged(number, flight);
        }
        let (job, more) = (flight.job, flight.more);
        if let Some(waiting) = self.waiting.get_mut(&job) {
            waiting.in_flight += 1;
        }
        self.schedulers[number].flights.push_back(flight);
        self.agenda.at(self.now.plus(self.settings.commit_us), Due::Verdict(number));
        if more {
            self.queue_rest(number, job);
        }
    }

    /// The oldest transaction in flight gets its verdict.
    pub(super) fn answer(&mut self, number: usize) {
        let flight = self.schedulers[number].flights.pop_front().expect("a verdict is of a transaction");
        if let Some(waiting) = self.waiting.get_mut(&flight.job) {
            waiting.in_flight -= 1;
        }
        self.judged(number, flight);
        self.think(number);
    }
}
