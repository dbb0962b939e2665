//! A job's isolation and what the machine can, made into what the shim does.

use std::path::PathBuf;

use agent::Start;
use cell_state::Dimension;
use cell_state::job::Exec;
use cell_state::job::isolation::{Isolation, PIDS_DEFAULT, Share};
use cell_state::machine::MachineSpec;
use cell_state::task::NotStarted;

use super::ability::Ability;
use super::cgroup::{Bounds, Cgroup};
use super::container::Container;
use super::{Confine, User, View, users};
use crate::secrets::SecretFile;

/// The longest host name the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Devices that go with any of a maker's GPUs.
const COMPANIONS: [(&str, &[&str]); 2] = [
    ("/dev/nvidia", &["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"]),
    ("/dev/dri/", &["/dev/kfd"]),
];

/// How a placement is confined, or why it can't be as it is to be.
pub(crate) fn plan(
    ability: &Ability,
    start: &Start,
    exec: &Exec,
    machine: &MachineSpec,
    hidden: Vec<PathBuf>,
    secrets: Vec<SecretFile>,
) -> Result<Confine, NotStarted> {
    let asked = &exec.isolation;
    let is_container = exec.container.is_some();
    let own = |share: Share, can: bool| match share {
        // Who asks for a container asks for one that is closed.
        Share::Open => Ok(can && (ability.settings.by_default || is_container)),
        Share::Private if can => Ok(true),
        Share::Private => Err(NotStarted::NotIsolated),
        Share::Host => Ok(false),
    };
    // Both are the runtime's to make for a container.
    let processes = !is_container && own(asked.processes, ability.processes)?;
    // Secrets are in a view of its own and nowhere else.
    let files = if secrets.is_empty() { asked.filesystem } else { Share::Private };
    let view = is_container || own(files, ability.filesystem)?;
    let user = if is_container { ability.user.clone() } else { user(ability, asked)? };
    if asked.is_privileged() && !ability.settings.allow_privileged {
        return Err(NotStarted::NotIsolated);
    }
    let ipc = own(asked.ipc, ability.ipc)?;
    let hostname = own(asked.hostname, ability.hostname)?;
    let filter = own(asked.system_calls, ability.system_calls)?;
    let is_root = user.as_ref().map_or(ability.is_root, |user| user.uid == 0);
    let is_bounded = ability.settings.by_default || is_container || asked.is_bounded();
    let bounds = bounds(start, asked, processes);
    let cgroup = || Cgroup::plan(&ability.hierarchies, &start.intent.id.to_string(), &bounds);
    Ok(Confine {
        cgroup: is_bounded.then(cgroup).flatten(),
        unconfined: is_root && !(view || processes || ipc || hostname || filter),
        user,
        view: view.then(|| View {
            hidden,
            writable: asked.writable.iter().map(PathBuf::from).collect(),
            devices: devices(start, machine),
        }),
        processes,
        ipc,
        hostname: hostname.then(|| self::hostname(start)),
        filter,
        capabilities: asked.capabilities.clone(),
        limits: asked.limits.clone(),
        user_namespace: ability.user_namespace,
        secrets,
    })
}

/// The container of a placement, or why there can't be one. `None` when the job asks for none.
pub(crate) fn container(
    ability: &Ability,
    start: &Start,
    exec: &Exec,
) -> Result<Option<Container>, NotStarted> {
    let Some(source) = &exec.container else { return Ok(None) };
    let runtime = ability.runtime.as_ref().ok_or(NotStarted::NoDriver)?;
    Ok(Some(Container {
        runtime: runtime.path.clone(),
        source: (**source).clone(),
        user: exec.isolation.user.clone(),
        may_be_root: ability.settings.allow_privileged,
        cgroup: ability.hierarchies.path_of(&start.intent.id.to_string()),
        lent: Vec::new(),
    }))
}

fn user(ability: &Ability, asked: &Isolation) -> Result<Option<User>, NotStarted> {
    match &asked.user {
        Some(_) if !ability.users => Err(NotStarted::NotIsolated),
        Some(named) => match users::find(named).ok_or(NotStarted::NoUser)? {
            // By another name than those that placement looks at.
            User { uid: 0, .. } if !ability.settings.allow_privileged => Err(NotStarted::NotIsolated),
            user => Ok(Some(user)),
        },
        None => Ok(ability.user.clone().filter(|_| ability.settings.by_default)),
    }
}

fn bounds(start: &Start, asked: &Isolation, own_processes: bool) -> Bounds {
    let promised = &start.intent.resources;
    Bounds {
        cpu_milli: promised.get(Dimension::CPU),
        cpu_limit_milli: asked.cpu_limit_milli,
        memory_bytes: promised.get(Dimension::MEMORY),
        memory_limit_bytes: asked.memory_limit(promised),
        pids_max: asked.pids_max.unwrap_or(PIDS_DEFAULT),
        io_weight: asked.io_weight,
        own_processes,
    }
}

/// The device files of what it was granted: the machine's devices that are named after their files.
fn devices(start: &Start, machine: &MachineSpec) -> Vec<PathBuf> {
    let granted = start.intent.grant.devices.iter().filter_map(|(i, _)| machine.devices.get(usize::from(*i)));
    let granted: Vec<&String> = granted.filter(|name| name.starts_with("/dev/")).collect();
    let with_any = |prefix: &str| granted.iter().any(|name| name.starts_with(prefix));
    let companions = COMPANIONS.iter().filter(|(prefix, _)| with_any(prefix)).flat_map(|(_, names)| *names);
    let all = granted.iter().map(|name| name.as_str()).chain(companions.copied());
    all.map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// The task's name as a host name: `web-main-0`.
fn hostname(start: &Start) -> String {
    let task = start.intent.id.task;
    let group = start.spec.job.groups.get(usize::from(task.group)).map_or("", |group| group.name.as_str());
    let index = format!("-{}", task.index);
    let sound = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{}-{group}", start.spec.job.name).chars().map(sound).collect();
    format!("{}{index}", name.chars().take(HOSTNAME_BYTES_MAX - index.len()).collect::<String>())
}
