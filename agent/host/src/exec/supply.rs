//! What a task is given before it starts: had at hand before its intent is recorded, put into its directory after.

use std::sync::Arc;

use agent::{PlacementId, Start};
use cell_state::job::{GroupSpec, JobSpec};
use cell_state::task::NotStarted;

use super::{Exec, Happened, Shared};
use crate::artifacts::Owner;
use crate::task_dir::{Launch, TaskDir};

impl Exec {
    /// Has at hand what a placement is to be given; what comes of it is told later.
    pub fn prepare(&self, id: PlacementId, job: Arc<JobSpec>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let had = match job.groups.get(usize::from(id.task.group)) {
                Some(group) => tokio::select! {
                    had = shared.artifacts.prepare(&group.data.artifacts) => had,
                    () = shared.news.closed() => return,
                },
                None => Ok(()),
            };
            shared
                .tell(had.map_or_else(|why| Happened::NotStarted(id, why), |()| Happened::Prepared(id)))
                .await;
        });
    }
}

impl Shared {
    /// Starts a placement where that doesn't hold up others: what takes long is done beside the thread of starts.
    pub(super) fn start_beside(self: &Arc<Shared>, start: Start) {
        if group(&start).is_none_or(|group| group.data.artifacts.is_empty()) {
            return self.start(&start);
        }
        let shared = Arc::clone(self);
        self.runtime.spawn_blocking(move || shared.start(&start));
    }

    /// Puts into a task's directory what it is given.
    pub(super) fn supply(&self, start: &Start, launch: &Launch, dir: &TaskDir) -> Result<(), NotStarted> {
        let owner = launch.confine.user.as_ref().map(|user| Owner { uid: user.uid, gid: user.gid });
        match group(start) {
            Some(group) => self.artifacts.supply(&group.data.artifacts, &dir.work(), owner),
            None => Ok(()),
        }
    }
}

fn group(start: &Start) -> Option<&GroupSpec> {
    start.spec.job.groups.get(usize::from(start.intent.id.task.group))
}
