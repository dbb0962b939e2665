//! The machine's control groups: which versions it has, where they are mounted, and which of them this agent can use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mount_table;
use super::own_groups::Held;

/// A version of control groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}

/// What is controlled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Controller {
    Cpu,
    /// Counts processor time (version 1 alone has a controller for that).
    CpuTime,
    Memory,
    Pids,
    Io,
    Freezer,
}

impl Controller {
    const ALL: [Controller; 6] = [
        Controller::Cpu,
        Controller::CpuTime,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
        Controller::Freezer,
    ];

    /// Its name, and a file that is there when it is more than a name.
    fn names(self, version: Version) -> Option<(&'static str, &'static [&'static str])> {
        Some(match (self, version) {
            (Controller::Cpu, Version::V1) => ("cpu", &["cpu.shares"]),
            (Controller::CpuTime, Version::V1) => ("cpuacct", &["cpuacct.usage"]),
            (Controller::Memory, Version::V1) => ("memory", &["memory.limit_in_bytes"]),
            (Controller::Pids, Version::V1) => ("pids", &["pids.max"]),
            (Controller::Io, Version::V1) => ("blkio", &["blkio.bfq.weight", "blkio.weight"]),
            (Controller::Freezer, Version::V1) => ("freezer", &["freezer.state"]),
            (Controller::Cpu, Version::V2) => ("cpu", &["cpu.weight"]),
            (Controller::Memory, Version::V2) => ("memory", &["memory.max"]),
            (Controller::Pids, Version::V2) => ("pids", &["pids.max"]),
            (Controller::Io, Version::V2) => ("io", &["io.weight"]),
            (Controller::CpuTime | Controller::Freezer, Version::V2) => return None,
        })
    }
}

/// A controller that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Usable {
    pub(super) version: Version,
    /// The agent's own group, below which those of its tasks are.
    pub(super) parent: PathBuf,
    /// The file that was found.
    pub(super) knob: &'static str,
}

/// What this agent can use.
#[derive(Clone, Debug, Default)]
pub(super) struct Hierarchies {
    pub(super) controllers: BTreeMap<Controller, Usable>,
    /// The agent's group in the unified hierarchy, where whole groups can be killed at once.
    pub(super) unified: Option<PathBuf>,
    /// The agent's group, from the root of each hierarchy.
    path: PathBuf,
    /// The agent's groups, whether they can be used or not.
    pub(super) held: Arc<Held>,
}

impl Hierarchies {
    /// Looks at the mounts, and makes the agent's groups at `path` below each hierarchy's root.
    pub(super) fn prepare(path: &Path) -> Hierarchies {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = Path::new("/").join(path);
        let below_root = path.strip_prefix("/").unwrap_or(&path);
        let (mut found, mut held) = (Hierarchies::default(), Held::default());
        for mount in mount_table::parse(&table) {
            let parent = mount.at.join(below_root);
            match mount.kind.as_str() {
                "cgroup2" => found.unified(&mount.at, &parent, &mut held),
                "cgroup" => {
                    let names: Vec<&str> = mount.super_options.split(',').collect();
                    let here =
                        |c: &Controller| c.names(Version::V1).is_some_and(|(name, _)| names.contains(&name));
                    let here: Vec<Controller> = Controller::ALL.into_iter().filter(here).collect();
                    // In those without use here runtimes of containers make groups below it.
                    if usable(&parent, &mut held) {
                        here.into_iter().for_each(|controller| found.add(controller, Version::V1, &parent));
                    }
                }
                _ => {}
            }
        }
        held.sweep();
        found.path = path;
        found.held = Arc::new(held);
        found
    }

    fn unified(&mut self, root: &Path, parent: &Path, held: &mut Held) {
        if !usable(parent, held) {
            return;
        }
        // From the root down: a group's controllers are those its parent hands on.
        let mut groups: Vec<&Path> = parent.ancestors().take_while(|group| group.starts_with(root)).collect();
        groups.reverse();
        for controller in Controller::ALL {
            let Some((name, _)) = controller.names(Version::V2) else { continue };
            let hand_on = |group: &&Path| fs::write(group.join("cgroup.subtree_control"), format!("+{name}"));
            if groups.iter().try_for_each(hand_on).is_ok() {
                self.add(controller, Version::V2, parent);
            }
        }
        self.unified = parent.join("cgroup.kill").exists().then(|| parent.to_owned());
    }

    fn add(&mut self, controller: Controller, version: Version, parent: &Path) {
        let knobs = controller.names(version).map_or(&[][..], |(_, knobs)| knobs);
        if let Some(knob) = knobs.iter().find(|knob| parent.join(knob).exists()) {
            let usable = Usable { version, parent: parent.to_owned(), knob };
            self.controllers.entry(controller).or_insert(usable);
        }
    }

    /// The group of a task called `name`, from the root of each hierarchy.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Which versions there are, in a word.
    pub(super) fn word(&self) -> &'static str {
        let version = |version| self.controllers.values().any(|usable| usable.version == version);
        match (version(Version::V1), version(Version::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            (false, true) => "v2",
            (false, false) => "none",
        }
    }
}

/// Makes the group, and says whether groups can be made below it.
fn usable(parent: &Path, held: &mut Held) -> bool {
    let probe = parent.join(format!("probe-{}", std::process::id()));
    let tried: io::Result<()> = held.add(parent).and_then(|()| fs::create_dir(&probe));
    tried.and_then(|()| fs::remove_dir(&probe)).is_ok()
}
