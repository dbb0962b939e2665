//! The attempts thread: writes judged transactions to the side log, behind everybody's back.
//!
//! Best effort: nobody waits for it, and when it can't keep up, transactions are missing from the side log only.

use std::collections::BTreeSet;
use std::sync::Arc;

use cell_state::event::Committed;
use cell_state::verdict::{Conflict, ConflictKind, Outcome};
use cell_state::{Cell, JobId, MachineId, Seq, TaskId};
use crossbeam::channel::Receiver;
use transport::view::Attempt;

use crate::attempts::Attempts;
use crate::bounds::{ATTEMPT_BATCH_MAX, ATTEMPTS_PER_LOOK};
use crate::mirror::Mirror;
use crate::publish::Judged;

/// Writes until publish is gone.
pub(crate) fn run(judged: &Receiver<Vec<Judged>>, mirror: &Arc<Mirror>, attempts: &Attempts) {
    while let Ok(mut batch) = judged.recv() {
        while batch.len() < ATTEMPT_BATCH_MAX {
            let Ok(more) = judged.try_recv() else { break };
            batch.extend(more);
        }
        let mut named: Vec<Attempt> = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            // A few at a time: publish waits while the mirror is read.
            let cell = mirror.read();
            let some = batch.by_ref().take(ATTEMPTS_PER_LOOK);
            named.extend(some.map(|(at, committed)| attempt(&cell, at, committed)));
        }
        if let Err(error) = attempts.record(&named) {
            tracing::warn!(%error, "the side log of attempts can't be written");
        }
    }
    if let Err(error) = attempts.flush() {
        tracing::warn!(%error, "the end of the side log of attempts may be missing");
    }
}

/// The transaction with the names that a person needs to understand it.
fn attempt(cell: &Cell, at: Seq, committed: Committed) -> Attempt {
    let mut named = Mentioned::default();
    for outcome in committed.outcomes.iter() {
        named.outcome(outcome);
    }
    if let Some(conflict) = &committed.failed_assertion {
        named.conflict(conflict);
    }
    let machine_name = |id: MachineId| cell.machine(id).map(|m| (id, m.spec.name.clone()));
    let job_name = |id: JobId| cell.job(id).map(|j| (id, j.spec().name.clone()));
    Attempt {
        txn: committed.txn,
        scheduler: cell.session(committed.txn.session).map(|s| s.scheduler.clone()).unwrap_or_default(),
        at,
        time: committed.time,
        basis: committed.basis,
        atomicity: committed.atomicity,
        detection: committed.detection,
        outcomes: committed.outcomes,
        failed_assertion: committed.failed_assertion,
        machines: named.machines.into_iter().filter_map(machine_name).collect(),
        jobs: named.jobs.into_iter().filter_map(job_name).collect(),
    }
}

#[derive(Default)]
struct Mentioned {
    machines: BTreeSet<MachineId>,
    jobs: BTreeSet<JobId>,
}

impl Mentioned {
    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Placed(placed) => {
                self.machines.insert(placed.machine);
                self.task(placed.task);
                let victims = placed.extra.as_ref().map_or(&[][..], |extra| &extra.preempted);
                victims.iter().for_each(|victim| self.task(*victim));
            }
            Outcome::Stopping { task, .. } | Outcome::Resized { task, .. } => self.task(*task),
            Outcome::Conflict(conflict) => self.conflict(conflict),
            Outcome::Aborted => {}
        }
    }

    fn conflict(&mut self, conflict: &Conflict) {
        self.machines.extend(conflict.machine);
        self.jobs.extend(conflict.task.map(|task| task.job));
        match &conflict.kind {
            ConflictKind::Victim(task) | ConflictKind::Waiting(task) => self.task(*task),
            ConflictKind::Misfit(cell_state::fit::Misfit::SameJob(task)) => self.task(*task),
            ConflictKind::Misfit(_)
            | ConflictKind::Changed { .. }
            | ConflictKind::TaskState(_)
            | ConflictKind::Epoch { .. }
            | ConflictKind::NoTask
            | ConflictKind::NoMachine
            | ConflictKind::Unwanted
            | ConflictKind::Quota { .. }
            | ConflictKind::Assertion { .. } => {}
        }
    }

    fn task(&mut self, task: TaskId) {
        self.jobs.insert(task.job);
    }
}
