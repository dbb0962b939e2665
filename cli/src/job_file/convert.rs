//! Nodes turned into the cell's own job spec, table by table.

use std::collections::BTreeMap;

use cell_state::bounds;
use cell_state::job::container::Container;
use cell_state::job::{Exec, GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run, Spread};
use cell_state::resources::{Dimension, Resources as Vector, Schema};

use super::document::{Node, Value};
use super::section::{Given, Section};
use super::units::{self, Amount};
use super::{JobFileError, Resources, care, constraint, container, data, fields, isolation};

/// The bytes of a log file's rotation limit: at least what validation asks for.
const LOG_BYTES_MIN: u64 = 1_024;

/// A whole job.
pub(super) fn job(root: &Node, resources: Resources<'_>) -> Result<JobSpec, JobFileError> {
    let top = Section::open(String::new(), root, "")?;
    let name = top.require("name", "name = \"my-job\"")?.text()?.to_owned();
    let kinds = [("batch", JobKind::Batch), ("service", JobKind::Service)];
    let kind = top.get("kind").map_or(Ok(JobKind::Batch), |given| given.word(&kinds))?;
    let (kind_word, priority) = match kind {
        JobKind::Batch => ("batch", 100),
        JobKind::Service => ("service", 200),
    };
    let priority = top.whole("priority", 0..=i64::from(bounds::PRIORITY_MAX), priority)? as u16;
    let team = top.text("team", "default")?;
    let scheduler = top.text("scheduler", kind_word)?;
    let given = top.require("groups", "a [[groups]] table with a [groups.run]")?;
    let items = given.list("tables ([[groups]])")?;
    if items.is_empty() {
        return Err(given.error("an empty list; add a [[groups]] table with a [groups.run]"));
    }
    let alone = items.len() == 1;
    let groups = items.iter().map(|item| group(item, kind, alone, resources)).collect::<Result<_, _>>()?;
    Ok(JobSpec { name, kind, priority, team, scheduler, groups })
}

fn group(
    given: &Given<'_>,
    kind: JobKind,
    alone: bool,
    resources: Resources<'_>,
) -> Result<GroupSpec, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[]")?;
    let name = match section.get("name") {
        Some(name) => name.text()?.to_owned(),
        None if alone => "main".to_owned(),
        None => {
            section.require("name", "name = \"my-group\" (needed with several groups)")?.text()?.to_owned()
        }
    };
    Ok(GroupSpec {
        name,
        count: section.whole("count", 0..=i64::from(bounds::GROUP_TASKS_MAX), 1)? as u32,
        resources: amounts(section.get("resources"), resources)?,
        constraints: section
            .list_of("constraints", "texts such as \"zone = eu-1\"")?
            .iter()
            .map(|item| constraint::parse(item.text()?).map_err(|problem| item.error(problem)))
            .collect::<Result<_, _>>()?,
        distinct_machines: section.truth("distinct_machines", false)?,
        spread: section.get("spread").map(spread).transpose()?,
        ports: ports(&section)?,
        restart: restart(section.get("restart"), kind)?,
        data: data::data(&section)?,
        stop_grace_us: duration(section.get("stop_grace"))?.unwrap_or(10_000_000),
        run: run(&section)?,
    })
}

fn amounts(given: Option<Given<'_>>, resources: Resources<'_>) -> Result<Vector, JobFileError> {
    let mut amounts = Vector::cpu_memory(100, 128 << 20);
    let Some(given) = given else { return Ok(amounts) };
    let section = Section::open_any(given.path.clone(), given.node)?;
    let fallback = Schema::default();
    let schema = match resources {
        Resources::Known(schema) => schema,
        Resources::NotYetKnown => &fallback,
    };
    for entry in section.entries() {
        let field = Given { path: section.path_of(&entry.key), node: &entry.node };
        let Some(dimension) = schema.dimension(&entry.key) else {
            let near =
                fields::known("groups[].resources").any(|k| strsim::jaro_winkler(k, &entry.key) >= 0.8);
            match (resources, &entry.node.value) {
                (Resources::NotYetKnown, Value::Number(_)) if !near => continue,
                _ if schema.custom.is_empty() || near => {
                    return Err(section.unknown(entry, "groups[].resources"));
                }
                _ => return Err(field.error(format!("unknown resource; this cell has {}", names(schema)))),
            }
        };
        let amount = written(&field, "an amount")?;
        let amount = units::amount(dimension, amount).map_err(|problem| field.error(problem))?;
        amounts = amounts.with(dimension, amount);
    }
    let gpu = amounts.get(Dimension::GPU);
    if gpu > 1_000 && !gpu.is_multiple_of(1_000) {
        let field = section.get("gpu").expect("no GPU is asked for unless it is written");
        let problem = format!("{} is neither a fraction of one device nor whole devices", field.shown());
        return Err(field.error(problem));
    }
    Ok(amounts)
}

fn names(schema: &Schema) -> String {
    schema.named().map(|d| schema.name(d)).collect::<Vec<_>>().join(", ")
}

/// A number or a text, as it was written.
pub(super) fn written<'a>(given: &Given<'a>, expected: &str) -> Result<Amount<'a>, JobFileError> {
    match &given.node.value {
        Value::Number(number) => Ok(Amount::Number(number)),
        Value::Text(text) => Ok(Amount::Text(text)),
        Value::Truth(_) | Value::Date(_) | Value::Nothing | Value::List(_) | Value::Table(_) => {
            Err(given.wrong(expected))
        }
    }
}

pub(super) fn duration(given: Option<Given<'_>>) -> Result<Option<u64>, JobFileError> {
    let Some(given) = given else { return Ok(None) };
    let written = written(&given, "a duration such as \"10s\"")?;
    units::duration_us(written).map(Some).map_err(|problem| given.error(problem))
}

fn spread(given: Given<'_>) -> Result<Spread, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].spread")?;
    Ok(Spread {
        attribute: section.require("attribute", "attribute = \"rack\"")?.text()?.to_owned(),
        max_per_value: section.whole("max_per_value", 0..=i64::from(u32::MAX), 0)? as u32,
    })
}

fn ports(group: &Section<'_>) -> Result<Vec<PortAsk>, JobFileError> {
    let items = group.list_of("ports", "tables ([[groups.ports]])")?;
    let mut ports: Vec<PortAsk> = Vec::with_capacity(items.len());
    for item in &items {
        let next = port(item)?;
        if let Some(number) = next.number.filter(|n| ports.iter().any(|p| p.number == Some(*n))) {
            let problem = format!("{number} is the number of another port of the task; choose another");
            return Err(Given { path: format!("{}.number", item.path), node: item.node }.error(problem));
        }
        ports.push(next);
    }
    Ok(ports)
}

fn port(given: &Given<'_>) -> Result<PortAsk, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].ports[]")?;
    let number = section.get("number").map(|n| n.whole(1..=65_535)).transpose()?;
    Ok(PortAsk {
        name: section.require("name", "name = \"http\"")?.text()?.to_owned(),
        number: number.map(|n| n as u16),
    })
}

fn restart(given: Option<Given<'_>>, kind: JobKind) -> Result<Restart, JobFileError> {
    let mut restart = match kind {
        JobKind::Batch => Restart { on: RestartOn::Failure, attempts: 3, delay_us: 1_000_000 },
        JobKind::Service => {
            Restart { on: RestartOn::Always, attempts: bounds::RESTARTS_MAX, delay_us: 1_000_000 }
        }
    };
    let Some(given) = given else { return Ok(restart) };
    let section = Section::open(given.path.clone(), given.node, "groups[].restart")?;
    if let Some(on) = section.get("on") {
        restart.on = on.word(&[
            ("always", RestartOn::Always),
            ("failure", RestartOn::Failure),
            ("never", RestartOn::Never),
        ])?;
    }
    let most = i64::from(bounds::RESTARTS_MAX);
    restart.attempts = section.whole("attempts", 0..=most, i64::from(restart.attempts))? as u16;
    if let Some(delay) = duration(section.get("delay"))? {
        restart.delay_us = delay;
    }
    Ok(restart)
}

/// What a task does.
#[derive(Clone, Copy)]
enum Driver {
    Exec,
    Oci,
    Simulated,
}

fn run(group: &Section<'_>) -> Result<Run, JobFileError> {
    let given = group.require("run", "a [groups.run] table with command = \"…\"")?;
    let section = Section::open(given.path.clone(), given.node, "groups[].run")?;
    let drivers = [("exec", Driver::Exec), ("oci", Driver::Oci), ("simulated", Driver::Simulated)];
    let isolation = group.get("isolation");
    match section.get("driver").map_or(Ok(Driver::Exec), |d| d.word(&drivers))? {
        driver @ (Driver::Exec | Driver::Oci) => {
            only(&section, "simulated", &["run_for", "exit_code"])?;
            let container = container::container(&section, matches!(driver, Driver::Oci))?;
            let isolation = Box::new(isolation::isolation(isolation)?);
            Ok(Run::Exec(Exec {
                isolation,
                care: Box::new(care::care(group)?),
                ..exec(&section, container)?
            }))
        }
        Driver::Simulated => {
            only(&section, "exec", EXEC_FIELDS)?;
            only(&section, "oci", container::FIELDS)?;
            only(group, "exec", &care::FIELDS)?;
            if let Some(stray) = isolation {
                return Err(stray.error("a simulated task has no process to isolate; remove the table"));
            }
            let exit_code = section.whole("exit_code", i64::from(i32::MIN)..=i64::from(i32::MAX), 0)? as i32;
            Ok(Run::Simulated { run_for_us: duration(section.get("run_for"))?, exit_code })
        }
    }
}

const EXEC_FIELDS: &[&str] = &["command", "args", "env", "directory", "log_size", "log_files", "log_age"];

/// Refuses fields that belong to the other driver.
pub(super) fn only(section: &Section<'_>, driver: &str, others: &[&str]) -> Result<(), JobFileError> {
    match others.iter().find_map(|name| section.get(name)) {
        Some(stray) => {
            Err(stray.error(format!("belongs to driver = {driver:?} only; remove one of the two")))
        }
        None => Ok(()),
    }
}

fn exec(section: &Section<'_>, container: Option<Container>) -> Result<Exec, JobFileError> {
    let command = command(section, container.as_ref())?;
    let directory = section.get("directory");
    if let Some(given) = &directory
        && !given.text()?.starts_with('/')
    {
        return Err(given.error(format!("{} is not absolute; begin it with /", given.shown())));
    }
    let args: Vec<String> =
        section.list_of("args", "texts")?.iter().map(|arg| plain(arg)).collect::<Result<_, _>>()?;
    let log_bytes_max = match section.get("log_size") {
        None => 10 << 20,
        Some(given) => {
            let size = units::bytes(written(&given, "a size such as \"10 MiB\"")?);
            let size = size.map_err(|problem| given.error(problem))?;
            if size < LOG_BYTES_MIN {
                return Err(given.error(format!("{} is too small; at least \"1 KiB\"", given.shown())));
            }
            size
        }
    };
    Ok(Exec {
        env: environment(section.get("env"))?,
        directory: directory.map(|given| plain(&given)).transpose()?,
        log_bytes_max,
        log_files_max: section.whole("log_files", 1..=1_000, 5)? as u16,
        log_age_us: duration(section.get("log_age"))?,
        container: container.map(Box::new),
        ..Exec::new(command, args)
    })
}

/// The program; empty when a bundle is to say it.
fn command(section: &Section<'_>, container: Option<&Container>) -> Result<String, JobFileError> {
    if matches!(container, Some(Container::Bundle(_))) && section.get("command").is_none() {
        return match section.get("args") {
            Some(stray) => {
                Err(stray.error("arguments without a command; write both, or neither as in the bundle"))
            }
            None => Ok(String::new()),
        };
    }
    let command = section.require("command", "command = \"/bin/true\"")?;
    match command.text()? {
        "" => Err(command.error("\"\" names no program; write command = \"/bin/true\"")),
        _ => plain(&command),
    }
}

fn environment(given: Option<Given<'_>>) -> Result<BTreeMap<String, String>, JobFileError> {
    let Some(given) = given else { return Ok(BTreeMap::new()) };
    let section = Section::open_any(given.path.clone(), given.node)?;
    let variable = |entry: &super::document::Entry| {
        let field = Given { path: section.path_of(&entry.key), node: &entry.node };
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            return Err(field.error(format!("{:?} can't be the name of a variable", entry.key)));
        }
        Ok((entry.key.clone(), plain(&field)?))
    };
    section.entries().iter().map(variable).collect()
}

/// A text that a process can be given.
pub(super) fn plain(given: &Given<'_>) -> Result<String, JobFileError> {
    let text = given.text()?;
    if text.contains('\0') {
        return Err(given.error("a NUL character can't be passed to a process; remove it"));
    }
    Ok(text.to_owned())
}
