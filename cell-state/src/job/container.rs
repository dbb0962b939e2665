//! Containers: a task of the `oci` driver has a root file system of its own and is run by the machine's OCI runtime.

use serde::{Deserialize, Serialize};

use super::Exec;
use super::isolation::Share;
use crate::admit::Rejection;
use crate::bounds;
use crate::constraint::{Constraint, Test};

/// The attribute by which a machine says that it can run containers: the runtime and its version.
pub const RUNTIME: &str = "driver.oci";

/// What a container's root file system is: a directory of the machine, or below the task's own when the path is relative.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Container {
    /// The root file system itself.
    Rootfs(String),
    /// An OCI bundle: a `config.json` that says what to run as whom, and a root file system.
    Bundle(String),
}

impl Container {
    /// Its directory.
    pub fn path(&self) -> &str {
        match self {
            Container::Rootfs(path) | Container::Bundle(path) => path,
        }
    }

    /// The field of a job file that it is.
    pub fn field(&self) -> &'static str {
        match self {
            Container::Rootfs(_) => "rootfs",
            Container::Bundle(_) => "bundle",
        }
    }

    /// What a machine must have.
    pub(super) fn condition() -> Constraint {
        Constraint { attribute: RUNTIME.into(), test: Test::Exists }
    }

    /// Checks it, as part of `exec`; `at` is the path of the group.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub(crate) fn check(&self, at: &str, exec: &Exec) -> Result<(), Rejection> {
        let path = self.path();
        let sound = |part: &str| !matches!(part, "" | "." | "..");
        let parts = path.strip_prefix('/').unwrap_or(path);
        if path.contains('\0')
            || path.len() > bounds::CONTAINER_PATH_BYTES_MAX
            || !parts.split('/').all(sound)
        {
            let problem = format!(
                "{path:?} is no directory a container can have; write a path of at most {} bytes without empty parts, . and ..",
                bounds::CONTAINER_PATH_BYTES_MAX
            );
            return Err(Rejection::invalid(format!("{at}.run.{}", self.field()), problem));
        }
        for (name, share) in
            [("filesystem", exec.isolation.filesystem), ("processes", exec.isolation.processes)]
        {
            if share == Share::Host {
                let problem = "a container has its own; write \"private\", or remove it";
                return Err(Rejection::invalid(format!("{at}.isolation.{name}"), problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::isolation::Isolation;

    #[test]
    fn paths_lead_to_a_directory_and_files_and_processes_are_its_own() {
        let exec = Exec::new("/bin/true", Vec::new());
        let field =
            |container: Container, exec: &Exec| container.check("g", exec).map_err(|error| error.field);
        for path in ["/srv/web", "image", "image/rootfs", "/a"] {
            assert_eq!(field(Container::Rootfs(path.into()), &exec), Ok(()), "{path}");
        }
        let long = "a".repeat(bounds::CONTAINER_PATH_BYTES_MAX + 1);
        for path in ["", "/", "/srv/../etc", "../x", "a//b", "./a", "a/", "a\0b", &long] {
            assert_eq!(field(Container::Rootfs(path.into()), &exec), Err("g.run.rootfs".into()), "{path:?}");
            assert_eq!(field(Container::Bundle(path.into()), &exec), Err("g.run.bundle".into()), "{path:?}");
        }
        let shared = Exec { isolation: Box::new(Isolation::none()), ..exec };
        assert_eq!(field(Container::Rootfs("a".into()), &shared), Err("g.isolation.filesystem".into()));
    }
}
