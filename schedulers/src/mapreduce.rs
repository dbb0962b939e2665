//! The `mapreduce` policy: opportunistic. Jobs get the workers they ask for, and more of those they could use as long as
//! resources would otherwise idle.
//!
//! A job says so with two groups: `NAME`, the workers it asks for, and `NAME-extra`, those it could use besides. Together
//! they are as many as there is work for at a time. What extra workers bring is predicted from that: `n` workers do the
//! work in `⌈all / n⌉` rounds, so workers that save no round aren't started. A [`Cap`] says how far it goes. Extra workers
//! preempt nobody, and come after every worker that was asked for. When those asked for have all ended the work is done;
//! extra workers still pending are then placed like any others, to find nothing left to do and end.

use cell_state::job::Job;
use cell_state::{Dimension, Resources, TaskId};

use crate::batch::{Batch, BatchOptions};
use crate::plan::Plan;
use crate::policy::Policy;

/// What the name of a group of extra workers ends with.
pub const EXTRA: &str = "-extra";

/// How far a job grows beyond what it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cap {
    /// As long as another worker saves time.
    MaxParallelism,
    /// The same, while no more than so many percent of the cell's cpu and memory are promised.
    GlobalCap(u32),
    /// The same, up to so many times the workers asked for.
    RelativeSize(u32),
}

impl Cap {
    /// The global cap of the paper.
    pub const GLOBAL: Cap = Cap::GlobalCap(60);
    /// The relative size of the paper.
    pub const RELATIVE: Cap = Cap::RelativeSize(4);
}

/// The `mapreduce` policy.
#[derive(Clone, Debug)]
pub struct MapReduce {
    cap: Cap,
    asked: Batch,
    extra: Batch,
}

impl MapReduce {
    /// The policy with this cap.
    pub fn new(cap: Cap) -> MapReduce {
        let usual = BatchOptions::default();
        let extra = Batch::new(BatchOptions { preempt: false, ..usual });
        MapReduce { cap, asked: Batch::new(usual), extra }
    }
}

impl Policy for MapReduce {
    fn name(&self) -> &str {
        match self.cap {
            Cap::MaxParallelism => "mapreduce",
            Cap::GlobalCap(_) => "mapreduce-global-cap",
            Cap::RelativeSize(_) => "mapreduce-relative",
        }
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        let (extra, asked): (Vec<TaskId>, Vec<TaskId>) =
            tasks.iter().partition(|task| Pair::of_extra(plan.job(), task.group).is_some());
        self.asked.plan(plan, &asked);
        for group in extra.chunk_by(|a, b| a.group == b.group) {
            let Some(pair) = Pair::of_extra(plan.job(), group[0].group) else { continue };
            if pair.is_done(plan.job()) {
                self.asked.plan(plan, group);
                continue;
            }
            let room = self.room(plan, pair, group[0]);
            self.extra.plan(plan, &group[..room.min(group.len())]);
        }
    }
}

impl MapReduce {
    /// How many more extra workers to start.
    fn room(&self, plan: &Plan<'_>, pair: Pair, task: TaskId) -> usize {
        let job = plan.job();
        let (asked, all) = (pair.asked(job), pair.all(job));
        let running = pair.at_work(plan);
        if running < asked {
            // Those asked for come first; what has no room for them has none for others.
            return 0;
        }
        let most = match self.cap {
            Cap::MaxParallelism => all,
            Cap::GlobalCap(percent) => running + idle_below(plan, percent, task),
            Cap::RelativeSize(times) => asked * u64::from(times),
        };
        let wanted = worthwhile(all, most.clamp(asked, all));
        wanted.saturating_sub(running) as usize
    }
}

/// The fewest workers that need no more rounds than `most` would.
pub fn worthwhile(all: u64, most: u64) -> u64 {
    let rounds = all.div_ceil(most.max(1)).max(1);
    all.div_ceil(rounds)
}

/// A group of workers and the group of its extra ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pair {
    asked: u16,
    extra: u16,
}

impl Pair {
    /// The pair a group of extra workers belongs to; nothing if it is a group like any other.
    fn of_extra(job: &Job, group: u16) -> Option<Pair> {
        let groups = &job.spec().groups;
        let name = groups.get(usize::from(group))?.name.strip_suffix(EXTRA)?;
        let asked = groups.iter().position(|g| g.name == name)?;
        Some(Pair { asked: asked as u16, extra: group })
    }

    fn count(job: &Job, group: u16) -> u64 {
        job.spec().groups.get(usize::from(group)).map_or(0, |g| u64::from(g.count))
    }

    fn asked(self, job: &Job) -> u64 {
        Pair::count(job, self.asked)
    }

    fn all(self, job: &Job) -> u64 {
        Pair::count(job, self.asked) + Pair::count(job, self.extra)
    }

    /// Workers that are placed, or planned.
    fn at_work(self, plan: &Plan<'_>) -> u64 {
        let job = plan.job();
        let live = |group: u16| job.groups.get(usize::from(group)).map_or(0, |g| u64::from(g.counts.live()));
        let ours = |task: &TaskId| task.group == self.asked || task.group == self.extra;
        let planned = job.pending().filter(|task| ours(task) && plan.machine_of(*task).is_some()).count();
        live(self.asked) + live(self.extra) + planned as u64
    }

    /// Whether every worker that was asked for has ended.
    fn is_done(self, job: &Job) -> bool {
        let counts = job.groups.get(usize::from(self.asked)).map(|g| g.counts);
        counts.is_some_and(|c| c.pending == 0 && c.live() == 0)
    }
}

/// How many such tasks the cell takes before so many percent of its cpu or memory are promised.
fn idle_below(plan: &Plan<'_>, percent: u32, task: TaskId) -> u64 {
    let Some(demand) = plan.demand(task) else { return 0 };
    let (mut all, mut free) = (Resources::ZERO, Resources::ZERO);
    for machine in plan.cell().machines() {
        all = all.plus(&machine.limit);
        free = free.plus(&plan.free(machine));
    }
    let tasks = |dimension: Dimension| {
        let each = demand.resources.get(dimension);
        let most = u128::from(all.get(dimension)) * u128::from(percent) / 100;
        let held = u128::from(all.get(dimension).saturating_sub(free.get(dimension)));
        let left = u64::try_from(most.saturating_sub(held)).unwrap_or(u64::MAX);
        left.checked_div(each).unwrap_or(u64::MAX)
    };
    tasks(Dimension::CPU).min(tasks(Dimension::MEMORY))
}

#[cfg(test)]
mod tests {
    use cell_state::task::Exit;

    use super::*;
    use crate::sandbox::{Sandbox, simulated_job};

    /// A job that asks for some workers of a core each and could use others.
    fn job(sandbox: &mut Sandbox, name: &str, asked: u32, extra: u32) -> cell_state::JobId {
        let mut spec = simulated_job(name, "mapreduce", asked, Resources::cpu_memory(1_000, 1 << 20));
        let mut more = spec.groups[0].clone();
        more.name = format!("{}{EXTRA}", more.name);
        more.count = extra;
        spec.groups.push(more);
        sandbox.job(spec)
    }

    fn placed(cores: u64, cap: Cap, asked: u32, extra: u32) -> usize {
        let mut sandbox = Sandbox::new(1);
        sandbox.machine("m", Resources::cpu_memory(cores * 1_000, 1 << 30));
        let job = job(&mut sandbox, "j", asked, extra);
        sandbox.place(&mut MapReduce::new(cap), job).placed.len()
    }

    #[test]
    fn jobs_grow_as_far_as_their_cap_and_the_machines_allow() {
        // cores, cap, asked, extra, workers started
        let table = [
            (100, Cap::MaxParallelism, 10, 30, 40),
            (25, Cap::MaxParallelism, 10, 30, 25),
            (100, Cap::RelativeSize(2), 10, 30, 20),
            (100, Cap::RelativeSize(3), 10, 30, 20), // 30 need two rounds, as do 20
            (100, Cap::RelativeSize(4), 10, 100, 37), // 40 need three rounds, as do 37
            (100, Cap::GlobalCap(50), 10, 90, 50),
            (100, Cap::GlobalCap(50), 60, 90, 60), // what is asked for has no cap
            (5, Cap::MaxParallelism, 10, 30, 5),
        ];
        for (cores, cap, asked, extra, expected) in table {
            let found = placed(cores, cap, asked, extra);
            assert_eq!(found, expected, "{cores} cores, {cap:?}, {asked} + {extra}");
        }
        assert_eq!(
            (worthwhile(40, 25), worthwhile(40, 40), worthwhile(110, 40), worthwhile(5, 0)),
            (20, 40, 37, 1)
        );
    }

    #[test]
    fn extra_workers_that_come_too_late_end_the_job() {
        let mut sandbox = Sandbox::new(1);
        sandbox.machine("m", Resources::cpu_memory(2_000, 1 << 30));
        let job = job(&mut sandbox, "j", 2, 2);
        let mut policy = MapReduce::new(Cap::MaxParallelism);
        let workers = sandbox.place(&mut policy, job).placed;
        assert_eq!(workers.len(), 2);
        for (task, _) in workers {
            sandbox.start(task);
            sandbox.end(task, Exit::Code(0));
        }
        assert_eq!(sandbox.place(&mut policy, job).placed.len(), 2);
    }
}
