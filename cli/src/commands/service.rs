//! `ohm service`: where running tasks can be reached, as the cell's state says.

use serde_json::json;

use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::{self, Column, Listing};
use crate::typed::connect::Format;
use crate::typed::services::{ServiceCommand, ServiceListArgs, ServiceResolveArgs};

pub(crate) async fn run(command: ServiceCommand) -> Result<Ended, Failure> {
    match command {
        ServiceCommand::List(args) => list(args).await,
        ServiceCommand::Resolve(args) => resolve(args).await,
    }
}

async fn list(args: ServiceListArgs) -> Result<Ended, Failure> {
    const COLUMNS: [Column; 5] = [
        Column::text("SERVICE"),
        Column::text("PORT"),
        Column::text("GROUP"),
        Column::text("JOB"),
        Column::number("RUNNING"),
    ];
    let mut server = Connection::check(&args.connect)?.open().await?;
    let mut listing = Listing::new(&COLUMNS);
    for row in server.services().await? {
        let name = format!("{}.{}.{}", row.port, row.group, row.job);
        let json = json!({
            "service": name,
            "port": row.port,
            "group": row.group,
            "job": row.job,
            "running": row.running,
        });
        let cells =
            vec![name.as_str().into(), row.port.into(), row.group.into(), row.job.into(), row.running.into()];
        listing.push(name, cells, json);
    }
    if listing.is_empty() {
        show::say("no services: no running task has ports; `[[groups.ports]]` in a job file asks for them");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

async fn resolve(args: ServiceResolveArgs) -> Result<Ended, Failure> {
    const COLUMNS: [Column; 4] =
        [Column::text("ENDPOINT"), Column::text("PORT"), Column::text("TASK"), Column::text("MACHINE")];
    let mut server = Connection::check(&args.connect)?.open().await?;
    let mut listing = Listing::new(&COLUMNS);
    for endpoint in server.endpoints(&args.service).await? {
        let host = endpoint.address.clone().unwrap_or_else(|| endpoint.machine.clone());
        let at = match &endpoint.port {
            Some((_, number)) if host.contains(':') => format!("[{host}]:{number}"),
            Some((_, number)) => format!("{host}:{number}"),
            None => host.clone(),
        };
        let port = endpoint.port.as_ref();
        let task = format!("{}/{}/{}", endpoint.job, endpoint.group, endpoint.task.index);
        let json = json!({
            "endpoint": at,
            "address": endpoint.address,
            "machine": endpoint.machine,
            "port": port.map(|(_, number)| number),
            "port_name": port.map(|(name, _)| name),
            "task": task,
            "id": endpoint.task.to_string(),
        });
        let name = port.map_or("-", |(name, _)| name.as_str());
        listing.push(
            at.clone(),
            vec![at.as_str().into(), name.into(), task.as_str().into(), endpoint.machine.as_str().into()],
            json,
        );
    }
    if listing.is_empty() {
        show::say(&format!("{}: no such task is running", args.service));
    }
    // For a shell: only where they are.
    let format = match args.output.output {
        Format::Table => Format::Name,
        Format::Wide => Format::Table,
        other => other,
    };
    show::listing(&listing, format)?;
    Ok(Ended::Well)
}
