//! Marginals of Google's cell C in May 2011, per priority: how many tasks jobs have, how large tasks are, how many
//! must be on different machines, how long they run. Aggregates only; no record of the trace is in here.
//!
//! Computed from "ClusterData2011_2" (Reiss, Wilkes, Hellerstein: Google cluster-usage traces, format and schema,
//! 2011; CC BY 4.0), in the units of [`crate::units`]. `synthetic` makes a load of them, and a test of the `study`
//! package compares that load with the trace when it is there.

mod arriving;
mod running;

pub use arriving::ARRIVING;
pub use running::RUNNING;

/// Fractions of jobs at which [`Marginals::tasks_per_job`] is given: dense where the few large jobs are, which hold
/// most tasks.
pub const JOB_POINTS: [f64; 17] =
    [0.0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 1.0];

/// Fractions of tasks at which a [`Spread`] is given.
pub const TASK_POINTS: [f64; 17] =
    [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0];

/// How one amount is spread over the tasks of one priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The sum over all tasks.
    pub total: u64,
    /// The amount that this fraction of tasks doesn't exceed, for each of [`TASK_POINTS`].
    pub at: [u64; 17],
}

/// The tasks of one priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marginals {
    /// Google's priority, 0 to 11.
    pub google_priority: u8,
    /// Jobs.
    pub jobs: u32,
    /// Tasks of all of them.
    pub tasks: u32,
    /// Of these, how many must be on another machine than every other task of their job.
    pub distinct_tasks: u32,
    /// The number of tasks that this fraction of jobs doesn't exceed, for each of [`JOB_POINTS`].
    pub tasks_per_job: [u32; 17],
    /// Requested cpu, in millicores.
    pub cpu_milli: Spread,
    /// Requested memory, in KiB.
    pub memory_kib: Spread,
    /// Requested disk, in KiB.
    pub disk_kib: Spread,
    /// Milliseconds from start to end of the tasks that ended while recorded; `None` for tasks taken to run on.
    pub run_for_ms: Option<Spread>,
    /// How many tasks ended while recorded.
    pub ended_tasks: u32,
}
