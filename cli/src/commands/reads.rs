//! `ohm state`, `ohm status`, `ohm audit`, `ohm scheduler list`.

use cell_state::resources::Schema;
use cell_state::{Dimension, Seq};
use serde_json::json;
use transport::message::ServerStatus;
use transport::view::CellView;

use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::table::facts;
use crate::show::{self, json as as_json, rows, text};
use crate::typed::reads::{ReadArgs, StateArgs};
use crate::typed::roles::SchedulerListArgs;

pub(crate) async fn schedulers(args: SchedulerListArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let mut schedulers = server.schedulers().await?;
    schedulers.retain(|s| args.all || s.live);
    let listing = rows::schedulers(&schedulers);
    if listing.is_empty() {
        show::say("no schedulers; `ohm scheduler run --policy batch` starts one");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

pub(crate) async fn state(args: StateArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (at, format) = (args.at.map(Seq), args.output.output);
    let schema = server.status().await?.config.schema;
    if let Some(name) = &args.job {
        let (seq, job) = server.job_with_tasks(at, name, u32::MAX).await?;
        let json = as_json::job_view(seq, &job, &schema);
        show::one(format, &job.row.name, &json, |wide| super::job_reads::describe(&job, wide))?;
    } else if let Some(name) = &args.machine {
        let machine = server.machine(at, name).await?;
        let json = as_json::machine_view(&machine, &schema);
        show::one(format, &machine.row.name, &json, |wide| super::node::describe(&machine, &schema, wide))?;
    } else if args.jobs {
        show::listing(&rows::jobs(&server.jobs(at).await?, text::now()), format)?;
    } else if args.machines {
        show::listing(&rows::machines(&server.machines(at).await?, &schema), format)?;
    } else {
        let (seq, cell) = server.cell(at).await?;
        let json = as_json::cell(seq, &cell, &schema);
        show::one(format, &seq.to_string(), &json, |_| describe_cell(seq, &cell, &schema))?;
    }
    Ok(Ended::Well)
}

fn describe_cell(at: Seq, cell: &CellView, schema: &Schema) -> String {
    let [ready, draining, down] = cell.machines;
    let tasks = &cell.tasks;
    let mut pairs = vec![
        ("Cell".to_owned(), cell.name.clone()),
        ("Seq".to_owned(), format!("{at}, {}", text::ago(cell.time, text::now()))),
        ("Hash".to_owned(), cell.hash.to_string()),
        ("Machines".to_owned(), format!("{ready} ready, {draining} draining, {down} down")),
        ("Jobs".to_owned(), cell.jobs.to_string()),
        (
            "Tasks".to_owned(),
            format!(
                "{} pending, {} placed, {} running, {} stopping, {} completed, {} failed, {} stopped",
                tasks.pending,
                tasks.placed,
                tasks.running,
                tasks.stopping,
                tasks.completed,
                tasks.failed,
                tasks.stopped
            ),
        ),
    ];
    let shown = |d: &Dimension| cell.limit.get(*d) > 0 || cell.used.get(*d) > 0;
    for dimension in Dimension::all().filter(shown) {
        let share = text::share(dimension, &cell.used, &cell.limit);
        let percent = text::percent(cell.used.get(dimension), cell.limit.get(dimension));
        let bands = cell_state::job::Band::ALL.iter().zip(&cell.used_by_band);
        let bands: Vec<String> = bands
            .filter(|(_, used)| used.get(dimension) > 0)
            .map(|(band, used)| format!("{band} {}", text::amount(dimension, used.get(dimension))))
            .collect();
        let by_band = if bands.is_empty() { String::new() } else { format!(": {}", bands.join(", ")) };
        pairs.push((format!("Used {}", schema.name(dimension)), format!("{share} ({percent}){by_band}")));
    }
    let pairs: Vec<(&str, String)> = pairs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    facts(&pairs)
}

pub(crate) async fn status(args: ReadArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let status = server.status().await?;
    show::one(args.output.output, &status.config.name, &as_json::status(&status), |_| {
        describe_server(&status)
    })?;
    Ok(Ended::Well)
}

fn describe_server(status: &ServerStatus) -> String {
    let now = text::now();
    let roles = transport::Role::ALL.iter().zip(&status.sessions).filter(|(_, n)| **n > 0);
    let sessions: Vec<String> = roles.map(|(role, n)| format!("{n} {role}")).collect();
    let schema = &status.config.schema;
    let overcommit: Vec<String> = schema
        .named()
        .filter(|d| status.config.overcommit.0[d.index()] != 100)
        .map(|d| format!("{} {}%", schema.name(d), status.config.overcommit.0[d.index()]))
        .collect();
    facts(&[
        ("Cell", status.config.name.clone()),
        ("Server", format!("{}, up {}", status.version, text::span(now.since(status.started)))),
        ("Seq", status.seq.to_string()),
        ("Log from", status.oldest.to_string()),
        ("Checkpoint", status.checkpoint.to_string()),
        ("Sessions", if sessions.is_empty() { "none".to_owned() } else { sessions.join(", ") }),
        ("Memory", text::bytes(status.memory_bytes)),
        ("Over-commit", if overcommit.is_empty() { "none".to_owned() } else { overcommit.join(", ") }),
        (
            "Divergences",
            match status.divergences {
                0 => "none".to_owned(),
                n => format!("{n}: schedulers made wrong plans, please report it"),
            },
        ),
    ])
}

pub(crate) async fn audit(args: ReadArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (at, violations) = server.audit().await?;
    let sound = violations.is_empty();
    let json = json!({"at": at.0, "sound": sound, "violations": violations});
    show::one(args.output.output, &at.to_string(), &json, |_| {
        if sound {
            return format!("seq {at}: every invariant holds");
        }
        format!("seq {at}: {} violations\n{}", violations.len(), violations.join("\n"))
    })?;
    Ok(if sound { Ended::Well } else { Ended::Unsound })
}
