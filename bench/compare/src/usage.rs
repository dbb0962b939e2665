//! What a process has used, as the system says: processor time and bytes written to the disk.

use std::fs;

/// `USER_HZ` of every Linux there is: `stat` counts in ticks of 10 ms.
const TICK_US: u64 = 10_000;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu_us: u64,
    /// Bytes it made the disk write.
    pub(crate) disk_bytes: u64,
}

impl Usage {
    /// Of a process that is ours to look at.
    pub(crate) fn of(pid: u32) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
        Some(Usage { cpu_us: cpu_us(&stat)?, disk_bytes: written.trim().parse().ok()? })
    }

    /// What was used since an earlier look.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us.saturating_sub(earlier.cpu_us),
            disk_bytes: self.disk_bytes.saturating_sub(earlier.disk_bytes),
        }
    }
}

/// The program's name is in brackets and may hold anything; user and system time are the 12th and 13th field after it.
fn cpu_us(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_do_not_confuse_the_times() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 4 0 77 1 1";
        assert_eq!(cpu_us(stat), Some(1_750_000));
        assert!(Usage::of(std::process::id()).is_some());
    }
}
