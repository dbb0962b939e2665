//! The control groups of one task: made before its first process, killed and removed after its last.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cell_state::task::MemoryKill;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::hierarchies::{Controller, Hierarchies, Version};
use crate::bounds::{CGROUP_REMOVALS_MAX, CGROUP_REMOVE_AGAIN};

/// The control groups of one task.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    /// One directory per hierarchy.
    groups: Vec<PathBuf>,
    /// What is written to which file, in this order.
    settings: Vec<(PathBuf, String)>,
    /// The group that counts memory.
    memory: Option<(Version, PathBuf)>,
    /// The group that can be killed at once.
    killable: Option<PathBuf>,
    /// The group that can be stopped in its tracks.
    freezer: Option<PathBuf>,
}

/// The bounds of one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// What it is promised, in millicores.
    pub(super) cpu_milli: u64,
    pub(super) cpu_limit_milli: Option<u64>,
    /// What it is promised, in bytes.
    pub(super) memory_bytes: u64,
    /// 0 is no limit.
    pub(super) memory_limit_bytes: u64,
    pub(super) pids_max: u32,
    pub(super) io_weight: Option<u16>,
    /// Whether its processes end with its first by the kernel's own doing.
    pub(super) own_processes: bool,
}

/// The period of a hard limit of processor time.
const PERIOD_US: u64 = 100_000;

impl Cgroup {
    /// The groups of a task called `name`; `None` where there are none to use.
    pub(super) fn plan(hierarchies: &Hierarchies, name: &str, bounds: &Bounds) -> Option<Cgroup> {
        let mut cgroup = Cgroup::default();
        for (controller, usable) in &hierarchies.controllers {
            let unasked = match controller {
                Controller::Io => bounds.io_weight.is_none(),
                // Version 1 alone can't kill a group at once, nor does it have to when the kernel does it anyway.
                Controller::Freezer => bounds.own_processes || hierarchies.unified.is_some(),
                Controller::Cpu | Controller::CpuTime | Controller::Memory | Controller::Pids => false,
            };
            if unasked {
                continue;
            }
            let group = usable.parent.join(name);
            cgroup.settings.extend(settings(*controller, usable.version, usable.knob, bounds, &group));
            match controller {
                Controller::Memory => cgroup.memory = Some((usable.version, group.clone())),
                Controller::Freezer => cgroup.freezer = Some(group.clone()),
                Controller::Cpu | Controller::CpuTime | Controller::Pids | Controller::Io => {}
            }
            cgroup.add(group);
        }
        let is_used = |parent: &PathBuf| cgroup.groups.contains(&parent.join(name));
        cgroup.killable = hierarchies
            .unified
            .as_ref()
            .filter(|p| !bounds.own_processes || is_used(p))
            .map(|p| p.join(name));
        if let Some(killable) = cgroup.killable.clone() {
            cgroup.add(killable);
        }
        (!cgroup.groups.is_empty()).then_some(cgroup)
    }

    fn add(&mut self, group: PathBuf) {
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }

    /// Makes the groups, with their settings.
    pub(crate) fn create(&self) -> io::Result<()> {
        for group in &self.groups {
            match fs::create_dir(group) {
                // An agent that has just stopped took it for empty.
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(group)?,
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        for (file, value) in &self.settings {
            match fs::write(file, value) {
                // Swap isn't counted on every machine.
                Err(error) if error.kind() == ErrorKind::NotFound && is_about_swap(file) => {}
                written => written?,
            }
        }
        Ok(())
    }

    /// Puts this process, and all that it will start, in.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.groups.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
    }

    /// Kills all that is in it now. What is being started meanwhile may escape, so that it is to be called until
    /// nothing is left.
    pub(crate) fn kill(&self) {
        if let Some(killable) = &self.killable
            && fs::write(killable.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        self.freeze("FROZEN");
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.freeze("THAWED");
    }

    fn freeze(&self, state: &str) {
        if let Some(freezer) = &self.freezer {
            // Without it the loop around this one takes longer.
            let _ = fs::write(freezer.join("freezer.state"), state);
        }
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let list = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let lists: Vec<String> = self.groups.iter().map(list).collect();
        let pids = lists.iter().flat_map(|list| list.lines()).filter_map(|pid| pid.parse().ok());
        let mut pids: Vec<i32> = pids.collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter().filter_map(Pid::from_raw).collect()
    }

    /// Removes the groups, in which nothing is any more. The kernel may take a moment to see that.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut tries = 1;
        for group in &self.groups {
            loop {
                match fs::remove_dir(group) {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    Err(error) if tries == CGROUP_REMOVALS_MAX => return Err(error),
                    Err(_) => std::thread::sleep(CGROUP_REMOVE_AGAIN),
                }
                tries += 1;
            }
        }
        Ok(())
    }

    /// What becomes readable when memory runs out; version 2 kills the whole group by itself.
    pub(crate) fn watch_memory(&self) -> Option<OwnedFd> {
        let Some((Version::V1, group)) = &self.memory else { return None };
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let control = fs::File::open(group.join("memory.oom_control")).ok()?;
        let wish = format!("{} {}", told.as_fd().as_raw_fd(), control.as_raw_fd());
        fs::write(group.join("cgroup.event_control"), wish).ok()?;
        Some(told)
    }

    /// The processes that were killed because memory ran out.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some((version, group)) = &self.memory else { return 0 };
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(group.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }

    /// Which process was killed, as far as the kernel's messages tell, and how much memory there was in use.
    pub(crate) fn memory_kill(&self, otherwise: Option<Pid>) -> MemoryKill {
        let Some((version, group)) = &self.memory else { return MemoryKill::new(0, 0) };
        let peaks: &[&str] = match version {
            Version::V1 => &["memory.max_usage_in_bytes"],
            Version::V2 => &["memory.peak", "memory.max"],
        };
        let read = |file: &&str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        let peak = peaks.iter().find_map(read).unwrap_or(0);
        let otherwise = otherwise.map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
        MemoryKill::new(victim(group).unwrap_or(otherwise), peak)
    }
}

fn is_about_swap(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("memory.memsw.") || name == "memory.swap.max"
}

fn settings(
    controller: Controller,
    version: Version,
    knob: &str,
    bounds: &Bounds,
    group: &Path,
) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut set = |file: &str, value: String| all.push((group.join(file), value));
    match (controller, version) {
        (Controller::Cpu, Version::V1) => {
            set("cpu.shares", (bounds.cpu_milli * 1_024 / 1_000).clamp(2, 262_144).to_string());
            if let Some(limit) = bounds.cpu_limit_milli {
                set("cpu.cfs_period_us", PERIOD_US.to_string());
                set("cpu.cfs_quota_us", (limit * PERIOD_US / 1_000).to_string());
            }
        }
        (Controller::Cpu, Version::V2) => {
            set("cpu.weight", (bounds.cpu_milli / 10).clamp(1, 10_000).to_string());
            if let Some(limit) = bounds.cpu_limit_milli {
                set("cpu.max", format!("{} {PERIOD_US}", limit * PERIOD_US / 1_000));
            }
        }
        (Controller::Memory, Version::V1) => {
            set("memory.soft_limit_in_bytes", bounds.memory_bytes.to_string());
            if bounds.memory_limit_bytes > 0 {
                set("memory.limit_in_bytes", bounds.memory_limit_bytes.to_string());
                // Memory and swap together: none of it is swapped out to get around the limit.
                set("memory.memsw.limit_in_bytes", bounds.memory_limit_bytes.to_string());
            }
        }
        (Controller::Memory, Version::V2) => {
            set("memory.low", bounds.memory_bytes.to_string());
            set("memory.oom.group", "1".to_owned());
            if bounds.memory_limit_bytes > 0 {
                set("memory.max", bounds.memory_limit_bytes.to_string());
                set("memory.swap.max", "0".to_owned());
            }
        }
        (Controller::Pids, _) => set("pids.max", bounds.pids_max.to_string()),
        (Controller::Io, _) => {
            if let Some(weight) = bounds.io_weight {
                set(knob, weight.to_string());
            }
        }
        (Controller::CpuTime | Controller::Freezer, _) => {}
    }
    all
}

/// The last process of this group that the kernel says it killed for want of memory.
fn victim(group: &Path) -> Option<u32> {
    use std::io::Read;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let kmsg = rustix::fs::open("/dev/kmsg", flags, rustix::fs::Mode::empty()).ok()?;
    let (mut kmsg, mut last, mut message) = (fs::File::from(kmsg), None, vec![0; 8 << 10]);
    let name = group.file_name()?.to_str()?;
    loop {
        // One read is one message; messages that were overwritten meanwhile are an error once.
        match kmsg.read(&mut message) {
            Ok(0) => return last,
            Ok(n) => last = victim_in(&String::from_utf8_lossy(&message[..n]), name).or(last),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return last,
            Err(error) if error.kind() == ErrorKind::Interrupted || error.kind() == ErrorKind::BrokenPipe => {
            }
            Err(_) => return last,
        }
    }
}

fn victim_in(message: &str, name: &str) -> Option<u32> {
    let facts = message.split_once(";oom-kill:")?.1;
    let mut facts = facts.lines().next()?.split(',').filter_map(|fact| fact.split_once('='));
    let is_here = facts.any(|(key, value)| key == "task_memcg" && value.split('/').any(|part| part == name));
    let pid = facts.find(|(key, _)| *key == "pid").map(|(_, pid)| pid);
    pid.filter(|_| is_here)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_victim_is_read_from_the_kernels_message() {
        let message = "6,1042,77,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
                       oom_memcg=/ohm/m-1/j1.0.0-2,task_memcg=/ohm/m-1/j1.0.0-2,task=python3,pid=4242,uid=65534\n KEY=1";
        assert_eq!(victim_in(message, "j1.0.0-2"), Some(4_242));
        assert_eq!(victim_in(message, "j1.0.0-1"), None);
        assert_eq!(victim_in("6,1,2,-;something else", "j1.0.0-2"), None);
    }
}
