//! What a server process on this machine has used: processor time by thread, and what its log thread wrote.

use std::collections::BTreeMap;
use std::fs;

/// Clock ticks in which Linux tells processor times, the same on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// The name of the thread that appends to the log and flushes it, as the server names it.
const LOG_THREAD: &str = "ohm-log";

/// What a process has used so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Microseconds of processor time, of all its threads.
    pub cpu_us: u64,
    /// Microseconds of processor time of its children that have ended, and of theirs.
    pub children_cpu_us: u64,
    /// The same by thread name, of those that live; threads of one name are added up.
    pub cpu_us_by_thread: BTreeMap<String, u64>,
    /// Bytes the log thread wrote.
    pub log_bytes: u64,
    /// In how many writes: each is one group, and is followed by a flush.
    pub log_writes: u64,
    /// Bytes the process made the disk write: log, checkpoints and the side log.
    pub disk_bytes: u64,
}

impl Used {
    /// What a process has used so far; `None` when it isn't there or isn't ours to look at.
    pub fn of(pid: u32) -> Option<Used> {
        let process = format!("/proc/{pid}");
        let (_, [cpu_us, children_cpu_us]) =
            name_and_cpu(&fs::read_to_string(format!("{process}/stat")).ok()?)?;
        let io = fs::read_to_string(format!("{process}/io")).unwrap_or_default();
        let mut used =
            Used { cpu_us, children_cpu_us, disk_bytes: number(&io, "write_bytes:"), ..Used::default() };
        for thread in fs::read_dir(format!("{process}/task")).ok()?.flatten() {
            // A thread may end between two looks.
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
            let Some((name, [cpu_us, _])) = name_and_cpu(&stat) else { continue };
            if name == LOG_THREAD {
                let io = fs::read_to_string(thread.path().join("io")).unwrap_or_default();
                used.log_bytes += number(&io, "wchar:");
                used.log_writes += number(&io, "syscw:");
            }
            *used.cpu_us_by_thread.entry(name).or_default() += cpu_us;
        }
        Some(used)
    }

    /// What was used since an earlier look.
    pub fn since(&self, earlier: &Used) -> Used {
        let before = |name: &String| earlier.cpu_us_by_thread.get(name).copied().unwrap_or(0);
        let threads = self.cpu_us_by_thread.iter();
        Used {
            cpu_us: self.cpu_us.saturating_sub(earlier.cpu_us),
            children_cpu_us: self.children_cpu_us.saturating_sub(earlier.children_cpu_us),
            cpu_us_by_thread: threads
                .map(|(name, us)| (name.clone(), us.saturating_sub(before(name))))
                .filter(|(_, us)| *us > 0)
                .collect(),
            log_bytes: self.log_bytes.saturating_sub(earlier.log_bytes),
            log_writes: self.log_writes.saturating_sub(earlier.log_writes),
            disk_bytes: self.disk_bytes.saturating_sub(earlier.disk_bytes),
        }
    }
}

/// The name and the processor times in a `stat` file, its own and that of children that have ended: the name is in brackets
/// and may hold anything, user and system time are the 12th and 13th field after it, those of children follow.
fn name_and_cpu(stat: &str) -> Option<(String, [u64; 2])> {
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once('(')?.1.to_owned();
    let mut fields = after.split(' ').skip(11);
    let mut both = || -> Option<u64> {
        let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((user + system) * (1_000_000 / TICKS_PER_SECOND))
    };
    Some((name, [both()?, both()?]))
}

/// The number after a label in an `io` file.
fn number(io: &str, label: &str) -> u64 {
    let line = io.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_do_not_confuse_the_times() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 0 0 0 150 25 30 10 20 0 4 0 77 1 1";
        assert_eq!(name_and_cpu(stat), Some(("a) b (c".to_owned(), [1_750_000, 400_000])));
        assert_eq!(name_and_cpu("nonsense"), None);
        assert_eq!(number("wchar: 12\nsyscw: 3\n", "syscw:"), 3);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let first = Used::of(std::process::id()).unwrap();
        let second = Used::of(std::process::id()).unwrap();
        assert!(!second.cpu_us_by_thread.is_empty());
        assert!(second.cpu_us >= first.cpu_us && second.since(&second).cpu_us == 0);
        assert_eq!(Used::of(u32::MAX), None);
    }
}
