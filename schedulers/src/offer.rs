//! What a job has to offer to a policy: its tasks that are to be placed now, and could be.

use cell_state::job::Job;
use cell_state::overlay::Overlay;
use cell_state::{Cell, TaskId, Time};

/// The tasks of a job to plan now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// Pending, due, not in flight, of groups that aren't blocked; at most as many as one transaction takes.
    pub tasks: Vec<TaskId>,
    /// There are more than that.
    pub more: bool,
    /// When the first of those that wait out a restart delay is due.
    pub next_due: Option<Time>,
}

impl Offer {
    /// What a job has to offer at `now`.
    pub fn of(cell: &Cell, job: &Job, overlay: &Overlay, blocked: &[u16], limit: usize, now: Time) -> Offer {
        let mut offer = Offer::default();
        // Due times are of the server's clock, which may be a little ahead of this process's.
        let now = now.max(cell.time());
        let planned = |task| !overlay.is_empty() && overlay.machine_of(task).is_some();
        for task in job.pending().filter(|task| !blocked.contains(&task.group) && !planned(*task)) {
            let Some(due) = cell.eligible_at(task) else { continue };
            if due > now {
                offer.next_due = Some(offer.next_due.map_or(due, |earlier| earlier.min(due)));
            } else if offer.tasks.len() < limit {
                offer.tasks.push(task);
            } else {
                offer.more = true;
                break;
            }
        }
        offer
    }
}
