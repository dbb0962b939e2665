//! What tasks use of their machines: sampled by agents, kept by the server until the next sample, never in the log.

use cell_state::machine::MachineState;
use cell_state::{Epoch, MachineId, Resources, Seq, TaskId, Time};
use serde::{Deserialize, Serialize};

/// What one placement uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since its start, in microseconds.
    pub cpu_us: u64,
    /// Processors in use since the sample before, in thousandths.
    pub cpu_milli: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// The most resident memory so far: of the kernel's counting where there is a cgroup, else of the samples.
    pub memory_peak_bytes: u64,
    /// Bytes read from storage since its start.
    pub read_bytes: u64,
    /// Bytes written to storage since its start.
    pub written_bytes: u64,
    /// Its processes.
    pub processes: u32,
}

/// A sample of one placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskUsage {
    /// The task.
    pub task: TaskId,
    /// Which of its placements.
    pub epoch: Epoch,
    /// What it uses.
    pub usage: Usage,
}

/// Samples of the tasks of one machine, or some of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineUsage {
    /// The machine.
    pub machine: MachineId,
    /// Whether these are the first of a new round, so that those of the last one go.
    pub first: bool,
    /// The samples.
    pub tasks: Vec<TaskUsage>,
}

/// What is read of usage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UsageView {
    /// Where the cell stood.
    pub at: Seq,
    /// When it was read.
    pub time: Time,
    /// The machines, by number.
    pub machines: Vec<MachineUsageRow>,
    /// The tasks that use most of a processor, highest first.
    pub tasks: Vec<TaskUsageRow>,
    /// Tasks with a sample, of which the former are some.
    pub tasks_total: u32,
}

/// One machine: what it may be promised, what is promised, what is used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineUsageRow {
    /// Its name.
    pub name: String,
    /// Whether it takes tasks.
    pub state: MachineState,
    /// Its live tasks.
    pub tasks: u32,
    /// Of these, those with a sample.
    pub sampled: u32,
    /// What may be promised.
    pub limit: Resources,
    /// What is promised.
    pub promised: Resources,
    /// What its tasks use together.
    pub usage: Usage,
    /// Microseconds since its samples came; `None` when none have come, or they are too old to mean anything.
    pub age_us: Option<u64>,
}

/// One task: what it is promised, what it uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskUsageRow {
    /// Its id.
    pub task: TaskId,
    /// Which of its placements.
    pub epoch: Epoch,
    /// The name of its job.
    pub job: String,
    /// The name of its group.
    pub group: String,
    /// The name of its machine.
    pub machine: String,
    /// Its priority.
    pub priority: u16,
    /// What it is promised.
    pub promised: Resources,
    /// What it uses.
    pub usage: Usage,
    /// Microseconds since its sample came.
    pub age_us: u64,
}

impl Usage {
    /// Of both together.
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us.saturating_add(other.cpu_us),
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            memory_peak_bytes: self.memory_peak_bytes.saturating_add(other.memory_peak_bytes),
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            processes: self.processes.saturating_add(other.processes),
        }
    }
}
