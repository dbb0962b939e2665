//! What a run is measured by, under the names the original's figures have.

use super::amounts::Amounts;
use super::outcomes::Outcomes;
use super::run::Simulation;
use super::schedulers::Scheduler;
use super::{Architecture, Class};

/// A figure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// Counted.
    Count(u64),
    /// Measured.
    Real(f64),
}

/// All figures of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// The time of the last event, in seconds.
    pub end_s: f64,
    /// Events handled: samples, arrivals, decisions, ends of all tasks of a commit, offers.
    pub events: u64,
    /// Of each class of jobs.
    pub workloads: Vec<(Class, WorkloadFigures)>,
    /// Of each kind of schedulers, by its name.
    pub schedulers: Vec<(&'static str, SchedulerFigures)>,
    /// Of the cell.
    pub cell: CellFigures,
    /// The most jobs and commits that were kept at once: it doesn't grow with the time simulated.
    pub objects_most: u64,
}

/// What became of the jobs of a class.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct WorkloadFigures {
    /// Jobs.
    pub jobs: u64,
    /// Tasks.
    pub tasks: u64,
    /// Jobs decided on at least once.
    pub attempted: u64,
    /// Jobs with every task placed.
    pub full: u64,
    /// Tasks not placed.
    pub tasks_left: u64,
    /// Seconds in the queue before the first decision, over jobs attempted: average and percentiles 50, 90, 99.
    pub wait_first_s: [f64; 4],
    /// Seconds in the queue before all decisions, over jobs attempted: average and percentile 90.
    pub wait_full_s: [f64; 2],
    /// Decisions.
    pub attempts: u64,
    /// Decisions per job attempted: percentiles 90 and 99, and the most.
    pub attempts_per_job: [u64; 3],
}

/// What the schedulers of a kind did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SchedulerFigures {
    /// The part of the time spent on decisions that led to something.
    pub useful: f64,
    /// The part of the time spent on decisions that were lost.
    pub wasted: f64,
    /// Transactions without a conflict.
    pub won: u64,
    /// Transactions with one.
    pub lost: u64,
    /// Transactions of jobs tried before.
    pub retried: u64,
    /// Decisions that found no machine.
    pub fruitless: u64,
    /// Tasks committed.
    pub tasks_won: u64,
    /// Claims lost.
    pub tasks_lost: u64,
    /// Jobs given up.
    pub given_up: u64,
    /// Jobs still queued at the end.
    pub queued: u64,
    /// Machines drawn on which the task didn't fit.
    pub misses: u64,
}

/// How full the cell was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CellFigures {
    /// The part of all cores in use, on average over the seconds.
    pub cpu: f64,
    /// The part of all memory in use, on average over the seconds.
    pub memory: f64,
    /// Cores in use at the end.
    pub end_cpus: f64,
    /// GB of memory in use at the end.
    pub end_memory: f64,
    /// All sequence numbers together.
    pub numbers: u64,
    /// The part of all cores locked by offers, on average over the seconds.
    pub cpu_locked: f64,
}

impl Figures {
    pub(super) fn of<A: Amounts>(run: &mut Simulation<'_, A>, end_s: f64) -> Figures {
        // Jobs that aren't over count as they are.
        let mut outcomes = std::mem::take(&mut run.outcomes);
        run.jobs.iter().filter(|job| !job.over).for_each(|job| outcomes[job.class as usize].add(job));
        let workloads = Class::ALL.into_iter().zip(outcomes.map(Outcomes::figures)).collect();
        let kinds: &[(&'static str, Class)] = match run.settings.architecture {
            Architecture::MonoSingle | Architecture::MonoMulti => &[("Other", Class::Service)],
            Architecture::Omega | Architecture::Mesos => {
                &[("Batch", Class::Batch), ("Other", Class::Service)]
            }
        };
        let of_class = |class| run.schedulers.iter().filter(move |s| s.class == class);
        let used = &run.used;
        let machines = run.settings.machines;
        let (cpus, memory) =
            (f64::from(machines.count) * machines.cpus, f64::from(machines.count) * machines.memory);
        let samples = used.samples as f64;
        Figures {
            end_s,
            events: run.events,
            workloads,
            schedulers: kinds
                .iter()
                .map(|(name, class)| (*name, together(of_class(*class), end_s)))
                .collect(),
            cell: CellFigures {
                cpu: used.cpus_sum / samples / cpus,
                memory: used.memory_sum / samples / memory,
                end_cpus: used.cpus,
                end_memory: used.memory,
                numbers: run.cell.numbers_sum,
                cpu_locked: used.cpus_locked_sum / samples / cpus,
            },
            objects_most: (run.jobs.len() + run.endings.len()) as u64,
        }
    }
}

/// Sums counters and averages busyness over the schedulers of a kind.
fn together<'a>(schedulers: impl Iterator<Item = &'a Scheduler> + Clone, end_s: f64) -> SchedulerFigures {
    let number = schedulers.clone().count().max(1) as f64;
    let sum = |of: fn(&Scheduler) -> u64| schedulers.clone().map(of).sum::<u64>();
    let part = |of: fn(&Scheduler) -> f64| schedulers.clone().map(of).sum::<f64>() / end_s / number;
    SchedulerFigures {
        useful: part(|s| s.counts.useful_s),
        wasted: part(|s| s.counts.wasted_s),
        won: sum(|s| s.counts.won),
        lost: sum(|s| s.counts.lost),
        retried: sum(|s| s.counts.retried),
        fruitless: sum(|s| s.counts.fruitless),
        tasks_won: sum(|s| s.counts.tasks_won),
        tasks_lost: sum(|s| s.counts.tasks_lost),
        given_up: sum(|s| s.counts.given_up),
        queued: sum(|s| s.queue.len() as u64),
        misses: sum(|s| s.finder.misses),
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl WorkloadFigures {
    /// The figures under the original's names.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let [first, first_50, first_90, first_99] = self.wait_first_s.map(Value::Real);
        let [full, full_90] = self.wait_full_s.map(Value::Real);
        let [attempts_90, attempts_99, attempts_max] = self.attempts_per_job.map(Value::Count);
        vec![
            ("jobs", Value::Count(self.jobs)),
            ("tasks", Value::Count(self.tasks)),
            ("attempted", Value::Count(self.attempted)),
            ("full", Value::Count(self.full)),
            ("unschedTasks", Value::Count(self.tasks_left)),
            ("waitFirst_avg", first),
            ("waitFirst_p50", first_50),
            ("waitFirst_p90", first_90),
            ("waitFirst_p99", first_99),
            ("waitFull_avg", full),
            ("waitFull_p90", full_90),
            ("attempts_sum", Value::Count(self.attempts)),
            ("attempts_p90", attempts_90),
            ("attempts_p99", attempts_99),
            ("attempts_max", attempts_max),
        ]
    }
}

impl SchedulerFigures {
    /// Conflicts per transaction that had none.
    pub fn conflicts_per_success(&self) -> f64 {
        ratio(self.lost, self.won)
    }

    /// Conflicts per transaction.
    pub fn conflicts_per_attempt(&self) -> f64 {
        ratio(self.lost, self.won + self.lost)
    }

    /// The figures under the original's names.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("busy", Value::Real(self.useful + self.wasted)),
            ("useful", Value::Real(self.useful)),
            ("wasted", Value::Real(self.wasted)),
            ("txOk", Value::Count(self.won)),
            ("txFail", Value::Count(self.lost)),
            ("confl_per_success", Value::Real(self.conflicts_per_success())),
            ("confl_per_attempt", Value::Real(self.conflicts_per_attempt())),
            ("retried", Value::Count(self.retried)),
            ("noRes", Value::Count(self.fruitless)),
            ("taskOk", Value::Count(self.tasks_won)),
            ("taskFail", Value::Count(self.tasks_lost)),
            ("timedOut", Value::Count(self.given_up)),
            ("leftInQueue", Value::Count(self.queued)),
            ("failedFindVictim", Value::Count(self.misses)),
        ]
    }
}

impl CellFigures {
    /// The figures under the original's names.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("avgCpuUtil", Value::Real(self.cpu)),
            ("avgMemUtil", Value::Real(self.memory)),
            ("endCpu", Value::Real(self.end_cpus)),
            ("endMem", Value::Real(self.end_memory)),
            ("seqSum", Value::Count(self.numbers)),
            ("avgCpuLocked", Value::Real(self.cpu_locked)),
        ]
    }
}
