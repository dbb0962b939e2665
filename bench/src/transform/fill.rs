//! A cell that is already so full when the scenario starts.

use std::sync::Arc;

use cell_state::fit::{Demand, fit};
use cell_state::machine::{Machine, MachineState};
use cell_state::resources::DIMENSIONS;
use cell_state::{JobId, MachineId, Resources, TaskId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{TransformError, in_range};
use crate::Scenario;
use crate::bounds::{FILL_DRAWS_MAX, FILL_JOB_TASKS};
use crate::scenario::{Job, Placed, Tasks};

/// How to fill a cell.
#[derive(Clone, PartialEq, Debug)]
pub struct Prefill {
    /// How full the fullest dimension is to be: 0.6 is 60 % of the capacity.
    pub target: f64,
    /// What each task asks for; `None` draws from the tasks of the scenario.
    pub size: Option<Resources>,
    /// The priority of the jobs it is filled with.
    pub priority: u16,
    /// Microseconds until their tasks end; `None` runs on.
    pub run_for_us: Option<u64>,
    /// Decides which tasks are drawn and where they are.
    pub seed: u64,
}

/// What filling a cell came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Filled {
    /// Tasks added.
    pub tasks: u64,
    /// How full the fullest dimension was before.
    pub before: f64,
    /// How full it is now: below the target by less than a task, unless no machine had room for more.
    pub after: f64,
}

/// The class of the jobs a cell is filled with.
pub const CLASS: &str = "prefill";

/// Machines tried at random before all are.
const PROBES: usize = 32;

/// Fills the cell up to a target with tasks that are there from the start, each with a place where it fits beside the
/// recorded placements. What the scenario's own initial tasks ask for counts towards the target.
///
/// # Errors
/// The target isn't between 0 and 1, or there are no tasks to draw.
pub fn prefill(scenario: &mut Scenario, how: &Prefill) -> Result<Filled, TransformError> {
    let sound = (0.0..=1.0).contains(&how.target);
    in_range("the fill to reach", how.target, sound, "between 0 and 1 (0.6 is 60 %)")?;
    let mut rng = ChaCha8Rng::seed_from_u64(how.seed ^ 0x6669_6c6c);
    let sizes = Sizes::of(scenario, how.size)?;
    let mut cell = Filling::of(scenario);
    let before = cell.fill();
    let mut placed: Vec<(Resources, u32)> = Vec::new();
    let mut in_vain = 0;
    while in_vain < FILL_DRAWS_MAX && cell.capacity != Resources::ZERO {
        let size = sizes.draw(&mut rng);
        match cell.place(&size, how.target, &mut rng) {
            Some(machine) => {
                placed.push((size, machine));
                in_vain = 0;
            }
            None => in_vain += 1,
        }
    }
    for (number, tasks) in placed.chunks(FILL_JOB_TASKS).enumerate() {
        let mut job = Job::new(format!("prefill-{number}"), None, CLASS, how.priority);
        let tasks = tasks.iter().map(|(size, machine)| Tasks {
            placed: Some(Placed { machine: *machine, at_us: 0 }),
            ..Tasks::new(1, *size, how.run_for_us)
        });
        job.tasks = tasks.collect();
        scenario.jobs.push(job);
    }
    scenario.put_in_order();
    Ok(Filled { tasks: placed.len() as u64, before, after: cell.fill() })
}

/// What tasks may ask for, each as often as tasks of the scenario do.
struct Sizes {
    sizes: Vec<Resources>,
    /// Tasks up to and including each size.
    up_to: Vec<u64>,
}

impl Sizes {
    fn of(scenario: &Scenario, fixed: Option<Resources>) -> Result<Sizes, TransformError> {
        let mut sizes = Sizes { sizes: Vec::new(), up_to: Vec::new() };
        let own = scenario.jobs.iter().flat_map(|j| &j.tasks).map(|t| (t.ask, t.count));
        let all: Vec<_> = fixed.map_or_else(|| own.collect(), |size| vec![(size, 1)]);
        let mut sum = 0;
        for (size, count) in all.into_iter().filter(|(size, count)| !size.is_zero() && *count > 0) {
            sum += u64::from(count);
            sizes.sizes.push(size);
            sizes.up_to.push(sum);
        }
        if sum == 0 { Err(TransformError::Nothing) } else { Ok(sizes) }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Resources {
        let all = self.up_to.last().copied().unwrap_or(1);
        let drawn = rng.random_range(0..all);
        self.sizes[self.up_to.partition_point(|up_to| *up_to <= drawn)]
    }
}

/// The cell being filled.
struct Filling {
    machines: Vec<Machine>,
    capacity: Resources,
    asked: Resources,
    tasks: u32,
}

impl Filling {
    fn of(scenario: &Scenario) -> Filling {
        let there = scenario.there_at_start();
        let mut machines = Vec::with_capacity(scenario.machines.len());
        let mut capacity = Resources::ZERO;
        for (i, spec) in scenario.machines.iter().enumerate() {
            let id = MachineId(i as u32);
            let mut machine = Machine::new(id, Arc::new(spec.clone()), spec.capacity);
            if there[i] {
                capacity = capacity.plus(&spec.capacity);
            } else {
                machine.state = MachineState::Down;
            }
            machines.push(machine);
        }
        let mut filling = Filling { machines, capacity, asked: Resources::ZERO, tasks: 0 };
        for tasks in scenario.jobs.iter().filter(|j| j.submit_us.is_none()).flat_map(|j| &j.tasks) {
            filling.asked = filling.asked.plus(&tasks.asked());
            if let Some(placed) = tasks.placed.filter(|p| p.at_us == 0) {
                let task = filling.next_task();
                filling.machines[placed.machine as usize].load.add(task, &tasks.asked(), None);
            }
        }
        filling
    }

    fn next_task(&mut self) -> TaskId {
        self.tasks += 1;
        TaskId { job: JobId(self.tasks), group: 0, index: 0 }
    }

    fn fill(&self) -> f64 {
        fill(&self.asked, &self.capacity)
    }

    /// Puts a task on a machine where it fits, unless that is more than wanted.
    fn place(&mut self, size: &Resources, target: f64, rng: &mut ChaCha8Rng) -> Option<u32> {
        let with = self.asked.plus(size);
        if fill(&with, &self.capacity) > target {
            return None;
        }
        let demand =
            Demand { resources: *size, matchers: Vec::new(), distinct_machines: false, ports: Vec::new() };
        let task = self.next_task();
        let count = self.machines.len();
        let granted = |machines: &[Machine], at: usize| {
            fit(task, &demand, &machines[at], None, &Resources::ZERO).ok().map(|grant| (at, grant))
        };
        let probed = (0..PROBES).find_map(|_| granted(&self.machines, rng.random_range(0..count)));
        let from = rng.random_range(0..count);
        let (at, grant) =
            probed.or_else(|| (0..count).find_map(|i| granted(&self.machines, (from + i) % count)))?;
        self.machines[at].load.add(task, size, Some(&grant));
        self.asked = with;
        Some(at as u32)
    }
}

/// The fullest dimension.
fn fill(asked: &Resources, capacity: &Resources) -> f64 {
    let shares = |d: usize| match (asked.0[d], capacity.0[d]) {
        (0, _) => 0.0,
        (_, 0) => f64::INFINITY,
        (asked, capacity) => asked as f64 / capacity as f64,
    };
    (0..DIMENSIONS).map(shares).fold(0.0, f64::max)
}
