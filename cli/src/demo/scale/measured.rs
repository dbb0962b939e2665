//! The figures of one cell.

use serde::Serialize;
use study::load::Times;

/// What was measured of one cell. What was not measured is 0.
#[derive(Clone, Default, Debug, Serialize)]
pub(super) struct Measured {
    /// Machines, tasks and jobs of the cell.
    pub(super) machines: u32,
    pub(super) tasks: u64,
    pub(super) jobs: u64,
    /// How long the large transactions took, and the reports of what they placed.
    pub(super) placing_seconds: f64,
    pub(super) placements_per_second: f64,
    pub(super) reporting_seconds: f64,
    /// Resident memory of the server: without anything, with its machines, with everything, and after a restart.
    pub(super) server_bytes_empty: u64,
    pub(super) server_bytes_machines: u64,
    pub(super) server_bytes: u64,
    pub(super) server_bytes_restarted: u64,
    /// What a machine and a task take of it, before the restart; and a task after it.
    pub(super) server_bytes_per_machine: f64,
    pub(super) server_bytes_per_task: f64,
    pub(super) server_bytes_per_task_restarted: f64,
    /// A scheduler process that owns none of the tasks: its memory with and without the cell, and how long it took from
    /// its start until it had followed everything.
    pub(super) scheduler_bytes_empty: u64,
    pub(super) scheduler_bytes: u64,
    pub(super) scheduler_seconds: f64,
    /// The same of one that follows machines and its own jobs.
    pub(super) scheduler_own_bytes: u64,
    pub(super) scheduler_own_seconds: f64,
    /// A first full copy: its bytes, how long they took, and how long until it was restored and its hash compared.
    pub(super) snapshot_bytes: u64,
    pub(super) snapshot_seconds: f64,
    pub(super) copy_seconds: f64,
    /// Commits of one placement, one at a time: with nothing beside them, and while the first checkpoint was written and
    /// snapshots were sent.
    pub(super) commit_alone: Latency,
    pub(super) commit_beside: Latency,
    /// Snapshots sent meanwhile.
    pub(super) snapshots_beside: u64,
    /// How long the first checkpoint took from the last report, and what is on disk.
    pub(super) checkpoint_seconds: f64,
    pub(super) checkpoint_bytes: u64,
    pub(super) log_bytes: u64,
    pub(super) log_entries: u64,
    /// Idle peers.
    pub(super) subscribers: Idle,
    pub(super) agents: Idle,
    /// Entries after the checkpoint, committed one by one; and the restart after a kill, until the first answer.
    pub(super) entries: u64,
    pub(super) entries_per_second: f64,
    pub(super) restart_seconds: f64,
    /// What the server says it did in that time, and the two parts of it.
    pub(super) loading_seconds: f64,
    pub(super) replaying_seconds: f64,
    pub(super) recovery: String,
}

/// How long commits took, in microseconds.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    pub(super) count: u64,
}

impl Latency {
    pub(super) fn of(times: &Times) -> Latency {
        let at = |percent| times.percentile(percent);
        Latency { p50: at(50.0), p99: at(99.0), max: at(100.0), count: times.count() }
    }
}

/// What idle peers cost, the server and their own process apart.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(super) struct Idle {
    /// How many.
    pub(super) count: u32,
    /// How long it took until all of them were connected.
    pub(super) connecting_seconds: f64,
    /// Processor time per second: of the server with nobody, of the server with them, of their process.
    pub(super) server_cpu_ms_per_s_before: f64,
    pub(super) server_cpu_ms_per_s: f64,
    pub(super) peers_cpu_ms_per_s: f64,
    /// Memory: what the server took more, what their process takes.
    pub(super) server_bytes: u64,
    pub(super) peers_bytes: u64,
}

impl Idle {
    /// Kilobytes each in the server, and in its own process.
    pub(super) fn kb_each(&self) -> (f64, f64) {
        let each = |bytes: u64| bytes as f64 / 1e3 / f64::from(self.count.max(1));
        (each(self.server_bytes), each(self.peers_bytes))
    }

    /// Microseconds of processor time each takes of the server per second.
    pub(super) fn server_cpu_us_each(&self) -> f64 {
        let more = (self.server_cpu_ms_per_s - self.server_cpu_ms_per_s_before).max(0.0);
        more * 1e3 / f64::from(self.count.max(1))
    }
}
