//! What would happen if a job were submitted now: the very policy, run on a copy, with nothing sent anywhere.

use cell_state::admit::{Admitted, Answer, Command, Rejection, admit};
use cell_state::bounds::TXN_OPS_MAX;
use cell_state::commit::{Judged, judge};
use cell_state::event::Event;
use cell_state::job::{Job, JobSpec};
use cell_state::overlay::Overlay;
use cell_state::transaction::{Atomicity, Op, Transaction};
use cell_state::{Cell, JobId, MachineId, SessionId, TaskId, Time, TxnId};
use rand::SeedableRng;

use crate::bounds::{PREVIEW_PLANS_MAX, TASKS_PER_TXN};
use crate::columns::Columns;
use crate::explain::{Why, explain};
use crate::offer::Offer;
use crate::plan::{Plan, Rng, Terms};
use crate::policy::Policy;

/// What submitting a job would lead to.
#[derive(Clone, PartialEq, Debug)]
pub struct Preview {
    /// The number the job has or would get.
    pub job: JobId,
    /// The version that would be current.
    pub version: u32,
    /// Whether the submission would change anything.
    pub changed: bool,
    /// Placements the policy would propose, in order.
    pub placements: Vec<Placement>,
    /// Live tasks that would be asked to stop, because their group shrinks.
    pub stopping: Vec<TaskId>,
    /// Pending tasks no place was found for.
    pub unplaced: u32,
    /// Why not, when there are any.
    pub why: Option<Why>,
    /// The plan itself, one transaction after another; its session and numbers are to be filled in by who commits it.
    pub transactions: Vec<Transaction>,
}

/// A placement that would be proposed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The task.
    pub task: TaskId,
    /// Its machine.
    pub machine: MachineId,
    /// The machine's name.
    pub machine_name: String,
    /// Tasks that would have to go.
    pub preempt: Vec<TaskId>,
}

/// Submits the job to this copy, which is of no use as a copy afterwards, and has the policy plan it.
///
/// # Errors
/// What the server would reject the job for.
pub fn preview(
    cell: &mut Cell,
    policy: &mut dyn Policy,
    spec: JobSpec,
    now: Time,
    seed: u64,
) -> Result<Preview, Rejection> {
    let live_before = cell.job_named(&spec.name).map(live_tasks).unwrap_or_default();
    let Admitted { event, answer } = admit(cell, now, Command::SubmitJob(spec))?;
    if let Some(event) = &event {
        let event: &Event = event;
        cell.apply(cell.seq().next(), event);
    }
    let Answer::Job { job, version, changed } = answer else {
        unreachable!("submitting a job is answered with its number and version, not {answer:?}")
    };
    let live_after = cell.job(job).map(live_tasks).unwrap_or_default();
    let stopping = live_before.into_iter().filter(|task| !live_after.contains(task)).collect();
    let mut rng = Rng::seed_from_u64(seed);
    let mut overlay = Overlay::new();
    let transactions = plan_all(cell, policy, job, now, &mut overlay, &mut rng);
    let placements: Vec<Placement> = transactions.iter().flat_map(|txn| placements(cell, txn)).collect();
    let pending = cell.job(job).map_or(0, |job| job.counts().pending);
    let unplaced = pending - placements.len() as u32;
    // What the rest lacks is what the placements leave, so they are committed to the copy first.
    let why = if unplaced > 0 {
        commit_all(cell, job, now, &transactions);
        explain(cell, job, now, None)
    } else {
        None
    };
    Ok(Preview { job, version, changed, placements, stopping, unplaced, why, transactions })
}

/// Plans until nothing more comes of it.
fn plan_all(
    cell: &Cell,
    policy: &mut dyn Policy,
    id: JobId,
    now: Time,
    overlay: &mut Overlay,
    rng: &mut Rng,
) -> Vec<Transaction> {
    let mut transactions = Vec::new();
    let Some(job) = cell.job(id) else { return transactions };
    let mut blocked: Vec<u16> = Vec::new();
    let mut columns = Columns::new();
    // What waits out a restart delay would be placed too, only later.
    let later = Time(u64::MAX / 2).max(now);
    let (limit, terms) = match policy.takes_whole_jobs() {
        true => (TXN_OPS_MAX, Terms { atomicity: Atomicity::AllOrNothing, ..Terms::default() }),
        false => (TASKS_PER_TXN, Terms::default()),
    };
    for number in 1..=PREVIEW_PLANS_MAX as u64 {
        let offer = Offer::of(cell, job, overlay, &blocked, limit, later);
        if offer.tasks.is_empty() {
            break;
        }
        let Some(mut plan) = Plan::new(cell, id, now, overlay, rng) else { break };
        plan = plan.on_terms(terms).with_columns(&mut columns);
        policy.plan(&mut plan, &offer.tasks);
        if offer.more && policy.takes_whole_jobs() {
            plan.undo_all();
        }
        let full = plan.is_full() && !plan.is_empty();
        let placed: Vec<TaskId> = plan.placed().collect();
        transactions.extend(plan.into_transaction(TxnId { session: SessionId(0), number }));
        for group in offer.tasks.chunk_by(|a, b| a.group == b.group) {
            if !full && !group.iter().any(|task| placed.contains(task)) {
                blocked.push(group[0].group);
            }
        }
    }
    transactions
}

/// Commits the plan to the copy, as the server would.
fn commit_all(cell: &mut Cell, job: JobId, time: Time, transactions: &[Transaction]) {
    let Some(scheduler) = cell.job(job).map(|job| job.spec().scheduler.clone()) else { return };
    let session = cell.sessions().next();
    let opened = Event::SessionOpened { session, scheduler, instance: u64::MAX, time };
    cell.apply(cell.seq().next(), &opened);
    for txn in transactions {
        let own = Transaction { id: TxnId { session, number: txn.id.number }, ..txn.clone() };
        if let Ok(Judged::New(committed)) = judge(cell, time, &own) {
            cell.apply(cell.seq().next(), &Event::Committed(committed));
        }
    }
}

fn placements(cell: &Cell, txn: &Transaction) -> Vec<Placement> {
    let places = txn.ops.iter().filter_map(|op| match op {
        Op::Place { task, machines, preempt } => Some((task, machines.first()?, preempt)),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => None,
    });
    let named = places.map(|(task, machine, preempt)| Placement {
        task: *task,
        machine: *machine,
        machine_name: cell.machine(*machine).map(|m| m.spec.name.clone()).unwrap_or_default(),
        preempt: preempt.clone(),
    });
    named.collect()
}

/// Tasks that run and aren't asked to go.
fn live_tasks(job: &Job) -> std::collections::BTreeSet<TaskId> {
    use cell_state::task::TaskState;
    let live = job.tasks().filter(|(_, task)| matches!(task.state, TaskState::Placed | TaskState::Running));
    live.map(|(id, _)| id).collect()
}
