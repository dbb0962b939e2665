//! A scenario: machines, what happens to them, jobs, and where their tasks once ran. Every trace and every model is
//! turned into this one form; studies replay it, and [`Scenario::workload`] makes of it what a live cell is given.
//!
//! Times are microseconds from the start. A job without a time of submission was there before. Equal tasks of a job
//! are one entry with a count.

mod condition;
mod packing;
mod replay;
mod summary;

use std::collections::BTreeMap;

use cell_state::constraint::Constraint;
use cell_state::fit::DEVICE_MILLI;
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::{Dimension, Resources};

pub use condition::{condition, shown};
pub use packing::Packing;
pub(crate) use replay::submissions;
pub use summary::{ClassSummary, Summary};

/// A cell and what it is to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scenario {
    /// Every machine there ever is. One whose first change is [`Change::Up`] isn't there at the start.
    pub machines: Vec<MachineSpec>,
    /// What happens to machines, in order of time.
    pub changes: Vec<MachineChange>,
    /// The jobs: those that were there before, then the others in order of submission.
    pub jobs: Vec<Job>,
}

/// A machine goes or comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MachineChange {
    /// When.
    pub at_us: u64,
    /// Its position among the machines.
    pub machine: u32,
    /// What happens.
    pub change: Change,
}

/// What happens to a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It fails, or is taken away; its tasks are lost.
    Down,
    /// It comes, or comes back, empty.
    Up,
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Unique in the scenario.
    pub name: String,
    /// When it was submitted; `None` was there before the start.
    pub submit_us: Option<u64>,
    /// The class of work it belongs to (`batch`, `service`, a queue): rates are scaled by class.
    pub class: String,
    /// 0 to 399, see [`cell_state::job::Band`]. A job may preempt those of a lower band.
    pub priority: u16,
    /// Whose quota it counts against.
    pub team: String,
    /// Never two of its tasks on one machine.
    pub distinct: bool,
    /// All its tasks at once or none.
    pub gang: bool,
    /// Its tasks.
    pub tasks: Vec<Tasks>,
}

/// Equal tasks of a job that, if a placement was recorded, were on the same machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tasks {
    /// How many.
    pub count: u32,
    /// What each asks for.
    pub ask: Resources,
    /// Microseconds from its start to its end (for one that was there before: from the scenario's start); `None`
    /// runs on.
    pub run_for_us: Option<u64>,
    /// The exit code it then has.
    pub exit_code: i32,
    /// Conditions on the machine.
    pub constraints: Vec<Constraint>,
    /// Where they were put, if that was recorded.
    pub placed: Option<Placed>,
}

/// A recorded placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The machine's position among the machines.
    pub machine: u32,
    /// When.
    pub at_us: u64,
}

impl Job {
    /// A job of this class with nothing special about it.
    pub fn new(name: String, submit_us: Option<u64>, class: &str, priority: u16) -> Job {
        let (class, team) = (class.to_owned(), DEFAULT_TEAM.to_owned());
        Job { name, submit_us, class, priority, team, distinct: false, gang: false, tasks: Vec::new() }
    }

    /// How many tasks it has.
    pub fn count(&self) -> u64 {
        self.tasks.iter().map(|t| u64::from(t.count)).sum()
    }
}

/// The team of jobs whose trace names none.
pub const DEFAULT_TEAM: &str = "study";

impl Tasks {
    /// Tasks that ask for this, without constraints or a recorded placement.
    pub fn new(count: u32, ask: Resources, run_for_us: Option<u64>) -> Tasks {
        Tasks { count, ask, run_for_us, exit_code: 0, constraints: Vec::new(), placed: None }
    }

    /// What all of them ask for.
    pub fn asked(&self) -> Resources {
        times(&self.ask, u64::from(self.count))
    }
}

/// A machine of this capacity; its GPUs are named `gpu0`, `gpu1`, …
pub fn machine(name: String, capacity: Resources, attributes: BTreeMap<String, String>) -> MachineSpec {
    let devices = capacity.get(Dimension::GPU) / u64::from(DEVICE_MILLI);
    let devices = (0..devices).map(|i| format!("gpu{i}")).collect();
    MachineSpec { name, capacity, attributes, devices, ports: DEFAULT_PORTS }
}

/// Shares of the tasks of one job that are equal in everything go together; each part keeps its order.
#[derive(Default)]
pub struct Gathered {
    at: BTreeMap<Key, usize>,
    tasks: Vec<Tasks>,
}

/// Ask, duration, exit code, machine and time of placement.
type Key = (Resources8, Option<u64>, i32, Option<(u32, u64)>);
type Resources8 = [u64; 8];

impl Gathered {
    /// Adds tasks without constraints.
    pub fn add(&mut self, tasks: Tasks) {
        debug_assert!(tasks.constraints.is_empty(), "constraints are not told apart here");
        let placed = tasks.placed.map(|p| (p.machine, p.at_us));
        let key = (tasks.ask.0, tasks.run_for_us, tasks.exit_code, placed);
        match self.at.get(&key) {
            Some(at) => self.tasks[*at].count += tasks.count,
            None => {
                self.at.insert(key, self.tasks.len());
                self.tasks.push(tasks);
            }
        }
    }

    /// The tasks.
    pub fn finish(self) -> Vec<Tasks> {
        self.tasks
    }
}

impl Scenario {
    /// Puts jobs and changes into their order.
    pub fn put_in_order(&mut self) {
        self.jobs.sort_by(|a, b| (a.submit_us, &a.name).cmp(&(b.submit_us, &b.name)));
        self.changes.sort();
    }

    /// What all machines have together, those included that come later.
    pub fn capacity(&self) -> Resources {
        self.machines.iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.capacity))
    }

    /// Whether each machine is there at the start.
    pub fn there_at_start(&self) -> Vec<bool> {
        let mut first: Vec<Option<Change>> = vec![None; self.machines.len()];
        for change in &self.changes {
            first[change.machine as usize].get_or_insert(change.change);
        }
        first.into_iter().map(|change| change != Some(Change::Up)).collect()
    }

    /// How many jobs were there before the start.
    pub fn initial_jobs(&self) -> usize {
        self.jobs.iter().take_while(|j| j.submit_us.is_none()).count()
    }

    /// When the last job was submitted or the last machine changed: what was recorded, in microseconds.
    pub fn span_us(&self) -> u64 {
        let submitted = self.jobs.iter().filter_map(|j| j.submit_us).max();
        let changed = self.changes.iter().map(|c| c.at_us).max();
        submitted.max(changed).unwrap_or(0)
    }

    /// Only what happens before this time.
    pub fn cut(&mut self, until_us: u64) {
        self.jobs.retain(|j| j.submit_us.is_none_or(|at| at < until_us));
        self.changes.retain(|c| c.at_us < until_us);
        for tasks in self.jobs.iter_mut().flat_map(|j| &mut j.tasks) {
            tasks.placed = tasks.placed.filter(|p| p.at_us < until_us);
        }
    }
}

/// A vector so many times.
pub(crate) fn times(amounts: &Resources, count: u64) -> Resources {
    Resources(amounts.0.map(|amount| amount.saturating_mul(count)))
}

#[cfg(test)]
mod tests;
