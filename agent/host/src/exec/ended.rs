//! The directories of placements that have ended, kept for their output: a bounded number, the oldest go first.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use agent::PlacementId;

use crate::bounds::{ENDED_DIRS_MAX, ENDS_PER_SWEEP};
use crate::task_dir::TaskDir;

/// Those that are there, the oldest first.
#[derive(Default)]
pub(super) struct Ended {
    order: VecDeque<PlacementId>,
}

impl Ended {
    /// Those that earlier agents left.
    pub(super) fn find(root: &Path) -> io::Result<Ended> {
        let all = TaskDir::list(root)?.into_iter();
        let mut ended: Vec<_> = all.filter_map(|(id, dir)| Some((dir.ended_at()?, id))).collect();
        ended.sort_unstable();
        Ok(Ended { order: ended.into_iter().map(|(_, id)| id).collect() })
    }

    /// Adds one, and takes out those that are too many, several at a time.
    pub(super) fn add(&mut self, id: PlacementId) -> Vec<PlacementId> {
        self.order.push_back(id);
        let surplus = self.order.len().saturating_sub(ENDED_DIRS_MAX);
        let due = if surplus < ENDS_PER_SWEEP { 0 } else { surplus };
        self.order.drain(..due).collect()
    }

    /// Takes out those that `which` names.
    pub(super) fn take(&mut self, which: impl Fn(&PlacementId) -> bool) -> Vec<PlacementId> {
        let (taken, kept) = self.order.drain(..).partition(|id| which(id));
        self.order = kept;
        Vec::from(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::{JobId, TaskId};

    fn id(job: u32) -> PlacementId {
        PlacementId { task: TaskId { job: JobId(job), group: 0, index: 0 }, epoch: 1 }
    }

    #[test]
    fn the_oldest_of_too_many_go_and_those_of_a_forgotten_job() {
        let mut ended = Ended::default();
        let gone: Vec<_> = (0..2_000).flat_map(|n| ended.add(id(n))).collect();
        assert_eq!(gone, (0..gone.len() as u32).map(id).collect::<Vec<_>>());
        assert!((ENDED_DIRS_MAX..ENDED_DIRS_MAX + ENDS_PER_SWEEP).contains(&(2_000 - gone.len())));
        assert_eq!(ended.take(|id| id.task.job == JobId(1_999)), [id(1_999)]);
        assert_eq!(ended.take(|id| id.task.job == JobId(1_999)), []);
    }
}
