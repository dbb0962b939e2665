//! The failure domains of one group of equal tasks, and the best machine in each.
//!
//! Without spreading there is one domain, whose machines are drawn from the levels of all machines; those that hold
//! tasks of the job are few, and stand in a heap. With spreading each domain has a heap of its own, filled when its turn
//! first comes.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use cell_state::job::Spread;
use cell_state::machine::Machine;
use cell_state::{MachineId, TaskId};
use rand::RngExt;

use super::JobLoad;
use crate::columns::{DomainMap, Levels, Query, WANTED_LEAST};
use crate::plan::{Plan, Unfit};
use crate::preempt::Hunt;

/// A machine that had the resources when it was ranked. Whether the task fits is asked when its turn comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u64,
    machine: MachineId,
}

/// The bits of a rank left to chance.
const CHANCE: u32 = 32;

/// Ranks a machine of this level: those with something rare that the task doesn't ask for last, then by how few tasks of
/// the job it has, then by its level. What is below is left to chance.
fn rank(level: u8, job_tasks: u32) -> u64 {
    const FEW: u32 = (1 << 20) - 1;
    let few = u64::from(FEW - job_tasks.min(FEW));
    u64::from(level >= WANTED_LEAST) << 60 | few << 40 | u64::from(level) << CHANCE
}

/// One value of the attribute a group is spread over.
#[derive(Default)]
struct Domain {
    /// Tasks of the job in it, live or planned.
    tasks: u32,
    /// Whether its limit has been asserted in this plan.
    asserted: bool,
    /// Whether its machines are in its heap.
    filled: bool,
    candidates: BinaryHeap<Candidate>,
    /// Its place among the open ones with as many tasks.
    place: Option<usize>,
}

/// The failure domains of one group. Machines that lack the attribute form one of their own, which a limit excludes,
/// since nothing can be asserted about it.
pub(super) struct Domains<'a, 'l> {
    spread: Option<&'a Spread>,
    distinct: bool,
    query: Query,
    levels: Levels,
    load: &'l mut JobLoad,
    /// By the numbers of `map`; just one without spreading.
    all: Vec<Domain>,
    map: Option<Arc<DomainMap>>,
    /// Domains below their limit that aren't known to be used up, by their tasks.
    open: BTreeMap<u32, Vec<u32>>,
}

impl<'a, 'l> Domains<'a, 'l> {
    /// The domains for the group of a task, with how many tasks of the job each holds.
    pub(super) fn new(plan: &mut Plan<'a>, task: TaskId, load: &'l mut JobLoad) -> Option<Domains<'a, 'l>> {
        let group = plan.group(task)?;
        let query = plan.query(task)?;
        let levels = plan.up_to_date().take_levels(&query);
        let (spread, distinct, machines) =
            (group.spread.as_ref(), group.distinct_machines, plan.cell().machines());
        let map = spread.map(|spread| plan.up_to_date().domains(&spread.attribute, machines));
        let count = map.as_ref().map_or(1, |map| map.members.len());
        let mut all = Vec::new();
        all.resize_with(count, Domain::default);
        let mut domains = Domains { spread, distinct, query, levels, load, all, map, open: BTreeMap::new() };
        domains.count_tasks(plan);
        let first = usize::from(domains.max_tasks().is_some());
        (first..count).for_each(|domain| domains.enter(domain));
        Some(domains)
    }

    /// Gives back what was lent for this group.
    pub(super) fn finish(self, plan: &mut Plan<'a>) {
        plan.up_to_date().give_back_levels(self.query, self.levels);
    }

    /// Plans a task on the best machine of the emptiest domain; false when there is none.
    pub(super) fn place(&mut self, plan: &mut Plan<'a>, task: TaskId, fallbacks: usize) -> bool {
        while let Some(domain) = self.emptiest(plan) {
            let Some(best) = self.pop(plan, domain) else {
                self.leave(domain);
                continue;
            };
            match plan.place(task, best.machine) {
                Ok(()) => {
                    self.took(plan, domain, best.machine);
                    let others = self.next_best(plan, (task, best.machine), domain, fallbacks);
                    plan.fall_back_to(others);
                    if self.assert_limit(plan, domain) {
                        return true;
                    }
                    self.take_back(plan, task, domain, best.machine);
                    return false;
                }
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                // The columns know of sums only: ports, devices or another task of the job are in the way.
                Err(Unfit::Conflict(_) | Unfit::Avoided) => {}
            }
        }
        false
    }

    /// Plans a task where others must go for it, in a domain below its limit.
    pub(super) fn preempt(&mut self, plan: &mut Plan<'a>, task: TaskId, hunt: &mut Hunt) -> bool {
        let open = |machine: &Machine| match self.max_tasks() {
            None => true,
            Some(max) => {
                let domain = self.domain_of(machine.id);
                domain > 0 && self.all[domain].tasks < max
            }
        };
        if !hunt.place(plan, task, open) {
            return false;
        }
        let Some(machine) = plan.machine_of(task) else { return false };
        let domain = self.domain_of(machine);
        self.load.add(machine);
        self.set_tasks(domain, self.all[domain].tasks + 1);
        if !self.assert_limit(plan, domain) {
            self.take_back(plan, task, domain, machine);
            return false;
        }
        true
    }

    /// The number of a machine's domain; with spreading 0 is that of those without a value.
    fn domain_of(&self, machine: MachineId) -> usize {
        self.map.as_ref().map_or(0, |map| map.of[machine.index()] as usize)
    }

    /// The most tasks of the job in one domain, when there is a limit.
    fn max_tasks(&self) -> Option<u32> {
        self.spread.map(|s| s.max_per_value).filter(|max| *max > 0)
    }

    /// Counts the tasks of the job in each domain. Machines that hold any are ranked one by one.
    fn count_tasks(&mut self, plan: &mut Plan<'_>) {
        for i in 0..self.load.machines.len() {
            let machine = self.load.machines[i];
            let tasks = self.load.of(machine);
            let domain = self.domain_of(machine);
            self.all[domain].tasks += tasks;
            let level = self.levels.of(machine.0);
            if level > 0 {
                self.levels.take_out(machine);
                if !self.distinct {
                    self.all[domain].candidates.push(candidate(plan, machine, level, tasks));
                }
            }
        }
    }

    /// Puts a domain among the open ones, if it may take more.
    fn enter(&mut self, domain: usize) {
        let tasks = self.all[domain].tasks;
        if tasks < self.max_tasks().unwrap_or(u32::MAX) {
            let equal = self.open.entry(tasks).or_default();
            self.all[domain].place = Some(equal.len());
            equal.push(domain as u32);
        }
    }

    /// Takes a domain from among the open ones.
    fn leave(&mut self, domain: usize) {
        let Some(place) = self.all[domain].place.take() else { return };
        let tasks = self.all[domain].tasks;
        let equal = self.open.get_mut(&tasks).expect("an open domain stands with its equals");
        equal.swap_remove(place);
        match equal.get(place) {
            Some(moved) => self.all[*moved as usize].place = Some(place),
            None if equal.is_empty() => drop(self.open.remove(&tasks)),
            None => {}
        }
    }

    fn set_tasks(&mut self, domain: usize, tasks: u32) {
        let was_open = self.all[domain].place.is_some() || self.all[domain].tasks > tasks;
        self.leave(domain);
        self.all[domain].tasks = tasks;
        if was_open {
            self.enter(domain);
        }
    }

    /// The domain to use next: fewest tasks, chance among equals.
    fn emptiest(&self, plan: &mut Plan<'_>) -> Option<usize> {
        let (_, equal) = self.open.first_key_value()?;
        let drawn = if equal.len() == 1 { 0 } else { plan.rng().random_range(0..equal.len()) };
        Some(equal[drawn] as usize)
    }

    /// Takes out the best machine of a domain.
    fn pop(&mut self, plan: &mut Plan<'_>, number: usize) -> Option<Candidate> {
        let domain = &mut self.all[number];
        let Some(map) = &self.map else {
            let ranked = domain.candidates.peek().map(|candidate| candidate.rank >> CHANCE);
            let drawn = self.levels.top().map(|level| rank(level, 0) >> CHANCE);
            if ranked >= drawn {
                return domain.candidates.pop();
            }
            let (machine, level) = self.levels.draw(plan.rng())?;
            return Some(Candidate { rank: rank(level, 0), machine });
        };
        if !domain.filled {
            domain.filled = true;
            let members = map.members[number].iter().map(|machine| (*machine, self.levels.of(*machine)));
            let fresh = members.filter(|(_, level)| *level > 0);
            domain
                .candidates
                .extend(fresh.map(|(machine, level)| candidate(plan, MachineId(machine), level, 0)));
        }
        domain.candidates.pop()
    }

    /// The machines that fit a task after the one it was put on, left where they are.
    fn next_best(
        &mut self,
        plan: &mut Plan<'_>,
        (task, taken): (TaskId, MachineId),
        domain: usize,
        wanted: usize,
    ) -> Vec<MachineId> {
        let mut kept: Vec<Candidate> = Vec::with_capacity(wanted + 1);
        let mut machines = Vec::with_capacity(wanted);
        // Not many are asked: a plan is no better for a fallback.
        for _ in 0..2 * wanted {
            if machines.len() == wanted {
                break;
            }
            let Some(next) = self.pop(plan, domain) else { break };
            kept.push(next);
            let fits = || plan.cell().machine(next.machine).is_some_and(|machine| plan.fits(task, machine));
            if next.machine != taken && fits() {
                machines.push(next.machine);
            }
        }
        for candidate in kept {
            if self.map.is_none() && self.load.of(candidate.machine) == 0 {
                let level = (candidate.rank >> CHANCE) as u8;
                self.levels.put_back(candidate.machine, level);
            } else {
                self.all[domain].candidates.push(candidate);
            }
        }
        machines
    }

    /// A task was planned on a machine of a domain: it is ranked again.
    fn took(&mut self, plan: &mut Plan<'_>, domain: usize, machine: MachineId) {
        self.load.add(machine);
        self.set_tasks(domain, self.all[domain].tasks + 1);
        let level = plan.up_to_date().level_of(&self.query, machine);
        if level > 0 && !self.distinct {
            let again = candidate(plan, machine, level, self.load.of(machine));
            self.all[domain].candidates.push(again);
        }
    }

    /// Asserts the limit of a domain that was used; false when the transaction takes no more assertions.
    fn assert_limit(&mut self, plan: &mut Plan<'_>, domain: usize) -> bool {
        let (Some(spread), Some(max), Some(map)) = (self.spread, self.max_tasks(), &self.map) else {
            return true;
        };
        let member = map.members[domain].first().and_then(|id| plan.cell().machine(MachineId(*id)));
        let Some(value) = member.and_then(|machine| machine.attribute(&spread.attribute)) else {
            return true;
        };
        let asserted = &mut self.all[domain].asserted;
        *asserted = *asserted || plan.assert_at_most(&spread.attribute, value, max).is_ok();
        *asserted
    }

    fn take_back(&mut self, plan: &mut Plan<'_>, task: TaskId, domain: usize, machine: MachineId) {
        plan.undo(task);
        self.load.take(machine);
        self.set_tasks(domain, self.all[domain].tasks - 1);
    }
}

fn candidate(plan: &mut Plan<'_>, machine: MachineId, level: u8, job_tasks: u32) -> Candidate {
    let chance: u32 = plan.rng().random();
    Candidate { rank: rank(level, job_tasks) | u64::from(chance), machine }
}
