//! The `gang` policy: a job starts as a whole or waits as a whole. For work whose tasks are of no use alone.
//!
//! All that is pending of a job goes into one transaction that takes effect entirely or not at all. So a gang never holds
//! machines while it waits for more of them, and two gangs can't block each other for ever. Machines are chosen as by
//! `batch`. What a gang has lost since (a task that failed, a machine that went down) is pending again, and goes into a
//! transaction of its own.

use cell_state::TaskId;

use crate::batch::{Batch, BatchOptions};
use crate::plan::Plan;
use crate::policy::Policy;

/// The `gang` policy.
#[derive(Clone, Debug)]
pub struct Gang {
    choice: Batch,
}

impl Gang {
    /// The policy, with these options for the choice of machines.
    pub fn new(options: BatchOptions) -> Gang {
        Gang { choice: Batch::new(options) }
    }
}

impl Policy for Gang {
    fn name(&self) -> &str {
        "gang"
    }

    fn takes_whole_jobs(&self) -> bool {
        true
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        self.choice.plan(plan, tasks);
        if plan.placed().count() < tasks.len() {
            plan.undo_all();
        }
    }
}
