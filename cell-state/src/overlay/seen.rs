//! Plans on machines as their planner sees them: older than the cell, or only in part.

use super::Overlay;
use crate::cell::Cell;
use crate::ids::TaskId;
use crate::machine::{Grant, Machine};
use crate::resources::Resources;
use crate::verdict::ConflictKind;

impl Overlay {
    /// [`Overlay::fits`] for a machine as a planner sees it, which may be older than the cell, and without what is withheld of
    /// it. Only whoever plans for others to judge may ask this.
    ///
    /// # Errors
    /// What stands in the way, as far as can be seen.
    pub fn fits_as_seen(
        &self,
        cell: &Cell,
        task: TaskId,
        seen: &Machine,
        withheld: Option<&Resources>,
        preempt: &[TaskId],
    ) -> Result<Grant, ConflictKind> {
        self.check(cell, task, Ok(seen), withheld, preempt).map(|accepted| accepted.grant)
    }

    /// Plans a placement on a machine as a planner sees it, see [`Overlay::fits_as_seen`].
    ///
    /// # Errors
    /// As [`Overlay::fits_as_seen`]; then nothing is planned.
    pub fn place_as_seen(
        &mut self,
        cell: &Cell,
        task: TaskId,
        seen: &Machine,
        withheld: Option<&Resources>,
        preempt: &[TaskId],
    ) -> Result<Grant, ConflictKind> {
        let accepted = self.check(cell, task, Ok(seen), withheld, preempt)?;
        Ok(self.record(cell, task, seen.id, preempt, accepted))
    }
}
