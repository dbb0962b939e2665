//! The `batch` policy: fast. Best fit among a sample of machines from a random start.
//!
//! For each run of equal tasks it walks the machine table once at most: it keeps a pool of machines known to fit and
//! tops it up from where it stopped. A machine that didn't fit once is never looked at again in the same plan, since
//! plans only take room. So a plan costs one scan even when the cell is full, and far less when it is not.

use cell_state::machine::Machine;
use cell_state::{MachineId, TaskId};
use rand::RngExt;

use crate::bounds::{FALLBACKS, SAMPLE};
use crate::plan::{Plan, Unfit};
use crate::policy::Policy;
use crate::preempt::Hunt;
use crate::score::Score;

/// Scores this close to the best count as equal, and chance decides: schedulers that all take the very best machine
/// collide.
const NEAR_BEST: f64 = 0.05;

/// What `batch` can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchOptions {
    /// Fitting machines compared for each task.
    pub sample: usize,
    /// Machines named in case the first is lost.
    pub fallbacks: usize,
    /// Whether tasks of lower bands may have to go when nothing fits.
    pub preempt: bool,
    /// How machines are compared.
    pub score: Score,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions { sample: SAMPLE, fallbacks: FALLBACKS, preempt: true, score: Score::Pack }
    }
}

/// The `batch` policy.
#[derive(Clone, Debug)]
pub struct Batch {
    options: BatchOptions,
}

impl Batch {
    /// The policy with these options.
    pub fn new(options: BatchOptions) -> Batch {
        Batch { options }
    }
}

impl Policy for Batch {
    fn name(&self) -> &str {
        "batch"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        let mut hunt = Hunt::default();
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            let mut walk = Walk { machines: plan.machines(), pool: Vec::new(), options: self.options };
            for task in group {
                let placed =
                    walk.place(plan, *task) || (self.options.preempt && hunt.place(plan, *task, |_| true));
                if !placed {
                    break;
                }
            }
        }
    }
}

/// One walk over the machines for a run of equal tasks.
struct Walk<'a, I: Iterator<Item = &'a Machine>> {
    machines: I,
    /// Machines known to fit when they were scored.
    pool: Vec<(&'a Machine, f64)>,
    options: BatchOptions,
}

impl<'a, I: Iterator<Item = &'a Machine>> Walk<'a, I> {
    fn place(&mut self, plan: &mut Plan<'_>, task: TaskId) -> bool {
        loop {
            self.top_up(plan, task);
            let Some(at) = self.near_best(plan) else { return false };
            let machine = self.pool[at].0;
            let fallbacks = self.fallbacks(plan, at);
            match plan.place_with_fallbacks(task, machine.id, &fallbacks) {
                Ok(()) => {
                    if plan.fits(task, machine) {
                        self.pool[at].1 = plan.score(self.options.score, task, machine);
                    } else {
                        self.pool.swap_remove(at);
                    }
                    return true;
                }
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                Err(Unfit::Conflict(_) | Unfit::Avoided) => {
                    self.pool.swap_remove(at);
                }
            }
        }
    }

    /// Fills the pool up to the sample; gives up early only when it has something and has looked at enough.
    fn top_up(&mut self, plan: &Plan<'_>, task: TaskId) {
        let mut looked_at = 0;
        while self.pool.len() < self.options.sample.max(1) {
            if !self.pool.is_empty() && looked_at >= 4 * self.options.sample {
                return;
            }
            let Some(machine) = self.machines.next() else { return };
            looked_at += 1;
            if plan.fits(task, machine) {
                self.pool.push((machine, plan.score(self.options.score, task, machine)));
            }
        }
    }

    /// The position of one of the best in the pool, drawn among those nearly equal.
    fn near_best(&self, plan: &mut Plan<'_>) -> Option<usize> {
        let best = self.pool.iter().map(|(_, score)| *score).reduce(f64::max)?;
        let near = |(_, score): &&(&Machine, f64)| *score >= best - NEAR_BEST;
        let drawn = plan.rng().random_range(0..self.pool.iter().filter(near).count());
        let positions = self.pool.iter().enumerate().filter(|(_, (_, score))| *score >= best - NEAR_BEST);
        positions.map(|(i, _)| i).nth(drawn)
    }

    /// Other machines of the pool, drawn from a random place on.
    fn fallbacks(&self, plan: &mut Plan<'_>, chosen: usize) -> Vec<MachineId> {
        let others = self.pool.len() - 1;
        if others == 0 || self.options.fallbacks == 0 {
            return Vec::new();
        }
        let start = plan.rng().random_range(0..others);
        let wanted = self.options.fallbacks.min(others);
        (0..wanted).map(|i| self.pool[(chosen + 1 + (start + i) % others) % self.pool.len()].0.id).collect()
    }
}
