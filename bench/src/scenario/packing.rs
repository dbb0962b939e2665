//! How much of the recorded placement overcommits: the recorded placements are put on their machines in order of
//! time and taken off again, and every machine that holds more than it has is counted.

use cell_state::resources::DIMENSIONS;
use cell_state::{Dimension, Resources};

use super::{Change, Scenario, times};

/// What the recorded placement does to the machines.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Packing {
    /// Tasks whose placement was recorded.
    pub tasks: u64,
    /// Of these, the ones put on a machine that was not there at that time.
    pub tasks_on_absent: u64,
    /// Of these, the ones that left their machine with more than it has.
    pub tasks_over: u64,
    /// Machines that ever held a task.
    pub machines_used: u64,
    /// Machines that at some time held more than they have.
    pub machines_over: u64,
    /// The most a machine ever held, as a share of what it has, per dimension; 0 where no machine has any.
    pub fullest: [f64; DIMENSIONS],
}

impl Packing {
    /// The share of recorded tasks that left their machine with more than it has.
    pub fn over_share(&self) -> f64 {
        if self.tasks == 0 { 0.0 } else { self.tasks_over as f64 / self.tasks as f64 }
    }
}

/// What happens on one machine. At the same time tasks end first, then the machine changes, then tasks come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Off(usize, usize),
    Machine(Change),
    On(usize, usize),
}

/// One machine as the steps leave it.
struct State<'a> {
    capacity: &'a Resources,
    there: bool,
    /// The epoch of the machine: what was put on it before it went down is not taken off again.
    held: Resources,
    since_us: u64,
    over: bool,
}

impl Scenario {
    /// What the recorded placement does to the machines; `None` when none was recorded.
    pub fn packing(&self) -> Option<Packing> {
        let mut steps: Vec<(u32, u64, Step)> = Vec::new();
        for (j, job) in self.jobs.iter().enumerate() {
            for (t, tasks) in job.tasks.iter().enumerate() {
                let Some(placed) = tasks.placed else { continue };
                steps.push((placed.machine, placed.at_us, Step::On(j, t)));
                if let Some(run) = tasks.run_for_us.filter(|run| *run > 0) {
                    steps.push((placed.machine, placed.at_us.saturating_add(run), Step::Off(j, t)));
                }
            }
        }
        if steps.is_empty() {
            return None;
        }
        steps.extend(self.changes.iter().map(|c| (c.machine, c.at_us, Step::Machine(c.change))));
        steps.sort_unstable();
        let there = self.there_at_start();
        let mut packing = Packing::default();
        for of_machine in steps.chunk_by(|a, b| a.0 == b.0) {
            let index = of_machine[0].0 as usize;
            let capacity = &self.machines[index].capacity;
            let mut state =
                State { capacity, there: there[index], held: Resources::ZERO, since_us: 0, over: false };
            let used = of_machine.iter().any(|(_, _, step)| matches!(step, Step::On(..)));
            for (_, at_us, step) in of_machine {
                self.step(&mut state, *at_us, *step, &mut packing);
            }
            packing.machines_used += u64::from(used);
            packing.machines_over += u64::from(state.over);
        }
        Some(packing)
    }

    fn step(&self, state: &mut State<'_>, at_us: u64, step: Step, packing: &mut Packing) {
        match step {
            Step::Machine(change) => {
                state.there = change == Change::Up;
                if change == Change::Down {
                    (state.held, state.since_us) = (Resources::ZERO, at_us);
                }
            }
            Step::Off(job, tasks) => {
                let tasks = &self.jobs[job].tasks[tasks];
                let lost = tasks.placed.is_none_or(|p| p.at_us < state.since_us);
                if !lost {
                    state.held = state.held.minus(&tasks.asked());
                }
            }
            Step::On(job, tasks) => {
                let tasks = &self.jobs[job].tasks[tasks];
                let count = u64::from(tasks.count);
                packing.tasks += count;
                if !state.there {
                    packing.tasks_on_absent += count;
                }
                // A task without any duration is gone as soon as it came, but was there all the same.
                let with = state.held.plus(&tasks.asked());
                let before = fitting(&state.held, &tasks.ask, state.capacity);
                packing.tasks_over += count - count.min(before);
                state.over |= with.first_over(state.capacity).is_some();
                for d in Dimension::all().map(Dimension::index) {
                    if state.capacity.0[d] > 0 {
                        let share = with.0[d] as f64 / state.capacity.0[d] as f64;
                        packing.fullest[d] = packing.fullest[d].max(share);
                    }
                }
                if tasks.run_for_us != Some(0) {
                    state.held = with;
                }
            }
        }
    }
}

/// How many tasks that ask for this leave the machine within its capacity.
fn fitting(held: &Resources, ask: &Resources, capacity: &Resources) -> u64 {
    if held.first_over(capacity).is_some() {
        return 0;
    }
    let free = capacity.minus(held);
    let asked = Dimension::all().filter(|d| ask.get(*d) > 0);
    let most = asked.map(|d| free.get(d) / ask.get(d)).min().unwrap_or(u64::MAX);
    debug_assert!(most == u64::MAX || times(ask, most).first_over(&free).is_none());
    most
}
