//! `ohm job plan`: what submitting a job file would change, by the production policy on a copy of the cell.

use cell_state::job::{JobKind, JobSpec};
use cell_state::resources::Schema;
use schedulers::policy::{BUILT_IN, Policy, built_in};
use schedulers::preview::{Preview, preview};
use serde_json::{Value, json};
use transport::view::SchedulerView;

use super::job_check::JobFile;
use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::{self, Column, Listing, json as as_json, text, why};
use crate::typed::connect::OutputArgs;
use crate::typed::jobs::JobPlanArgs;

/// The seed of the policy's choices: the same question gets the same answer.
const SEED: u64 = 1;

/// What was asked for, checked.
pub(crate) struct JobPlan {
    file: JobFile,
    connection: Connection,
    output: OutputArgs,
}

impl JobPlan {
    /// Checks what was typed, the job file included.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: JobPlanArgs) -> Result<JobPlan, Failure> {
        let file = JobFile::read(&args.file)?;
        Ok(JobPlan { file, connection: Connection::check(&args.connect)?, output: args.output })
    }
}

pub(crate) async fn run(wanted: JobPlan) -> Result<Ended, Failure> {
    let mut server = wanted.connection.open().await?;
    let schedulers = server.schedulers().await?;
    let mut cell = server.copy().await?;
    let schema = cell.config().schema.clone();
    let spec = wanted.file.spec_for(&schema)?;
    let changes = {
        let old = cell.job_named(&spec.name).map(|job| as_json::spec(job.spec(), &schema));
        changes(old.as_ref(), &as_json::spec(&spec, &schema))
    };
    let (name, groups) = (spec.name.clone(), group_names(&spec));
    let mut policy = policy(&spec, &schedulers);
    let rejected = |r| Failure::Refused(transport::message::Refusal::Rejected(r));
    let plan = preview(&mut cell, policy.as_mut(), spec, text::now(), SEED).map_err(rejected)?;
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let shown = Shown { name: &name, groups: &groups, changes: &changes, plan: &plan, schema: &schema };
    let json = shown.json(policy.name());
    show::one(wanted.output.output, &name, &json, |wide| shown.text(policy.name(), wide))?;
    Ok(if plan.changed { Ended::WouldChange } else { Ended::Well })
}

fn group_names(spec: &JobSpec) -> Vec<String> {
    spec.groups.iter().map(|g| g.name.clone()).collect()
}

/// The policy that the job's scheduler runs, as far as it is built in; else the one for its kind.
fn policy(spec: &JobSpec, schedulers: &[SchedulerView]) -> Box<dyn Policy> {
    let running = schedulers.iter().filter(|s| s.live && s.name == spec.scheduler);
    let told = running.filter_map(|s| s.telemetry.as_ref()).map(|t| t.policy.as_str()).next();
    if let Some(other) = told.filter(|name| !BUILT_IN.contains(name)) {
        show::say(&format!(
            "ohm: scheduler {} runs the policy {other}, which is not built in; planned with the one for {} jobs",
            spec.scheduler,
            text::kind(spec.kind)
        ));
    }
    let kind = match spec.kind {
        JobKind::Batch => "batch",
        JobKind::Service => "service",
    };
    let choices = [told, Some(spec.scheduler.as_str()), Some(kind)];
    let found = choices.into_iter().flatten().find_map(built_in);
    found.expect("each kind of job has a built-in policy of that name")
}

/// One field that differs.
struct Change {
    field: String,
    from: Value,
    to: Value,
}

/// The fields that differ between two specs.
fn changes(old: Option<&Value>, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    if let Some(old) = old {
        compare(String::new(), old, new, &mut found);
    }
    found
}

fn compare(path: String, old: &Value, new: &Value, found: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(inner, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.iter().chain(b).any(Value::is_object) => {
            for i in 0..a.len().max(b.len()) {
                let inner = format!("{path}[{i}]");
                compare(inner, a.get(i).unwrap_or(&Value::Null), b.get(i).unwrap_or(&Value::Null), found);
            }
        }
        _ if old != new => found.push(Change { field: path, from: old.clone(), to: new.clone() }),
        _ => {}
    }
}

const PLACEMENTS: [Column; 3] = [Column::text("TASK"), Column::text("MACHINE"), Column::text("PREEMPTS")];

/// Everything there is to show.
struct Shown<'a> {
    name: &'a str,
    groups: &'a [&'a str],
    changes: &'a [Change],
    plan: &'a Preview,
    schema: &'a Schema,
}

impl Shown<'_> {
    fn json(&self, policy: &str) -> Value {
        let plan = self.plan;
        let changes: Vec<Value> =
            self.changes.iter().map(|c| json!({"field": c.field, "from": c.from, "to": c.to})).collect();
        let placements: Vec<Value> = plan
            .placements
            .iter()
            .map(|p| {
                let preempts: Vec<String> = p.preempt.iter().map(ToString::to_string).collect();
                json!({
                    "task": text::task(p.task, self.groups),
                    "id": p.task.to_string(),
                    "machine": p.machine_name,
                    "preempts": preempts,
                })
            })
            .collect();
        json!({
            "job": self.name,
            "id": plan.job.to_string(),
            "policy": policy,
            "changed": plan.changed,
            "version": plan.version,
            "changes": changes,
            "placements": placements,
            "stopping": plan.stopping.iter().map(|t| text::task(*t, self.groups)).collect::<Vec<_>>(),
            "unplaced": plan.unplaced,
            "why": plan.why.as_ref().map(why::as_value),
        })
    }

    fn text(&self, policy: &str, wide: bool) -> String {
        let (name, plan) = (self.name, self.plan);
        let mut out = match (plan.changed, plan.version) {
            (false, version) => {
                format!("job {name}: nothing would change; version {version} is this very file")
            }
            (true, 1) => format!("job {name}: would be created"),
            (true, version) => format!("job {name}: would become version {version}"),
        };
        for change in self.changes {
            out.push_str(&format!("\n  {}: {} -> {}", change.field, change.from, change.to));
        }
        if !plan.stopping.is_empty() {
            let tasks: Vec<String> = plan.stopping.iter().map(|t| text::task(*t, self.groups)).collect();
            out.push_str(&format!("\nwould be stopped: {}", tasks.join(", ")));
        }
        if !plan.placements.is_empty() {
            let mut listing = Listing::new(&PLACEMENTS);
            for p in &plan.placements {
                let preempts: Vec<String> = p.preempt.iter().map(ToString::to_string).collect();
                let preempts = if preempts.is_empty() { "-".to_owned() } else { preempts.join(", ") };
                let task = text::task(p.task, self.groups);
                listing.push(
                    &task,
                    vec![(&task).into(), (&p.machine_name).into(), preempts.into()],
                    Value::Null,
                );
            }
            let table = listing.table(wide, show::colours());
            out.push_str(&format!("\n\nthe {policy} policy would now place:\n{table}"));
        }
        if plan.unplaced > 0 {
            out.push_str(&format!(
                "\n\n{} could not be placed now",
                text::counted(plan.unplaced.into(), "task", "tasks")
            ));
            if let Some(found) = &plan.why {
                out.push_str(":\n");
                out.push_str(&why::describe(found, self.schema));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let old = json!({"priority": 100, "groups": [{"count": 1, "args": ["a"]}, {"count": 2}]});
        let new = json!({"priority": 100, "groups": [{"count": 3, "args": ["a", "b"]}, {"count": 2}, {"count": 1}]});
        let found = changes(Some(&old), &new);
        let fields: Vec<&str> = found.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["groups[0].args", "groups[0].count", "groups[2]"]);
        assert!(changes(Some(&old), &old).is_empty());
        assert!(changes(None, &new).is_empty());
    }
}
