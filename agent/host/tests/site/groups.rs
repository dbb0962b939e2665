//! The control groups of tasks, seen from outside.

use std::fs;
use std::path::PathBuf;

use super::Site;

impl Site {
    /// The control groups of a task that are there.
    pub(crate) fn groups(&self, n: u32) -> Vec<PathBuf> {
        let text = fs::read(self.task(n).join("spec.json")).expect("spec.json");
        let spec: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let groups = spec["confine"]["cgroup"]["groups"].as_array().cloned().unwrap_or_default();
        let groups = groups.iter().filter_map(|group| group.as_str()).map(PathBuf::from);
        groups.filter(|group| group.exists()).collect()
    }

    /// Where its control groups are from the root of each hierarchy, there or not.
    pub(crate) fn groups_of_agent(&self, n: u32) -> Option<String> {
        let text = fs::read(self.task(n).join("spec.json")).ok()?;
        let spec: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let path = spec["container"]["cgroup"].as_str()?;
        Some(path.trim_start_matches('/').to_owned())
    }

    /// The processes in them.
    pub(crate) fn processes(&self, n: u32) -> Vec<i32> {
        let list = |group: PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let lists: Vec<String> = self.groups(n).into_iter().map(list).collect();
        let mut pids: Vec<i32> =
            lists.iter().flat_map(|l| l.lines()).filter_map(|l| l.parse().ok()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Processor time that a task has used.
    pub(crate) fn processor_us(&self, n: u32) -> u64 {
        let v1 = self.number(n, "cpuacct.usage", "").map(|ns| ns / 1_000);
        v1.or_else(|| self.number(n, "cpu.stat", "usage_usec ")).expect("processor time is counted")
    }

    /// How often a task was held up by its limit of processor time.
    pub(crate) fn throttled(&self, n: u32) -> u64 {
        self.number(n, "cpu.stat", "nr_throttled ").expect("it is counted")
    }

    fn number(&self, n: u32, file: &str, before: &str) -> Option<u64> {
        let text = self.groups(n).into_iter().filter_map(|group| fs::read_to_string(group.join(file)).ok());
        text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .find_map(|line| line.strip_prefix(before)?.trim().parse().ok())
    }

    /// What shims had to complain of.
    pub(crate) fn complaints(&self) -> String {
        fs::read_to_string(self.root().join("shims.log")).unwrap_or_default()
    }

    pub(crate) fn work(&self, n: u32) -> PathBuf {
        self.task(n).join("work")
    }
}

pub(crate) fn can_read_kernel_messages() -> bool {
    fs::File::open("/dev/kmsg").is_ok()
}
