//! What a plan shows a policy of the machines.

use cell_state::fit::{Demand, Misfit, resources_fit};
use cell_state::machine::{Machine, MachineState};
use cell_state::transaction::{Detection, Op};
use cell_state::{Dimension, MachineId, Resources, Seq, TaskId};
use rand::RngExt;

use super::{Lent, Plan};
use crate::columns::{Columns, Query, Scan};
use crate::score::Score;

impl<'a> Plan<'a> {
    /// All machines once, from a random one on: schedulers that all start at the first one collide.
    pub fn machines(&mut self) -> impl Iterator<Item = &'a Machine> + use<'a> {
        let all = self.cell.machines();
        let start = if all.is_empty() { 0 } else { self.rng.random_range(0..all.len()) };
        let sight = self.sight;
        let seen = move |now: &'a Machine| sight.map_or(now, |sight| sight.machine(now));
        all[start..].iter().chain(&all[..start]).map(seen)
    }

    /// What a machine has left, with everything planned and in flight counted.
    pub fn free(&self, machine: &Machine) -> Resources {
        let Some(sight) = self.sight else { return self.overlay.free(machine) };
        let seen = sight.machine(machine);
        let free = self.overlay.free(seen);
        sight.withheld(seen).map_or(free, |withheld| free.minus(&withheld))
    }

    /// Where the plan stands: the oldest state of a machine it puts something on.
    pub(super) fn basis(&self) -> Seq {
        let now = self.cell.seq();
        let Some(sight) = self.sight else { return now };
        let first = |op: &Op| match op {
            Op::Place { machines, .. } => machines.iter().map(|machine| sight.seq(*machine, now)).min(),
            Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
        };
        self.ops.iter().filter_map(first).min().unwrap_or(now)
    }

    /// Whether a task could be placed on a machine: the fit rule, and not avoided. Quick: for scans.
    pub fn fits(&self, task: TaskId, machine: &Machine) -> bool {
        let Some(demand) = self.demand(task) else { return false };
        // Most machines of a full cell end here, without a look into the overlay: plans only ever take room.
        let machine = self.sight.map_or(machine, |sight| sight.machine(machine));
        machine.state == MachineState::Ready
            && resources_fit(&demand.resources, machine, None).is_ok()
            && !self.avoids(machine)
            && self.misfit_as_seen(task, demand, machine).is_none()
    }

    /// Whether a task could be placed on a machine if these tasks had to go for it.
    pub fn fits_preempting(&self, task: TaskId, machine: &Machine, victims: &[TaskId]) -> bool {
        if self.avoids(machine) {
            return false;
        }
        let Some(sight) = self.sight else {
            return self.overlay.fits(self.cell, task, machine.id, victims).is_ok();
        };
        let seen = sight.machine(machine);
        let withheld = sight.withheld(seen);
        self.overlay.fits_as_seen(self.cell, task, seen, withheld.as_ref(), victims).is_ok()
    }

    /// Why a task doesn't fit a machine, if it doesn't.
    pub fn misfit(&self, task: TaskId, machine: &Machine) -> Option<Misfit> {
        self.misfit_as_seen(task, self.demand(task)?, machine)
    }

    fn misfit_as_seen(&self, task: TaskId, demand: &Demand, machine: &Machine) -> Option<Misfit> {
        let fit = self.overlay.fit_demand(task, demand, machine);
        let short = || {
            let withheld = self.sight?.withheld(machine)?;
            let free = self.overlay.free(machine).minus(&withheld);
            let dimension = demand.resources.first_over(&free)?;
            let wanted = demand.resources.get(dimension);
            Some(Misfit::Resource { dimension, wanted, free: free.get(dimension) })
        };
        fit.err().or_else(short)
    }

    /// How good a machine is for a task, by one of the stock scores.
    pub fn score(&self, score: Score, task: TaskId, machine: &Machine) -> f64 {
        self.demand(task).map_or(0.0, |demand| score.of(demand, &self.free(machine), &machine.limit))
    }

    /// Whether the job is to keep off a machine for now.
    pub fn avoids(&self, machine: &Machine) -> bool {
        let crowded = || self.crowded.is_some_and(|m| m.contains_key(&machine.id));
        let now = self.cell.seq();
        let seen = || self.sight.map_or(now, |sight| sight.seq(machine.id, now));
        let outside = self.within.is_some_and(|within| !within.contains(machine.id));
        outside
            || (!self.exclusions.is_empty() && self.exclusions.excludes(machine, seen()))
            || (self.terms.detection == Detection::Version && crowded())
    }

    /// True when machines are avoided that will do again in a moment: nobody should have to go for a task before then.
    pub fn avoids_for_a_moment(&self) -> bool {
        let crowded = || self.crowded.is_some_and(|machines| !machines.is_empty());
        self.exclusions.will_pass() || (self.terms.detection == Detection::Version && crowded())
    }

    /// Machines something is planned on, in this plan or one in flight; a machine may come up more than once.
    pub fn planned_on(&self) -> impl Iterator<Item = MachineId> {
        self.overlay.placements().map(|(_, machine)| machine)
    }

    /// The machine a task is planned on, in this plan or one in flight.
    pub fn machine_of(&self, task: TaskId) -> Option<MachineId> {
        self.overlay.machine_of(task)
    }

    /// How many tasks of the job each machine holds or is about to hold, by machine number.
    pub fn job_load(&self) -> Vec<u32> {
        let mut counts = vec![0; self.cell.machines().len()];
        for machine in self.job_machines() {
            if let Some(count) = counts.get_mut(machine.index()) {
                *count += 1;
            }
        }
        counts
    }

    /// The machine of each task of the job that is live or planned, one by one.
    pub(crate) fn job_machines(&self) -> impl Iterator<Item = MachineId> {
        let id = self.job.id;
        let any_live = self.job.counts().live() > 0;
        let tasks = any_live.then(|| self.job.tasks()).into_iter().flatten();
        let live = tasks.filter(|(_, task)| task.state.is_live()).filter_map(|(_, task)| task.machine);
        let planned = self.overlay.placements().filter(move |(task, _)| task.job == id);
        // What is planned and has been committed is counted as live already.
        let pending = |task: &TaskId| self.job.task(*task).is_some_and(|task| !task.state.is_live());
        live.chain(planned.filter(move |(task, _)| pending(task)).map(|(_, machine)| machine))
    }

    /// Whether nothing but sums and constraints decides where a task fits, both of which a scan knows.
    pub(crate) fn sums_decide(&self, task: TaskId) -> bool {
        let simple =
            |d: &Demand| !d.distinct_machines && d.ports.is_empty() && d.resources.get(Dimension::GPU) == 0;
        let avoids_none = self.exclusions.is_empty() && self.terms.detection == Detection::Fit;
        avoids_none && self.demand(task).is_some_and(simple)
    }

    /// Begins a walk over the machines that seem to have room for a task and satisfy its constraints, once around from
    /// a random one on. Far quicker than asking [`Plan::fits`] of all; ask it of those that [`Plan::next_of`] names.
    pub fn scan(&mut self, task: TaskId) -> Option<Scan> {
        let query = self.query(task)?;
        let machines = self.columns().len();
        let range = self.within.map_or(0..machines, |within| within.bounds());
        let start = if range.is_empty() { range.start } else { self.rng.random_range(range.clone()) };
        Some(Scan::new(query, range, start))
    }

    /// The next machine of a walk.
    pub fn next_of(&self, scan: &mut Scan) -> Option<&'a Machine> {
        let columns = match &self.columns {
            Lent::Kept(columns) => columns,
            Lent::Own(columns) => &**columns,
        };
        let now = self.cell.machine(scan.next_candidate(columns)?)?;
        Some(self.sight.map_or(now, |sight| sight.machine(now)))
    }

    /// How many machines of a walk are left; it is over then.
    pub fn count_of(&self, scan: &mut Scan) -> u32 {
        let columns = match &self.columns {
            Lent::Kept(columns) => columns,
            Lent::Own(columns) => &**columns,
        };
        scan.count(columns)
    }

    /// Columns that show everything planned, and what a task asks of them.
    pub(crate) fn query(&mut self, task: TaskId) -> Option<Query> {
        let (cell, demand) = (self.cell, self.demand(task)?);
        let mut query = self.up_to_date().query(demand, cell.machines());
        if let Some(within) = self.within {
            query.restrict(within.mask());
        }
        Some(query)
    }

    /// Columns that show everything planned.
    pub(crate) fn up_to_date(&mut self) -> &mut Columns {
        let columns = match &mut self.columns {
            Lent::Kept(columns) => columns,
            Lent::Own(columns) => &mut **columns,
        };
        columns.refresh_as_seen(self.cell, self.overlay, self.sight);
        columns
    }
}
