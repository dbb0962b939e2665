//! The JSON of every view: the field names are part of the interface (docs/cli.md) and change only by addition.
//!
//! Amounts are objects by resource name in the cell's own units (millicores, bytes, thousandths of a GPU, Mbit/s),
//! times are RFC 3339 in UTC, ids are the texts that commands take.

use cell_state::job::{Counts, JobSpec, Run};
use cell_state::machine::Grant;
use cell_state::resources::Schema;
use cell_state::task::{Exit, TaskState};
use cell_state::verdict::{Conflict, ConflictKind, Outcome};
use cell_state::{Dimension, MachineId, Resources, Seq, TaskId, Time};
use serde_json::{Map, Value, json};
use transport::message::ServerStatus;
use transport::view::{Attempt, CellView, ConflictCount, JobRow, JobView, MachineRow, MachineView};
use transport::view::{SchedulerView, TaskRow};

use super::text;
use crate::job_file;

/// Amounts by name; dimensions without a name are left out unless something is in them.
pub(crate) fn resources(amounts: &Resources, schema: &Schema) -> Value {
    let named: Vec<Dimension> = schema.named().collect();
    let shown = Dimension::all().filter(|d| named.contains(d) || amounts.get(*d) > 0);
    Value::Object(shown.map(|d| (schema.name(d), json!(amounts.get(d)))).collect())
}

fn counts(counts: &Counts) -> Value {
    json!({
        "pending": counts.pending,
        "placed": counts.placed,
        "running": counts.running,
        "stopping": counts.stopping,
        "completed": counts.completed,
        "failed": counts.failed,
        "stopped": counts.stopped,
    })
}

fn instant(time: Time) -> Value {
    if time.0 == 0 { Value::Null } else { json!(text::instant(time)) }
}

/// A line of `job list`.
pub(crate) fn job(row: &JobRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "kind": text::kind(row.kind),
        "priority": row.priority,
        "team": row.team,
        "scheduler": row.scheduler,
        "desired": text::desired(row.desired),
        "status": text::status(row.desired, &row.counts).0,
        "version": row.version,
        "submitted": instant(row.submitted),
        "wanted": row.wanted,
        "tasks": counts(&row.counts),
    })
}

/// `job status`.
pub(crate) fn job_view(at: Seq, job: &JobView, schema: &Schema) -> Value {
    let names: Vec<&str> = job.spec.groups.iter().map(|g| g.name.as_str()).collect();
    let mut object = as_object(self::job(&job.row));
    object.insert("at".to_owned(), json!(at.0));
    object.insert("spec".to_owned(), spec(&job.spec, schema));
    let groups = job.groups.iter().enumerate();
    let group = |(i, c): (usize, &Counts)| json!({"name": names.get(i), "tasks": counts(c)});
    object.insert("groups".to_owned(), groups.map(group).collect());
    object.insert("tasks_total".to_owned(), json!(job.tasks_total));
    object.insert("task_list".to_owned(), job.tasks.iter().map(|t| task(t, &names)).collect());
    Value::Object(object)
}

fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// One task.
pub(crate) fn task(row: &TaskRow, groups: &[&str]) -> Value {
    let stop_reason = match row.task.state {
        TaskState::Stopping(reason) => Some(text::reason(reason)),
        TaskState::Pending
        | TaskState::Placed
        | TaskState::Running
        | TaskState::Completed
        | TaskState::Failed
        | TaskState::Stopped => None,
    };
    json!({
        "id": row.id.to_string(),
        "task": text::task(row.id, groups),
        "job": row.job,
        "state": row.task.state.word(),
        "stop_reason": stop_reason,
        "machine": row.machine,
        "epoch": row.task.epoch,
        "version": row.task.version,
        "restarts": row.task.restarts,
        "exit": row.task.exit.map(text::exit),
        "out_of_memory": match row.task.exit {
            Some(Exit::OutOfMemory(kill)) => json!({
                "pid": kill.pid(),
                "peak_bytes": kill.peak_bytes(),
                "limit_bytes": row.memory_limit,
            }),
            Some(Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted(_) | Exit::Unseen) | None => Value::Null,
        },
        "changed": instant(row.task.changed),
        "placed_by": row.task.placed_by.map(|t| t.to_string()),
        "ports": row.ports,
    })
}

/// A job's spec in the terms of a job file, with every default filled in.
pub(crate) fn spec(spec: &JobSpec, schema: &Schema) -> Value {
    let groups: Vec<Value> = spec.groups.iter().map(|g| group(g, schema)).collect();
    json!({
        "name": spec.name,
        "kind": text::kind(spec.kind),
        "priority": spec.priority,
        "team": spec.team,
        "scheduler": spec.scheduler,
        "groups": groups,
    })
}

fn group(group: &cell_state::job::GroupSpec, schema: &Schema) -> Value {
    let ports: Vec<Value> = group.ports.iter().map(|p| json!({"name": p.name, "number": p.number})).collect();
    let on = match group.restart.on {
        cell_state::job::RestartOn::Always => "always",
        cell_state::job::RestartOn::Failure => "failure",
        cell_state::job::RestartOn::Never => "never",
    };
    let run = match &group.run {
        Run::Exec(exec) => json!({
            "driver": if exec.container.is_some() { "oci" } else { "exec" },
            "rootfs": exec.container.as_ref().filter(|it| it.field() == "rootfs").map(|it| it.path()),
            "bundle": exec.container.as_ref().filter(|it| it.field() == "bundle").map(|it| it.path()),
            "command": exec.command,
            "args": exec.args,
            "env": exec.env,
            "directory": exec.directory,
            "log_size": exec.log_bytes_max,
            "log_files": exec.log_files_max,
            "log_age_us": exec.log_age_us,
            "care": exec.care,
        }),
        Run::Simulated { run_for_us, exit_code } => {
            json!({"driver": "simulated", "run_for_us": run_for_us, "exit_code": exit_code})
        }
    };
    let spread = group.spread.as_ref();
    json!({
        "name": group.name,
        "count": group.count,
        "resources": resources(&group.resources, schema),
        "constraints": group.constraints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "distinct_machines": group.distinct_machines,
        "spread": spread.map(|s| json!({"attribute": s.attribute, "max_per_value": s.max_per_value})),
        "ports": ports,
        "restart": {"on": on, "attempts": group.restart.attempts, "delay_us": group.restart.delay_us},
        "stop_grace_us": group.stop_grace_us,
        "artifacts": job_file::artifacts_shown(&group.data),
        "secrets": job_file::secrets_shown(&group.data),
        "run": run,
        "isolation": match &group.run {
            Run::Exec(exec) => job_file::isolation_shown(&exec.isolation),
            Run::Simulated { .. } => Value::Null,
        },
    })
}

/// A line of `node list`.
pub(crate) fn machine(row: &MachineRow, schema: &Schema) -> Value {
    json!({
        "id": row.id.0,
        "name": row.name,
        "state": row.state.to_string(),
        "tasks": row.tasks,
        "capacity": resources(&row.capacity, schema),
        "limit": resources(&row.limit, schema),
        "used": resources(&row.used, schema),
        "version": row.version.0,
        "silent_us": row.silent_us,
    })
}

/// `node status`.
pub(crate) fn machine_view(machine: &MachineView, schema: &Schema) -> Value {
    let mut object = as_object(self::machine(&machine.row, schema));
    object.insert("attributes".to_owned(), json!(machine.spec.attributes));
    object.insert("devices".to_owned(), json!(machine.spec.devices));
    object.insert("ports".to_owned(), json!([machine.spec.ports.0, machine.spec.ports.1]));
    object.insert("task_list".to_owned(), machine.tasks.iter().map(|t| task(t, &[])).collect());
    Value::Object(object)
}

/// A line of `scheduler list`.
pub(crate) fn scheduler(view: &SchedulerView) -> Value {
    let told = view.telemetry.as_ref();
    json!({
        "name": view.name,
        "session": view.session.0,
        "live": view.live,
        "policy": told.map(|t| &t.policy),
        "lag_entries": view.lag_entries,
        "queued_jobs": told.map(|t| t.queued),
        "transactions": view.transactions,
        "accepted_ops": view.accepted,
        "lost_ops": view.conflicts,
        "conflict_fraction": fraction(view.conflicts, view.accepted + view.conflicts),
        "busyness": told.and_then(|t| fraction(t.busy_us, t.uptime_us)),
        "uptime_us": told.map(|t| t.uptime_us),
        "memory_bytes": told.map(|t| t.memory_bytes),
        "hash_checked_at": told.and_then(|t| t.checked).map(|(at, _)| at.0),
        "hash": told.and_then(|t| t.checked).map(|(_, hash)| hash.to_string()),
        "hash_mismatches": told.map(|t| t.hash_mismatches),
    })
}

fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A transaction, with each of its ops.
pub(crate) fn attempt(attempt: &Attempt, schema: &Schema) -> Value {
    let outcomes: Vec<Value> = attempt.outcomes.iter().map(|o| outcome(o, attempt, schema)).collect();
    json!({
        "txn": attempt.txn.to_string(),
        "scheduler": attempt.scheduler,
        "at": attempt.at.0,
        "time": instant(attempt.time),
        "basis": attempt.basis.0,
        "atomicity": text::atomicity(attempt.atomicity),
        "detection": text::detection(attempt.detection),
        "accepted": attempt.outcomes.iter().filter(|o| o.is_accepted()).count(),
        "lost": attempt.outcomes.iter().filter(|o| matches!(o, Outcome::Conflict(_))).count(),
        "aborted": attempt.outcomes.iter().filter(|o| matches!(o, Outcome::Aborted)).count(),
        "outcomes": outcomes,
        "failed_assertion": attempt.failed_assertion.as_ref().map(|c| conflict(c, attempt, schema)),
    })
}

fn outcome(outcome: &Outcome, attempt: &Attempt, schema: &Schema) -> Value {
    match outcome {
        Outcome::Placed(placed) => {
            let extra = placed.extra.as_deref();
            let none = Grant::default();
            let grant = extra.map_or(&none, |e| &e.grant);
            let preempted: Vec<String> =
                extra.map_or_else(Vec::new, |e| e.preempted.iter().map(ToString::to_string).collect());
            json!({
                "outcome": "placed",
                "task": placed.task.to_string(),
                "job": job_name(attempt, placed.task),
                "machine": machine_name(attempt, placed.machine),
                "epoch": placed.epoch,
                "version": placed.version,
                "ports": grant.ports,
                "devices": grant.devices,
                "preempted": preempted,
            })
        }
        Outcome::Stopping { task, reason } => json!({
            "outcome": "stopping",
            "task": task.to_string(),
            "job": job_name(attempt, *task),
            "reason": text::reason(*reason),
        }),
        Outcome::Resized { task, resources } => json!({
            "outcome": "resized",
            "task": task.to_string(),
            "job": job_name(attempt, *task),
            "resources": self::resources(resources, schema),
        }),
        Outcome::Conflict(lost) => conflict(lost, attempt, schema),
        Outcome::Aborted => json!({"outcome": "aborted"}),
    }
}

/// A lost race.
pub(crate) fn conflict(conflict: &Conflict, attempt: &Attempt, schema: &Schema) -> Value {
    let (dimension, wanted, free) = figures(&conflict.kind, schema);
    json!({
        "outcome": "conflict",
        "task": conflict.task.map(|t| t.to_string()),
        "job": conflict.task.and_then(|t| job_name(attempt, t)),
        "machine": conflict.machine.and_then(|m| machine_name(attempt, m)),
        "kind": conflict.kind.word(),
        "problem": text::obstacle(&conflict.kind, schema),
        "dimension": dimension,
        "wanted": wanted,
        "free": free,
        "winner_txn": conflict.winner.as_ref().map(|w| w.txn.to_string()),
        "winner_scheduler": conflict.winner.as_ref().map(|w| &w.scheduler),
        "stale_entries": conflict.stale_entries,
        "spurious": conflict.spurious,
        "divergence": conflict.divergence,
    })
}

/// The dimension, what was wanted and what was free, where the conflict is about an amount.
pub(crate) fn figures(kind: &ConflictKind, schema: &Schema) -> (Option<String>, Option<u64>, Option<u64>) {
    use cell_state::fit::Misfit;
    match kind {
        ConflictKind::Misfit(Misfit::Resource { dimension, wanted, free })
        | ConflictKind::Quota { dimension, wanted, free, .. } => {
            (Some(schema.name(*dimension)), Some(*wanted), Some(*free))
        }
        ConflictKind::Misfit(Misfit::Devices { wanted_milli, largest_free_milli }) => {
            (Some("gpu".to_owned()), Some(*wanted_milli), Some(*largest_free_milli))
        }
        ConflictKind::Misfit(Misfit::Ports { wanted, free }) => {
            (Some("ports".to_owned()), Some((*wanted).into()), Some((*free).into()))
        }
        ConflictKind::Misfit(
            Misfit::State(_) | Misfit::Constraint(_) | Misfit::SameJob(_) | Misfit::Port(_),
        )
        | ConflictKind::Changed { .. }
        | ConflictKind::TaskState(_)
        | ConflictKind::Epoch { .. }
        | ConflictKind::NoTask
        | ConflictKind::NoMachine
        | ConflictKind::Unwanted
        | ConflictKind::Victim(_)
        | ConflictKind::Waiting(_)
        | ConflictKind::Assertion { .. } => (None, None, None),
    }
}

/// The name of a machine that an attempt mentions.
pub(crate) fn machine_name(attempt: &Attempt, id: MachineId) -> Option<&str> {
    attempt.machines.iter().find(|(m, _)| *m == id).map(|(_, name)| name.as_str())
}

/// The name of the job of a task that an attempt mentions.
pub(crate) fn job_name(attempt: &Attempt, task: TaskId) -> Option<&str> {
    attempt.jobs.iter().find(|(j, _)| *j == task.job).map(|(_, name)| name.as_str())
}

/// A line of `conflicts top`.
pub(crate) fn conflict_count(count: &ConflictCount) -> Value {
    json!({
        "loser": count.loser,
        "winner": count.winner,
        "kind": count.kind,
        "count": count.count,
        "spurious": count.spurious,
    })
}

/// `state`.
pub(crate) fn cell(at: Seq, cell: &CellView, schema: &Schema) -> Value {
    let bands = cell_state::job::Band::ALL.iter().zip(&cell.used_by_band);
    let by_band: Map<String, Value> =
        bands.map(|(b, used)| (b.to_string(), resources(used, schema))).collect();
    json!({
        "name": cell.name,
        "at": at.0,
        "hash": cell.hash.to_string(),
        "time": instant(cell.time),
        "machines": {"ready": cell.machines[0], "draining": cell.machines[1], "down": cell.machines[2]},
        "jobs": cell.jobs,
        "tasks": counts(&cell.tasks),
        "capacity": resources(&cell.capacity, schema),
        "limit": resources(&cell.limit, schema),
        "used": resources(&cell.used, schema),
        "used_by_band": by_band,
    })
}

/// `status`.
pub(crate) fn status(status: &ServerStatus) -> Value {
    let schema = &status.config.schema;
    let roles = transport::Role::ALL.iter().zip(&status.sessions);
    let sessions: Map<String, Value> = roles.map(|(role, n)| (role.to_string(), json!(n))).collect();
    let overcommit: Map<String, Value> =
        schema.named().map(|d| (schema.name(d), json!(status.config.overcommit.0[d.index()]))).collect();
    json!({
        "cell": status.config.name,
        "version": status.version,
        "seq": status.seq.0,
        "oldest": status.oldest.0,
        "checkpoint": status.checkpoint.0,
        "started": instant(status.started),
        "sessions": sessions,
        "memory_bytes": status.memory_bytes,
        "divergences": status.divergences,
        "resources": schema.named().map(|d| schema.name(d)).collect::<Vec<_>>(),
        "overcommit_percent": overcommit,
    })
}
