//! Processes by pid and start time: a pid alone may have been given to another process meanwhile.

use std::fs;
use std::io;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::isolation::container::pid_file;
use crate::task_dir::TaskDir;

/// A process that can't be mistaken for another one of the same boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks from boot to its start: field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) start: u64,
}

impl Identity {
    /// The process with this pid now.
    pub(crate) fn of(pid: i32) -> Option<Identity> {
        stat(pid).map(|stat| Identity { pid, start: stat.start })
    }

    /// This process.
    pub(crate) fn own() -> Option<Identity> {
        Identity::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it is there and not merely waiting to be reaped.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_dead())
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

impl Stat {
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Reads `/proc/PID/stat`; `None` when there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What a line of `/proc/PID/stat` says.
pub(crate) fn parse(stat: &str) -> Option<Stat> {
    // The second field is the command's name in parentheses, which may hold anything, parentheses too.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// The main process of a task that runs: the first child of its shim, which adopts others later; of a task with process
/// numbers of its own the first child of that one, which is only its parent; of a container the child of that one that the
/// runtime has named.
pub(crate) fn main_process(dir: &TaskDir) -> io::Result<Option<Identity>> {
    let Some(live) = dir.live()? else { return Ok(None) };
    let Some(shim) = live.shim.filter(|shim| live.boot == boot_id() && shim.is_alive()) else {
        return Ok(None);
    };
    let first = |of: i32| children(of).first().copied().and_then(Identity::of);
    let Some(child) = first(shim.pid) else { return Ok(None) };
    let main = if dir.launch()?.container.is_some() {
        // While the runtime is at work, its own processes are of the machine.
        let named = fs::read_to_string(pid_file(dir)).ok().and_then(|pid| pid.trim().parse().ok());
        named.filter(|pid| children(child.pid).contains(pid)).and_then(Identity::of)
    } else if numbers(child.pid) > numbers(shim.pid) {
        first(child.pid)
    } else {
        Some(child)
    };
    Ok(main.filter(Identity::is_alive))
}

/// How many numbers a process has: one for each namespace of processes that it is seen from.
fn numbers(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(1, |numbers| numbers.split_ascii_whitespace().count())
}

/// All pids there are.
pub(crate) fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // The kernel was built without that list.
        Err(_) => all().into_iter().filter(|p| stat(*p).is_some_and(|stat| stat.parent == pid)).collect(),
    }
}

/// The children of a process, whichever of its threads started them.
pub(crate) fn children_of_threads(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<String> =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    if lists.is_empty() {
        // The kernel was built without these lists, or the process is gone.
        return children(pid);
    }
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Which boot of the machine this is: pids and start times of another one mean nothing.
pub(crate) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_do_not_shift_the_fields() {
        let line = "77 (a) b (c) S 5 6 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        let stat = parse(line).unwrap();
        assert_eq!(stat, Stat { state: 'S', parent: 5, session: 7, start: 4242 });
        assert_eq!(parse("77 (cut"), None);
        assert_eq!(parse("77 (short) S 5"), None);
    }

    #[test]
    fn a_process_knows_itself_and_its_parent_knows_it() {
        let own = Identity::own().unwrap();
        assert!(own.is_alive());
        assert!(!Identity { start: own.start + 1, ..own }.is_alive());
        assert!(children(stat(own.pid).unwrap().parent).contains(&own.pid));
        assert_eq!(boot_id().len(), 36);
    }
}
