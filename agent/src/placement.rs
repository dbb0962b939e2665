//! One placement on its machine: how far it is, and what is asked of it.

use std::fmt;
use std::sync::Arc;

use cell_state::job::care::LostAfter;
use cell_state::machine::Grant;
use cell_state::{Epoch, Resources, TaskId, Time};
use serde::{Deserialize, Serialize};

use crate::spec::Spec;

/// A task at an epoch: what is started at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PlacementId {
    /// The task.
    pub task: TaskId,
    /// Which of its placements.
    pub epoch: Epoch,
}

impl fmt::Display for PlacementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task, self.epoch)
    }
}

/// How far a placement is; the diagram is in the crate's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// For its spec, for its victims to go, or for room.
    Waiting,
    /// Its intent is being made durable by this write.
    Recording { write: u64 },
    /// The driver was told to start it.
    Starting,
    /// Its process is there.
    Running,
    /// It is gone, or never was; the report of this number says so.
    Ended { report: u64 },
}

/// How far stopping it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// Nobody wants it to stop.
    Unasked,
    /// It is to stop as soon as it is there.
    Asked,
    /// It was told politely; after this time it is killed.
    Grace { kill_at: Time },
    /// It was killed; after this time again.
    Killed { again_at: Time },
}

/// Its spec, on the way or here.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// It was asked for.
    Asked,
    /// It could not be had; it is asked for again at this time.
    Retry(Time),
    /// It is here, and what it says the task is to be given is being fetched.
    Preparing(Arc<Spec>),
    /// It is here, and nothing more is missing.
    Here(Arc<Spec>),
    /// It is no longer needed.
    Done,
}

#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) phase: Phase,
    pub(crate) stop: Stop,
    /// Whether the cell wants or expects it here, as far as this agent has read the log.
    pub(crate) assigned: bool,
    pub(crate) version: u32,
    /// What it is promised; `None` while only the spec could tell.
    pub(crate) resources: Option<Resources>,
    pub(crate) grant: Grant,
    pub(crate) stop_grace_us: u64,
    pub(crate) stop_after_us: Option<u64>,
    pub(crate) lost_after: LostAfter,
    /// Placements that must be gone before it starts.
    pub(crate) waits_for: Vec<PlacementId>,
    pub(crate) spec: Wanted,
}

impl Placement {
    /// A new placement, to be started.
    pub(crate) fn waiting(version: u32) -> Placement {
        Placement {
            phase: Phase::Waiting,
            stop: Stop::Unasked,
            assigned: true,
            version,
            resources: None,
            grant: Grant::default(),
            stop_grace_us: 0,
            stop_after_us: None,
            lost_after: LostAfter::Down,
            waits_for: Vec::new(),
            spec: Wanted::Asked,
        }
    }

    /// A placement of which only the end is known.
    pub(crate) fn ended(version: u32, report: u64) -> Placement {
        let phase = Phase::Ended { report };
        Placement { phase, spec: Wanted::Done, ..Placement::waiting(version) }
    }

    /// Whether it takes room on the machine, or is about to.
    pub(crate) fn is_here(&self) -> bool {
        match self.phase {
            Phase::Recording { .. } | Phase::Starting | Phase::Running => true,
            Phase::Waiting | Phase::Ended { .. } => false,
        }
    }

    /// Whether nobody wants it to stop.
    pub(crate) fn is_unasked(&self) -> bool {
        self.stop == Stop::Unasked
    }

    /// When something is to be done about it though nothing happens.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match (self.phase, self.stop, &self.spec) {
            (Phase::Running, Stop::Grace { kill_at: at } | Stop::Killed { again_at: at }, _) => Some(at),
            (Phase::Waiting, _, Wanted::Retry(at)) => Some(*at),
            (
                Phase::Waiting
                | Phase::Recording { .. }
                | Phase::Starting
                | Phase::Running
                | Phase::Ended { .. },
                Stop::Unasked | Stop::Asked | Stop::Grace { .. } | Stop::Killed { .. },
                Wanted::Asked | Wanted::Retry(_) | Wanted::Preparing(_) | Wanted::Here(_) | Wanted::Done,
            ) => None,
        }
    }
}
