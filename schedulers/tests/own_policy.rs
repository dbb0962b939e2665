//! A policy of one's own, tried in memory: this file is shown in docs/writing-a-scheduler.md.

use cell_state::{Dimension, Resources, TaskId};
use schedulers::sandbox::{Sandbox, simulated_job};
use schedulers::{Plan, Policy};

/// Puts each task on the machine with the most memory free.
struct MostMemory;

impl Policy for MostMemory {
    fn name(&self) -> &str {
        "most-memory"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        for task in tasks {
            let fitting = plan.cell().machines().iter().filter(|machine| plan.fits(*task, machine));
            let best = fitting.max_by_key(|machine| plan.free(machine).get(Dimension::MEMORY));
            let Some(machine) = best.map(|machine| machine.id) else { continue };
            // What doesn't work out now is offered again later.
            let _ = plan.place(*task, machine);
        }
    }
}

#[test]
fn tasks_go_where_the_memory_is() {
    let mut sandbox = Sandbox::new(1);
    let small = sandbox.machine("small", Resources::cpu_memory(8_000, 4 << 30));
    let large = sandbox.machine("large", Resources::cpu_memory(8_000, 8 << 30));
    let job = sandbox.job(simulated_job("j", "mine", 4, Resources::cpu_memory(1_000, 3 << 30)));

    let placed = sandbox.place(&mut MostMemory, job);

    let machines: Vec<_> = placed.placed.iter().map(|(_, machine)| *machine).collect();
    assert_eq!(machines, [large, large, small], "a fourth fits nowhere");
    assert!(placed.conflicts.is_empty(), "nobody races in a sandbox: what a plan takes, the server takes");
}
