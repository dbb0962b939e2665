//! Verdicts: a transaction is judged and applied as the server does it, and its author learns what that comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use cell_state::commit::Judged;
use cell_state::event::Event;
use cell_state::job::Run as What;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{JobId, Seq};
use schedulers::digest::{self, Verdict, digest};

use super::Retry;
use super::agenda::{Due, Ending};
use super::run::{GOOD, Run};
use super::scheduler::Flight;

impl Run<'_> {
    /// A transaction gets its verdict, and its job goes on.
    pub(super) fn judged(&mut self, number: usize, flight: Flight) {
        let (job, more) = (flight.job, flight.more);
        let placed_any = self.judge(number, flight, 0);
        self.leftovers(number, job, more && placed_any);
    }

    /// Judges a transaction; what it places starts so much later. True when anything was placed.
    pub(super) fn judge(&mut self, number: usize, flight: Flight, later_us: u64) -> bool {
        let Flight { job, takes_us, planned, .. } = flight;
        let txn = planned.txn;
        let (at, outcomes) = self.commit(&txn, later_us);
        let first = |at: usize| is_first_choice(&txn, at, &outcomes);
        let staleness_us = self.now.since(planned.seen_at);
        let place = self.schedulers[number].place;
        let counts = self.class_counts(self.info(job).class);
        counts.staleness.add(staleness_us);
        let won = counts.judged(&outcomes, first, takes_us, place);
        let placed = outcomes.iter().filter(|outcome| outcome.is_accepted()).count();
        let scheduler = &mut self.schedulers[number];
        scheduler.pace.verdict(placed as u64, (outcomes.len() - placed) as u64);
        if let Some(waiting) = self.waiting.get_mut(&job) {
            (waiting.losses, waiting.misses) = match won {
                true => (0, 0),
                false => (waiting.losses + 1, waiting.misses + 1),
            };
            // On the live view the fit rule shows why it lost; an older one would lose there again.
            if !won && scheduler.view.is_some() {
                let verdict = Verdict { at, outcomes: outcomes.clone(), failed_assertion: None };
                digest(&txn, &verdict, &mut waiting.exclusions);
            }
        }
        self.land(number, &txn, &outcomes, at);
        placed > 0
    }

    /// Forgets what a scheduler had planned, or keeps it until its view shows it.
    fn land(&mut self, number: usize, txn: &Transaction, outcomes: &[Outcome], at: Seq) {
        let scheduler = &mut self.schedulers[number];
        for (op, outcome) in txn.ops.iter().zip(outcomes) {
            let planned = scheduler.overlay.machine_of(op.task());
            let placed = match outcome {
                Outcome::Placed(placed) => planned.filter(|machine| *machine == placed.machine),
                Outcome::Conflict(_)
                | Outcome::Aborted
                | Outcome::Stopping { .. }
                | Outcome::Resized { .. } => None,
            };
            match placed.filter(|_| scheduler.view.is_some()) {
                Some(machine) => scheduler.unseen.push_back((at, op.task(), machine)),
                None => scheduler.overlay.undo(op.task()),
            }
        }
    }

    /// Judges and applies a transaction as the server does; the tasks that were placed end later by themselves.
    pub(super) fn commit(&mut self, txn: &Transaction, later_us: u64) -> (Seq, Arc<[Outcome]>) {
        let Judged::New(committed) = self.judge.judge(&self.cell, self.now, txn).expect(GOOD) else {
            unreachable!("a simulated transaction is sent once")
        };
        let outcomes = committed.outcomes.clone();
        let victims = self.victims(&outcomes);
        self.apply(&Event::Committed(committed));
        self.leave_soon(victims);
        self.end_later(&outcomes, later_us);
        (self.cell.seq(), outcomes)
    }

    /// Plans the ends of what was placed: one entry for all that run equally long.
    fn end_later(&mut self, outcomes: &[Outcome], later_us: u64) {
        let mut ends: BTreeMap<u64, Vec<Ending>> = BTreeMap::new();
        for outcome in outcomes {
            let Outcome::Placed(Placed { task, machine, epoch, extra, .. }) = outcome else { continue };
            let who = self.jobs_scheduler(task.job);
            let Some(job) = self.cell.job(task.job) else { continue };
            let group = usize::from(task.group);
            if let (Some(offers), Some(demand)) = (&mut self.offers, job.current().demands.get(group)) {
                offers.placed(who, *machine, &demand.resources);
            }
            let Some(What::Simulated { run_for_us: Some(us), .. }) =
                job.spec().groups.get(group).map(|g| &g.run)
            else {
                continue;
            };
            let waits = extra.as_ref().is_some_and(|extra| !extra.preempted.is_empty());
            let grace_us = if waits { self.settings.grace_us } else { 0 };
            let ending = Ending { machine: *machine, task: *task, epoch: *epoch };
            ends.entry(us + later_us + grace_us).or_default().push(ending);
        }
        for (us, mut endings) in ends {
            endings.sort_by_key(|ending| (ending.machine, ending.task));
            self.agenda.at(self.now.plus(us), Due::Ends(endings.into()));
        }
    }

    /// What is left of a job is tried again, unless it was tried too often. The rest of one that was proposed in part
    /// goes on at once.
    pub(super) fn leftovers(&mut self, number: usize, job: JobId, more: bool) {
        let left = self.pending(job);
        if !self.waiting.contains_key(&job) {
            return;
        }
        let info = self.info(job);
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        if waiting.in_flight > 0 || waiting.queued_at.is_some() || waiting.again {
            return;
        }
        if left == 0 {
            let (size, tries, back) = (waiting.size, u64::from(waiting.tries), waiting.back);
            let (waited_us, took_us) = (waiting.waited_us, self.now.since(waiting.since));
            self.waiting.remove(&job);
            if !back {
                self.class_counts(info.class).placed_in_full(size, tries, waited_us, took_us);
            }
        } else if waiting.tries >= self.settings.attempts_max {
            let (back, age_us) = (waiting.back, self.now.since(waiting.since));
            let kept = std::mem::take(&mut waiting.hoard);
            self.waiting.remove(&job);
            self.let_go(number, &kept);
            kept.iter().for_each(|op: &Op| self.schedulers[number].overlay.undo(op.task()));
            let counts = self.class_counts(info.class);
            counts.given_up += u64::from(!back);
            counts.oldest_us = counts.oldest_us.max(if back { 0 } else { age_us });
        } else if more {
            self.queue_rest(number, job);
        } else {
            waiting.again = true;
            let pause_us = match self.settings.retry {
                Retry::After(us) => us,
                Retry::BackOff => digest::back_off_us(waiting.misses, &mut self.schedulers[number].rng),
            };
            self.agenda.at(self.now.plus(pause_us), Due::Again(job));
        }
    }
}

/// Whether an op was placed on the machine it named first.
fn is_first_choice(txn: &Transaction, at: usize, outcomes: &[Outcome]) -> bool {
    match (txn.ops.get(at), outcomes.get(at)) {
        (Some(Op::Place { machines, .. }), Some(Outcome::Placed(placed))) => {
            machines.first() == Some(&placed.machine)
        }
        _ => true,
    }
}
