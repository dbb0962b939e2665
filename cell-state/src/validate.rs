//! Checks of what arrives from outside: each names the field, the value, and the way out.

use std::collections::BTreeSet;

use crate::admit::Rejection;
use crate::bounds;
use crate::codec;
use crate::constraint::{Matcher, Test};
use crate::event::CellConfig;
use crate::fit::DEVICE_MILLI;
use crate::job::care;
use crate::job::container::Container;
use crate::job::data::Data;
use crate::job::{Exec, GroupSpec, JobSpec, PortAsk, Run, template};
use crate::machine::MachineSpec;
use crate::resources::{Dimension, FIXED_NAMES, Resources, Schema, first_over_bound};

/// A name: 1 to 128 bytes of letters, digits, `-`, `_`, `.`, beginning with a letter or digit.
///
/// # Errors
/// The name is something else.
pub fn name(field: &str, name: &str) -> Result<(), Rejection> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.len() <= bounds::NAME_BYTES_MAX && name.chars().all(sound) {
        return Ok(());
    }
    let rule = format!("use 1 to {} letters, digits, '-', '_' or '.'", bounds::NAME_BYTES_MAX);
    Err(Rejection::invalid(
        field,
        format!("{:?} is no name; {rule}, beginning with a letter or digit", clip(name)),
    ))
}

/// The settings of a cell.
///
/// # Errors
/// The first setting that is out of bounds.
pub fn config(config: &CellConfig) -> Result<(), Rejection> {
    name("name", &config.name)?;
    let room = crate::resources::DIMENSIONS - FIXED_NAMES.len();
    if config.schema.custom.len() > room {
        let problem = format!("{} names; an operator may name up to {room}", config.schema.custom.len());
        return Err(Rejection::invalid("schema.custom", problem));
    }
    for (i, custom) in config.schema.custom.iter().enumerate() {
        name(&format!("schema.custom[{i}]"), custom)?;
        let before = &config.schema.custom[..i];
        if FIXED_NAMES.contains(&custom.as_str()) || before.contains(custom) {
            let problem = format!("{custom:?} is the name of another dimension; choose another");
            return Err(Rejection::invalid(format!("schema.custom[{i}]"), problem));
        }
    }
    if let Some(dimension) = config.overcommit.first_out_of_bounds() {
        let (low, high) = (bounds::OVERCOMMIT_PERCENT.start(), bounds::OVERCOMMIT_PERCENT.end());
        let found = config.overcommit.0[dimension.index()];
        let problem = format!("{found} percent; allowed are {low} to {high}");
        return Err(Rejection::invalid(format!("overcommit.{}", config.schema.name(dimension)), problem));
    }
    Ok(())
}

/// A machine's description.
///
/// # Errors
/// The first field that is out of bounds.
pub fn machine(spec: &MachineSpec, schema: &Schema) -> Result<(), Rejection> {
    name("machine.name", &spec.name)?;
    amounts("machine.capacity", &spec.capacity, schema)?;
    if spec.attributes.len() > bounds::ATTRIBUTES_MAX {
        let problem = format!("{} attributes; at most {}", spec.attributes.len(), bounds::ATTRIBUTES_MAX);
        return Err(Rejection::invalid("machine.attributes", problem));
    }
    for (key, value) in &spec.attributes {
        let field = format!("machine.attributes.{}", clip(key));
        if key == "name" {
            return Err(Rejection::invalid(
                field,
                "\"name\" means the machine's own name; choose another key",
            ));
        }
        if key.is_empty() || key.len().max(value.len()) > bounds::ATTRIBUTE_BYTES_MAX {
            let problem = format!("keys and values have at most {} bytes", bounds::ATTRIBUTE_BYTES_MAX);
            return Err(Rejection::invalid(field, problem));
        }
    }
    if spec.devices.len() > bounds::DEVICES_MAX {
        let problem = format!("{} devices; at most {}", spec.devices.len(), bounds::DEVICES_MAX);
        return Err(Rejection::invalid("machine.devices", problem));
    }
    let (milli, whole) = (spec.capacity.get(Dimension::GPU), u64::from(DEVICE_MILLI));
    if milli != spec.devices.len() as u64 * whole {
        let problem =
            format!("{milli} milli-GPUs for {} devices; it must be {whole} per device", spec.devices.len());
        return Err(Rejection::invalid("machine.capacity.gpu", problem));
    }
    if spec.ports.0 == 0 || spec.ports.0 > spec.ports.1 {
        let problem =
            format!("{}-{} is no range; give the lowest and the highest port", spec.ports.0, spec.ports.1);
        return Err(Rejection::invalid("machine.ports", problem));
    }
    Ok(())
}

/// A job as submitted.
///
/// # Errors
/// The first field that is out of bounds.
pub fn job(spec: &JobSpec, schema: &Schema) -> Result<(), Rejection> {
    name("name", &spec.name)?;
    name("team", &spec.team)?;
    name("scheduler", &spec.scheduler)?;
    if spec.priority > bounds::PRIORITY_MAX {
        let problem = format!("{}; allowed are 0 to {}", spec.priority, bounds::PRIORITY_MAX);
        return Err(Rejection::invalid("priority", problem));
    }
    if spec.groups.is_empty() || spec.groups.len() > bounds::JOB_GROUPS_MAX {
        let problem = format!("{} groups; a job has 1 to {}", spec.groups.len(), bounds::JOB_GROUPS_MAX);
        return Err(Rejection::invalid("groups", problem));
    }
    let mut names = BTreeSet::new();
    for (i, g) in spec.groups.iter().enumerate() {
        group(&format!("groups[{i}]"), g, schema)?;
        if !names.insert(&g.name) {
            let problem = format!("{:?} is the name of another group; choose another", g.name);
            return Err(Rejection::invalid(format!("groups[{i}].name"), problem));
        }
    }
    let bytes = codec::encode(spec).len();
    if bytes > bounds::JOB_SPEC_BYTES_MAX {
        let problem = format!("the spec has {bytes} bytes; at most {}", bounds::JOB_SPEC_BYTES_MAX);
        return Err(Rejection::invalid("job", problem));
    }
    Ok(())
}

/// A new version of a job: groups may change and be appended, never removed, renamed or reordered.
///
/// # Errors
/// The first group that is gone.
pub fn successor(current: &JobSpec, next: &JobSpec) -> Result<(), Rejection> {
    if current.scheduler != next.scheduler {
        let problem = format!(
            "{:?}; the job belongs to {:?} and can't change hands",
            next.scheduler, current.scheduler
        );
        return Err(Rejection::invalid("scheduler", problem));
    }
    if current.team != next.team || current.priority != next.priority {
        let problem = "a job keeps its team and priority; submit it under another name";
        return Err(Rejection::invalid("team", problem));
    }
    for (i, group) in current.groups.iter().enumerate() {
        if next.groups.get(i).map(|g| &g.name) != Some(&group.name) {
            let problem =
                format!("{:?} must stay at this position; set its count to 0 to remove it", group.name);
            return Err(Rejection::invalid(format!("groups[{i}].name"), problem));
        }
    }
    Ok(())
}

fn group(at: &str, group: &GroupSpec, schema: &Schema) -> Result<(), Rejection> {
    name(&format!("{at}.name"), &group.name)?;
    if group.count > bounds::GROUP_TASKS_MAX {
        let problem = format!("{} tasks; at most {}", group.count, bounds::GROUP_TASKS_MAX);
        return Err(Rejection::invalid(format!("{at}.count"), problem));
    }
    amounts(&format!("{at}.resources"), &group.resources, schema)?;
    let (milli, whole) = (group.resources.get(Dimension::GPU), u64::from(DEVICE_MILLI));
    if milli > whole && milli % whole != 0 {
        let problem = format!("{milli} milli-GPUs; ask for a fraction of one device, or for whole ones");
        return Err(Rejection::invalid(format!("{at}.resources.gpu"), problem));
    }
    constraints(at, group)?;
    if let Some(spread) = &group.spread {
        let bytes = spread.attribute.len();
        if bytes == 0 || bytes > bounds::ATTRIBUTE_BYTES_MAX {
            let problem = format!("an attribute's key has 1 to {} bytes", bounds::ATTRIBUTE_BYTES_MAX);
            return Err(Rejection::invalid(format!("{at}.spread.attribute"), problem));
        }
    }
    ports(at, &group.ports)?;
    if group.restart.attempts > bounds::RESTARTS_MAX {
        let problem = format!("{}; at most {}", group.restart.attempts, bounds::RESTARTS_MAX);
        return Err(Rejection::invalid(format!("{at}.restart.attempts"), problem));
    }
    given(at, group)?;
    match &group.run {
        Run::Exec(exec) => {
            command(at, exec)?;
            exec.isolation.check(&format!("{at}.isolation"), &group.resources)?;
            care::check(at, &exec.care, &group.ports)
        }
        Run::Simulated { .. } => Ok(()),
    }
}

fn constraints(at: &str, group: &GroupSpec) -> Result<(), Rejection> {
    if group.constraints.len() > bounds::CONSTRAINTS_MAX {
        let problem = format!("{} constraints; at most {}", group.constraints.len(), bounds::CONSTRAINTS_MAX);
        return Err(Rejection::invalid(format!("{at}.constraints"), problem));
    }
    for (i, constraint) in group.constraints.iter().enumerate() {
        let field = format!("{at}.constraints[{i}]");
        if constraint.attribute.is_empty() || constraint.attribute.len() > bounds::ATTRIBUTE_BYTES_MAX {
            let problem = format!("an attribute's key has 1 to {} bytes", bounds::ATTRIBUTE_BYTES_MAX);
            return Err(Rejection::invalid(field, problem));
        }
        if matches!(&constraint.test, Test::In(values) if values.len() > bounds::CONSTRAINT_VALUES_MAX) {
            let problem = format!("at most {} values", bounds::CONSTRAINT_VALUES_MAX);
            return Err(Rejection::invalid(field, problem));
        }
        if let Err(error) = Matcher::compile(constraint) {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or("it doesn't parse");
            return Err(Rejection::invalid(field, format!("the regular expression is wrong: {last}")));
        }
    }
    Ok(())
}

fn ports(at: &str, ports: &[PortAsk]) -> Result<(), Rejection> {
    if ports.len() > bounds::PORTS_MAX {
        let problem = format!("{} ports; at most {}", ports.len(), bounds::PORTS_MAX);
        return Err(Rejection::invalid(format!("{at}.ports"), problem));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in ports.iter().enumerate() {
        name(&format!("{at}.ports[{i}].name"), &port.name)?;
        if !names.insert(&port.name) {
            let problem = format!("{:?} is the name of another port; choose another", port.name);
            return Err(Rejection::invalid(format!("{at}.ports[{i}].name"), problem));
        }
        if port.number.is_some_and(|n| n == 0 || !numbers.insert(n)) {
            let problem = "a port number is 1 to 65535, and asked for once";
            return Err(Rejection::invalid(format!("{at}.ports[{i}].number"), problem));
        }
    }
    Ok(())
}

/// What a task is given, and the templates that name it.
fn given(at: &str, group: &GroupSpec) -> Result<(), Rejection> {
    group.data.check(at)?;
    match &group.run {
        Run::Exec(exec) => {
            group.data.check_view(at, exec)?;
            template::check(group, exec)
                .map_err(|(field, problem)| Rejection::invalid(format!("{at}.run.{field}"), problem))
        }
        Run::Simulated { .. } if group.data == Data::default() => Ok(()),
        Run::Simulated { .. } => {
            let problem =
                "a simulated task has no process to be given anything; remove artifacts and secrets";
            Err(Rejection::invalid(format!("{at}.artifacts"), problem))
        }
    }
}

fn command(at: &str, exec: &Exec) -> Result<(), Rejection> {
    if let Some(container) = &exec.container {
        container.check(at, exec)?;
    }
    let is_told = matches!(exec.container.as_deref(), Some(Container::Bundle(_)));
    if exec.command.is_empty() && !(is_told && exec.args.is_empty()) {
        return Err(Rejection::invalid(format!("{at}.command"), "it is empty; name a program"));
    }
    if exec.args.len().max(exec.env.len()) > bounds::ARGS_MAX {
        let problem = format!("at most {} arguments and as many variables", bounds::ARGS_MAX);
        return Err(Rejection::invalid(format!("{at}.args"), problem));
    }
    let texts = exec.args.iter().chain(exec.env.keys()).chain(exec.env.values());
    if texts.chain([&exec.command]).any(|text| text.contains('\0')) {
        let problem = "a NUL byte can't be part of a command, argument or variable";
        return Err(Rejection::invalid(format!("{at}.command"), problem));
    }
    if let Some(key) = exec.env.keys().find(|key| key.is_empty() || key.contains('=')) {
        let problem = format!("{:?} is no name of a variable; it is empty or contains '='", clip(key));
        return Err(Rejection::invalid(format!("{at}.env"), problem));
    }
    if exec.log_bytes_max < 1024 || exec.log_files_max == 0 {
        let problem = "logs keep at least 1 file of at least 1024 bytes";
        return Err(Rejection::invalid(format!("{at}.log"), problem));
    }
    Ok(())
}

fn amounts(field: &str, amounts: &Resources, schema: &Schema) -> Result<(), Rejection> {
    if let Some(dimension) = first_over_bound(amounts) {
        let problem = format!("{}; at most {}", amounts.get(dimension), bounds::AMOUNT_MAX);
        return Err(Rejection::invalid(format!("{field}.{}", schema.name(dimension)), problem));
    }
    let named: BTreeSet<Dimension> = schema.named().collect();
    if let Some(dimension) = Dimension::all().find(|d| amounts.get(*d) > 0 && !named.contains(d)) {
        let problem = format!("this cell has no resource {}; it has {}", dimension.0, names(schema));
        return Err(Rejection::invalid(field, problem));
    }
    Ok(())
}

fn names(schema: &Schema) -> String {
    schema.named().map(|d| schema.name(d)).collect::<Vec<_>>().join(", ")
}

fn clip(text: &str) -> String {
    text.chars().take(bounds::NAME_BYTES_MAX).collect()
}
