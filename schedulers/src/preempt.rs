//! Preemption: which tasks of a lower band must go so that a task fits. The last resort of the built-in policies.
//!
//! The server allows any task of lower priority to be preempted; the policies only ever preempt across bands, so that
//! production never preempts production and a chain of preemptions is at most four long.

use cell_state::bounds::PREEMPT_VICTIMS_MAX;
use cell_state::job::Band;
use cell_state::machine::{Machine, MachineState};
use cell_state::task::TaskState;
use cell_state::{Resources, TaskId};

use crate::bounds::{PREEMPT_CANDIDATES, PREEMPT_MACHINES_MAX};
use crate::plan::{Plan, Unfit};

/// What a preemption costs, cheapest first: the highest priority among the victims, then their number.
type Cost = (u16, usize);

/// The search for victims within one plan.
#[derive(Debug)]
pub struct Hunt {
    /// Machines that may still be looked at.
    left: usize,
}

impl Default for Hunt {
    fn default() -> Hunt {
        Hunt { left: PREEMPT_MACHINES_MAX }
    }
}

impl Hunt {
    /// Plans a task on the cheapest of the first machines found where victims make it fit, among the machines that
    /// `may_use` lets pass. False when none was found.
    pub fn place(&mut self, plan: &mut Plan<'_>, task: TaskId, may_use: impl Fn(&Machine) -> bool) -> bool {
        let hopeless = plan.is_full() || plan.hopeless().contains(&task.group);
        if plan.band() == Band::Free || hopeless || plan.avoids_for_a_moment() {
            return false;
        }
        let mut found: Vec<(Cost, &Machine, Vec<TaskId>)> = Vec::new();
        for machine in plan.machines() {
            if self.left == 0 || found.len() >= PREEMPT_CANDIDATES {
                break;
            }
            self.left -= 1;
            if machine.state != MachineState::Ready || !may_use(machine) || plan.avoids(machine) {
                continue;
            }
            let victims = victims(plan, task, machine);
            let would_do = victims.filter(|(_, victims)| plan.fits_preempting(task, machine, victims));
            found.extend(would_do.map(|(cost, victims)| (cost, machine, victims)));
        }
        found.sort_by_key(|(cost, machine, _)| (*cost, machine.id));
        for (_, machine, victims) in found {
            match plan.preempt(task, machine.id, &victims) {
                Ok(()) => return true,
                Err(Unfit::Hopeless | Unfit::Full) => return false,
                Err(Unfit::Conflict(_) | Unfit::Avoided) => {}
            }
        }
        false
    }
}

/// The cheapest victims on a machine: lowest priority first, then the largest, and none that isn't needed.
fn victims(plan: &Plan<'_>, task: TaskId, machine: &Machine) -> Option<(Cost, Vec<TaskId>)> {
    let wanted = plan.demand(task)?.resources;
    let mut candidates = preemptable(plan, machine);
    candidates.sort_by_key(|(priority, held, id)| (*priority, std::cmp::Reverse(held.0), *id));
    candidates.truncate(PREEMPT_VICTIMS_MAX);
    let enough = |freed: &Resources| wanted.minus(freed).first_over(&plan.free(machine)).is_none();
    let mut freed = Resources::ZERO;
    let mut chosen = Vec::new();
    for candidate in candidates {
        if enough(&freed) {
            break;
        }
        freed = freed.plus(&candidate.1);
        chosen.push(candidate);
    }
    if chosen.is_empty() || !enough(&freed) {
        return None;
    }
    // Taking the lowest priorities first may have taken some that a later, larger one made needless.
    for i in (0..chosen.len()).rev() {
        let without = freed.minus(&chosen[i].1);
        if enough(&without) {
            freed = without;
            chosen.remove(i);
        }
    }
    let cost = (chosen.iter().map(|(priority, _, _)| *priority).max()?, chosen.len());
    Some((cost, chosen.into_iter().map(|(_, _, id)| id).collect()))
}

/// Tasks on a machine that the plan's job may preempt, with their priority and what they hold.
fn preemptable(plan: &Plan<'_>, machine: &Machine) -> Vec<(u16, Resources, TaskId)> {
    let paired = |id: TaskId| {
        machine
            .load
            .extra()
            .waiting
            .iter()
            .any(|w| w.task == id || w.victims.iter().any(|(victim, _)| *victim == id))
    };
    let cell = plan.cell();
    let tasks = machine.load.tasks.iter().copied().filter(|id| !paired(*id));
    let running = tasks.filter(|id| {
        cell.task(*id).is_some_and(|task| matches!(task.state, TaskState::Placed | TaskState::Running))
    });
    let with_priority = running.filter_map(|id| Some((cell.priority(id)?, id)));
    let lower = with_priority.filter(|(priority, _)| Band::of(*priority) < plan.band());
    lower.map(|(priority, id)| (priority, cell.charge(id), id)).collect()
}
