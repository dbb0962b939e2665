//! What a run is given: machines, what becomes of them, the jobs that are there, and those that come.

use cell_state::job::JobSpec;
use cell_state::machine::MachineSpec;

use crate::scenario::{MachineChange, Scenario};
use crate::workload::Workload;

/// A job with what its spec has no word for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    /// Microseconds after the start.
    pub at_us: u64,
    /// The job. Who decides on it is the run's affair, whatever scheduler it names.
    pub spec: JobSpec,
    /// The class of work it belongs to, as its trace calls it; empty when there was none.
    pub label: String,
    /// All its tasks at once or none.
    pub gang: bool,
    /// Where tasks of it were, for jobs that are there from the start.
    pub placed: Vec<Placement>,
}

/// Tasks of one group that were on one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The group's position.
    pub group: u16,
    /// How many tasks.
    pub count: u32,
    /// The machine's position.
    pub machine: u32,
}

/// What a run is given. Jobs that come are made one by one, so that only those that are there take memory.
pub struct Load<'a> {
    /// Every machine there ever is. One whose first change is an `Up` isn't there at the start.
    pub machines: &'a [MachineSpec],
    /// What happens to machines, in order of time.
    pub changes: &'a [MachineChange],
    /// The jobs that are there from the start.
    pub initial: Vec<Submission>,
    /// The others, in order of time.
    pub arrivals: Box<dyn Iterator<Item = Submission> + 'a>,
}

impl Submission {
    /// A job without anything that its spec has no word for.
    pub fn plain(at_us: u64, spec: JobSpec) -> Submission {
        Submission { at_us, spec, label: String::new(), gang: false, placed: Vec::new() }
    }
}

impl<'a> Load<'a> {
    /// A workload as it is.
    pub fn of_workload(workload: &'a Workload) -> Load<'a> {
        let initial = workload.initial.iter().map(|spec| Submission::plain(0, spec.clone())).collect();
        let arrivals = workload.arrivals.iter().map(|a| Submission::plain(a.at_us, a.job.clone()));
        Load { machines: &workload.machines, changes: &[], initial, arrivals: Box::new(arrivals) }
    }

    /// A scenario as it is. Jobs that are there from the start are put on the machines where they were, as far as that
    /// was recorded; those that matter most come first, the largest first among equals.
    pub fn of_scenario(scenario: &'a Scenario) -> Load<'a> {
        let (before, after) = scenario.jobs.split_at(scenario.initial_jobs());
        let mut initial: Vec<Submission> = before.iter().flat_map(crate::scenario::submissions).collect();
        // Recorded places first: nobody else is to take them.
        initial.sort_by_cached_key(|s| {
            let tasks = crate::workload::tasks(&s.spec);
            let (kept, rest) = (s.placed.is_empty(), (u16::MAX - s.spec.priority, u64::MAX - tasks));
            (kept, rest, s.spec.name.clone())
        });
        let arrivals = after.iter().flat_map(crate::scenario::submissions);
        Load {
            machines: &scenario.machines,
            changes: &scenario.changes,
            initial,
            arrivals: Box::new(arrivals),
        }
    }
}
