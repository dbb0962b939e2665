//! What happens to tasks while the server isn't heard of: those that say so are stopped after a time, so that they never run
//! beside what replaces them.
//!
//! What counts is when a question was sent that the server answered: it heard from this machine at that time or later, and
//! declares it down `--down-after` later at the earliest. So it doesn't matter which direction of the network is cut.
//!
//! ```text
//!               ┌── an answer: T is when its question was sent ──┐
//!               ▼                                                │
//!   heard of at T ──── stop_after without a later answer ───▶ asked to stop
//! ```

use cell_state::Time;

use crate::agent::Agent;
use crate::placement::{Placement, PlacementId, Wanted};

impl Agent {
    /// Whether a placement here has to know how long ago the server was heard of.
    pub fn needs_lease(&self) -> bool {
        self.leased().next().is_some()
    }

    /// The server answered a question that was sent at this time.
    pub(crate) fn heard(&mut self, sent: Time) {
        self.heard_of = self.heard_of.max(Some(sent));
    }

    /// The server has declared this machine down; for so long it had heard nothing.
    pub(crate) fn was_silent(&mut self, now: Time, silent_us: Option<u64>) {
        for id in self.placements.keys().copied().collect::<Vec<_>>() {
            let placement = &self.placements[&id];
            if silent_us.is_some() && matches!(placement.spec, Wanted::Asked | Wanted::Retry(_)) {
                // Nobody here knows yet whether the cell has kept it. Its end is reported, for the case that it has.
                self.ask_stop(now, id);
            } else if placement.lost_after.is_over(silent_us) {
                self.unassign(now, id);
            }
        }
    }

    fn leased(&self) -> impl Iterator<Item = (PlacementId, &Placement, u64)> {
        let here = self.placements.iter().filter(|(_, p)| p.is_here() && p.is_unasked());
        here.filter_map(|(id, p)| Some((*id, p, p.stop_after_us?)))
    }

    /// When the first placement is to be stopped, if nothing is heard before.
    pub(crate) fn next_cut_off(&self) -> Option<Time> {
        let heard_of = self.heard_of?;
        self.leased().map(|(_, _, after)| heard_of.plus(after)).min()
    }

    /// Stops the placements whose time without a server is over.
    pub(crate) fn stop_cut_off(&mut self, now: Time) {
        // One that has just started has not been cut off for longer than it is there.
        let heard_of = *self.heard_of.get_or_insert(now);
        let over = self.leased().filter(|(_, _, after)| heard_of.plus(*after) <= now);
        for id in over.map(|(id, _, _)| id).collect::<Vec<_>>() {
            self.ask_stop(now, id);
        }
    }
}
