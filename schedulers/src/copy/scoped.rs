//! The part of a copy that follows one scheduler's jobs alone: entries and loads are kept until the last of the loads of
//! a position is there, since in between the copy is of no position at all.
//!
//! ```text
//!   nothing ──snapshot──▶ joining ──last Loads──▶ following ◀──────────┐ last Loads: everything kept is handed out
//!                           │ Event, Loads ▲          │ Event, Loads: kept
//!                           └──────────────┘          └────────────────┘
//! ```

use std::collections::VecDeque;

use cell_state::event::Event;
use cell_state::scope::Loads;
use cell_state::{Cell, Seq};

use super::Step;

/// What a copy keeps that follows one scheduler's jobs.
#[derive(Debug)]
pub(super) struct Scoped {
    pub(super) scheduler: String,
    /// Restored from a snapshot, and not yet told all that machines hold: nobody has seen it yet.
    joining: Option<Cell>,
    /// Not yet at rest.
    kept: Vec<Step>,
    /// To be handed out.
    ready: VecDeque<Step>,
}

impl Scoped {
    pub(super) fn new(scheduler: String) -> Scoped {
        Scoped { scheduler, joining: None, kept: Vec::new(), ready: VecDeque::new() }
    }

    /// The next step that was kept and may be taken now.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    /// What is under way is given up: the stream has ended, or begins anew.
    pub(super) fn give_up(&mut self) {
        self.joining = None;
        self.kept.clear();
    }

    /// The pages of a snapshot have made this cell.
    pub(super) fn join(&mut self, cell: Cell) {
        self.kept.clear();
        self.joining = Some(cell.scoped_to(&self.scheduler));
    }

    /// Where the copy is, or will be once it is at rest.
    pub(super) fn at(&self, cell: Option<&Cell>) -> Option<Seq> {
        let newest = self.kept.iter().rev().find_map(|step| match step {
            Step::Event(seq, _) => Some(*seq),
            Step::Restored | Step::Loads(..) | Step::Checked(..) | Step::Nothing => None,
        });
        newest.or_else(|| self.joining.as_ref().or(cell).map(Cell::seq))
    }

    /// Takes an entry that follows what the copy has.
    pub(super) fn event(&mut self, seq: Seq, event: Event) {
        match &mut self.joining {
            Some(cell) => cell.follow(seq, &event),
            None => self.kept.push(Step::Event(seq, event)),
        }
    }

    /// Takes loads; returns the cell when it has been joining and is at rest now.
    pub(super) fn loads(&mut self, seq: Seq, loads: Loads) -> Option<Cell> {
        let last = !loads.more;
        match &mut self.joining {
            Some(cell) => cell.apply_loads(seq, &loads),
            None => self.kept.push(Step::Loads(seq, loads)),
        }
        if !last {
            return None;
        }
        self.ready.extend(self.kept.drain(..));
        self.joining.take()
    }
}
