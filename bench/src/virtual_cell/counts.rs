//! What a run is measured by.

use cell_state::verdict::Outcome;
use serde::Serialize;

use crate::figures;

/// What happened in a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Counts {
    /// Batch and free jobs.
    pub batch: ClassCounts,
    /// Production and monitoring jobs.
    pub service: ClassCounts,
    /// Events handled.
    pub events: u64,
    /// Tasks of the start that found no machine.
    pub initial_left: u64,
    /// The part of all cpu that was promised at the end.
    pub cpu_promised: f64,
    /// The part of all memory that was promised at the end.
    pub memory_promised: f64,
}

/// What happened to the jobs of a class.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ClassCounts {
    /// Schedulers.
    pub schedulers: u64,
    /// Jobs that arrived.
    pub jobs: u64,
    /// Of these, jobs whose tasks were all placed.
    pub full: u64,
    /// Of these, jobs given up.
    pub given_up: u64,
    /// Tasks placed.
    pub placed: u64,
    /// Placements lost to conflicts.
    pub lost: u64,
    /// Of these, to changes that left room all the same.
    pub spurious: u64,
    /// Plans that were wrong when they were made: a bug when not zero.
    pub divergences: u64,
    /// Placements aborted with others.
    pub aborted: u64,
    /// Placements that took a machine named second or later.
    pub fell_back: u64,
    /// Transactions without a conflict.
    pub won: u64,
    /// Transactions with one.
    pub conflicted: u64,
    /// Decisions that found no machine for any task, or not for the whole gang.
    pub fruitless: u64,
    /// Decisions.
    pub decisions: u64,
    /// Microseconds of decisions without a conflict.
    pub useful_us: u64,
    /// Microseconds of decisions with one.
    pub wasted_us: u64,
    /// Microseconds of decisions that found nothing.
    pub fruitless_us: u64,
    /// Microseconds jobs were queued before their first decision began, one entry per job taken up.
    #[serde(skip)]
    pub waits_us: Vec<u64>,
    /// Decisions of jobs that were placed in full, one entry per job.
    #[serde(skip)]
    pub tries: Vec<u64>,
}

impl ClassCounts {
    /// Transactions with a conflict per transaction without: the paper's conflict fraction.
    pub fn conflict_fraction(&self) -> f64 {
        figures::fraction(self.conflicted, self.won)
    }

    /// The part of the time spent deciding, on average over the schedulers of the class.
    pub fn busyness(&self, run_us: u64) -> f64 {
        self.part(self.useful_us + self.wasted_us + self.fruitless_us, run_us)
    }

    /// Busyness without what was lost to conflicts: the paper's no-conflict line.
    pub fn busyness_without_conflicts(&self, run_us: u64) -> f64 {
        self.part(self.useful_us + self.fruitless_us, run_us)
    }

    fn part(&self, us: u64, run_us: u64) -> f64 {
        figures::fraction(us, run_us * self.schedulers.max(1))
    }

    /// Seconds jobs were queued before their first decision: average, percentiles 50, 90, 99.
    pub fn wait_s(&self) -> [f64; 4] {
        let mut waits = self.waits_us.clone();
        waits.sort_unstable();
        let Some(last) = waits.len().checked_sub(1) else { return [0.0; 4] };
        let at = |part: f64| waits[(last as f64 * part) as usize] as f64 / 1e6;
        let average = waits.iter().sum::<u64>() as f64 / waits.len() as f64 / 1e6;
        [average, at(0.5), at(0.9), at(0.99)]
    }

    /// Jain's fairness of the decisions that jobs needed: 1 when all needed equally many, down to 1/n.
    pub fn fairness(&self) -> f64 {
        let squares: u64 = self.tries.iter().map(|n| n * n).sum();
        let sum: u64 = self.tries.iter().sum();
        if squares == 0 { 1.0 } else { (sum * sum) as f64 / (squares * self.tries.len() as u64) as f64 }
    }

    /// Counts what became of a transaction, whose decision took so long.
    pub(super) fn judged(
        &mut self,
        outcomes: &[Outcome],
        first_choices: impl Fn(usize) -> bool,
        took_us: u64,
    ) {
        let mut conflicts = 0;
        for (at, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Placed(_) => {
                    self.placed += 1;
                    self.fell_back += u64::from(!first_choices(at));
                }
                Outcome::Conflict(conflict) => {
                    conflicts += 1;
                    self.spurious += u64::from(conflict.spurious);
                    self.divergences += u64::from(conflict.divergence);
                }
                Outcome::Aborted => self.aborted += 1,
                Outcome::Stopping { .. } | Outcome::Resized { .. } => {}
            }
        }
        self.lost += conflicts;
        if conflicts == 0 {
            self.won += 1;
            self.useful_us += took_us;
        } else {
            self.conflicted += 1;
            self.wasted_us += took_us;
        }
    }
}
