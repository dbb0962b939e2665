//! Jobs: the spec a person submits, and the record the cell keeps of it.

pub mod care;
mod command;
pub mod container;
pub mod data;
pub mod isolation;
pub mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraint;
use crate::fit::Demand;
use crate::ids::{JobId, Seq, TaskId, Time};
use crate::quota::Account;
use crate::resources::Resources;
use crate::task::packed::Packed;
use crate::task::{Task, TaskState, Tasks};
pub use command::Exec;

/// What a job is for; decides the defaults of restarting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobKind {
    /// Runs until stopped.
    Service,
    /// Runs until it is done.
    Batch,
}

/// Borg's priority bands, each a hundred wide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Band {
    /// 0-99: whatever is left over.
    Free,
    /// 100-199: batch work.
    Batch,
    /// 200-299: production services.
    Production,
    /// 300-399: the cell's own monitoring.
    Monitoring,
}

impl Band {
    /// All bands, lowest first.
    pub const ALL: [Band; 4] = [Band::Free, Band::Batch, Band::Production, Band::Monitoring];

    /// The band of a priority; anything above the bound counts as the highest.
    pub fn of(priority: u16) -> Band {
        Band::ALL[usize::from(priority / 100).min(3)]
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Band::Free => "free",
            Band::Batch => "batch",
            Band::Production => "production",
            Band::Monitoring => "monitoring",
        })
    }
}

/// A job as submitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// Unique in the cell; submitting the name again makes a new version.
    pub name: String,
    /// Service or batch.
    pub kind: JobKind,
    /// 0..=399, see [`Band`].
    pub priority: u16,
    /// Whose quota it counts against.
    pub team: String,
    /// The name of the scheduler that owns it: only that one places its tasks.
    pub scheduler: String,
    /// Groups of equal tasks. A later version may change and append groups, never remove or rename one.
    pub groups: Vec<GroupSpec>,
}

/// A group of equal tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Unique in the job.
    pub name: String,
    /// How many tasks.
    pub count: u32,
    /// What each task is promised.
    pub resources: Resources,
    /// Conditions on the machine.
    pub constraints: Vec<Constraint>,
    /// Never two tasks of the job on one machine.
    pub distinct_machines: bool,
    /// Spread over the values of a machine attribute.
    pub spread: Option<Spread>,
    /// Ports each task needs on its machine.
    pub ports: Vec<PortAsk>,
    /// What follows the end of a task.
    pub restart: Restart,
    /// What a task is given before it starts.
    pub data: data::Data,
    /// Microseconds between the polite stop signal and the kill.
    pub stop_grace_us: u64,
    /// What a task does.
    pub run: Run,
}

/// Spreading over a failure domain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// The attribute that names the domain (`rack`, `zone`, …).
    pub attribute: String,
    /// The most tasks of the job in one domain; 0 means "as even as possible", without a limit.
    pub max_per_value: u32,
}

/// One port of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortAsk {
    /// The label; the number is given to the task as `OHM_PORT_<LABEL>`.
    pub name: String,
    /// A fixed number, or `None` for any free one of the machine's range.
    pub number: Option<u16>,
}

/// What follows the end of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restart {
    /// Which ends are followed by another start.
    pub on: RestartOn,
    /// How many restarts before the task counts as failed.
    pub attempts: u16,
    /// Microseconds before the first restart; doubles each time, up to 64 times.
    pub delay_us: u64,
}

/// Which ends of a task are followed by another start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RestartOn {
    /// Any end.
    Always,
    /// A non-zero exit code, a signal, or a failure to start.
    Failure,
    /// None.
    Never,
}

/// What a task does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Run {
    /// A process of the machine.
    Exec(Exec),
    /// No process: the agent pretends. For studies and load tests.
    Simulated {
        /// Microseconds until it ends by itself; `None` runs until stopped.
        run_for_us: Option<u64>,
        /// The exit code it then pretends.
        exit_code: i32,
    },
}

impl Run {
    /// When it is given up because its machine isn't heard of.
    pub fn lost_after(&self) -> care::LostAfter {
        match self {
            Run::Exec(exec) => exec.care.lost_after,
            Run::Simulated { .. } => care::LostAfter::Down,
        }
    }
}

/// Whether a job is meant to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Desired {
    /// Its tasks are to be placed and run.
    Run,
    /// Its tasks are to be stopped.
    Stop,
}

/// One version of a job's spec, with the demands the fit rule evaluates.
#[derive(Clone, Debug)]
pub struct JobVersion {
    /// 1 for the first submission.
    pub version: u32,
    /// The spec as submitted.
    pub spec: Arc<JobSpec>,
    /// One per group, compiled.
    pub demands: Arc<[Demand]>,
    /// The entry that submitted it.
    pub since: Seq,
    /// Live tasks that were placed with it.
    pub live: u32,
}

/// A job as the cell keeps it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Whether it is meant to run.
    pub desired: Desired,
    /// When it was first submitted.
    pub submitted: Time,
    /// Versions still in use, oldest first; the last is the current one.
    pub versions: Vec<JobVersion>,
    /// Tasks, by group.
    pub groups: Vec<GroupTasks>,
    /// Tasks whose promise was resized away from their spec.
    pub resized: BTreeMap<TaskId, Resources>,
    /// Whom its tasks are charged to.
    pub(crate) account: Account,
}

/// The tasks of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupTasks {
    /// By index. Shrinking a group leaves its surplus tasks here, stopped.
    pub tasks: Tasks,
    /// How many tasks are in each state.
    pub counts: Counts,
    /// Index below which no task is pending: where a search may start.
    pub(crate) pending_from: u32,
    /// How many the current spec asks for: those from this index on are surplus.
    pub(crate) wanted: u32,
}

/// How many tasks are in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// To be placed.
    pub pending: u32,
    /// Committed to a machine, not yet started there.
    pub placed: u32,
    /// Seen running.
    pub running: u32,
    /// Asked to stop, not yet gone.
    pub stopping: u32,
    /// Ended well.
    pub completed: u32,
    /// Ended badly, restarts used up.
    pub failed: u32,
    /// Stopped on request.
    pub stopped: u32,
}

impl Counts {
    /// The counter of a state.
    pub(crate) fn slot(&mut self, state: TaskState) -> &mut u32 {
        match state {
            TaskState::Pending => &mut self.pending,
            TaskState::Placed => &mut self.placed,
            TaskState::Running => &mut self.running,
            TaskState::Stopping(_) => &mut self.stopping,
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            TaskState::Stopped => &mut self.stopped,
        }
    }

    /// All tasks.
    pub fn total(&self) -> u32 {
        self.pending + self.live() + self.completed + self.failed + self.stopped
    }

    /// Tasks that hold resources on a machine.
    pub fn live(&self) -> u32 {
        self.placed + self.running + self.stopping
    }

    /// The sum of two counts.
    pub fn plus(&self, other: &Counts) -> Counts {
        Counts {
            pending: self.pending + other.pending,
            placed: self.placed + other.placed,
            running: self.running + other.running,
            stopping: self.stopping + other.stopping,
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            stopped: self.stopped + other.stopped,
        }
    }
}

impl fmt::Display for Counts {
    /// Only the states that tasks are in: `2 pending, 3 running`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = [
            ("pending", self.pending),
            ("placed", self.placed),
            ("running", self.running),
            ("stopping", self.stopping),
            ("completed", self.completed),
            ("failed", self.failed),
            ("stopped", self.stopped),
        ];
        let mut separator = "";
        for (state, count) in states.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {state}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no tasks") } else { Ok(()) }
    }
}

impl Job {
    /// The version new placements use.
    pub fn current(&self) -> &JobVersion {
        self.versions.last().expect("a job has at least one version")
    }

    /// The current spec.
    pub fn spec(&self) -> &JobSpec {
        &self.current().spec
    }

    /// A version still in use, by its number.
    pub fn version(&self, version: u32) -> Option<&JobVersion> {
        self.versions.iter().rev().find(|v| v.version == version)
    }

    /// A task of this job.
    pub fn task(&self, id: TaskId) -> Option<Task> {
        self.record(id).map(Packed::task)
    }

    #[inline]
    pub(crate) fn record(&self, id: TaskId) -> Option<&Packed> {
        self.groups.get(usize::from(id.group))?.tasks.records().get(id.index as usize)
    }

    /// What a live task is charged on its machine.
    #[inline]
    pub(crate) fn charge(&self, id: TaskId) -> Resources {
        if !self.resized.is_empty()
            && let Some(resized) = self.resized.get(&id)
        {
            return *resized;
        }
        let version = self.record(id).and_then(|task| self.version(task.version()));
        let demand = version.and_then(|v| v.demands.get(usize::from(id.group)));
        demand.map_or(Resources::ZERO, |d| d.resources)
    }

    /// Whether the job wants this task of it to run.
    #[inline]
    pub(crate) fn wants(&self, id: TaskId) -> bool {
        let group = self.groups.get(usize::from(id.group));
        self.desired == Desired::Run && group.is_some_and(|g| id.index < g.wanted)
    }

    /// How many tasks are in each state, over all groups.
    pub fn counts(&self) -> Counts {
        self.groups.iter().fold(Counts::default(), |sum, g| sum.plus(&g.counts))
    }

    /// True when no task will ever run again without a new submission.
    pub fn is_over(&self) -> bool {
        let counts = self.counts();
        counts.pending == 0 && counts.live() == 0
    }

    /// Its tasks with their ids, in order.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, Task)> {
        self.groups.iter().enumerate().flat_map(move |(g, group)| {
            let at = move |index: usize| TaskId { job: self.id, group: g as u16, index: index as u32 };
            group.tasks.iter().enumerate().map(move |(i, task)| (at(i), task))
        })
    }

    /// Ids of the pending tasks, in order.
    pub fn pending(&self) -> impl Iterator<Item = TaskId> {
        self.groups.iter().enumerate().flat_map(move |(g, group)| {
            let from =
                if group.counts.pending == 0 { group.tasks.len() } else { group.pending_from as usize };
            let left = group.counts.pending as usize;
            let records = group.tasks.records();
            let pending = (from..records.len()).filter(|i| records[*i].is_pending());
            pending.take(left).map(move |i| TaskId { job: self.id, group: g as u16, index: i as u32 })
        })
    }
}
