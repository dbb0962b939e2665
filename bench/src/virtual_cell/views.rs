//! Views: what schedulers see of the machines, and how old that is.
//!
//! | view | whose | how old |
//! |---|---|---|
//! | live | everybody's who isn't told otherwise | nothing |
//! | lagging | everybody's | by the same time, always |
//! | part by part | one scheduler's | each part as old as its last turn |
//!
//! A view is the production policy's columns, kept up to date from what changed, and the time it is of: what a plan
//! asks of a single machine is looked up in its past.

use cell_state::event::Event;
use cell_state::machine::Machine;
use cell_state::{Cell, MachineId, Resources, Seq, Time};
use schedulers::columns::Columns;
use schedulers::sight::{Sight, Within};

use super::past::{Cursor, Past};

/// When a view is brought up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// It is always this much behind.
    Lag(u64),
    /// One part after another; who is at this place begins with the part of that number.
    Parts { gap_us: u64, place: usize },
}

/// An older view.
#[derive(Debug)]
struct View {
    columns: Columns,
    turn: Turn,
    /// Of each part: what is seen, and since when that has been so.
    parts: Vec<(Cursor, Time)>,
}

/// All views of a run.
#[derive(Debug, Default)]
pub(super) struct Views {
    live: Columns,
    old: Vec<View>,
    past: Option<Past>,
    /// The machines of each part.
    within: Vec<Within>,
    start: Time,
}

/// What an older view shows.
pub(super) struct Eyes<'a> {
    past: &'a Past,
    parts: &'a [(Cursor, Time)],
}

impl Sight for Eyes<'_> {
    fn machine<'s>(&'s self, now: &'s Machine) -> &'s Machine {
        self.past.as_of(now, self.seq(now.id, Seq(0)))
    }

    fn withheld(&self, _: &Machine) -> Option<Resources> {
        None
    }

    fn seq(&self, machine: MachineId, _: Seq) -> Seq {
        self.parts[self.past.part_of(machine)].0.seq
    }
}

impl Eyes<'_> {
    /// Since when what is seen of a machine has been so.
    pub(super) fn time(&self, machine: MachineId) -> Time {
        self.parts[self.past.part_of(machine)].1
    }
}

impl Views {
    /// From here on there is a view that is always this much behind.
    pub(super) fn lag(&mut self, cell: &Cell, now: Time, lag_us: u64) {
        let past = Past::new(cell.machines().len(), 1, lag_us);
        self.begin(cell, now, past, [Turn::Lag(lag_us)]);
    }

    /// From here on each of so many schedulers has a view that is brought up to date part by part.
    pub(super) fn by_parts(&mut self, cell: &Cell, now: Time, parts: u32, gap_us: u64, schedulers: usize) {
        let past = Past::new(cell.machines().len(), parts as usize, gap_us);
        // Evenly spread, so that at any time each part is fresh to somebody.
        let place = |n: usize| n * past.parts() / schedulers.max(1);
        let turns: Vec<Turn> = (0..schedulers).map(|n| Turn::Parts { gap_us, place: place(n) }).collect();
        self.begin(cell, now, past, turns);
    }

    fn begin(&mut self, cell: &Cell, now: Time, past: Past, turns: impl IntoIterator<Item = Turn>) {
        let machines = cell.machines().len();
        self.start = now;
        self.within = (0..past.parts()).map(|p| Within::range(past.range(p), machines)).collect();
        let view = |turn| View {
            columns: Columns::new(),
            turn,
            parts: (0..past.parts()).map(|p| (past.cursor(p, cell.seq()), now)).collect(),
        };
        self.old = turns.into_iter().map(view).collect();
        self.past = Some(past);
    }

    /// Older records of machines that are kept.
    pub(super) fn kept(&self) -> usize {
        self.past.as_ref().map_or(0, Past::kept)
    }

    /// Takes note of the next entry, before it is applied.
    pub(super) fn before(&mut self, cell: &Cell, event: &Event, now: Time) {
        if let Some(past) = &mut self.past {
            past.note(cell, event, now);
        }
    }

    /// Takes note of an entry that was applied.
    pub(super) fn after(&mut self, cell: &Cell, event: &Event) {
        self.live.follow(cell, event);
    }

    /// Brings an older view up to the time it is to show.
    pub(super) fn advance(&mut self, view: usize, cell: &Cell, now: Time) {
        let (Some(past), Some(view)) = (&self.past, self.old.get_mut(view)) else { return };
        let parts = past.parts();
        let mut all_known = true;
        for part in 0..parts {
            let until = view.turn.time(part, parts, self.start, now);
            let (cursor, since) = &mut view.parts[part];
            if until > *since {
                *since = until;
                let columns = &mut view.columns;
                all_known &= past.advance(part, cursor, until, cell.seq(), |m| columns.touch(m));
            }
        }
        if !all_known {
            view.columns.forget();
        }
    }

    /// The columns of a view, and what it shows of machines if it is an older one.
    pub(super) fn of(&mut self, view: Option<usize>) -> (&mut Columns, Option<Eyes<'_>>) {
        match view.and_then(|view| self.old.get_mut(view)).zip(self.past.as_ref()) {
            None => (&mut self.live, None),
            Some((view, past)) => (&mut view.columns, Some(Eyes { past, parts: &view.parts })),
        }
    }

    /// The parts of an older view, those seen last first, as the machines of each.
    pub(super) fn freshest_first(&self, view: usize) -> Vec<Within> {
        let Some(view) = self.old.get(view) else { return Vec::new() };
        let mut order: Vec<usize> = (0..view.parts.len()).collect();
        order.sort_by_key(|part| (std::cmp::Reverse(view.parts[*part].1), *part));
        order.into_iter().map(|part| self.within[part].clone()).collect()
    }

    /// Whether an older view shows what an entry did to a machine.
    pub(super) fn shows(&self, view: usize, machine: MachineId, at: Seq) -> bool {
        let (Some(past), Some(view)) = (&self.past, self.old.get(view)) else { return true };
        view.parts[past.part_of(machine)].0.seq >= at
    }
}

impl Turn {
    /// The time of which a part is shown now.
    fn time(self, part: usize, parts: usize, start: Time, now: Time) -> Time {
        match self {
            Turn::Lag(lag_us) => Time(now.0.saturating_sub(lag_us).max(start.0)),
            Turn::Parts { gap_us, place } => {
                let step_us = (gap_us / parts as u64).max(1);
                let round = now.since(start) / step_us;
                // In round r it is the turn of part (place + r) mod parts; how long ago was it this one's?
                let ago = (place as u64 + round + parts as u64 - part as u64) % parts as u64;
                match round.checked_sub(ago) {
                    Some(round) => start.plus(round * step_us),
                    None => start,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_turns_and_a_lag_never_shows_what_was_before_the_start() {
        let start = Time(100);
        let at = |place, part, now| Turn::Parts { gap_us: 30, place }.time(part, 3, start, Time(now)).0;
        // Rounds of 10: place 0 sees parts 0, 1, 2, 0, …; place 1 sees 1, 2, 0, 1, …
        assert_eq!([0, 1, 2].map(|part| at(0, part, 109)), [100, 100, 100]);
        assert_eq!([0, 1, 2].map(|part| at(0, part, 121)), [100, 110, 120]);
        assert_eq!([0, 1, 2].map(|part| at(0, part, 130)), [130, 110, 120]);
        assert_eq!([0, 1, 2].map(|part| at(1, part, 130)), [120, 130, 110]);
        let lag = |now| Turn::Lag(20).time(0, 1, start, Time(now)).0;
        assert_eq!([100, 115, 125].map(lag), [100, 100, 105]);
    }
}
