//! Planning: a scheduler's policy on what the scheduler sees, and may use, of the machines.

use std::collections::BTreeMap;

use cell_state::overlay::Overlay;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{JobId, MachineId, TaskId, Time, TxnId};
use schedulers::exclude;
use schedulers::plan::{Plan, Terms};
use schedulers::sight::Within;

use super::run::Run;
use super::scheduler::{Planned, Scheduler};
use super::views::Views;
use super::{Architecture, Prefer, Way};

/// From this part of lost placements on, who prefers adaptively takes the parts seen last.
const HURRY_ABOVE: f64 = 0.1;

/// Below this part it goes back to the best machines.
const HURRY_BELOW: f64 = 0.02;

impl Run<'_> {
    /// What a scheduler would propose now for tasks of a job, as it sees the machines.
    pub(super) fn plan(&mut self, number: usize, job: JobId, tasks: &[TaskId]) -> Option<Planned> {
        let way = self.way(job);
        let preferred = self.preferred(number);
        let scheduler = &mut self.schedulers[number];
        if let Some(view) = scheduler.view {
            self.views.advance(view, &self.cell, self.now);
            scheduler.settle(&self.views);
        }
        let offered = self.offers.as_ref().map(|offers| offers.sight(number));
        let (columns, eyes) = self.views.of(scheduler.view);
        // Others see these machines without what this scheduler has planned or been offered.
        let mut apart: Vec<MachineId> = scheduler.planned_on();
        apart.extend(offered.iter().flat_map(|offered| offered.machines()));
        apart.iter().for_each(|machine| columns.touch(*machine));
        let offered_machines = offered.as_ref().and_then(|o| o.within(self.cell.machines().len()));
        let crowded = crowded(&scheduler.overlay, way.detection);
        let exclusions = self.waiting.get(&job).map_or(&exclude::NONE, |waiting| &waiting.exclusions);
        let terms = Terms { atomicity: way.atomicity, detection: way.detection };
        let plan = Plan::new(&self.cell, job, self.now, &mut scheduler.overlay, &mut scheduler.rng)?;
        let mut plan =
            plan.on_terms(terms).excluding(exclusions).with_columns(columns).with_in_flight(&crowded);
        if let Some(eyes) = &eyes {
            plan = plan.as_seen(eyes);
        } else if let Some(offered) = &offered {
            plan = plan.as_seen(offered);
        }
        if let Some(within) = offered_machines.as_ref().or(scheduler.within.as_ref()) {
            plan = plan.within(within);
        }
        if preferred.is_empty() {
            scheduler.policy.plan(&mut plan, tasks);
        }
        let mut left: Vec<TaskId> = if preferred.is_empty() { Vec::new() } else { tasks.to_vec() };
        for within in &preferred {
            plan = plan.within(within);
            scheduler.policy.plan(&mut plan, &left);
            left.retain(|task| plan.machine_of(*task).is_none());
            if left.is_empty() {
                break;
            }
        }
        let whole = plan.placed().count() == tasks.len();
        if way.gang && !whole && offered.is_none() {
            plan.undo_all();
        }
        let id = TxnId { session: scheduler.session, number: scheduler.number + 1 };
        let txn = plan.into_transaction(id);
        let seen_at = txn.as_ref().and_then(|txn| {
            let eyes = eyes.as_ref()?;
            machines(txn).map(|machine| eyes.time(machine)).min()
        });
        let seen_at = seen_at.unwrap_or(self.now);
        apart.extend(txn.iter().flat_map(machines));
        let (columns, _) = self.views.of(scheduler.view);
        apart.iter().for_each(|machine| columns.touch(*machine));
        let txn =
            if way.gang && self.offers.is_some() { self.complete(number, job, txn, whole)? } else { txn? };
        self.schedulers[number].number += 1;
        Some(Planned { txn, seen_at })
    }

    /// The parts of a view to plan on one after another; none to plan on all at once.
    fn preferred(&mut self, number: usize) -> Vec<Within> {
        let Architecture::PartitionedSync { prefer, .. } = self.settings.architecture else {
            return Vec::new();
        };
        let scheduler = &mut self.schedulers[number];
        let lost = scheduler.pace.lost();
        scheduler.hurried = match prefer {
            Prefer::Latency => true,
            Prefer::Quality => false,
            Prefer::Adaptive => lost > HURRY_ABOVE || (scheduler.hurried && lost >= HURRY_BELOW),
        };
        match (scheduler.hurried, scheduler.view) {
            (true, Some(view)) => {
                self.views.advance(view, &self.cell, self.now);
                self.views.freshest_first(view)
            }
            _ => Vec::new(),
        }
    }

    /// A gang on an offer keeps what it has found until it has found all.
    fn complete(
        &mut self,
        number: usize,
        job: JobId,
        txn: Option<Transaction>,
        whole: bool,
    ) -> Option<Transaction> {
        let mut txn = txn?;
        let hoard = self.waiting.get_mut(&job).map(|waiting| &mut waiting.hoard)?;
        if whole {
            let kept = std::mem::take(hoard);
            self.let_go(number, &kept);
            txn.ops.splice(0..0, kept);
            return Some(txn);
        }
        let offers = self.offers.as_mut()?;
        for (task, machine) in places(&txn.ops) {
            let demand = self.cell.demand(task).map(|demand| demand.resources).unwrap_or_default();
            offers.hoard(number, machine, &demand);
        }
        hoard.extend(txn.ops);
        None
    }

    /// What was kept for a gang is no longer kept.
    pub(super) fn let_go(&mut self, number: usize, ops: &[Op]) {
        let Some(offers) = &mut self.offers else { return };
        for (task, machine) in places(ops) {
            let demand = self.cell.demand(task).map(|demand| demand.resources).unwrap_or_default();
            offers.release(number, machine, &demand);
        }
    }

    /// A plan on the cell as it is, to be judged at once: nobody can come between.
    pub(super) fn plan_live(
        &mut self,
        number: usize,
        job: JobId,
        tasks: &[TaskId],
        way: &Way,
        terms: Terms,
    ) -> Option<Transaction> {
        let Run { cell, schedulers, views, now, .. } = self;
        let scheduler = &mut schedulers[number];
        let mut overlay = Overlay::new();
        let txn = plan_all(cell, scheduler, views, *now, &mut overlay, job, tasks, terms, way.gang);
        overlay.placements().for_each(|(_, machine)| views.of(None).0.touch(machine));
        let txn = txn?;
        scheduler.number += 1;
        Some(txn)
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "it is the middle of one function, for the sake of its borrows"
)]
fn plan_all(
    cell: &cell_state::Cell,
    scheduler: &mut Scheduler,
    views: &mut Views,
    now: Time,
    overlay: &mut Overlay,
    job: JobId,
    tasks: &[TaskId],
    terms: Terms,
    gang: bool,
) -> Option<Transaction> {
    let id = TxnId { session: scheduler.session, number: scheduler.number + 1 };
    let mut plan = Plan::new(cell, job, now, overlay, &mut scheduler.rng)?
        .on_terms(terms)
        .with_columns(views.of(None).0);
    if let Some(within) = &scheduler.within {
        plan = plan.within(within);
    }
    scheduler.policy.plan(&mut plan, tasks);
    if gang && plan.placed().count() < tasks.len() {
        return None;
    }
    plan.into_transaction(id)
}

/// The usual terms: each placement for itself, fine detection.
pub(super) const PLAIN: Terms = Terms { atomicity: Atomicity::Incremental, detection: Detection::Fit };

/// How many placements each machine has in flight, where that matters.
fn crowded(overlay: &Overlay, detection: Detection) -> BTreeMap<MachineId, u32> {
    let mut crowded = BTreeMap::new();
    if detection == Detection::Version {
        for (_, machine) in overlay.placements() {
            *crowded.entry(machine).or_default() += 1;
        }
    }
    crowded
}

/// The first choices of a transaction.
pub(super) fn machines(txn: &Transaction) -> impl Iterator<Item = MachineId> {
    places(&txn.ops).map(|(_, machine)| machine)
}

/// Tasks with their first choices.
pub(super) fn places(ops: &[Op]) -> impl Iterator<Item = (TaskId, MachineId)> {
    ops.iter().filter_map(|op| match op {
        Op::Place { task, machines, .. } => Some((*task, *machines.first()?)),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
    })
}
