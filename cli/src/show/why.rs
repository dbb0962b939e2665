//! Why tasks are pending, as people and programs read it, with the cell's units.

use cell_state::resources::Schema;
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{TaskId, Time};
use schedulers::explain::{Candidate, GroupWhy, JobState, QuotaShort, Reason, ReasonKind, Why};
use serde_json::{Value, json};
use transport::view::Attempt;

use super::text::counted;
use super::{json as as_json, text};

/// The explanation as text.
pub(crate) fn describe(why: &Why, schema: &Schema) -> String {
    let (job, scheduler) = (&why.job, &why.scheduler);
    let pending: u32 = why.groups.iter().map(|g| g.pending).sum();
    let mut out = match why.state {
        JobState::Stopped => return format!("job {job} was asked to stop; `ohm job run` starts it again"),
        JobState::NothingPending => return format!("job {job} has no pending tasks"),
        JobState::NoScheduler => format!(
            "job {job}: {pending} pending, and no process of its scheduler {scheduler} is connected; start one with\n  \
             ohm scheduler run --policy POLICY --name {scheduler}"
        ),
        JobState::Pending => {
            let processes = counted(why.processes as u64, "process", "processes");
            format!(
                "job {job}: {pending} pending, scheduler {scheduler} ({processes}), seen at seq {}",
                why.at
            )
        }
    };
    for group in &why.groups {
        out.push('\n');
        out.push_str(&describe_group(group, schema));
    }
    out
}

fn describe_group(group: &GroupWhy, schema: &Schema) -> String {
    let mut lines = vec![format!("group {}: {} pending", group.group, group.pending)];
    if group.delayed > 0 {
        let rest = text::span(group.due_in_us);
        lines.push(format!("  {} wait out a restart delay, the first for {rest} more", group.delayed));
    }
    if let Some(QuotaShort { team, band, dimension, wanted, free }) = &group.quota {
        let figures = wanted_free(schema, dimension, *wanted, *free);
        lines.push(format!("  the quota of team {team} in band {band} is used up: {dimension} {figures}"));
    }
    if group.machines == 0 {
        lines.push("  there is no machine in the cell".to_owned());
    }
    if group.fits > 0 {
        let more = if group.fits as usize > group.fitting.len() { ", …" } else { "" };
        let machines = counted(group.fits.into(), "machine", "machines");
        lines.push(format!("  on {machines}: it fits now ({}{more})", group.fitting.join(", ")));
    }
    lines.extend(group.reasons.iter().map(|reason| format!("  {}", describe_reason(reason, schema))));
    lines.join("\n")
}

fn describe_reason(reason: &Reason, schema: &Schema) -> String {
    let machines = counted(reason.machines.into(), "machine", "machines");
    format!("on {machines}: {}{}", phrase(&reason.kind), closest(reason, schema))
}

fn closest(reason: &Reason, schema: &Schema) -> String {
    let figures =
        |c: &Candidate| c.wanted_free.map(|(wanted, free)| figures_of(&reason.kind, wanted, free, schema));
    match reason.closest.first() {
        None => String::new(),
        Some(first) => match figures(first) {
            Some(figures) if reason.machines == 1 => format!(", {}: {figures}", first.machine),
            Some(figures) => format!(", closest {}: {figures}", first.machine),
            None => {
                let names: Vec<&str> = reason.closest.iter().map(|c| c.machine.as_str()).collect();
                let more = if reason.machines as usize > names.len() { ", …" } else { "" };
                format!(" ({}{more})", names.join(", "))
            }
        },
    }
}

fn figures_of(kind: &ReasonKind, wanted: u64, free: u64, schema: &Schema) -> String {
    match kind {
        ReasonKind::Short(dimension) => wanted_free(schema, dimension, wanted, free),
        ReasonKind::Devices => wanted_free(schema, "gpu", wanted, free),
        ReasonKind::State(_)
        | ReasonKind::Constraint(_)
        | ReasonKind::SameJob
        | ReasonKind::PortTaken(_)
        | ReasonKind::Ports
        | ReasonKind::NoAttribute(_)
        | ReasonKind::DomainFull(..) => format!("wanted {wanted}, free {free}"),
    }
}

fn wanted_free(schema: &Schema, dimension: &str, wanted: u64, free: u64) -> String {
    match schema.dimension(dimension) {
        Some(d) => format!("wanted {}, free {}", text::amount(d, wanted), text::amount(d, free)),
        None => format!("wanted {wanted}, free {free}"),
    }
}

fn phrase(kind: &ReasonKind) -> String {
    match kind {
        ReasonKind::State(state) => state.clone(),
        ReasonKind::Short(dimension) => format!("too little {dimension}"),
        ReasonKind::Constraint(constraint) => format!("constraint `{constraint}` does not hold"),
        ReasonKind::SameJob => "a task of the job is there, and it wants distinct machines".to_owned(),
        ReasonKind::PortTaken(port) => format!("port {port} is taken"),
        ReasonKind::Ports => "too few free ports".to_owned(),
        ReasonKind::Devices => "no such share of a GPU device".to_owned(),
        ReasonKind::NoAttribute(key) => {
            format!("attribute {key}, over which the group is spread, is missing")
        }
        ReasonKind::DomainFull(key, value, max) => {
            format!("{key} {value} holds as many tasks of the job as it may, {max}")
        }
    }
}

/// The explanation as JSON.
pub(crate) fn as_value(why: &Why) -> Value {
    let groups: Vec<Value> = why.groups.iter().map(group_value).collect();
    let state = match why.state {
        JobState::Stopped => "stopped",
        JobState::NothingPending => "nothing-pending",
        JobState::NoScheduler => "no-scheduler",
        JobState::Pending => "pending",
    };
    json!({
        "at": why.at.0,
        "job": why.job,
        "scheduler": why.scheduler,
        "scheduler_processes": why.processes,
        "state": state,
        "groups": groups,
    })
}

fn group_value(group: &GroupWhy) -> Value {
    let quota = group.quota.as_ref();
    let reasons: Vec<Value> = group.reasons.iter().map(reason_value).collect();
    json!({
        "group": group.group,
        "pending": group.pending,
        "delayed": group.delayed,
        "due_in_us": group.due_in_us,
        "quota": quota.map(|q| json!({
            "team": q.team, "band": q.band.to_string(), "dimension": q.dimension, "wanted": q.wanted, "free": q.free,
        })),
        "machines": group.machines,
        "fits": group.fits,
        "fitting": group.fitting,
        "reasons": reasons,
    })
}

fn reason_value(reason: &Reason) -> Value {
    let dimension = match &reason.kind {
        ReasonKind::Short(dimension) => Some(dimension.as_str()),
        ReasonKind::Devices => Some("gpu"),
        ReasonKind::Ports => Some("ports"),
        ReasonKind::State(_)
        | ReasonKind::Constraint(_)
        | ReasonKind::SameJob
        | ReasonKind::PortTaken(_)
        | ReasonKind::NoAttribute(_)
        | ReasonKind::DomainFull(..) => None,
    };
    let closest = reason.closest.iter().map(|c| {
        let (wanted, free) = c.wanted_free.unzip();
        json!({"machine": c.machine, "wanted": wanted, "free": free})
    });
    json!({
        "reason": phrase(&reason.kind),
        "dimension": dimension,
        "machines": reason.machines,
        "closest": closest.collect::<Vec<_>>(),
    })
}

/// A race that a task of the job lost.
pub(crate) struct Lost<'a> {
    attempt: &'a Attempt,
    conflict: &'a Conflict,
}

/// The latest races that tasks of this job lost, newest first; on one machine only, if one is named.
pub(crate) fn lost<'a>(
    attempts: &'a [Attempt],
    job: cell_state::JobId,
    machine: Option<&str>,
) -> Vec<Lost<'a>> {
    let all = attempts.iter().flat_map(|attempt| {
        let assertion = attempt.failed_assertion.as_deref();
        let outcomes = attempt.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Conflict(conflict) => Some(&**conflict),
            Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => {
                None
            }
        });
        assertion.into_iter().chain(outcomes).map(move |conflict| Lost { attempt, conflict })
    });
    all.filter(|l| l.conflict.task.is_none_or(|t: TaskId| t.job == job))
        .filter(|l| machine.is_none_or(|name| l.machine() == Some(name)))
        .collect()
}

impl Lost<'_> {
    fn machine(&self) -> Option<&str> {
        self.conflict.machine.and_then(|m| as_json::machine_name(self.attempt, m))
    }

    /// One line: when, which task, on which machine, what stood in the way, who won.
    pub(crate) fn describe(&self, groups: &[&str], schema: &Schema, now: Time) -> String {
        let task = self.conflict.task.map_or_else(|| "the transaction".to_owned(), |t| text::task(t, groups));
        let at = self.machine().map_or_else(String::new, |name| format!(" on {name}"));
        format!(
            "{}, txn {}: {task}{at}: {}; {}",
            text::ago(self.attempt.time, now),
            self.attempt.txn,
            text::obstacle(&self.conflict.kind, schema),
            text::circumstances(self.conflict)
        )
    }

    /// The same as JSON, with its transaction.
    pub(crate) fn as_value(&self, schema: &Schema) -> Value {
        let mut value = as_json::conflict(self.conflict, self.attempt, schema);
        if let Value::Object(object) = &mut value {
            object.insert("txn".to_owned(), json!(self.attempt.txn.to_string()));
            object.insert("scheduler".to_owned(), json!(self.attempt.scheduler));
            object.insert("time".to_owned(), json!(text::instant(self.attempt.time)));
        }
        value
    }
}
