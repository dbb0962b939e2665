//! `ohm node`: machines, and the operator's hand on them.

use cell_state::machine::MachineState;
use transport::bounds::ROWS_MAX;
use transport::view::MachineView;

use super::confirm::confirm;
use crate::bounds::MONITOR_EVERY;
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::job_file::{Amount, duration_us};
use crate::show::table::facts;
use crate::show::{self, json, rows, text, usage};
use crate::typed::reads::{NodeCommand, NodeDrainArgs, NodeListArgs, NodeStatusArgs, NodeUndrainArgs};

pub(crate) async fn run(command: NodeCommand) -> Result<Ended, Failure> {
    match command {
        NodeCommand::List(args) => list(args).await,
        NodeCommand::Status(args) => status(args).await,
        NodeCommand::Drain(args) => drain(args).await,
        NodeCommand::Undrain(args) => undrain(args).await,
    }
}

async fn list(args: NodeListArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let mut machines = server.machines(None).await?;
    machines.retain(|m| args.state.as_ref().is_none_or(|state| *state == m.state.to_string()));
    let schema = server.status().await?.config.schema;
    let listing = rows::machines(&machines, &schema);
    if listing.is_empty() {
        show::say("no machines");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

async fn status(args: NodeStatusArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let machine = server.machine(None, &args.machine).await?;
    let schema = server.status().await?.config.schema;
    let view = server.usage(Some(&machine.row.name), ROWS_MAX).await?;
    let mut json = json::machine_view(&machine, &schema);
    let used = view.machines.first();
    json["usage"] = used.map_or(serde_json::Value::Null, usage::machine_json);
    json["task_usage"] = usage::tasks(&view.tasks).json();
    show::one(args.output.output, &machine.row.name, &json, |wide| {
        let mut out = describe(&machine, &schema, wide);
        if !view.tasks.is_empty() {
            out.push_str("\n\n");
            out.push_str(&usage::tables(&view, wide));
        }
        out
    })?;
    Ok(Ended::Well)
}

/// A machine as people read it: facts, then its tasks.
pub(crate) fn describe(machine: &MachineView, schema: &cell_state::resources::Schema, wide: bool) -> String {
    let (row, spec) = (&machine.row, &machine.spec);
    let attributes: Vec<String> = spec.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut pairs = vec![
        ("Machine", row.name.clone()),
        ("Status", row.state.to_string()),
        ("Capacity", text::resources(&row.capacity, schema)),
        ("Limit", text::resources(&row.limit, schema)),
        ("Used", text::resources(&row.used, schema)),
        ("Attributes", if attributes.is_empty() { "none".to_owned() } else { attributes.join(", ") }),
        ("Version", row.version.to_string()),
    ];
    if !spec.devices.is_empty() {
        pairs.push(("Devices", spec.devices.join(", ")));
    }
    if let Some(silent) = row.silent_us {
        pairs.push(("Heard", format!("{} ago", text::span(silent))));
    }
    let mut out = facts(&pairs);
    if !machine.tasks.is_empty() {
        out.push_str("\n\n");
        out.push_str(&rows::tasks_of_machine(&machine.tasks, text::now()).table(wide, show::colours()));
    }
    out
}

/// What tasks have at most to end, as far as the operator says so.
fn grace_us(args: &NodeDrainArgs) -> Result<Option<u64>, Failure> {
    let Some(written) = &args.deadline else { return Ok(args.force.then_some(0)) };
    let grace = duration_us(Amount::Text(written));
    grace.map(Some).map_err(|problem| Failure::Input(format!("--deadline: {problem}")))
}

async fn drain(args: NodeDrainArgs) -> Result<Ended, Failure> {
    let grace_us = grace_us(&args)?;
    if args.cancel {
        return undrain(NodeUndrainArgs { machine: args.machine, connect: args.connect }).await;
    }
    let mut server = Connection::check(&args.connect)?.open().await?;
    let machine = server.machine(None, &args.machine).await?.row;
    let name = machine.name;
    if machine.state == MachineState::Down {
        return Err(Failure::Input(format!("machine {name} is down, so there is nothing to drain")));
    }
    if machine.state == MachineState::Ready {
        confirm(
            args.yes,
            &format!(
                "Drain machine {name}? {} will be stopped and placed elsewhere.",
                text::counted(machine.tasks.into(), "task", "tasks")
            ),
        )?;
    }
    server.set_machine_state(&name, MachineState::Draining, grace_us).await?;
    if !args.detach {
        watch(&mut server, &name).await?;
    }
    show::print(&name)?;
    Ok(Ended::Well)
}

async fn undrain(args: NodeUndrainArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let machine = server.machine(None, &args.machine).await?.row;
    if machine.state == MachineState::Down {
        let name = &machine.name;
        return Err(Failure::Input(format!(
            "machine {name} is down; it is ready again when its agent comes back"
        )));
    }
    server.set_machine_state(&machine.name, MachineState::Ready, None).await?;
    show::print(&machine.name)?;
    Ok(Ended::Well)
}

/// Watches until the machine's agent has reported every task gone.
async fn watch(server: &mut Asker, name: &str) -> Result<(), Failure> {
    let mut told = None;
    loop {
        let machine = server.machine(None, name).await?.row;
        if machine.state != MachineState::Draining {
            return Err(Failure::Input(format!("machine {name} became {} meanwhile", machine.state)));
        }
        if machine.tasks == 0 {
            show::say(&format!("{name}: drained"));
            return Ok(());
        }
        if told != Some(machine.tasks) {
            show::say(&format!(
                "{name}: {} still there",
                text::counted(machine.tasks.into(), "task", "tasks")
            ));
            told = Some(machine.tasks);
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
}
