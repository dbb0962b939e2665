//! The power of two choices: for each task a few fitting machines are drawn at random, and the emptiest of them taken.
//!
//! Schedulers that look at little differ in what they choose, so they rarely meet, however old what they see is; those
//! that look at everything all choose the same.

use cell_state::{MachineId, TaskId};

use crate::plan::{Plan, Unfit};
use crate::policy::Policy;
use crate::score::Score;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// Machines drawn for each task.
    draws: usize,
}

impl Choices {
    /// The policy that draws so many machines for each task, at least one.
    pub fn new(draws: usize) -> Choices {
        Choices { draws: draws.max(1) }
    }
}

impl Policy for Choices {
    fn name(&self) -> &str {
        "choices"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            for task in group {
                if !self.place(plan, *task) {
                    break;
                }
            }
        }
    }
}

impl Choices {
    fn place(self, plan: &mut Plan<'_>, task: TaskId) -> bool {
        let mut drawn: Vec<(MachineId, f64)> = Vec::with_capacity(self.draws);
        for _ in 0..self.draws {
            // Each draw starts at a place of its own. What seems to fit and doesn't is passed over, as in any walk.
            let Some(mut scan) = plan.scan(task) else { return false };
            let machine = loop {
                let Some(machine) = plan.next_of(&mut scan) else { break None };
                if plan.sums_decide(task) || plan.fits(task, machine) {
                    break Some(machine);
                }
            };
            let Some(machine) = machine else { return false };
            drawn.push((machine.id, plan.score(Score::Even, task, machine)));
        }
        drawn.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (machine, _) in drawn {
            match plan.place(task, machine) {
                Ok(()) => return true,
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                Err(Unfit::Conflict(_) | Unfit::Avoided) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use cell_state::Resources;

    use super::*;
    use crate::sandbox::{Sandbox, simulated_job};

    #[test]
    fn of_two_machines_drawn_the_emptier_is_taken() {
        let mut sandbox = Sandbox::new(1);
        let small = sandbox.machine("small", Resources::cpu_memory(2_000, 4 << 30));
        let large = sandbox.machine("large", Resources::cpu_memory(64_000, 64 << 30));
        let id = sandbox.job(simulated_job("j", "s", 40, Resources::cpu_memory(1_000, 1 << 30)));
        let placed = sandbox.place(&mut Choices::new(2), id).placed;
        assert_eq!(placed.len(), 40);
        let on = |machine| placed.iter().filter(|(_, on)| *on == machine).count();
        // With both drawn the large one is always the emptier; the small one is taken when it was drawn twice.
        assert!(on(large) >= 38 && on(small) <= 2, "{} {}", on(small), on(large));
    }
}
