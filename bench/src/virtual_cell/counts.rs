//! What a run is measured by: each figure is defined here, once.

use cell_state::verdict::Outcome;
use serde::Serialize;

use super::durations::Durations;
use crate::figures;

/// Sizes of jobs that are told apart: up to so many tasks, and larger ones.
pub const SIZES: [u64; 4] = [1, 10, 100, 1_000];

/// The place of a job's size among [`SIZES`].
pub(super) fn size_of(tasks: u64) -> usize {
    SIZES.iter().position(|most| tasks <= *most).unwrap_or(SIZES.len())
}

/// What happened in a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Counts {
    /// Batch and free jobs.
    pub batch: ClassCounts,
    /// Production and monitoring jobs.
    pub service: ClassCounts,
    /// Events handled.
    pub events: u64,
    /// The most there was at any time of what may grow with the time simulated: jobs, events to come, older records.
    pub objects_most: u64,
    /// Tasks of the start that found no machine.
    pub initial_left: u64,
    /// The part of all cpu that was promised at the end.
    pub cpu_promised: f64,
    /// The part of all memory that was promised at the end.
    pub memory_promised: f64,
    /// What the audit of the cell found at the end: a bug when not zero.
    pub violations: u64,
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
    /// Of these, those that claimed machines at their beginning.
    pub escalated: u64,
    /// Tasks that had to go for others.
    pub preempted: u64,
    /// Tasks lost with their machines.
    pub failed: u64,
    /// Microseconds of decisions without a conflict.
    pub useful_us: u64,
    /// Microseconds of decisions with one.
    pub wasted_us: u64,
    /// Microseconds of decisions that found nothing.
    pub fruitless_us: u64,
    /// The longest that a job has been waiting to be placed in full, in microseconds, whether it was in the end or not.
    pub oldest_us: u64,
    /// Entries of the log between what a transaction was planned on and its verdict, all together.
    pub stale_entries: u64,
    /// From arrival until the first decision began, per job taken up.
    #[serde(skip)]
    pub waits_first: Durations,
    /// In queues in all, per job placed in full.
    #[serde(skip)]
    pub waits_full: Durations,
    /// From arrival until the last task was placed, per job placed in full, by size.
    #[serde(skip)]
    pub place: [Durations; SIZES.len() + 1],
    /// From the state a transaction was planned on to its verdict, per transaction.
    #[serde(skip)]
    pub staleness: Durations,
    /// Decisions of jobs that were placed in full, by size.
    #[serde(skip)]
    pub tries: [Tries; SIZES.len() + 1],
    /// Placements proposed and won, per scheduler.
    #[serde(skip)]
    pub by_scheduler: Vec<[u64; 2]>,
    /// What had been counted at the end of each day.
    #[serde(skip)]
    pub(super) days: Vec<Mark>,
}

/// Decisions that jobs needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tries {
    /// Jobs.
    pub jobs: u64,
    /// Their decisions.
    pub sum: u64,
    /// The squares of these.
    pub squares: u64,
}

/// What had been counted at some time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Mark {
    useful_us: u64,
    wasted_us: u64,
    fruitless_us: u64,
    won: u64,
    conflicted: u64,
    waits: u64,
    waits_us: u64,
}

/// Microseconds of a day.
pub(super) const DAY_US: u64 = 86_400_000_000;

/// Jain's fairness: 1 when all get the same, down to 1/n when one gets all; 1 of nothing.
pub fn jain(shares: impl IntoIterator<Item = f64>) -> f64 {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for share in shares {
        (n, sum, squares) = (n + 1.0, sum + share, squares + share * share);
    }
    if squares == 0.0 { 1.0 } else { sum * sum / (n * squares) }
}

impl ClassCounts {
    /// Transactions with a conflict per transaction without: the paper's conflict fraction.
    pub fn conflict_fraction(&self) -> f64 {
        figures::fraction(self.conflicted, self.won)
    }

    /// Transactions with a conflict per transaction.
    pub fn conflicts_per_attempt(&self) -> f64 {
        figures::fraction(self.conflicted, self.won + self.conflicted)
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
        let waits = &self.waits_first;
        [waits.mean_s(), waits.quantile_s(0.5), waits.quantile_s(0.9), waits.quantile_s(0.99)]
    }

    /// Jain's fairness of the decisions that jobs needed.
    pub fn fairness(&self) -> f64 {
        let all = self.tries.iter().fold([0u64; 3], |[n, sum, squares], tries| {
            [n + tries.jobs, sum + tries.sum, squares + tries.squares]
        });
        let [n, sum, squares] = all.map(|count| count as f64);
        if squares == 0.0 { 1.0 } else { sum * sum / (n * squares) }
    }

    /// Jain's fairness, over the sizes of jobs, of the decisions that jobs of a size needed on average.
    pub fn fairness_of_sizes(&self) -> f64 {
        let placed = self.tries.iter().filter(|tries| tries.jobs > 0);
        jain(placed.map(|tries| figures::fraction(tries.sum, tries.jobs)))
    }

    /// Jain's fairness, over the schedulers that proposed anything, of the part of their placements that won.
    pub fn fairness_of_schedulers(&self) -> f64 {
        let proposed = self.by_scheduler.iter().filter(|[proposed, _]| *proposed > 0);
        jain(proposed.map(|[proposed, won]| figures::fraction(*won, *proposed)))
    }

    /// The median and the median absolute deviation of what was measured each whole day; `None` below two days.
    pub fn daily(&self, of: Daily) -> Option<(f64, f64)> {
        let mut before = Mark::default();
        let mut values = Vec::with_capacity(self.days.len());
        for mark in &self.days {
            values.push(self.of_day(&before, mark, of));
            before = *mark;
        }
        if values.len() < 2 {
            return None;
        }
        let middle = median(&mut values);
        let mut away: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        Some((middle, median(&mut away)))
    }

    fn of_day(&self, from: &Mark, to: &Mark, of: Daily) -> f64 {
        let wasted = to.wasted_us - from.wasted_us;
        let useful = to.useful_us - from.useful_us + to.fruitless_us - from.fruitless_us;
        match of {
            Daily::Busy => self.part(useful + wasted, DAY_US),
            Daily::Useful => self.part(useful, DAY_US),
            Daily::Wasted => self.part(wasted, DAY_US),
            Daily::ConflictFraction => figures::fraction(to.conflicted - from.conflicted, to.won - from.won),
            Daily::WaitS => figures::fraction(to.waits_us - from.waits_us, to.waits - from.waits) / 1e6,
        }
    }

    /// A day is over.
    pub(super) fn end_of_day(&mut self) {
        self.days.push(Mark {
            useful_us: self.useful_us,
            wasted_us: self.wasted_us,
            fruitless_us: self.fruitless_us,
            won: self.won,
            conflicted: self.conflicted,
            waits: self.waits_first.count(),
            waits_us: self.waits_first.sum_us(),
        });
    }

    /// A job was placed in full: its tasks, its decisions, and how long it took.
    pub(super) fn placed_in_full(&mut self, size: usize, tries: u64, waited_us: u64, took_us: u64) {
        self.full += 1;
        let of_size = &mut self.tries[size];
        of_size.jobs += 1;
        of_size.sum += tries;
        of_size.squares += tries * tries;
        self.waits_full.add(waited_us);
        self.place[size].add(took_us);
        self.oldest_us = self.oldest_us.max(took_us);
    }

    /// Counts what became of a transaction, whose decision took so long. True when nothing of it was lost.
    pub(super) fn judged(
        &mut self,
        outcomes: &[Outcome],
        first_choices: impl Fn(usize) -> bool,
        took_us: u64,
        scheduler: usize,
    ) -> bool {
        let (mut conflicts, mut placed) = (0, 0);
        for (at, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Placed(_) => {
                    placed += 1;
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
        self.placed += placed;
        self.lost += conflicts;
        if let Some([proposed, won]) = self.by_scheduler.get_mut(scheduler) {
            *proposed += outcomes.len() as u64;
            *won += placed;
        }
        if conflicts == 0 {
            self.won += 1;
            self.useful_us += took_us;
        } else {
            self.conflicted += 1;
            self.wasted_us += took_us;
        }
        conflicts == 0
    }
}

/// What is told day by day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Daily {
    /// The part of the day spent deciding.
    Busy,
    /// Of this, what wasn't lost to conflicts.
    Useful,
    /// Of this, what was.
    Wasted,
    /// Transactions with a conflict per transaction without.
    ConflictFraction,
    /// Seconds until the first decision, on average over the jobs taken up that day.
    WaitS,
}

/// The middle of a list, the lower one of two.
fn median(list: &mut [f64]) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}
