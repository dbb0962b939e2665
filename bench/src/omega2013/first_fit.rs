//! Randomised first fit: draws machines until the tasks are placed or no machine is left to try.

use super::amounts::Amounts;
use super::random::JavaRandom;

/// One scheduler's way of finding machines.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    random: JavaRandom,
    /// A permutation of the machines that lasts as long as the scheduler: full ones drift to its end.
    pool: Vec<u32>,
    /// Machines drawn on which the task didn't fit.
    pub(super) misses: u64,
}

impl Finder {
    /// Over so many machines.
    pub(super) fn new(seed: i64, machines: u32) -> Finder {
        Finder { random: JavaRandom::new(seed), pool: (0..machines).collect(), misses: 0 }
    }

    /// Finds machines for so many tasks, adds the tasks to what the machines hold, and lists the machines in order.
    pub(super) fn place<A: Amounts>(
        &mut self,
        held: &mut [A],
        capacity: A,
        need: A,
        tasks: u32,
        found: &mut Vec<u32>,
    ) {
        let mut left = tasks;
        let mut remaining = self.pool.len();
        while left > 0 && remaining > 0 {
            let drawn = self.random.below(remaining as u32) as usize;
            let machine = self.pool[drawn];
            let holds = &mut held[machine as usize];
            if need.fits(*holds, capacity) {
                *holds = holds.plus(need);
                found.push(machine);
                left -= 1;
            } else {
                remaining -= 1;
                self.pool.swap(drawn, remaining);
            }
        }
        self.misses += (self.pool.len() - remaining) as u64;
    }
}
