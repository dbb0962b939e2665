//! The pace: how many transactions of how many tasks a process has in flight, adapted to how often it loses.
//!
//! Additive increase, multiplicative decrease: when many ops are lost, the copy is too stale for so much work at once,
//! so both are halved; when few are lost, both grow again towards what was configured.

use crate::bounds::TASKS_PER_TXN_MIN;

/// Above this fraction of lost ops the pace is halved.
const HIGH: f64 = 0.25;
/// Below this fraction it grows.
const LOW: f64 = 0.05;
/// The weight of one op in the running fraction, up to a tenth for one verdict.
const WEIGHT_PER_OP: f64 = 0.002;
const WEIGHT_MAX: f64 = 0.1;

/// How much is in flight at most.
#[derive(Clone, PartialEq, Debug)]
pub struct Pace {
    in_flight: usize,
    tasks: usize,
    in_flight_max: usize,
    tasks_max: usize,
    adaptive: bool,
    /// The running fraction of ops lost.
    lost: f64,
}

impl Pace {
    /// A pace that starts at what is configured and, if `adaptive`, never goes beyond it.
    pub fn new(in_flight: usize, tasks: usize, adaptive: bool) -> Pace {
        let (in_flight, tasks) = (in_flight.max(1), tasks.max(1));
        Pace { in_flight, tasks, in_flight_max: in_flight, tasks_max: tasks, adaptive, lost: 0.0 }
    }

    /// Transactions in flight at most, now.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Tasks per transaction at most, now.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// The running fraction of ops lost.
    pub fn lost(&self) -> f64 {
        self.lost
    }

    /// Takes note of a verdict.
    pub fn verdict(&mut self, accepted: u64, lost: u64) {
        let ops = accepted + lost;
        if ops == 0 {
            return;
        }
        let weight = (ops as f64 * WEIGHT_PER_OP).clamp(WEIGHT_PER_OP, WEIGHT_MAX);
        self.lost += weight * (lost as f64 / ops as f64 - self.lost);
        if !self.adaptive {
            return;
        }
        if self.lost > HIGH {
            self.shrink();
            // Half the evidence is spent: the next cut must be earned at the new pace.
            self.lost /= 2.0;
        } else if self.lost < LOW {
            self.in_flight = (self.in_flight + 1).min(self.in_flight_max);
            self.tasks = (self.tasks + self.tasks / 8 + 1).min(self.tasks_max);
        }
    }

    /// The server was too busy: halves the pace.
    pub fn busy(&mut self) {
        if self.adaptive {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.in_flight = (self.in_flight / 2).max(1);
        self.tasks = (self.tasks / 2).max(TASKS_PER_TXN_MIN.min(self.tasks_max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losing_shrinks_and_winning_grows_within_bounds() {
        let mut pace = Pace::new(8, 500, true);
        for _ in 0..100 {
            pace.verdict(10, 490);
        }
        assert_eq!((pace.in_flight(), pace.tasks()), (1, TASKS_PER_TXN_MIN));
        for _ in 0..1_000 {
            pace.verdict(16, 0);
        }
        assert_eq!((pace.in_flight(), pace.tasks()), (8, 500));
    }

    #[test]
    fn a_fixed_pace_stays() {
        let mut pace = Pace::new(1, 20_000, false);
        for _ in 0..100 {
            pace.verdict(0, 100);
            pace.busy();
        }
        assert_eq!((pace.in_flight(), pace.tasks()), (1, 20_000));
    }

    #[test]
    fn a_single_lost_task_is_no_reason_to_slow_down() {
        let mut pace = Pace::new(8, 500, true);
        pace.verdict(0, 1);
        assert_eq!((pace.in_flight(), pace.tasks()), (8, 500));
    }
}
