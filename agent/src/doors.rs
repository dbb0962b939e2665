//! What goes into an agent and what comes out of it: the vocabulary of its three doors.

use std::sync::Arc;

use cell_state::event::{Event, Report};
use cell_state::job::JobSpec;
use cell_state::machine::MachineSpec;
use cell_state::page::Assigned;
use cell_state::resources::Overcommit;
use cell_state::task::{Exit, NotStarted};
use cell_state::{JobId, MachineId, Seq, Time};

use crate::follow::Change;
use crate::kept::{Found, Intent, Kept, Write};
use crate::placement::PlacementId;
use crate::spec::Spec;

/// What an agent starts from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine.
    pub spec: Arc<MachineSpec>,
    /// Its records.
    pub kept: Kept,
    /// What its driver found of earlier starts.
    pub found: Vec<Found>,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// There is a connection to the server.
    Connected {
        /// How far machines are over-committed in this cell.
        overcommit: Overcommit,
    },
    /// The connection is gone, and with it every answer still expected.
    Disconnected,
    /// The server registered the machine.
    Registered {
        /// Its number.
        machine: MachineId,
        /// Where the cell stood: what the log said before may be overtaken.
        at: Seq,
    },
    /// The placements the cell has on this machine.
    Snapshot {
        /// Where the cell stood.
        at: Seq,
        /// The placements.
        assigned: &'a [Assigned],
    },
    /// An entry of the log.
    Event {
        /// Its position.
        at: Seq,
        /// The entry.
        event: &'a Event,
    },
    /// A part of an entry that concerns this machine; see [`Fleet`](crate::Fleet).
    Change {
        /// The position of the entry.
        at: Seq,
        /// The part.
        change: Change<'a>,
    },
    /// A spec that was asked for.
    Spec {
        /// The job.
        job: JobId,
        /// Its version.
        version: u32,
        /// The spec.
        spec: &'a Arc<Spec>,
    },
    /// A spec that was asked for could not be had.
    NoSpec {
        /// The job.
        job: JobId,
        /// Its version.
        version: u32,
    },
    /// Writes up to this number are durable.
    Recorded {
        /// The number.
        upto: u64,
    },
    /// The driver has what a placement is to be given.
    Prepared(PlacementId),
    /// The driver started a placement.
    Started(PlacementId),
    /// The driver could not start it, or not have what it is to be given.
    NotStarted(PlacementId, NotStarted),
    /// The process of a placement is gone, with all that it started.
    Ended(PlacementId, Exit),
    /// The server has the reports up to this number.
    Acknowledged {
        /// The number.
        upto: u64,
        /// Where the cell stood.
        at: Seq,
    },
    /// The server did not take the last reports.
    Refused(Refused),
    /// The server answered something.
    Heard {
        /// When it was asked.
        sent: Time,
    },
    /// Time has passed.
    Wake,
}

/// Why the server did not take reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It has more to do than its bound allows.
    Busy,
    /// It doesn't know the machine, or knows it with other records.
    Unregistered,
    /// It has seen fewer reports than were acknowledged: it isn't the cell these records are about.
    Gap,
}

/// Something to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Register the machine.
    Register {
        /// Its description.
        spec: Arc<MachineSpec>,
        /// Which life of the records this is.
        incarnation: u64,
    },
    /// Get the spec of a job version.
    FetchSpec {
        /// The job.
        job: JobId,
        /// Its version.
        version: u32,
    },
    /// Make a change of what is kept durable; the numbers count up from 1 in each life of the agent.
    Record {
        /// The number, for [`Input::Recorded`].
        number: u64,
        /// The change.
        write: Write,
    },
    /// Have at hand what a placement is to be given before it starts: this may take long, and may be given up.
    Prepare(PlacementId, Arc<JobSpec>),
    /// Start a placement.
    Start(Box<Start>),
    /// Signal a placement's processes.
    Signal(PlacementId, Signal),
    /// Send reports.
    Report {
        /// The machine.
        machine: MachineId,
        /// Which life of the records this is.
        incarnation: u64,
        /// The number of the first.
        first: u64,
        /// The reports.
        reports: Vec<Report>,
    },
}

/// What the driver needs to start a placement.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which life of the records this is.
    pub incarnation: u64,
    /// What was recorded.
    pub intent: Intent,
    /// The spec of the job version.
    pub spec: Arc<Spec>,
}

impl PartialEq for Start {
    fn eq(&self, other: &Start) -> bool {
        self.intent == other.intent
    }
}

/// How a placement's processes are told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Politely.
    Term,
    /// At once. Given again when it had no effect.
    Kill,
}
