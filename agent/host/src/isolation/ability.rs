//! What this machine can enforce: tried with tasks of its own when the agent starts, and told as attributes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::{Intent, PlacementId};
use cell_state::job::care::{Care, LostAfter};
use cell_state::job::container;
use cell_state::job::isolation::{LIMITS, attribute};
use cell_state::machine::Grant;
use cell_state::task::Exit;
use cell_state::{JobId, Resources, TaskId};
use rustix::process::{geteuid, getrlimit};

use super::cgroup::{Bounds, Cgroup};
use super::container::Container;
use super::hierarchies::{Controller, Hierarchies};
use super::runtime::{self, Runtime};
use super::{Confine, User, View, own_groups, privileges, users};
use crate::exec::ShimProgram;
use crate::task_dir::{Launch, TaskDir};

/// Where a container that is only a trial finds what it runs.
const TRIAL_PROGRAM: &str = "/trial";

/// What the operator of a machine decides about isolation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whether what a job leaves open is enforced; else only what it asks for by name is, and tasks run as the agent's user.
    pub by_default: bool,
    /// Whom tasks run as that name nobody, when the agent may become somebody else.
    pub task_user: String,
    /// Whether tasks may run as root and keep capabilities.
    pub allow_privileged: bool,
    /// The group below which those of tasks are made, from the root of each hierarchy.
    pub cgroup: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            by_default: true,
            task_user: "nobody".to_owned(),
            allow_privileged: false,
            cgroup: PathBuf::from("ohm"),
        }
    }
}

/// What this machine can enforce.
#[derive(Clone, Debug)]
pub(crate) struct Ability {
    pub(super) settings: Settings,
    pub(super) hierarchies: Hierarchies,
    pub(super) is_root: bool,
    /// Whom tasks run as; `None` is the agent's own user.
    pub(super) user: Option<User>,
    pub(super) users: bool,
    pub(super) user_namespace: bool,
    pub(super) filesystem: bool,
    pub(super) processes: bool,
    pub(super) ipc: bool,
    pub(super) hostname: bool,
    pub(super) system_calls: bool,
    /// What runs containers.
    pub(super) runtime: Option<Runtime>,
}

impl Ability {
    /// Tries what can be enforced. `data` is the agent's directory, which gives its groups their name.
    ///
    /// # Errors
    /// The directory can't be written, the operator named a user that isn't there, or tasks would run as root unasked.
    pub(crate) fn probe(
        settings: &Settings,
        machine: &str,
        data: &Path,
        shim: &ShimProgram,
    ) -> io::Result<Ability> {
        let is_root = geteuid().is_root();
        let user = users::find(&settings.task_user);
        if is_root && user.is_none() {
            let problem = format!("--task-user: this machine has no user {:?}", settings.task_user);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let group = settings.cgroup.join(own_groups::name(machine, data));
        let mut ability = Ability {
            hierarchies: Hierarchies::prepare(&group),
            settings: settings.clone(),
            is_root,
            user: user.filter(|_| is_root),
            users: is_root,
            user_namespace: !is_root,
            filesystem: true,
            processes: true,
            ipc: true,
            hostname: true,
            system_calls: true,
            runtime: None,
        };
        if !ability.holds(data, shim)? {
            ability.try_one_by_one(data, shim)?;
        }
        ability.runtime = ability.find_runtime(data, shim)?;
        match is_root && settings.by_default && !ability.users {
            true => Err(refuse_root(settings, shim)),
            false => Ok(ability),
        }
    }

    /// What the machine says of itself.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let has = |controller| self.hierarchies.controllers.contains_key(&controller);
        let able = [
            (attribute::CPU, has(Controller::Cpu)),
            (attribute::MEMORY, has(Controller::Memory)),
            (attribute::PIDS, has(Controller::Pids)),
            (attribute::IO, has(Controller::Io)),
            (attribute::FILESYSTEM, self.filesystem),
            (attribute::PROCESSES, self.processes),
            (attribute::IPC, self.ipc),
            (attribute::HOSTNAME, self.hostname),
            (attribute::SYSTEM_CALLS, self.system_calls),
            (attribute::USERS, self.users),
            (attribute::PRIVILEGED, self.settings.allow_privileged && self.is_root),
        ];
        let yes =
            able.into_iter().filter(|(_, able)| *able).map(|(key, _)| (key.to_owned(), "yes".to_owned()));
        let mut attributes: BTreeMap<String, String> = yes.collect();
        attributes.extend(self.runtime.iter().map(|it| (container::RUNTIME.to_owned(), it.version.clone())));
        attributes.insert(attribute::CGROUP.to_owned(), self.hierarchies.word().to_owned());
        for name in LIMITS {
            let hard = privileges::resource(name).and_then(|resource| getrlimit(resource).maximum);
            let most = if self.is_root { None } else { hard };
            let most = most.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX));
            attributes.insert(format!("{}{name}", attribute::LIMIT), most.to_string());
        }
        attributes
    }

    /// What is missing, in words, for the operator.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let has = |controller| self.hierarchies.controllers.contains_key(&controller);
        let all = [
            ("shares of processor time", has(Controller::Cpu)),
            ("limits of memory", has(Controller::Memory)),
            ("limits of processes", has(Controller::Pids)),
            ("a view of files", self.filesystem),
            ("a view of processes", self.processes),
            ("ipc", self.ipc),
            ("host names", self.hostname),
            ("a filter of system calls", self.system_calls),
            ("another user", self.users),
        ];
        all.into_iter().filter(|(_, able)| !able).map(|(word, _)| word).collect()
    }

    /// Gives the agent's own control groups back, now that no task is in them.
    pub(crate) fn release(&self) {
        self.hierarchies.held.release();
    }

    /// Finds out what of all it is that doesn't work.
    fn try_one_by_one(&mut self, data: &Path, shim: &ShimProgram) -> io::Result<()> {
        let none = Ability {
            hierarchies: Hierarchies::default(),
            user: None,
            filesystem: false,
            processes: false,
            ipc: false,
            hostname: false,
            system_calls: false,
            ..self.clone()
        };
        let groups = Ability { hierarchies: self.hierarchies.clone(), ..none.clone() };
        if !groups.holds(data, shim)? {
            self.hierarchies = Hierarchies::default();
        }
        if !(Ability { user: self.user.clone(), ..none.clone() }).holds(data, shim)? {
            (self.user, self.users) = (None, false);
        }
        self.processes = Ability { processes: true, ..none.clone() }.holds(data, shim)?;
        // What is mounted for them depends on each other.
        let (files, processes) = (Ability { filesystem: true, ..none.clone() }, self.processes);
        self.filesystem = files.holds(data, shim)? && Ability { processes, ..files }.holds(data, shim)?;
        self.ipc = Ability { ipc: true, ..none.clone() }.holds(data, shim)?;
        self.hostname = Ability { hostname: true, ..none.clone() }.holds(data, shim)?;
        self.system_calls = Ability { system_calls: true, ..none }.holds(data, shim)?;
        Ok(())
    }

    /// What runs containers here, as this agent would have it run them.
    fn find_runtime(&self, data: &Path, shim: &ShimProgram) -> io::Result<Option<Runtime>> {
        let installed = if self.is_root && self.user.is_some() { runtime::installed() } else { Vec::new() };
        for runtime in installed {
            if (Ability { runtime: Some(runtime.clone()), ..self.clone() }).holds(data, shim)? {
                return Ok(Some(runtime));
            }
            tracing::warn!(runtime = %runtime.version, "it can't run containers here as this agent would");
        }
        Ok(None)
    }

    /// Whether a task that is confined in every way that this ability names comes to run.
    fn holds(&self, data: &Path, shim: &ShimProgram) -> io::Result<bool> {
        let path = data.join(format!("trial-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let dir = TaskDir::at(path);
        let launch = self.trial(data, shim);
        dir.create(&launch)?;
        if let Some(container) = &launch.container {
            fs::create_dir(dir.work().join(container.source.path()))?;
        }
        let mut command = Command::new(&shim.path);
        command.args(&shim.args).arg("run").arg(dir.path());
        let output = command.stdin(Stdio::null()).output()?;
        let exit = dir.exit()?;
        if exit != Some(Exit::Code(0)) {
            let told = String::from_utf8_lossy(&output.stderr);
            tracing::debug!(?exit, told = %told.trim(), "tried in vain: {self:?}");
        }
        dir.remove()?;
        Ok(exit == Some(Exit::Code(0)))
    }

    fn trial(&self, data: &Path, shim: &ShimProgram) -> Launch {
        let bounds = Bounds {
            cpu_milli: 100,
            cpu_limit_milli: Some(1_000),
            memory_bytes: 64 << 20,
            memory_limit_bytes: 64 << 20,
            pids_max: 64,
            io_weight: None,
            own_processes: false,
        };
        let confine = Confine {
            cgroup: Cgroup::plan(&self.hierarchies, &format!("trial-{}", std::process::id()), &bounds),
            user: self.user.clone(),
            view: self.filesystem.then(|| View {
                hidden: vec![data.to_owned()],
                writable: Vec::new(),
                devices: Vec::new(),
            }),
            processes: self.processes && self.runtime.is_none(),
            ipc: self.ipc,
            hostname: self.hostname.then(|| "trial".to_owned()),
            filter: self.system_calls,
            user_namespace: self.user_namespace,
            ..Confine::default()
        };
        let args = shim.args.iter().map(|arg| arg.to_string_lossy().into_owned());
        let container = self.runtime.as_ref().map(|runtime| self.trial_container(runtime, shim));
        // The shim's own program, which is there whatever the view of files.
        let command = if container.is_some() { TRIAL_PROGRAM } else { "/proc/self/exe" };
        let task = TaskId { job: JobId(0), group: 0, index: 0 };
        Launch {
            incarnation: 0,
            intent: Intent {
                id: PlacementId { task, epoch: 0 },
                version: 0,
                resources: Resources::ZERO,
                grant: Grant::default(),
                stop_grace_us: 0,
                stop_after_us: None,
                lost_after: LostAfter::Down,
            },
            command: command.to_owned(),
            args: args.chain(["trial".to_owned()]).collect(),
            env: BTreeMap::new(),
            directory: None,
            log_bytes_max: 1 << 20,
            log_files_max: 1,
            log_age_us: None,
            confine,
            ports: BTreeMap::new(),
            care: Care::default(),
            container,
        }
    }

    /// A container with nothing of its own, to which the shim's program is lent, with the libraries that it needs.
    fn trial_container(&self, runtime: &Runtime, shim: &ShimProgram) -> Container {
        let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map(PathBuf::from).into_iter();
        let libraries = libraries.filter(|path| path.is_dir()).map(|path| (path.clone(), path));
        let program = fs::canonicalize(&shim.path).unwrap_or_else(|_| shim.path.clone());
        Container {
            runtime: runtime.path.clone(),
            source: container::Container::Rootfs("rootfs".to_owned()),
            user: None,
            may_be_root: false,
            cgroup: self.hierarchies.path_of(&format!("trial-{}", std::process::id())),
            lent: libraries.chain([(program, PathBuf::from(TRIAL_PROGRAM))]).collect(),
        }
    }
}

/// Why an agent that is root doesn't start where tasks would be root too.
fn refuse_root(settings: &Settings, shim: &ShimProgram) -> io::Error {
    let file = fs::canonicalize(&shim.path).unwrap_or_else(|_| shim.path.clone());
    let mode = fs::metadata(&file).map_or(0, |found| found.permissions().mode() & 0o7777);
    let (user, file) = (&settings.task_user, file.display());
    let problem = format!(
        "tasks can't run as {user:?} here, and so would run as root: {user:?} could not execute {file}, whose mode is \
         {mode:04o}. Allow it (chmod 0755 {file}), move the program to where {user:?} may execute it, name another user \
         (--task-user), or choose to run tasks as root (--isolation none)"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}
