//! Events: everything that changes the cell, one per log entry. [`crate::Cell::apply`] is all that interprets them.
//!
//! What is large in an event is shared, so that every state it is applied to keeps the same allocation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, JobId, MachineId, Seq, SessionId, TaskId, Time, TxnId};
use crate::job::{Band, JobSpec};
use crate::machine::{MachineSpec, MachineState};
use crate::resources::{Overcommit, Resources, Schema};
use crate::task::Exit;
use crate::transaction::{Atomicity, Detection};
use crate::verdict::{Conflict, Outcome};

/// Settings of a cell.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CellConfig {
    /// The cell's name: part of every certificate.
    pub name: String,
    /// The names of the resource dimensions.
    pub schema: Schema,
    /// How far each dimension may be promised beyond capacity.
    pub overcommit: Overcommit,
}

/// One committed change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The cell was made, or its settings changed.
    Configured {
        /// All settings.
        config: CellConfig,
    },
    /// A team's quota in a band was set, or lifted.
    QuotaSet {
        /// The team.
        team: String,
        /// The band.
        band: Band,
        /// The most its live tasks may be promised together; `None` is no limit.
        limit: Option<Resources>,
    },
    /// An agent introduced its machine, or came back.
    MachineRegistered {
        /// The machine: the next free number for a new name.
        machine: MachineId,
        /// Its description, which may have changed.
        spec: Arc<MachineSpec>,
        /// Which life of the agent's records this is.
        incarnation: u64,
        /// When.
        time: Time,
    },
    /// A machine was drained, undrained, or found silent.
    MachineStateSet {
        /// The machine.
        machine: MachineId,
        /// Its state from now on.
        state: MachineState,
        /// When it is drained, microseconds that tasks have at most to end once they are asked to; `None` leaves that to
        /// their jobs. When it is down, for how long it has been silent: tasks that outlast that stay; `None` loses all.
        grace_us: Option<u64>,
        /// When.
        time: Time,
    },
    /// A job was submitted, first or anew.
    JobSubmitted {
        /// The job: the next free number for a new name.
        job: JobId,
        /// Its spec.
        spec: Arc<JobSpec>,
        /// When.
        time: Time,
    },
    /// A job was asked to stop.
    JobStopped {
        /// The job.
        job: JobId,
        /// When.
        time: Time,
    },
    /// Jobs that are over were dropped from the state to bound its size.
    JobsForgotten {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// A scheduler process opened a session, or resumed one.
    SessionOpened {
        /// The session: the next free number for a new instance.
        session: SessionId,
        /// The name its certificate gives it.
        scheduler: String,
        /// A number the process drew at random when it started.
        instance: u64,
        /// When.
        time: Time,
    },
    /// A scheduler process is gone; its outcomes stay remembered.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// When.
        time: Time,
    },
    /// A transaction was judged. One that lost entirely is an entry too, so that a resend gets the same answer.
    Committed(Committed),
    /// An agent reported.
    Reported {
        /// The machine.
        machine: MachineId,
        /// The agent's incarnation; of an older one nothing is applied.
        incarnation: u64,
        /// The number of the first report; the others follow without gaps.
        first: u64,
        /// What was seen.
        reports: Vec<Report>,
        /// When it arrived.
        time: Time,
    },
}

/// A judged transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// Author and number.
    pub txn: TxnId,
    /// Where its author stood.
    pub basis: Seq,
    /// As proposed.
    pub atomicity: Atomicity,
    /// As proposed.
    pub detection: Detection,
    /// When it was judged.
    pub time: Time,
    /// One per op, in order. Shared by everybody who keeps them: the entry, the memory of each copy, the answer.
    pub outcomes: Arc<[Outcome]>,
    /// The assertion that failed, if one did: then every outcome is a conflict or aborted.
    pub failed_assertion: Option<Box<Conflict>>,
}

/// What an agent saw of one placement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The task.
    pub task: TaskId,
    /// The placement: reports about another epoch than the current one change nothing.
    pub epoch: Epoch,
    /// What was seen.
    pub seen: Seen,
}

/// What an agent can see of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Seen {
    /// It was started.
    Started,
    /// It is gone, with everything it started.
    Ended(Exit),
}

impl Event {
    /// When it happened, for the events that carry a time.
    pub fn time(&self) -> Option<Time> {
        match self {
            Event::Configured { .. } | Event::QuotaSet { .. } | Event::JobsForgotten { .. } => None,
            Event::MachineRegistered { time, .. }
            | Event::MachineStateSet { time, .. }
            | Event::JobSubmitted { time, .. }
            | Event::JobStopped { time, .. }
            | Event::SessionOpened { time, .. }
            | Event::SessionEnded { time, .. }
            | Event::Reported { time, .. } => Some(*time),
            Event::Committed(committed) => Some(committed.time),
        }
    }
}
