//! Usage of a task without cgroups of its own: its processes, added up. The shim itself isn't counted, but what its
//! children had used when it reaped them is.

use std::fmt::Display;
use std::fs;
use std::sync::LazyLock;

use super::Counted;
use crate::bounds::TREE_PROCESSES_MAX;
use crate::process::{Identity, children_of_threads};

/// What a tick and a page are on this machine.
static UNITS: LazyLock<(u64, u64)> = LazyLock::new(|| {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    (1_000_000 / ticks, rustix::param::page_size() as u64)
});

/// What matters of `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ticks {
    own: u64,
    reaped: u64,
    resident_pages: u64,
    start: u64,
}

/// What is below a shim; `None` when the shim is gone.
pub(super) fn read(shim: Identity) -> Option<Counted> {
    let top = ticks(shim.pid).filter(|ticks| ticks.start == shim.start)?;
    let (tick_us, page_bytes) = *UNITS;
    let mut counted = Counted { cpu_us: top.reaped * tick_us, ..Counted::default() };
    let mut next = children_of_threads(shim.pid);
    while let Some(pid) = next.pop() {
        // One that has gone meanwhile is in its parent's count by the next sample.
        let Some(of) = ticks(pid) else { continue };
        counted.processes += 1;
        counted.cpu_us += (of.own + of.reaped) * tick_us;
        counted.memory_bytes += of.resident_pages * page_bytes;
        let (read, written) = io(pid);
        counted.read_bytes += read;
        counted.written_bytes += written;
        if counted.processes as usize + next.len() < TREE_PROCESSES_MAX {
            next.extend(children_of_threads(pid));
        }
    }
    counted.memory_peak_bytes = counted.memory_bytes;
    Some(counted)
}

fn ticks(pid: i32) -> Option<Ticks> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Ticks> {
    // The second field is the command's name in parentheses, which may hold anything, parentheses too.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let mut number = |skip: usize| fields.nth(skip)?.parse::<i64>().ok()?.try_into().ok();
    // Fields 14 to 17, 22 and 24, of which the third is the first here.
    let (user, system) = (number(11)?, number(0)?);
    let (user_reaped, system_reaped): (u64, u64) = (number(0)?, number(0)?);
    let (start, resident_pages) = (number(4)?, number(1)?);
    let own: u64 = user;
    Some(Ticks { own: own + system, reaped: user_reaped + system_reaped, resident_pages, start })
}

/// Bytes that a process has read from and written to storage.
pub(super) fn io(pid: impl Display) -> (u64, u64) {
    fs::read_to_string(format!("/proc/{pid}/io")).map_or((0, 0), |text| parse_io(&text))
}

fn parse_io(text: &str) -> (u64, u64) {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    (value("read_bytes:"), value("write_bytes:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name() {
        let line = "77 (a) b (c) S 5 6 7 0 -1 4 1 2 3 4 11 12 13 14 20 0 1 0 4242 9000 25 1 2";
        let expected = Ticks { own: 23, reaped: 27, resident_pages: 25, start: 4242 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("77 (short) S 5"), None);
        assert_eq!(
            parse_io("rchar: 1\nread_bytes: 4096\nwrite_bytes: 12\ncancelled_write_bytes: 1\n"),
            (4096, 12)
        );
    }
}
