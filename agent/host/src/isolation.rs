//! Isolation: what a machine can enforce, what of it a task gets, and how the shim does it.
//!
//! ```text
//! agent   ability   what this machine can enforce: tried once, at the agent's start, with a task of its own
//!           │
//!         plan      a job's isolation + what the machine can = a Confine, written to the task's spec.json
//!           ▼
//! shim    cgroup    makes the control groups, puts the task's first process in, kills and removes them at the end
//! stub    mounts    the view of files
//!         privileges  user, capabilities, limits
//!         filter    system calls
//!         container, config   what a runtime is told of all this, for tasks of the `oci` driver
//! ```
//! The shim decides nothing: what it can't do as it was told is a start that failed.

pub(crate) mod ability;
pub(crate) mod cgroup;
pub(crate) mod config;
pub(crate) mod container;
mod filter;
mod hierarchies;
mod mount_table;
mod mounts;
mod namespaces;
mod own_groups;
pub(crate) mod plan;
mod privileges;
mod runtime;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secrets::SecretFile;
pub use ability::Settings;
use cgroup::Cgroup;
pub(crate) use namespaces::{enter, give_up_rights, may_split, split_processes};

/// Where a task with a view of its own finds its working directory.
pub(crate) const WORK: &str = "/task";

/// How one task is confined: all that the shim has to know.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Confine {
    /// Its control groups.
    pub(crate) cgroup: Option<Cgroup>,
    /// Who it runs as; `None` is the agent's own user.
    pub(crate) user: Option<User>,
    /// Its view of files; `None` is the machine's.
    pub(crate) view: Option<View>,
    /// Whether it has process numbers of its own.
    pub(crate) processes: bool,
    /// Whether it has shared memory, semaphores and queues of its own.
    pub(crate) ipc: bool,
    /// A host name of its own.
    pub(crate) hostname: Option<String>,
    /// Whether system calls are filtered.
    pub(crate) filter: bool,
    /// Whether it keeps every right its user has: a task of the operator's own.
    pub(crate) unconfined: bool,
    /// Capabilities it keeps, by name.
    pub(crate) capabilities: Vec<String>,
    /// Limits of the kernel's own, by name.
    pub(crate) limits: BTreeMap<String, u64>,
    /// Whether namespaces are made in a user namespace, for want of the right to make them otherwise.
    pub(crate) user_namespace: bool,
    /// Secrets in its view of files.
    #[serde(default)]
    pub(crate) secrets: Vec<SecretFile>,
}

/// A user of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
}

/// A view of files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct View {
    /// Directories of which nothing is seen: the agent's data.
    pub(crate) hidden: Vec<PathBuf>,
    /// What stays writable.
    pub(crate) writable: Vec<PathBuf>,
    /// Devices beside the usual ones.
    pub(crate) devices: Vec<PathBuf>,
}
