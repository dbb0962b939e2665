//! What a task's process is given: command, environment, limits of its output.

use std::collections::BTreeMap;
use std::path::Path;

use agent::Start;
use cell_state::job::{Run, template};
use cell_state::machine::MachineSpec;
use cell_state::task::{Lack, NotStarted, SecretProblem};

use crate::isolation;
use crate::isolation::ability::Ability;
use crate::isolation::plan::{container, plan};
use crate::secrets::{self, SecretFile, Secrets};
use crate::task_dir::{Launch, TaskDir};

/// What to run for a placement, or why this driver can't.
pub(super) fn launch(
    start: &Start,
    machine: &MachineSpec,
    ability: &Ability,
    dir: &TaskDir,
    data: &Path,
    secrets: Option<&Secrets>,
) -> Result<Launch, NotStarted> {
    let group = start.spec.job.groups.get(usize::from(start.intent.id.task.group));
    let Some((group, Run::Exec(exec))) = group.map(|group| (group, &group.run)) else {
        return Err(NotStarted::NoDriver);
    };
    let hidden = std::iter::once(data).chain(secrets.map(Secrets::source)).map(Path::to_owned).collect();
    let confine = plan(ability, start, exec, machine, hidden, secret_files(start, secrets)?)?;
    let container = container(ability, start, exec)?;
    let mut env = own_env(start, machine, dir);
    if !confine.secrets.is_empty() {
        env.insert(template::SECRETS.to_owned(), secrets::PLACE.to_owned());
    }
    if container.is_some() {
        // It has its own.
        env.remove("PATH");
    }
    if confine.view.is_some() {
        env.insert("OHM_TASK_DIR".to_owned(), isolation::WORK.to_owned());
    }
    let filled = |template: &String| filled(template, &env, machine);
    let (command, args) = (filled(&exec.command), exec.args.iter().map(filled).collect());
    let own: Vec<_> = exec.env.iter().map(|(key, value)| (key.clone(), filled(value))).collect();
    env.extend(own);
    let ports = group.ports.iter().map(|ask| ask.name.clone());
    Ok(Launch {
        incarnation: start.incarnation,
        intent: start.intent.clone(),
        command,
        args,
        env,
        directory: exec.directory.clone(),
        log_bytes_max: exec.log_bytes_max,
        log_files_max: exec.log_files_max,
        log_age_us: exec.log_age_us,
        confine,
        ports: ports.zip(start.intent.grant.ports.iter().copied()).collect(),
        care: (*exec.care).clone(),
        container,
    })
}

/// The secrets of a placement, which a machine without any doesn't have.
fn secret_files(start: &Start, secrets: Option<&Secrets>) -> Result<Vec<SecretFile>, NotStarted> {
    let job = &start.spec.job;
    let group = job.groups.get(usize::from(start.intent.id.task.group));
    let asked = group.map_or(&[][..], |group| group.data.secrets.as_slice());
    match secrets {
        _ if asked.is_empty() => Ok(Vec::new()),
        Some(secrets) => Ok(secrets.of(&job.team, asked)),
        None => Err(NotStarted::Lacks(Lack::Secret(0, SecretProblem::NotFound))),
    }
}

/// A template with everything filled in. A spec from before there were templates may name what nobody knows: it stays
/// as it was written.
fn filled(template: &str, env: &BTreeMap<String, String>, machine: &MachineSpec) -> String {
    let value = |name: &str| match name.strip_prefix(template::ATTRIBUTE) {
        Some("name") => Some(machine.name.clone()),
        Some(key) => machine.attributes.get(key).cloned(),
        None => env.get(name).cloned(),
    };
    template::fill(template, value).unwrap_or_else(|_| template.to_owned())
}

/// What every task is told about itself.
fn own_env(start: &Start, machine: &MachineSpec, dir: &TaskDir) -> BTreeMap<String, String> {
    let (intent, job) = (&start.intent, &start.spec.job);
    let task = intent.id.task;
    let mut env = BTreeMap::new();
    let mut set = |key: &str, value: String| drop(env.insert(key.to_owned(), value));
    if let Some(path) = std::env::var_os("PATH").and_then(|path| path.into_string().ok()) {
        set("PATH", path);
    }
    set("OHM_TASK", task.to_string());
    set("OHM_JOB", job.name.clone());
    set("OHM_INDEX", task.index.to_string());
    set("OHM_EPOCH", intent.id.epoch.to_string());
    set("OHM_MACHINE", machine.name.clone());
    set("OHM_TASK_DIR", dir.path().display().to_string());
    if let Some(address) = machine.attributes.get(template::ADDRESS) {
        set(template::HOST, address.clone());
    }
    set(DIR_VARIABLE, dir.path().display().to_string());
    let devices =
        intent.grant.devices.iter().filter_map(|(device, _)| machine.devices.get(usize::from(*device)));
    let devices: Vec<&str> = devices.map(String::as_str).collect();
    if !devices.is_empty() {
        set(template::DEVICES, devices.join(","));
    }
    if let Some(group) = job.groups.get(usize::from(task.group)) {
        set("OHM_GROUP", group.name.clone());
        set("OHM_COUNT", group.count.to_string());
        for (ask, port) in group.ports.iter().zip(&intent.grant.ports) {
            set(&template::port_variable(&ask.name), port.to_string());
        }
    }
    env
}

/// The variable by which a process that hid from its group is known: where the agent keeps its placement.
pub(super) const DIR_VARIABLE: &str = "OHM_PLACEMENT";
