//! `ohm job list` and `ohm job status`.

use cell_state::job::Desired;
use transport::view::JobView;

use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::table::facts;
use crate::show::{self, json, rows, text};
use crate::typed::jobs::{JobListArgs, JobStatusArgs};

pub(crate) async fn list(args: JobListArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let mut jobs = server.jobs(None).await?;
    jobs.retain(|j| args.team.as_ref().is_none_or(|team| *team == j.team));
    jobs.retain(|j| !args.pending || j.counts.pending > 0);
    let listing = rows::jobs(&jobs, text::now());
    if listing.is_empty() {
        show::say("no jobs");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

pub(crate) async fn status(args: JobStatusArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (at, job) = server.job_with_tasks(None, &args.job, args.tasks).await?;
    let schema = server.status().await?.config.schema;
    let json = json::job_view(at, &job, &schema);
    let name = job.row.name.clone();
    show::one(args.output.output, &name, &json, |wide| describe(&job, wide))?;
    Ok(Ended::Well)
}

/// A job as people read it: facts, then its tasks.
pub(crate) fn describe(job: &JobView, wide: bool) -> String {
    let (row, now) = (&job.row, text::now());
    let counts = &row.counts;
    let wanted = if row.desired == Desired::Stop { 0 } else { row.wanted };
    let mut out = facts(&[
        ("Job", format!("{} ({})", row.name, row.id)),
        ("Kind", format!("{}, priority {}, team {}", text::kind(row.kind), row.priority, row.team)),
        ("Scheduler", row.scheduler.clone()),
        ("Version", row.version.to_string()),
        ("Submitted", text::ago(row.submitted, now)),
        (
            "Desired",
            format!("{}, {}", text::desired(row.desired), text::counted(wanted.into(), "task", "tasks")),
        ),
        ("Status", format!("{}: {}", text::status(row.desired, counts).0, counts)),
    ]);
    let groups: Vec<(&str, u32)> = job.spec.groups.iter().map(|g| (g.name.as_str(), g.count)).collect();
    out.push_str("\n\n");
    out.push_str(&rows::tasks(&job.tasks, row.desired, &groups, now).table(wide, show::colours()));
    let left = job.tasks_total as usize - job.tasks.len();
    if left > 0 {
        out.push_str(&format!("\n… and {left} more; --tasks {} shows all", job.tasks_total));
    }
    if counts.pending > 0 {
        out.push_str(&format!("\n\n`ohm job why {}` says why {} are pending.", row.name, counts.pending));
    }
    out
}
