//! A scheduler of a run: its queue, what it thinks about, and what it has in flight.

use std::collections::VecDeque;

use cell_state::overlay::Overlay;
use cell_state::transaction::{Op, Transaction};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, Time};
use schedulers::Policy;
use schedulers::exclude::Exclusions;
use schedulers::pace::Pace;
use schedulers::plan::Rng;
use schedulers::sight::Within;

use super::Class;
use super::views::Views;

/// A scheduler.
pub(super) struct Scheduler {
    pub(super) class: Class,
    /// Its place among those of its class.
    pub(super) place: usize,
    pub(super) session: SessionId,
    pub(super) number: u64,
    pub(super) rng: Rng,
    pub(super) policy: Box<dyn Policy>,
    pub(super) queue: VecDeque<JobId>,
    pub(super) thinking: Option<Thought>,
    /// Transactions without a verdict, oldest first.
    pub(super) flights: VecDeque<Flight>,
    pub(super) pace: Pace,
    /// What is planned, in flight, or placed where its view doesn't show it yet.
    pub(super) overlay: Overlay,
    /// Placements that its view may not show yet, with the entry that does.
    pub(super) unseen: VecDeque<(Seq, TaskId, MachineId)>,
    /// Its view, if that isn't the live one.
    pub(super) view: Option<usize>,
    /// The machines it may use, if those aren't all.
    pub(super) within: Option<Within>,
    /// Under [`super::Prefer::Adaptive`]: whether it prefers the parts seen last now.
    pub(super) hurried: bool,
}

/// What a scheduler thinks about.
#[derive(Debug)]
pub(super) struct Thought {
    pub(super) job: JobId,
    pub(super) takes_us: u64,
    /// The job has more tasks than these.
    pub(super) more: bool,
    pub(super) stage: Stage,
}

/// How far a thought is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is planned when the decision is over.
    Late(Vec<TaskId>),
    /// This is going to be proposed.
    Planned(Option<Planned>),
    /// It claimed its machines at the beginning.
    Claimed,
}

/// A transaction to propose.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) txn: Transaction,
    /// The time of the oldest state of a machine it was planned on.
    pub(super) seen_at: Time,
}

/// A transaction without a verdict.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) job: JobId,
    pub(super) takes_us: u64,
    pub(super) more: bool,
    pub(super) planned: Planned,
}

/// What is known of a job with tasks to place.
#[derive(Debug)]
pub(super) struct Waiting {
    /// When it arrived, or came back.
    pub(super) since: Time,
    pub(super) queued_at: Option<Time>,
    pub(super) waited_us: u64,
    /// Decisions on it.
    pub(super) tries: u32,
    /// Transactions about it without a verdict.
    pub(super) in_flight: u32,
    /// Lost transactions in a row.
    pub(super) losses: u32,
    /// Decisions in a row that did not place all they were about.
    pub(super) misses: u32,
    /// It will be queued again.
    pub(super) again: bool,
    /// It was placed before: tasks of it were lost or had to go.
    pub(super) back: bool,
    /// Its place among the sizes.
    pub(super) size: usize,
    /// Machines it lost on, until its scheduler's view shows why.
    pub(super) exclusions: Exclusions,
    /// Of a gang that hoards: what it has so far.
    pub(super) hoard: Vec<Op>,
}

impl Waiting {
    pub(super) fn new(since: Time, size: usize, back: bool) -> Waiting {
        Waiting {
            since,
            queued_at: None,
            waited_us: 0,
            tries: 0,
            in_flight: 0,
            losses: 0,
            misses: 0,
            again: false,
            back,
            size,
            exclusions: Exclusions::default(),
            hoard: Vec::new(),
        }
    }
}

impl Scheduler {
    /// Whether it may take up another job.
    pub(super) fn is_free(&self) -> bool {
        self.thinking.is_none() && self.flights.len() < self.pace.in_flight()
    }

    /// Forgets placements that its view shows by now.
    pub(super) fn settle(&mut self, views: &Views) {
        let Some(view) = self.view else { return };
        let overlay = &mut self.overlay;
        self.unseen.retain(|(at, task, machine)| {
            let seen = views.shows(view, *machine, *at);
            if seen {
                overlay.undo(*task);
            }
            !seen
        });
    }

    /// Machines it has something planned on.
    pub(super) fn planned_on(&self) -> Vec<MachineId> {
        self.overlay.placements().map(|(_, machine)| machine).collect()
    }
}
