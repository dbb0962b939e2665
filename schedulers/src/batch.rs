//! The `batch` policy: fast. Best fit among a sample of machines from a random start.
//!
//! For each run of equal tasks it walks the columns of the machines once at most: it keeps a pool of machines that seem
//! to fit and tops it up from where it stopped; the fit rule is asked when a machine is chosen. A machine that didn't fit
//! once is never looked at again in the same plan, since plans only take room. So a plan costs one scan even when the
//! cell is full, and far less when it is not.

use cell_state::{MachineId, TaskId};
use rand::RngExt;

use crate::bounds::{FALLBACKS, SAMPLE};
use crate::columns::Scan;
use crate::plan::{Plan, Unfit};
use crate::policy::Policy;
use crate::preempt::Hunt;
use crate::score::Score;

/// Scores this close to the best count as equal, and chance decides: schedulers that all take the very best machine
/// collide.
const NEAR_BEST: f32 = 0.05;

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
            let Some(scan) = plan.scan(group[0]) else { continue };
            let mut walk = Walk { scan, pool: Vec::new(), options: self.options };
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
struct Walk {
    scan: Scan,
    /// Machines that seemed to fit when they were scored.
    pool: Vec<(MachineId, f32)>,
    options: BatchOptions,
}

impl Walk {
    fn place(&mut self, plan: &mut Plan<'_>, task: TaskId) -> bool {
        loop {
            self.top_up(plan);
            let Some(at) = self.near_best(plan) else { return false };
            let machine = self.pool[at].0;
            match plan.place(task, machine) {
                Ok(()) => {
                    let others = self.fallbacks(plan, task, at);
                    plan.fall_back_to(others);
                    match self.score(plan, machine) {
                        Some(score) => self.pool[at].1 = score,
                        None => drop(self.pool.swap_remove(at)),
                    }
                    return true;
                }
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                // The columns know of sums only: ports, devices or another task of the job are in the way.
                Err(Unfit::Conflict(_) | Unfit::Avoided) => drop(self.pool.swap_remove(at)),
            }
        }
    }

    fn score(&self, plan: &mut Plan<'_>, machine: MachineId) -> Option<f32> {
        plan.up_to_date().score(self.options.score, self.scan.query(), machine)
    }

    /// Fills the pool up to the sample; gives up early only when it has something and has found enough.
    fn top_up(&mut self, plan: &mut Plan<'_>) {
        let mut found = 0;
        while self.pool.len() < self.options.sample.max(1) {
            if !self.pool.is_empty() && found >= 4 * self.options.sample {
                return;
            }
            let Some(machine) = plan.next_of(&mut self.scan) else { return };
            found += 1;
            self.pool.extend(self.score(plan, machine.id).map(|score| (machine.id, score)));
        }
    }

    /// The position of one of the best in the pool, drawn among those nearly equal.
    fn near_best(&self, plan: &mut Plan<'_>) -> Option<usize> {
        let best = self.pool.iter().map(|(_, score)| *score).reduce(f32::max)?;
        let near = |(_, score): &&(MachineId, f32)| *score >= best - NEAR_BEST;
        let drawn = plan.rng().random_range(0..self.pool.iter().filter(near).count());
        let positions = self.pool.iter().enumerate().filter(|(_, (_, score))| *score >= best - NEAR_BEST);
        positions.map(|(i, _)| i).nth(drawn)
    }

    /// Other machines of the pool that would do, drawn from a random place on.
    fn fallbacks(&self, plan: &mut Plan<'_>, task: TaskId, chosen: usize) -> Vec<MachineId> {
        let others = self.pool.len() - 1;
        if others == 0 || self.options.fallbacks == 0 {
            return Vec::new();
        }
        let start = plan.rng().random_range(0..others);
        let other = |i: usize| self.pool[(chosen + 1 + (start + i) % others) % self.pool.len()].0;
        let wanted = self.options.fallbacks.min(others);
        // Not many are asked: a plan is no better for a fallback.
        let asked = (0..others.min(2 * wanted)).map(other);
        // Where sums alone decide, the columns have answered already.
        let sums_decide = plan.sums_decide(task);
        let would_do = |id: &MachineId| plan.cell().machine(*id).is_some_and(|m| plan.fits(task, m));
        asked.filter(|id| sums_decide || would_do(id)).take(wanted).collect()
    }
}
