//! What must hold of a cell once it has been filled: every invariant, no machine promised beyond its limit, and the
//! same state everywhere. Checked by the server, on a copy of our own, and by counting everything again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cell_state::{Cell, Dimension, JobId, MachineId, Resources, Seq};
use study::Witness;
use transport::view::SchedulerView;
use transport_quic::Client;

use super::big::{OVERCOMMIT, PART};
use super::checks::Checks;
use super::reads;
use crate::bounds::{DEMO_COPIES_WAIT, POLL_EVERY};
use crate::failure::Failure;

/// Makes all checks; returns the schedulers as they were when their copies were compared.
///
/// # Errors
/// The server can't be reached.
pub(super) async fn all(
    client: &Client,
    witness: &Witness,
    checks: &mut Checks,
) -> Result<Vec<SchedulerView>, Failure> {
    let filled = witness.at();
    checks.none(PART, "violated invariants (server)", &reads::audit(client).await?);
    checks.none(PART, "violated invariants (own copy)", &witness.audit());
    checks.none(PART, "machines beyond their limit (recounted)", &witness.look(recount));
    let schedulers = copies(client, witness, filled, checks).await?;
    own_copy(witness, filled, checks).await;
    Ok(schedulers)
}

/// Counts from the tasks alone what every machine holds: its sums against capacity times over-commit, and no two tasks
/// of a job that wants distinct machines.
fn recount(cell: &Cell) -> Vec<String> {
    let mut held: BTreeMap<MachineId, Resources> = BTreeMap::new();
    let mut distinct: BTreeSet<(MachineId, JobId)> = BTreeSet::new();
    let mut wrong = Vec::new();
    for job in cell.jobs() {
        for (id, task) in job.tasks().filter(|(_, task)| task.state.is_live()) {
            let (Some(machine), Some(version)) = (task.machine, job.version(task.version)) else {
                wrong.push(format!("task {id} is live, but has no machine or no spec"));
                continue;
            };
            let group = &version.spec.groups[usize::from(id.group)];
            if group.distinct_machines && !distinct.insert((machine, id.job)) {
                wrong.push(format!("two tasks of job {} are on machine {}", version.spec.name, machine.0));
            }
            // A placement that waits for others to go holds nothing yet.
            if !cell.machine(machine).is_some_and(|m| m.load.is_waiting(id)) {
                let sum = held.entry(machine).or_default();
                *sum = sum.plus(&group.resources);
            }
        }
    }
    let percent =
        |name: String| OVERCOMMIT.iter().find(|(of, _)| *of == name).map_or(100, |(_, percent)| *percent);
    for machine in cell.machines() {
        let held = held.get(&machine.id).copied().unwrap_or_default();
        for dimension in Dimension::all() {
            let percent = percent(cell.config().schema.name(dimension));
            let most = u128::from(machine.spec.capacity.get(dimension)) * u128::from(percent) / 100;
            if u128::from(held.get(dimension)) > most {
                wrong.push(format!(
                    "{} holds {held:?}, may hold {percent} % of {:?}",
                    machine.spec.name, machine.spec.capacity
                ));
            }
        }
    }
    wrong
}

/// Waits until every scheduler has compared its copy with the server's hash after `filled`, and compares what they
/// said with what the server said at the same position.
async fn copies(
    client: &Client,
    witness: &Witness,
    filled: Seq,
    checks: &mut Checks,
) -> Result<Vec<SchedulerView>, Failure> {
    let started = Instant::now();
    let schedulers = loop {
        let schedulers = reads::schedulers(client).await?;
        let checked = |s: &SchedulerView| s.telemetry.as_ref().and_then(|t| t.checked).map(|(at, _)| at);
        let all = schedulers
            .iter()
            .all(|s| checked(s).is_some_and(|at| at >= filled && witness.mark(at).is_some()));
        if all || started.elapsed() > DEMO_COPIES_WAIT {
            break schedulers;
        }
        tokio::time::sleep(POLL_EVERY).await;
    };
    let mut wrong = Vec::new();
    let mut compared = Vec::new();
    for scheduler in &schedulers {
        let telemetry = scheduler.telemetry.clone().unwrap_or_default();
        let name = &scheduler.name;
        if telemetry.hash_mismatches > 0 {
            wrong.push(format!("{name}: {} hashes differed", telemetry.hash_mismatches));
        }
        match telemetry.checked.map(|(at, ours)| (at, ours, witness.mark(at))) {
            Some((at, ours, Some(theirs))) if ours == theirs && at >= filled => {
                compared.push(format!("{name}@{at}"))
            }
            Some((at, ours, Some(theirs))) if ours != theirs => {
                wrong.push(format!("{name}: {ours} at {at}, the server {theirs}"))
            }
            other => wrong.push(format!("{name}: not compared since seq {filled} ({other:?})")),
        }
    }
    let found = if wrong.is_empty() { compared.join(" ") } else { wrong.join("; ") };
    checks.note(
        PART,
        "schedulers' copies equal the server's",
        wrong.is_empty() && !schedulers.is_empty(),
        found,
    );
    Ok(schedulers)
}

/// Waits until the copy of this process, too, was compared after `filled`. It compares itself at every mark, and stops
/// at the first that differs.
async fn own_copy(witness: &Witness, filled: Seq, checks: &mut Checks) {
    let started = Instant::now();
    let last = loop {
        let last = witness.last_mark();
        let enough = last.is_some_and(|(at, _)| at >= filled) || witness.failure().is_some();
        if enough || started.elapsed() > DEMO_COPIES_WAIT {
            break last;
        }
        tokio::time::sleep(POLL_EVERY).await;
    };
    let equal = witness.failure().is_none() && last.is_some_and(|(at, _)| at >= filled);
    let found = match (witness.failure(), last) {
        (Some(failure), _) => failure,
        (None, None) => "never compared".to_owned(),
        (None, Some((at, hash))) => format!("{} times, at last {hash} at seq {at}", witness.marks_compared()),
    };
    checks.note(PART, "this process's copy equals the server's", equal, found);
}
