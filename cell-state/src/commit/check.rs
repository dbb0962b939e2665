//! What makes a transaction a bad request, whatever the state of the race.

use crate::admit::{Rejection, RejectionCode};
use crate::bounds;
use crate::cell::Cell;
use crate::fit::DEVICE_MILLI;
use crate::resources::{Dimension, first_over_bound};
use crate::session::Session;
use crate::transaction::{Op, Transaction};

pub(super) fn session_of<'a>(cell: &'a Cell, txn: &Transaction) -> Result<&'a Session, Rejection> {
    cell.session(txn.id.session).ok_or_else(|| {
        let problem = format!("{} is not in the cell; open one first", txn.id.session.0);
        Rejection::new(RejectionCode::NotFound, "id.session", problem)
    })
}

pub(super) fn check(cell: &Cell, txn: &Transaction, scheduler: &str) -> Result<(), Rejection> {
    if txn.id.number == 0 {
        return Err(Rejection::invalid("id.number", "0; transactions are numbered from 1"));
    }
    if txn.ops.is_empty() || txn.ops.len() > bounds::TXN_OPS_MAX {
        let problem = format!("{} ops; a transaction has 1 to {}", txn.ops.len(), bounds::TXN_OPS_MAX);
        return Err(Rejection::invalid("ops", problem));
    }
    if txn.assertions.len() > bounds::TXN_ASSERTIONS_MAX {
        let problem = format!("{} assertions; at most {}", txn.assertions.len(), bounds::TXN_ASSERTIONS_MAX);
        return Err(Rejection::invalid("assertions", problem));
    }
    if txn.basis > cell.seq() {
        let problem = format!("{} is in the future; the cell is at {}", txn.basis, cell.seq());
        return Err(Rejection::invalid("basis", problem));
    }
    let mut own = None;
    for (i, op) in txn.ops.iter().enumerate() {
        // Ops mostly come in runs of one job.
        let job = op.task().job;
        if own != Some(job) {
            check_owner(cell, op, i, scheduler)?;
            own = Some(job);
        }
        check_op(cell, op, i)?;
    }
    Ok(())
}

fn check_owner(cell: &Cell, op: &Op, i: usize, scheduler: &str) -> Result<(), Rejection> {
    let owner = cell.job(op.task().job).map(|job| job.spec().scheduler.as_str());
    if let Some(owner) = owner.filter(|owner| *owner != scheduler) {
        let problem = format!("{} belongs to scheduler {owner:?}, not to {scheduler:?}", op.task());
        return Err(Rejection::new(RejectionCode::NotAllowed, format!("ops[{i}].task"), problem));
    }
    Ok(())
}

fn check_op(cell: &Cell, op: &Op, i: usize) -> Result<(), Rejection> {
    match op {
        Op::Place { machines, preempt, .. } => {
            if machines.is_empty() || machines.len() > bounds::PLACE_MACHINES_MAX {
                let problem =
                    format!("{} machines; name 1 to {}", machines.len(), bounds::PLACE_MACHINES_MAX);
                return Err(Rejection::invalid(format!("ops[{i}].machines"), problem));
            }
            if preempt.len() > bounds::PREEMPT_VICTIMS_MAX {
                let problem = format!("{} victims; at most {}", preempt.len(), bounds::PREEMPT_VICTIMS_MAX);
                return Err(Rejection::invalid(format!("ops[{i}].preempt"), problem));
            }
            Ok(())
        }
        Op::Resize { task, resources, .. } => {
            let job = cell.job(task.job);
            if job
                .is_some_and(|j| j.resized.len() >= bounds::JOB_RESIZED_MAX && !j.resized.contains_key(task))
            {
                let problem = format!("{} tasks of the job are resized, the bound", bounds::JOB_RESIZED_MAX);
                return Err(Rejection::new(RejectionCode::Full, format!("ops[{i}].task"), problem));
            }
            if let Some(dimension) = first_over_bound(resources) {
                let problem = format!("{}; at most {}", resources.get(dimension), bounds::AMOUNT_MAX);
                return Err(Rejection::invalid(format!("ops[{i}].resources"), problem));
            }
            let gpu = resources.get(Dimension::GPU);
            if gpu != cell.charge(*task).get(Dimension::GPU) {
                let problem = format!("gpu {gpu}; devices can't be resized ({DEVICE_MILLI} milli-GPUs each)");
                return Err(Rejection::invalid(format!("ops[{i}].resources"), problem));
            }
            Ok(())
        }
        Op::Evict { .. } | Op::Stop { .. } => Ok(()),
    }
}
