//! The names of things inside a cell: small integers with one meaning each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch, given as an input (this package has no clock).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// This time plus `micros` microseconds.
    pub fn plus(self, micros: u64) -> Time {
        Time(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this time; zero when `earlier` is later.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A position in the log. The first entry is 1; 0 is the empty cell. Numbers have no gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A machine of the cell: its place in the dense machine table, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MachineId(pub u32);

impl MachineId {
    /// The index into the machine table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A job of the cell: numbered in the order of first submission from 0, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

/// One schedulable unit: instance `index` of group `group` (position in the spec) of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The position of the group in the job's spec; groups are never reordered or removed.
    pub group: u16,
    /// The instance within the group, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.job, self.group, self.index)
    }
}

/// One scheduler process as the cell knows it: numbered in the order of opening from 0, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionId(pub u32);

/// A transaction: the session numbers its own, in increasing order from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TxnId {
    /// The session of the author.
    pub session: SessionId,
    /// The author's number.
    pub number: u64,
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session.0, self.number)
    }
}

/// Which placement of a task is meant: 0 before the first, then one more each time it is placed.
/// A process belongs to exactly one epoch, and a task is started at most once per epoch.
pub type Epoch = u32;
