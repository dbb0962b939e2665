//! Commands: what a task of the `exec` and `oci` drivers runs, and what that asks of a machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::care::Care;
use super::container::Container;
use super::isolation::Isolation;
use super::{GroupSpec, Run, template};
use crate::constraint::Constraint;

/// A command to run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// The program: an absolute path, or a name looked up in the agent's `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, on top of the `OHM_*` variables and the agent's `PATH`.
    pub env: BTreeMap<String, String>,
    /// Its working directory; `None` is a fresh directory of the task's own.
    pub directory: Option<String>,
    /// Bytes after which each of stdout and stderr is rotated.
    pub log_bytes_max: u64,
    /// How many files of each are kept, the current one included.
    pub log_files_max: u16,
    /// Microseconds after which a file of them is followed by the next even if it isn't full.
    pub log_age_us: Option<u64>,
    /// How it is kept apart from others, and within which bounds.
    pub isolation: Box<Isolation>,
    /// How it is looked after while it runs.
    pub care: Box<Care>,
    /// A root file system of its own; `None` is the machine's. That of a bundle may leave the command open.
    pub container: Option<Box<Container>>,
}

impl Exec {
    /// A command with the defaults of everything else.
    pub fn new(command: impl Into<String>, args: Vec<String>) -> Exec {
        Exec {
            command: command.into(),
            args,
            env: BTreeMap::new(),
            directory: None,
            log_bytes_max: 10 << 20,
            log_files_max: 5,
            log_age_us: None,
            isolation: Box::default(),
            care: Box::default(),
            container: None,
        }
    }
}

impl GroupSpec {
    /// What a machine must be: the constraints as written, then what the task is given, its isolation and its
    /// templates ask for.
    pub fn conditions(&self) -> Vec<Constraint> {
        let mut conditions = self.constraints.clone();
        conditions.extend(self.data.conditions());
        if let Run::Exec(exec) = &self.run {
            conditions.extend(exec.isolation.conditions());
            conditions.extend(exec.container.as_ref().map(|_| Container::condition()));
            conditions.extend(template::conditions(exec));
        }
        conditions
    }
}
