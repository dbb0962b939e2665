//! What machines hold, told by the server to a copy that has only its own scheduler's jobs. Steps 3 (see) and 12 (back in
//! the cell) of a placement's life.

use cell_state::scope::Loads;
use cell_state::{Cell, Seq};

use super::Scheduler;

impl Scheduler {
    /// Applies loads to the copy and takes note of what they change: what others gave back wakes the jobs that wait for
    /// it, as an entry would.
    pub fn loads(&mut self, cell: &mut Cell, seq: Seq, loads: &Loads) {
        for load in &loads.machines {
            self.flights.columns.touch(load.machine);
            if cell.machine(load.machine).is_some_and(|before| load.frees(before)) {
                self.queue.freed(load.machine);
            }
        }
        cell.apply_loads(seq, loads);
        self.server_at = self.server_at.max(cell.seq());
        self.settle(cell);
    }
}
