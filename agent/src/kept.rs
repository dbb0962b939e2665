//! What an agent keeps on disk, and what each of its writes does to that.

use std::collections::BTreeMap;

use cell_state::event::{Report, Seen};
use cell_state::job::care::LostAfter;
use cell_state::machine::Grant;
use cell_state::task::Exit;
use cell_state::{Resources, TaskId};
use serde::{Deserialize, Serialize};

use crate::placement::PlacementId;

/// That a placement is about to be started: durable before it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// The placement.
    pub id: PlacementId,
    /// The job version it runs.
    pub version: u32,
    /// What it is promised.
    pub resources: Resources,
    /// Its ports and devices.
    pub grant: Grant,
    /// Microseconds between the polite stop signal and the kill.
    pub stop_grace_us: u64,
    /// Microseconds without a server after which it is stopped.
    pub stop_after_us: Option<u64>,
    /// When it is given up because the server hears nothing of this machine.
    pub lost_after: LostAfter,
}

/// The record of one placement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was to be started.
    pub intent: Intent,
    /// How it ended, once its end was put among the reports.
    pub ended: Option<Exit>,
}

/// A placement that a driver found on the machine when the agent started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What was started.
    pub intent: Intent,
    /// How it ended; `None` while it, or something it started, is still there.
    pub exit: Option<Exit>,
}

/// One change of what is kept. They are made durable in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Write {
    /// A placement is about to be started.
    Intent(Box<Intent>),
    /// A report got its number; an end goes into the record of its placement too.
    Report {
        /// Its number.
        number: u64,
        /// What was seen.
        report: Report,
    },
    /// Reports up to this number are in the cell.
    Acknowledged {
        /// The number.
        upto: u64,
    },
    /// Nothing more will be asked about this placement.
    Forget(PlacementId),
    /// The cell doesn't know these records: they start anew under another number. Reports and records of what has
    /// ended are dropped.
    Reincarnate {
        /// The number.
        incarnation: u64,
    },
}

/// All that an agent keeps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Which life of the records this is: a number drawn at random when they were made.
    pub incarnation: u64,
    /// One per placement that was started and isn't forgotten.
    pub records: BTreeMap<PlacementId, Record>,
    /// The number of the last report ever made in this incarnation.
    pub reported: u64,
    /// Reports not yet acknowledged, by number, without gaps up to `reported`.
    pub reports: BTreeMap<u64, Report>,
}

impl Kept {
    /// New records.
    pub fn new(incarnation: u64) -> Kept {
        Kept { incarnation, ..Kept::default() }
    }

    /// Makes a change: the meaning of each [`Write`], which every store shares.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Intent(intent) => {
                let record = Record { intent: (**intent).clone(), ended: None };
                self.records.insert(intent.id, record);
            }
            Write::Report { number, report } => {
                self.reported = *number;
                self.reports.insert(*number, *report);
                if let Some(record) = self.records.get_mut(&PlacementId::of(report)) {
                    record.note(report.seen);
                }
            }
            Write::Acknowledged { upto } => self.reports = self.reports.split_off(&(upto + 1)),
            Write::Forget(id) => drop(self.records.remove(id)),
            Write::Reincarnate { incarnation } => {
                self.incarnation = *incarnation;
                self.reported = 0;
                self.reports.clear();
                self.records.retain(|_, record| record.ended.is_none());
            }
        }
    }
}

impl Record {
    /// Notes what a report says.
    pub fn note(&mut self, seen: Seen) {
        match seen {
            // Whether the cell knows of the start shows in its next snapshot.
            Seen::Started => {}
            Seen::Ended(exit) => self.ended = Some(exit),
        }
    }
}

impl PlacementId {
    /// The placement a report is about.
    pub fn of(report: &Report) -> PlacementId {
        PlacementId { task: report.task, epoch: report.epoch }
    }

    /// The earliest placement of a task.
    pub(crate) fn first_of(task: TaskId) -> PlacementId {
        PlacementId { task, epoch: 0 }
    }
}
