//! The failure domains of one group of equal tasks, each with its machines in a heap, best on top.

use std::collections::{BTreeMap, BinaryHeap};

use cell_state::job::Spread;
use cell_state::machine::{Machine, MachineState};
use cell_state::{MachineId, TaskId};
use rand::RngExt;

use crate::plan::{Plan, Unfit};
use crate::preempt::Hunt;
use crate::score::EvenScan;

/// Steps a score is rounded to, so that chance decides between machines that are nearly equal.
const SCORE_STEPS: f64 = 32.0;

/// A machine that had the resources when it was ranked. Whether the task fits is asked when its turn comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u64,
    machine: MachineId,
}

impl Candidate {
    /// Ranks a machine: those with something rare that the task doesn't ask for last (their score is negative), then
    /// by how few tasks of the job it has, then by its rounded score, then by chance.
    fn new(machine: MachineId, score: f64, job_tasks: u32, tie: u32) -> Candidate {
        let wanted = u64::from(score >= 0.0);
        let few = u64::from((1 << 20) - 1 - job_tasks.min((1 << 20) - 1));
        let steps = (score.clamp(-3.0, 1.0) + 3.0) * SCORE_STEPS;
        Candidate { rank: wanted << 60 | few << 40 | (steps as u64) << 32 | u64::from(tie), machine }
    }
}

/// One value of the attribute a group is spread over.
#[derive(Default)]
struct Domain {
    /// Tasks of the job in it, live or planned.
    tasks: u32,
    /// Whether its limit has been asserted in this plan.
    asserted: bool,
    candidates: BinaryHeap<Candidate>,
}

/// The failure domains of one group. Without spreading there is just one; machines that lack the attribute form one of
/// their own, which a limit excludes, since nothing can be asserted about it.
pub(super) struct Domains<'a> {
    spread: Option<&'a Spread>,
    by_value: BTreeMap<Option<&'a str>, Domain>,
}

impl<'a> Domains<'a> {
    /// The domains with how many tasks of the job each holds.
    pub(super) fn count(plan: &Plan<'a>, spread: Option<&'a Spread>, load: &[u32]) -> Domains<'a> {
        let mut domains = Domains { spread, by_value: BTreeMap::new() };
        if spread.is_some() {
            for machine in plan.cell().machines().iter().filter(|m| load[m.id.index()] > 0) {
                let value = domains.value(machine);
                domains.by_value.entry(value).or_default().tasks += load[machine.id.index()];
            }
        }
        domains
    }

    /// Puts every machine with the resources into its domain.
    pub(super) fn scan(&mut self, plan: &mut Plan<'a>, task: TaskId, load: &[u32]) {
        let Some(demand) = plan.demand(task) else { return };
        let even = EvenScan::of(demand);
        let machines = plan.cell().machines();
        let mut planned = vec![false; machines.len()];
        plan.planned_on().for_each(|machine| planned[machine.index()] = true);
        let limited = self.max_tasks().is_some();
        let mut everywhere: Vec<Candidate> = Vec::with_capacity(machines.len());
        let mut found: BTreeMap<Option<&'a str>, Vec<Candidate>> = BTreeMap::new();
        for machine in machines.iter().filter(|machine| machine.state == MachineState::Ready) {
            let i = machine.id.index();
            let score = match planned[i] {
                true => score_now(plan, &even, machine),
                false => even.score(&machine.limit, &machine.load.used),
            };
            let Some(score) = score else { continue };
            // Conditions on attributes may rule most machines out: then the heaps had better not hold them.
            if !demand.matchers.is_empty() && !plan.fits(task, machine) {
                continue;
            }
            let candidate = Candidate::new(machine.id, score, load[i], plan.rng().random());
            if self.spread.is_none() {
                everywhere.push(candidate);
                continue;
            }
            let value = self.value(machine);
            if !(limited && value.is_none()) {
                found.entry(value).or_default().push(candidate);
            }
        }
        if self.spread.is_none() {
            found.insert(None, everywhere);
        }
        for (value, candidates) in found {
            self.by_value.entry(value).or_default().candidates = candidates.into();
        }
    }

    /// Plans a task on the best machine of the emptiest domain; false when there is none.
    pub(super) fn place(
        &mut self,
        plan: &mut Plan<'a>,
        task: TaskId,
        fallbacks: usize,
        load: &mut [u32],
    ) -> bool {
        let Some(even) = plan.demand(task).map(EvenScan::of) else { return false };
        while let Some(value) = self.emptiest(plan) {
            let domain = self.by_value.get_mut(&value).expect("just chosen among them");
            let Some(best) = domain.candidates.pop() else { continue };
            let machine = &plan.cell().machines()[best.machine.index()];
            if !plan.fits(task, machine) {
                continue;
            }
            let others = next_best(plan, task, domain, fallbacks);
            match plan.place_with_fallbacks(task, best.machine, &others) {
                Ok(()) => {
                    domain.tasks += 1;
                    let job_tasks = &mut load[best.machine.index()];
                    *job_tasks += 1;
                    let again = score_now(plan, &even, machine);
                    domain.candidates.extend(
                        again.map(|score| {
                            Candidate::new(best.machine, score, *job_tasks, plan.rng().random())
                        }),
                    );
                    if self.assert_limit(plan, value) {
                        return true;
                    }
                    self.take_back(plan, task, value, best.machine, load);
                    return false;
                }
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                Err(Unfit::Conflict(_) | Unfit::Avoided) => {}
            }
        }
        false
    }

    /// Plans a task where others must go for it, in a domain below its limit.
    pub(super) fn preempt(
        &mut self,
        plan: &mut Plan<'a>,
        task: TaskId,
        hunt: &mut Hunt,
        load: &mut [u32],
    ) -> bool {
        let open = |machine: &Machine| match self.max_tasks() {
            None => true,
            Some(max) => {
                let value = self.value(machine);
                value.is_some() && self.by_value.get(&value).map_or(0, |d| d.tasks) < max
            }
        };
        if !hunt.place(plan, task, open) {
            return false;
        }
        let machine = plan.machine_of(task).and_then(|id| plan.cell().machine(id));
        let Some(machine) = machine else { return false };
        let value = self.value(machine);
        self.by_value.entry(value).or_default().tasks += 1;
        load[machine.id.index()] += 1;
        if !self.assert_limit(plan, value) {
            self.take_back(plan, task, value, machine.id, load);
            return false;
        }
        true
    }

    fn value<'m>(&self, machine: &'m Machine) -> Option<&'m str> {
        machine.attribute(&self.spread?.attribute)
    }

    /// The most tasks of the job in one domain, when there is a limit.
    fn max_tasks(&self) -> Option<u32> {
        self.spread.map(|s| s.max_per_value).filter(|max| *max > 0)
    }

    /// The domain to use next: below its limit, with a candidate, fewest tasks, chance among equals.
    fn emptiest(&self, plan: &mut Plan<'_>) -> Option<Option<&'a str>> {
        let max = self.max_tasks().unwrap_or(u32::MAX);
        let usable = || self.by_value.iter().filter(|(_, d)| d.tasks < max && !d.candidates.is_empty());
        let fewest = usable().map(|(_, d)| d.tasks).min()?;
        let equal = || usable().filter(|(_, d)| d.tasks == fewest);
        let drawn = match equal().count() {
            1 => 0,
            count => plan.rng().random_range(0..count),
        };
        equal().nth(drawn).map(|(value, _)| *value)
    }

    /// Asserts the limit of a domain that was used; false when the transaction takes no more assertions.
    fn assert_limit(&mut self, plan: &mut Plan<'_>, value: Option<&'a str>) -> bool {
        let (Some(spread), Some(max), Some(value)) = (self.spread, self.max_tasks(), value) else {
            return true;
        };
        let domain = self.by_value.get_mut(&Some(value)).expect("it was just used");
        domain.asserted = domain.asserted || plan.assert_at_most(&spread.attribute, value, max).is_ok();
        domain.asserted
    }

    fn take_back(
        &mut self,
        plan: &mut Plan<'_>,
        task: TaskId,
        value: Option<&'a str>,
        id: MachineId,
        load: &mut [u32],
    ) {
        plan.undo(task);
        load[id.index()] -= 1;
        self.by_value.entry(value).or_default().tasks -= 1;
    }
}

/// The score of a machine on which something is planned; `None` when its resources don't do.
fn score_now(plan: &Plan<'_>, even: &EvenScan, machine: &Machine) -> Option<f64> {
    even.score(&machine.limit, &machine.limit.minus(&plan.free(machine)))
}

/// The machines after the best one that fit, left where they are.
fn next_best(plan: &Plan<'_>, task: TaskId, domain: &mut Domain, wanted: usize) -> Vec<MachineId> {
    let mut kept = Vec::with_capacity(wanted);
    while kept.len() < wanted {
        let Some(candidate) = domain.candidates.pop() else { break };
        if plan.fits(task, &plan.cell().machines()[candidate.machine.index()]) {
            kept.push(candidate);
        }
    }
    let machines = kept.iter().map(|c| c.machine).collect();
    domain.candidates.extend(kept);
    machines
}
