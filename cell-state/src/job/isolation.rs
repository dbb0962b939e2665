//! Isolation: what a task may see, use and do on its machine, and what a machine says it can enforce of that.
//!
//! What a job asks for by name becomes a condition on the machine, so that a machine which can't enforce it never gets
//! the task, and an explanation of a pending job names it. What a job leaves open is enforced as far as the machine can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admit::Rejection;
use crate::bounds;
use crate::constraint::{Constraint, Test};
use crate::resources::{Dimension, Resources};

/// Attributes by which a machine says what it can enforce. Those without a word of their own have the value `yes`, or
/// are not there.
pub mod attribute {
    /// The version of control groups: `v1`, `v2`, `hybrid` or `none`.
    pub const CGROUP: &str = "ohm.cgroup";
    /// Shares and limits of processor time.
    pub const CPU: &str = "ohm.cgroup.cpu";
    /// Limits of memory.
    pub const MEMORY: &str = "ohm.cgroup.memory";
    /// Limits of the number of processes.
    pub const PIDS: &str = "ohm.cgroup.pids";
    /// Weights of disk traffic.
    pub const IO: &str = "ohm.cgroup.io";
    /// A file system view of the task's own.
    pub const FILESYSTEM: &str = "ohm.isolation.filesystem";
    /// Process numbers of the task's own.
    pub const PROCESSES: &str = "ohm.isolation.processes";
    /// Shared memory, semaphores and message queues of the task's own.
    pub const IPC: &str = "ohm.isolation.ipc";
    /// A host name of the task's own.
    pub const HOSTNAME: &str = "ohm.isolation.hostname";
    /// A filter of system calls.
    pub const SYSTEM_CALLS: &str = "ohm.isolation.system_calls";
    /// Tasks may run as other users than the agent's.
    pub const USERS: &str = "ohm.users";
    /// The operator lets tasks run as root, and keep capabilities.
    pub const PRIVILEGED: &str = "ohm.privileged";
    /// What the hard limit of a resource limit may be raised to, with its name in the place of the last word.
    pub const LIMIT: &str = "ohm.limit.";
}

/// Whether a task has something of its own, or shares the machine's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Share {
    /// Its own where the machine can give it that, else the machine's.
    #[default]
    Open,
    /// Its own, and only on machines that can give it that.
    Private,
    /// The machine's.
    Host,
}

/// How a task is kept apart from others of its machine, and within which bounds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// The most processor time, in millicores; `None` is a share in proportion to what the task is promised.
    pub cpu_limit_milli: Option<u64>,
    /// Bytes of memory beyond which it is killed; `None` is what it is promised.
    pub memory_limit_bytes: Option<u64>,
    /// The most processes and threads; `None` is [`PIDS_DEFAULT`].
    pub pids_max: Option<u32>,
    /// Its weight when the disk is busy, 1 to 1000.
    pub io_weight: Option<u16>,
    /// Who it runs as; `None` is whom the agent runs tasks as.
    pub user: Option<String>,
    /// The view of files: read-only, with a `/tmp` of its own and nothing of other tasks.
    pub filesystem: Share,
    /// The view of processes.
    pub processes: Share,
    /// Shared memory, semaphores, message queues.
    pub ipc: Share,
    /// The host name.
    pub hostname: Share,
    /// `Private` means filtered, `Host` all of them.
    pub system_calls: Share,
    /// Capabilities it keeps.
    pub capabilities: Vec<String>,
    /// Paths of the machine that stay writable in a view of its own.
    pub writable: Vec<String>,
    /// Limits of the kernel's own, by name.
    pub limits: BTreeMap<String, u64>,
}

/// Processes of a task that names no bound.
pub const PIDS_DEFAULT: u32 = 4_096;

/// The names of limits.
pub const LIMITS: [&str; 6] =
    ["open_files", "core_size", "file_size", "locked_memory", "stack_size", "address_space"];

/// The capabilities that a task may ask to keep: those that are about its own files, ports and processes. None of them
/// opens the machine by itself.
pub const CAPABILITIES: [&str; 10] = [
    "chown",
    "dac_override",
    "fowner",
    "ipc_lock",
    "kill",
    "net_bind_service",
    "net_raw",
    "setgid",
    "setuid",
    "sys_nice",
];

impl Isolation {
    /// Everything the machine's, as if there were no isolation: what remains are the user and the bounds.
    pub fn none() -> Isolation {
        let host = Share::Host;
        Isolation {
            filesystem: host,
            processes: host,
            ipc: host,
            hostname: host,
            system_calls: host,
            ..Isolation::default()
        }
    }

    /// The bytes of memory beyond which a task of this promise is killed.
    pub fn memory_limit(&self, promised: &Resources) -> u64 {
        self.memory_limit_bytes.unwrap_or_else(|| promised.get(Dimension::MEMORY))
    }

    /// What a machine must be able to enforce.
    pub fn conditions(&self) -> Vec<Constraint> {
        let asked = [
            (attribute::CPU, self.cpu_limit_milli.is_some()),
            (attribute::MEMORY, self.memory_limit_bytes.is_some()),
            (attribute::PIDS, self.pids_max.is_some()),
            (attribute::IO, self.io_weight.is_some()),
            (attribute::FILESYSTEM, self.filesystem == Share::Private || !self.writable.is_empty()),
            (attribute::PROCESSES, self.processes == Share::Private),
            (attribute::IPC, self.ipc == Share::Private),
            (attribute::HOSTNAME, self.hostname == Share::Private),
            (attribute::SYSTEM_CALLS, self.system_calls == Share::Private),
            (attribute::USERS, self.user.is_some()),
            (attribute::PRIVILEGED, self.is_privileged()),
        ];
        let is =
            |(key, _): (&str, bool)| Constraint { attribute: key.into(), test: Test::Equal("yes".into()) };
        let mut conditions: Vec<Constraint> = asked.into_iter().filter(|(_, asked)| *asked).map(is).collect();
        for (name, limit) in &self.limits {
            let least = i64::try_from(*limit).unwrap_or(i64::MAX).saturating_sub(1);
            let attribute = format!("{}{name}", attribute::LIMIT);
            conditions.push(Constraint { attribute, test: Test::Greater(least) });
        }
        conditions
    }

    /// Whether it names bounds of its own.
    pub fn is_bounded(&self) -> bool {
        self.cpu_limit_milli.is_some()
            || self.memory_limit_bytes.is_some()
            || self.pids_max.is_some()
            || self.io_weight.is_some()
    }

    /// Whether it asks for what only the operator of a machine can allow.
    pub fn is_privileged(&self) -> bool {
        let root = |user: &String| matches!(user.split(':').next(), Some("root" | "0"));
        self.user.as_ref().is_some_and(root) || !self.capabilities.is_empty()
    }

    /// Checks every field; `at` is the path of the table, `promised` what the task is promised.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub(crate) fn check(&self, at: &str, promised: &Resources) -> Result<(), Rejection> {
        let wrong = |field: &str, problem: String| Err(Rejection::invalid(format!("{at}.{field}"), problem));
        if let Some(limit) = self.cpu_limit_milli
            && limit < promised.get(Dimension::CPU).max(bounds::CPU_LIMIT_MILLI_MIN)
        {
            let least = promised.get(Dimension::CPU).max(bounds::CPU_LIMIT_MILLI_MIN);
            return wrong(
                "cpu_limit",
                format!("{limit} millicores; it is at least what is promised, {least}"),
            );
        }
        if let Some(limit) = self.memory_limit_bytes
            && (limit < promised.get(Dimension::MEMORY) || limit > bounds::AMOUNT_MAX)
        {
            let least = promised.get(Dimension::MEMORY);
            return wrong("memory_limit", format!("{limit} bytes; it is at least what is promised, {least}"));
        }
        if self.pids_max.is_some_and(|n| n == 0 || n > bounds::TASK_PIDS_MAX) {
            return wrong("pids", format!("allowed are 1 to {}", bounds::TASK_PIDS_MAX));
        }
        if self.io_weight.is_some_and(|n| !(1..=1_000).contains(&n)) {
            return wrong("io_weight", "allowed are 1 to 1000".to_owned());
        }
        if let Some(user) = &self.user
            && !is_user(user)
        {
            return wrong("user", format!("{user:?} is no user; write a name, or UID:GID"));
        }
        if let Some(unknown) = self.capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
            let known = CAPABILITIES.join(", ");
            return wrong("capabilities", format!("{unknown:?} can't be kept; those that can are {known}"));
        }
        if self.writable.len() > bounds::WRITABLE_PATHS_MAX {
            return wrong("writable", format!("at most {} paths", bounds::WRITABLE_PATHS_MAX));
        }
        let sound = |path: &str| {
            path.len() > 1
                && path.starts_with('/')
                && !path.contains('\0')
                && !path.split('/').any(|p| p == "..")
        };
        if let Some(path) = self.writable.iter().find(|path| !sound(path)) {
            return wrong("writable", format!("{path:?} is no absolute path below /"));
        }
        if self.filesystem == Share::Host && !self.writable.is_empty() {
            let problem = "only a private filesystem has paths that aren't writable; remove one of the two";
            return wrong("writable", problem.to_owned());
        }
        if let Some(unknown) = self.limits.keys().find(|name| !LIMITS.contains(&name.as_str())) {
            return wrong("limits", format!("{unknown:?} is no limit; there are {}", LIMITS.join(", ")));
        }
        Ok(())
    }
}

fn is_user(user: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= bounds::NAME_BYTES_MAX
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$'))
    };
    match user.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(isolation: &Isolation) -> Vec<String> {
        isolation.conditions().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_left_open_asks_nothing_of_a_machine() {
        assert_eq!(keys(&Isolation::default()), [""; 0]);
        assert_eq!(keys(&Isolation::none()), [""; 0]);
    }

    #[test]
    fn what_is_named_is_asked_of_the_machine() {
        let isolation = Isolation {
            memory_limit_bytes: Some(1),
            processes: Share::Private,
            user: Some("root".into()),
            limits: BTreeMap::from([("open_files".to_owned(), 1_024)]),
            ..Isolation::default()
        };
        let expected = [
            "ohm.cgroup.memory = yes",
            "ohm.isolation.processes = yes",
            "ohm.users = yes",
            "ohm.privileged = yes",
            "ohm.limit.open_files > 1023",
        ];
        assert_eq!(keys(&isolation), expected);
    }

    #[test]
    fn each_field_out_of_bounds_is_named() {
        let promised = Resources::cpu_memory(500, 100);
        let open = Isolation::default();
        let table = [
            ("g.cpu_limit", Isolation { cpu_limit_milli: Some(499), ..open.clone() }),
            ("g.memory_limit", Isolation { memory_limit_bytes: Some(99), ..open.clone() }),
            ("g.pids", Isolation { pids_max: Some(0), ..open.clone() }),
            ("g.io_weight", Isolation { io_weight: Some(1_001), ..open.clone() }),
            ("g.user", Isolation { user: Some("a b".into()), ..open.clone() }),
            ("g.capabilities", Isolation { capabilities: vec!["sys_admin".into()], ..open.clone() }),
            ("g.writable", Isolation { writable: vec!["/srv/../etc".into()], ..open.clone() }),
            ("g.writable", Isolation { writable: vec!["/srv".into()], ..Isolation::none() }),
            ("g.limits", Isolation { limits: BTreeMap::from([("files".into(), 1)]), ..open.clone() }),
        ];
        for (field, isolation) in table {
            let rejection = isolation.check("g", &promised).expect_err(field);
            assert_eq!(rejection.field, field);
        }
        let sound = Isolation {
            cpu_limit_milli: Some(500),
            memory_limit_bytes: Some(100),
            user: Some("1000:1000".into()),
            writable: vec!["/srv".into()],
            ..open
        };
        assert!(sound.check("g", &promised).is_ok());
    }
}
