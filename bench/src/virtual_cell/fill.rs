//! What is there from the start: placed where it was, as far as that is known, else by the policy of its scheduler.

use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{JobId, MachineId, TaskId, TxnId};

use super::load::{Placement, Submission};
use super::plan::PLAIN;
use super::run::Run;

impl Run<'_> {
    /// Places what is there from the start, before the clock runs.
    pub(super) fn fill(&mut self, initial: Vec<Submission>, order: &[MachineId]) {
        for submission in initial {
            let placed = submission.placed.clone();
            let job = self.submit(submission);
            self.put_back(job, &placed, order);
            self.place_all(job);
            self.counts.initial_left += self.pending(job) as u64;
        }
    }

    /// Tasks of a job to place.
    pub(super) fn pending(&self, job: JobId) -> u32 {
        self.cell.job(job).map_or(0, |job| job.counts().pending)
    }

    /// Puts tasks on the machines they were on; what has no room there any more is left.
    fn put_back(&mut self, job: JobId, placed: &[Placement], order: &[MachineId]) {
        if placed.is_empty() {
            return;
        }
        let number = self.info(job).scheduler as usize;
        let mut next: Vec<u32> = vec![0; placed.iter().map(|p| usize::from(p.group) + 1).max().unwrap_or(0)];
        let mut ops = Vec::new();
        for Placement { group, count, machine } in placed {
            let first = &mut next[usize::from(*group)];
            for index in *first..*first + count {
                let task = TaskId { job, group: *group, index };
                let machines = [order[*machine as usize]].into();
                ops.push(Op::Place { task, machines, preempt: Vec::new() });
            }
            *first += count;
        }
        for ops in ops.chunks(cell_state::bounds::TXN_OPS_MAX) {
            let scheduler = &mut self.schedulers[number];
            scheduler.number += 1;
            let txn = Transaction {
                id: TxnId { session: scheduler.session, number: scheduler.number },
                basis: self.cell.seq(),
                atomicity: Atomicity::Incremental,
                detection: Detection::Fit,
                ops: ops.to_vec(),
                assertions: Vec::new(),
            };
            self.commit(&txn, 0);
        }
    }

    fn place_all(&mut self, job: JobId) {
        let number = self.info(job).scheduler as usize;
        loop {
            let tasks: Vec<TaskId> = self.cell.job(job).into_iter().flat_map(|job| job.pending()).collect();
            if tasks.is_empty() {
                return;
            }
            let way = super::Way { gang: false, ..self.way(job) };
            let Some(txn) = self.plan_live(number, job, &tasks, &way, PLAIN) else { return };
            self.commit(&txn, 0);
        }
    }
}
