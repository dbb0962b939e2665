//! The `service` policy: careful. A full scan, spread over failure domains, few tasks of a job per machine, and the
//! load of the cell kept even.
//!
//! One scan per run of equal tasks puts every machine that fits into a heap of its failure domain; each task then takes
//! the best machine of the domain that holds the fewest tasks of the job, at the cost of a few heap steps. A limit per
//! domain is planned for here and asserted in the transaction, so that two processes can't break it together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use cell_state::job::Spread;
use cell_state::machine::Machine;
use cell_state::{MachineId, TaskId};
use rand::RngExt;

use crate::bounds::FALLBACKS;
use crate::plan::{Plan, Unfit};
use crate::policy::Policy;
use crate::preempt::Hunt;
use crate::score::Score;

/// Steps a score is rounded to, so that chance decides between machines that are nearly equal.
const SCORE_STEPS: f64 = 32.0;

/// What `service` can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceOptions {
    /// Machines named in case the first is lost; of the same failure domain.
    pub fallbacks: usize,
    /// Whether tasks of lower bands may have to go when nothing fits.
    pub preempt: bool,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions { fallbacks: FALLBACKS, preempt: true }
    }
}

/// The `service` policy.
#[derive(Clone, Debug)]
pub struct Service {
    options: ServiceOptions,
}

impl Service {
    /// The policy with these options.
    pub fn new(options: ServiceOptions) -> Service {
        Service { options }
    }
}

impl Policy for Service {
    fn name(&self) -> &str {
        "service"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        let mut load = plan.job_load();
        let mut hunt = Hunt::default();
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            let spread = plan.group(group[0]).and_then(|g| g.spread.as_ref());
            let mut domains = Domains::count(plan, spread, &load);
            domains.scan(plan, group[0], &load);
            for task in group {
                let placed = domains.place(plan, *task, self.options.fallbacks, &mut load)
                    || (self.options.preempt
                        && !plan.is_full()
                        && domains.preempt(plan, *task, &mut hunt, &mut load));
                if !placed {
                    break;
                }
            }
        }
    }
}

/// A machine that fitted when it was scored.
struct Candidate {
    /// It has something rare that the task doesn't ask for, which its score shows: to be left to others.
    last_resort: bool,
    /// Tasks of the job on it: the fewer, the better.
    job_tasks: u32,
    /// Its rounded score: the higher, the better.
    score: i64,
    /// Chance.
    tie: u32,
    machine: MachineId,
}

impl Candidate {
    fn rank(&self) -> impl Ord {
        (!self.last_resort, std::cmp::Reverse(self.job_tasks), self.score, self.tie, self.machine)
    }

    fn new(plan: &mut Plan<'_>, task: TaskId, machine: &Machine, load: &[u32]) -> Candidate {
        let score = plan.score(Score::Even, task, machine);
        let (last_resort, job_tasks) = (score < 0.0, load[machine.id.index()]);
        let score = (score * SCORE_STEPS) as i64;
        Candidate { last_resort, job_tasks, score, tie: plan.rng().random(), machine: machine.id }
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        self.rank().cmp(&other.rank())
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
struct Domains<'a> {
    spread: Option<&'a Spread>,
    by_value: BTreeMap<Option<&'a str>, Domain>,
}

impl<'a> Domains<'a> {
    /// The domains with how many tasks of the job each holds.
    fn count(plan: &Plan<'a>, spread: Option<&'a Spread>, load: &[u32]) -> Domains<'a> {
        let mut domains = Domains { spread, by_value: BTreeMap::new() };
        for machine in plan.cell().machines() {
            let tasks = load[machine.id.index()];
            if spread.is_some() && tasks > 0 {
                domains.by_value.entry(domains.value(machine)).or_default().tasks += tasks;
            }
        }
        domains
    }

    /// Puts every machine that fits into its domain.
    fn scan(&mut self, plan: &mut Plan<'a>, task: TaskId, load: &[u32]) {
        let limited = self.max_tasks().is_some();
        let mut found: BTreeMap<Option<&'a str>, Vec<Candidate>> = BTreeMap::new();
        for machine in plan.cell().machines() {
            if !plan.fits(task, machine) {
                continue;
            }
            let value = self.value(machine);
            if !(limited && value.is_none()) {
                found.entry(value).or_default().push(Candidate::new(plan, task, machine, load));
            }
        }
        for (value, candidates) in found {
            self.by_value.entry(value).or_default().candidates = candidates.into();
        }
    }

    /// Plans a task on the best machine of the emptiest domain; false when there is none.
    fn place(&mut self, plan: &mut Plan<'a>, task: TaskId, fallbacks: usize, load: &mut [u32]) -> bool {
        while let Some(value) = self.emptiest(plan) {
            let domain = self.by_value.get_mut(&value).expect("just chosen among them");
            let Some(best) = domain.candidates.pop() else { continue };
            let others = next_best(plan, task, domain, fallbacks);
            match plan.place_with_fallbacks(task, best.machine, &others) {
                Ok(()) => {
                    domain.tasks += 1;
                    load[best.machine.index()] += 1;
                    let machine = &plan.cell().machines()[best.machine.index()];
                    if plan.fits(task, machine) {
                        domain.candidates.push(Candidate::new(plan, task, machine, load));
                    }
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
    fn preempt(&mut self, plan: &mut Plan<'a>, task: TaskId, hunt: &mut Hunt, load: &mut [u32]) -> bool {
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

    fn value(&self, machine: &'a Machine) -> Option<&'a str> {
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
        machine: MachineId,
        load: &mut [u32],
    ) {
        plan.undo(task);
        load[machine.index()] -= 1;
        self.by_value.entry(value).or_default().tasks -= 1;
    }
}

/// The machines after the best one that still fit, left where they are.
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
