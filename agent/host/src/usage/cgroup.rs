//! Usage of a task with cgroups of its own, of either version: what the kernel has counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Counted, process_tree};
use crate::bounds::TREE_PROCESSES_MAX;
use crate::cgroups;

/// The cgroups of a task that count what it uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cgroups {
    cpu: Counter,
    memory: Counter,
    /// Where there is none, the processes that are there are added up.
    io: Option<Counter>,
    processes: PathBuf,
}

/// A cgroup and its version.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Counter {
    V1(PathBuf),
    V2(PathBuf),
}

impl Cgroups {
    /// Those of a process, if it has some for processor and memory that its shim isn't in: the shim's are the agent's, and
    /// those of other tasks.
    pub(super) fn of(pid: i32, shim: i32) -> Option<Cgroups> {
        let proc = |pid: i32| PathBuf::from(format!("/proc/{pid}"));
        let apart = cgroups::apart(&proc(pid), &proc(shim)).ok()?;
        let find = |controller: &str| find(&apart, controller);
        let (cpu, memory) = (find("cpuacct").or_else(|| unified(&apart, "cpu.stat"))?, find("memory"));
        let memory = memory.or_else(|| unified(&apart, "memory.current"))?;
        let io = find("blkio").or_else(|| unified(&apart, "io.stat"));
        let (Counter::V1(at) | Counter::V2(at)) = &memory;
        Some(Cgroups { processes: at.join("cgroup.procs"), cpu, memory, io })
    }

    /// What they have counted; `None` when they are gone.
    pub(super) fn read(&self) -> Option<Counted> {
        let text = |at: &Path, name: &str| fs::read_to_string(at.join(name)).ok();
        let number = |at: &Path, name: &str| text(at, name)?.trim().parse::<u64>().ok();
        let cpu_us = match &self.cpu {
            Counter::V1(at) => number(at, "cpuacct.usage")? / 1_000,
            Counter::V2(at) => field(&text(at, "cpu.stat")?, "usage_usec")?,
        };
        let (memory_bytes, peak) = match &self.memory {
            Counter::V1(at) => (
                field(&text(at, "memory.stat")?, "total_rss")?,
                number(at, "memory.max_usage_in_bytes").unwrap_or(0),
            ),
            Counter::V2(at) => {
                (field(&text(at, "memory.stat")?, "anon")?, number(at, "memory.peak").unwrap_or(0))
            }
        };
        let processes = fs::read_to_string(&self.processes).unwrap_or_default();
        let plus = |(r, w): (u64, u64), (read, written): (u64, u64)| (r + read, w + written);
        let (read_bytes, written_bytes) = match &self.io {
            Some(Counter::V1(at)) => {
                text(at, "blkio.throttle.io_service_bytes").map_or((0, 0), |t| io_v1(&t))
            }
            Some(Counter::V2(at)) => text(at, "io.stat").map_or((0, 0), |t| io_v2(&t)),
            None => processes.lines().take(TREE_PROCESSES_MAX).map(process_tree::io).fold((0, 0), plus),
        };
        Some(Counted {
            cpu_us,
            memory_bytes,
            memory_peak_bytes: peak.max(memory_bytes),
            read_bytes,
            written_bytes,
            processes: processes.lines().count() as u32,
        })
    }
}

/// The cgroup of a controller of the first version.
fn find(apart: &BTreeMap<String, PathBuf>, controller: &str) -> Option<Counter> {
    let found = apart.iter().find(|(controllers, _)| controllers.split(',').any(|name| name == controller));
    found.map(|(_, at)| Counter::V1(at.clone()))
}

/// The unified cgroup, if it counts this.
fn unified(apart: &BTreeMap<String, PathBuf>, file: &str) -> Option<Counter> {
    let at = apart.get("").filter(|at| at.join(file).exists())?;
    Some(Counter::V2(at.clone()))
}

/// The value of a line `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// Lines `8:0 Read 123`.
fn io_v1(text: &str) -> (u64, u64) {
    let sum = |what: &str| {
        let of = |line: &str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            (words.next()? == what).then(|| words.next()?.parse::<u64>().ok())?
        };
        text.lines().filter_map(of).sum()
    };
    (sum("Read"), sum("Write"))
}

/// Lines `8:0 rbytes=1 wbytes=2 …`.
fn io_v2(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let values =
            text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        values.sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(field("usage_usec 17\nuser_usec 3\n", "usage_usec"), Some(17));
        assert_eq!(field("rss 1\ntotal_rss 9\n", "rss"), Some(1));
        assert_eq!(io_v1("8:0 Read 5\n8:0 Write 7\n8:16 Read 1\nTotal 13\n"), (6, 7));
        assert_eq!(io_v2("8:0 rbytes=5 wbytes=7 rios=1\n8:16 rbytes=1 wbytes=0\n"), (6, 7));
    }
}
