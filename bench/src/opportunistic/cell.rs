//! The run: a cell in memory, other work on it, and MapReduce jobs that come, grow and end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::f64::consts::TAU;

use cell_state::admit::Command;
use cell_state::job::{JobSpec, Restart, RestartOn};
use cell_state::task::Exit;
use cell_state::{Dimension, JobId, Resources, TaskId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schedulers::Policy;
use schedulers::batch::{Batch, BatchOptions};
use schedulers::mapreduce::{EXTRA, MapReduce};
use schedulers::sandbox::{Sandbox, simulated_job};

use super::{Job, Outcome, Settings, jobs};
use crate::cell_c;
use crate::figures::fraction;

/// A worker: a sixteenth of the cell's usual machine.
const WORKER: Resources = Resources([2_000, 4 << 30, 0, 0, 0, 0, 0, 0]);

/// Other work comes in tasks of so many workers' size.
const OTHER_SIZES: [u64; 3] = [1, 2, 4];

/// Microseconds between looks at the level of other work, at jobs with workers still pending, and at the cell.
const MINUTE_US: u64 = 60_000_000;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Something due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// The next job comes.
    Arrival(usize),
    /// A job's activities are done, if its workers are still the same.
    Done(JobId, u32),
    /// A minute is over.
    Minute,
}

/// A job at work.
struct Running {
    job: Job,
    name: String,
    started_us: Option<u64>,
    workers: BTreeSet<TaskId>,
    /// Worker-microseconds that are left.
    left: f64,
    since_us: u64,
    /// How often its workers changed.
    change: u32,
}

struct Run<'a> {
    settings: &'a Settings,
    sandbox: Sandbox,
    policy: Box<dyn Policy>,
    other_policy: Batch,
    rng: ChaCha8Rng,
    now_us: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Due)>>,
    planned: u64,
    jobs: Vec<Job>,
    running: BTreeMap<JobId, Running>,
    /// Tasks of other work, and the cpu they hold together.
    other: Vec<(TaskId, u64)>,
    other_cpu: u64,
    other_jobs: u64,
    capacity: Resources,
    outcome: Outcome,
}

/// Runs it.
pub fn run(settings: &Settings) -> Outcome {
    let mut sandbox = Sandbox::new(settings.seed);
    let machines = cell_c::resized(settings.machines, settings.seed);
    let capacity = machines.iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.capacity));
    let room = |m: &cell_state::machine::MachineSpec| {
        let of = |d| m.capacity.get(d) / WORKER.get(d);
        of(Dimension::CPU).min(of(Dimension::MEMORY))
    };
    let room: u64 = machines.iter().map(room).sum();
    for spec in machines {
        sandbox.machine_of(spec);
    }
    let jobs = jobs(settings, room as f64);
    let policy: Box<dyn Policy> = match settings.cap {
        Some(cap) => Box::new(MapReduce::new(cap)),
        None => Box::new(Batch::new(BatchOptions::default())),
    };
    let mut run = Run {
        settings,
        sandbox,
        policy,
        other_policy: Batch::new(BatchOptions::default()),
        rng: ChaCha8Rng::seed_from_u64(settings.seed),
        now_us: 0,
        agenda: BinaryHeap::new(),
        planned: 0,
        jobs,
        running: BTreeMap::new(),
        other: Vec::new(),
        other_cpu: 0,
        other_jobs: 0,
        capacity,
        outcome: Outcome::default(),
    };
    run.all();
    run.outcome
}

impl Run<'_> {
    fn all(&mut self) {
        self.other_work();
        self.at(0, Due::Minute);
        if let Some(first) = self.jobs.first() {
            self.at(first.at_us, Due::Arrival(0));
        }
        let end_us = self.settings.run_s * 1_000_000;
        while let Some(Reverse((time, _, due))) = self.agenda.pop() {
            if time > end_us {
                return;
            }
            self.sandbox.pass(time - self.now_us);
            self.now_us = time;
            match due {
                Due::Arrival(number) => self.arrive(number),
                Due::Done(job, change) => self.done(job, change),
                Due::Minute => self.minute(),
            }
        }
    }

    fn at(&mut self, time_us: u64, due: Due) {
        self.planned += 1;
        self.agenda.push(Reverse((time_us, self.planned, due)));
    }

    fn arrive(&mut self, number: usize) {
        let job = self.jobs[number];
        if let Some(next) = self.jobs.get(number + 1) {
            self.at(next.at_us, Due::Arrival(number + 1));
        }
        self.outcome.jobs += 1;
        let name = format!("mapreduce-{number}");
        let mut spec = spec(&name, "mapreduce", 100, job.asked, WORKER);
        if self.settings.cap.is_some() && job.extra > 0 {
            let mut extra = spec.groups[0].clone();
            extra.name.push_str(EXTRA);
            extra.count = job.extra;
            spec.groups.push(extra);
        }
        let id = self.sandbox.job(spec);
        let left = f64::from(job.activities) * job.activity_us as f64;
        let (workers, since_us) = (BTreeSet::new(), self.now_us);
        let running = Running { job, name, started_us: None, workers, left, since_us, change: 0 };
        self.running.insert(id, running);
        self.grow(id);
    }

    /// Has the policy place what it will of a job.
    fn grow(&mut self, id: JobId) {
        let placed = self.sandbox.place(self.policy.as_mut(), id);
        if placed.placed.is_empty() {
            return;
        }
        self.work(id);
        if let Some(running) = self.running.get_mut(&id) {
            running.workers.extend(placed.placed.iter().map(|(task, _)| *task));
            running.started_us.get_or_insert(self.now_us);
        }
        self.changed(id);
        self.gone(placed.preempted);
    }

    /// Counts what a job's workers did since they changed last.
    fn work(&mut self, id: JobId) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let did = (self.now_us - running.since_us) as f64 * running.workers.len() as f64;
        running.left = (running.left - did).max(0.0);
        running.since_us = self.now_us;
    }

    /// Plans the end of a job whose workers have changed.
    fn changed(&mut self, id: JobId) {
        let Some(running) = self.running.get_mut(&id) else { return };
        running.change += 1;
        if running.workers.is_empty() {
            return;
        }
        let takes_us = (running.left / running.workers.len() as f64).ceil() as u64;
        let due = Due::Done(id, running.change);
        self.at(self.now_us + takes_us, due);
    }

    fn done(&mut self, id: JobId, change: u32) {
        if self.running.get(&id).is_none_or(|running| running.change != change) {
            return;
        }
        let Some(running) = self.running.remove(&id) else { return };
        for worker in running.workers {
            self.sandbox.end(worker, Exit::Code(0));
        }
        if self.sandbox.cell().job(id).is_some_and(|job| !job.is_over()) {
            self.sandbox.command(Command::StopJob { name: running.name });
        }
        self.sandbox.command(Command::ForgetJobs { jobs: vec![id] });
        let took_us = (self.now_us - running.started_us.unwrap_or(self.now_us)).max(1);
        self.outcome.speedups.push(running.job.takes_us(running.job.asked) / took_us as f64);
    }

    fn minute(&mut self) {
        self.other_work();
        let waiting: Vec<JobId> = self.running.keys().copied().collect();
        for id in waiting {
            if self.sandbox.cell().job(id).is_some_and(|job| job.counts().pending > 0) {
                self.grow(id);
            }
        }
        let used =
            self.sandbox.cell().machines().iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.load.used));
        let part = |dimension| fraction(used.get(dimension), self.capacity.get(dimension));
        let hours = self.now_us as f64 / 3.6e9;
        self.outcome.utilisation.push((hours, part(Dimension::CPU), part(Dimension::MEMORY)));
        self.at(self.now_us + MINUTE_US, Due::Minute);
    }

    /// Brings other work to its level of this time of day.
    fn other_work(&mut self) {
        let day = self.now_us as f64 / 1e6 / DAY_S;
        let level = self.settings.held + self.settings.swing * libm::sin(TAU * day);
        let wanted = (level * self.capacity.get(Dimension::CPU) as f64) as u64;
        while self.other_cpu > wanted && !self.other.is_empty() {
            let at = self.rng.random_range(0..self.other.len());
            let (task, cpu) = self.other.swap_remove(at);
            self.other_cpu -= cpu;
            self.sandbox.end(task, Exit::Code(0));
        }
        while self.other_cpu < wanted {
            let size = OTHER_SIZES[self.rng.random_range(0..OTHER_SIZES.len())];
            let each = Resources(WORKER.0.map(|amount| amount * size));
            let cpu = each.get(Dimension::CPU);
            let count = (wanted - self.other_cpu).div_ceil(cpu).min(200) as u32;
            let name = format!("other-{}", self.other_jobs);
            self.other_jobs += 1;
            let job = self.sandbox.job(spec(&name, "other", 250, count, each));
            let placed = self.sandbox.place(&mut self.other_policy, job);
            self.other.extend(placed.placed.iter().map(|(task, _)| (*task, cpu)));
            self.other_cpu += cpu * placed.placed.len() as u64;
            self.gone(placed.preempted);
            if (placed.placed.len() as u32) < count {
                // The cell is full of other work; what found no place isn't waited for.
                self.sandbox.command(Command::StopJob { name });
                for (task, _) in placed.placed {
                    self.other.retain(|(other, _)| *other != task);
                    self.other_cpu -= cpu;
                    self.sandbox.end(task, Exit::Code(0));
                }
                return;
            }
        }
    }

    /// Workers that had to go for other work.
    fn gone(&mut self, preempted: Vec<TaskId>) {
        for task in preempted {
            self.work(task.job);
            self.sandbox.end(task, Exit::Code(0));
            if let Some(running) = self.running.get_mut(&task.job) {
                running.workers.remove(&task);
            }
            self.changed(task.job);
        }
    }
}

fn spec(name: &str, scheduler: &str, priority: u16, count: u32, each: Resources) -> JobSpec {
    let mut spec = simulated_job(name, scheduler, count, each);
    spec.priority = priority;
    spec.groups[0].restart = Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 };
    spec
}
