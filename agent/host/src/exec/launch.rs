//! What a task's process is given: command, environment, limits of its output.

use std::collections::BTreeMap;
use std::path::Path;

use agent::Start;
use cell_state::job::Run;
use cell_state::machine::MachineSpec;
use cell_state::task::NotStarted;

use crate::isolation;
use crate::isolation::ability::Ability;
use crate::isolation::plan::{container, plan};
use crate::task_dir::{Launch, TaskDir};

/// What to run for a placement, or why this driver can't.
pub(super) fn launch(
    start: &Start,
    machine: &MachineSpec,
    ability: &Ability,
    dir: &TaskDir,
    data: &Path,
) -> Result<Launch, NotStarted> {
    let group = start.spec.job.groups.get(usize::from(start.intent.id.task.group));
    let Some((group, Run::Exec(exec))) = group.map(|group| (group, &group.run)) else {
        return Err(NotStarted::NoDriver);
    };
    let confine = plan(ability, start, exec, machine, data)?;
    let container = container(ability, start, exec)?;
    let mut env = own_env(start, machine, dir);
    if container.is_some() {
        // It has its own.
        env.remove("PATH");
    }
    if confine.view.is_some() {
        env.insert("OHM_TASK_DIR".to_owned(), isolation::WORK.to_owned());
    }
    env.extend(exec.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    let ports = group.ports.iter().map(|ask| ask.name.clone());
    Ok(Launch {
        incarnation: start.incarnation,
        intent: start.intent.clone(),
        command: exec.command.clone(),
        args: exec.args.clone(),
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
    set(DIR_VARIABLE, dir.path().display().to_string());
    let devices =
        intent.grant.devices.iter().filter_map(|(device, _)| machine.devices.get(usize::from(*device)));
    let devices: Vec<&str> = devices.map(String::as_str).collect();
    if !devices.is_empty() {
        set("OHM_DEVICES", devices.join(","));
    }
    if let Some(group) = job.groups.get(usize::from(task.group)) {
        set("OHM_GROUP", group.name.clone());
        for (ask, port) in group.ports.iter().zip(&intent.grant.ports) {
            set(&format!("OHM_PORT_{}", variable(&ask.name)), port.to_string());
        }
    }
    env
}

/// The variable by which a process that hid from its group is known: where the agent keeps its placement.
pub(super) const DIR_VARIABLE: &str = "OHM_PLACEMENT";

/// A name as part of an environment variable.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
