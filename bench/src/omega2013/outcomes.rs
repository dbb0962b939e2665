//! What became of the jobs of a class, counted as each is over: they needn't be kept.

use super::figures::WorkloadFigures;
use super::jobs::Job;
use crate::bounds::WAITS_EXACT_MAX;
use crate::virtual_cell::Durations;

/// What became of jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes {
    jobs: u64,
    tasks: u64,
    full: u64,
    tasks_left: u64,
    attempts: u64,
    /// Jobs by how many decisions there were on each, of those with any.
    tries: Vec<u64>,
    first: Waits,
    whole: Waits,
}

impl Outcomes {
    /// Counts a job as it is.
    pub(super) fn add<A>(&mut self, job: &Job<A>) {
        self.jobs += 1;
        self.tasks += u64::from(job.of.tasks);
        self.full += u64::from(job.unscheduled == 0);
        self.tasks_left += u64::from(job.unscheduled);
        if job.attempts == 0 {
            return;
        }
        self.attempts += u64::from(job.attempts);
        let tries = job.attempts as usize;
        if self.tries.len() <= tries {
            self.tries.resize(tries + 1, 0);
        }
        self.tries[tries] += 1;
        self.first.add(job.wait_first_s);
        self.whole.add(job.wait_full_s);
    }

    pub(super) fn figures(mut self) -> WorkloadFigures {
        WorkloadFigures {
            jobs: self.jobs,
            tasks: self.tasks,
            attempted: self.first.count,
            full: self.full,
            tasks_left: self.tasks_left,
            wait_first_s: [
                self.first.average(),
                self.first.percentile(0.5),
                self.first.percentile(0.9),
                self.first.percentile(0.99),
            ],
            wait_full_s: [self.whole.average(), self.whole.percentile(0.9)],
            attempts_per_job: [0.9, 0.99, 1.0].map(|part| self.tries(part)),
            attempts: self.attempts,
        }
    }

    /// Decisions on a job: this part of the jobs had no more.
    fn tries(&self, part: f64) -> u64 {
        let Some(last) = self.first.count.checked_sub(1) else { return 0 };
        let at = place(last, part);
        let mut before = 0;
        let found = self.tries.iter().position(|jobs| {
            before += jobs;
            before > at
        });
        found.unwrap_or(0) as u64
    }
}

/// The place of a percentile in a sorted list whose last place is this: the lower one between two.
fn place(last: u64, part: f64) -> u64 {
    (last as f64 * part) as u64
}

/// Seconds that jobs waited. Percentiles are exact for as many jobs as any golden result has; beyond the bound they are
/// counted to three digits, so that a run of a year takes no more memory than one of a month.
#[derive(Clone, Debug, Default)]
struct Waits {
    count: u64,
    sum_s: f64,
    exact: Vec<f64>,
    rounded: Durations,
}

impl Waits {
    fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.sum_s += seconds;
        if self.rounded.count() == 0 && self.exact.len() < WAITS_EXACT_MAX {
            return self.exact.push(seconds);
        }
        for seconds in std::mem::take(&mut self.exact).into_iter().chain([seconds]) {
            self.rounded.add((seconds * 1e6).round() as u64);
        }
    }

    /// Averages and percentiles of nothing are -1, as in the original.
    fn average(&self) -> f64 {
        if self.count == 0 { -1.0 } else { self.sum_s / self.count as f64 }
    }

    fn percentile(&mut self, part: f64) -> f64 {
        let Some(last) = self.count.checked_sub(1) else { return -1.0 };
        if self.rounded.count() > 0 {
            return self.rounded.quantile_s(part);
        }
        *self.exact.select_nth_unstable_by(place(last, part) as usize, f64::total_cmp).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_waits_are_counted_to_three_digits() {
        let mut waits = Waits::default();
        assert_eq!((waits.average(), waits.percentile(0.5)), (-1.0, -1.0));
        for n in 0..WAITS_EXACT_MAX {
            waits.add((n % 1_000) as f64);
        }
        let exact = waits.percentile(0.9);
        assert_eq!(waits.exact.len(), WAITS_EXACT_MAX);
        (0..1_000).for_each(|n| waits.add(f64::from(n)));
        assert!(waits.exact.capacity() == 0, "the exact ones are given up");
        let rounded = waits.percentile(0.9);
        assert!((rounded / exact - 1.0).abs() < 0.002, "{rounded} {exact}");
        assert!((waits.average() - 499.5).abs() < 1.0, "{}", waits.average());
    }
}
