//! `ohm job why`: copy the cell, ask the one fit rule about every machine, and add the races the job lost.

use cell_state::job::Band;
use schedulers::explain::{JobState, explain};
use serde_json::{Value, json};

use crate::bounds::CONFLICTS_SHOWN;
use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::{self, text, why};
use crate::typed::jobs::JobWhyArgs;

/// Said of jobs that could have preempted others' tasks.
const OWN_VIEW_NOTE: &str = "\nits scheduler follows only its own jobs (--view own), so it preempts no tasks of other \
                             schedulers, whatever their priority";

pub(crate) async fn run(args: JobWhyArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (_, job) = server.job(None, &args.job, 0, 0).await?;
    let machine = match &args.machine {
        Some(name) => Some(server.machine(None, name).await?.row),
        None => None,
    };
    let attempts = server.attempts(CONFLICTS_SHOWN as u32, None, Some(job.row.id), true).await?;
    let schedulers = server.schedulers().await?;
    let cell = server.copy().await?;
    let gone = || Failure::Input(format!("job {} is no longer in the cell", job.row.name));
    let found = explain(&cell, job.row.id, text::now(), machine.as_ref().map(|m| m.id)).ok_or_else(gone)?;
    let schema = &cell.config().schema;
    let telemetry = schedulers
        .iter()
        .filter(|s| s.live && s.name == found.scheduler)
        .filter_map(|s| s.telemetry.as_ref());
    let own_view = telemetry.filter(|telemetry| telemetry.sees_only_its_own()).count();
    let preempts = Band::of(job.spec.priority) > Band::Free;
    let mut lost = why::lost(&attempts, job.row.id, machine.as_ref().map(|m| m.name.as_str()));
    lost.truncate(CONFLICTS_SHOWN);
    let mut json = why::as_value(&found);
    if let Value::Object(object) = &mut json {
        let conflicts: Vec<Value> = lost.iter().map(|l| l.as_value(schema)).collect();
        object.insert("last_conflicts".to_owned(), json!(conflicts));
        object.insert("processes_with_own_view".to_owned(), json!(own_view));
    }
    let groups: Vec<&str> = job.spec.groups.iter().map(|g| g.name.as_str()).collect();
    show::one(args.output.output, &job.row.name, &json, |_| {
        let mut out = why::describe(&found, schema);
        if own_view > 0 && preempts && found.state == JobState::Pending {
            out.push_str(OWN_VIEW_NOTE);
        }
        if !lost.is_empty() {
            out.push_str("\nlast conflicts:");
            for conflict in &lost {
                out.push_str(&format!("\n  {}", conflict.describe(&groups, schema, text::now())));
            }
        }
        out
    })?;
    Ok(Ended::Well)
}
