//! What the machine says: the time, the memory this process takes, and a number nobody else draws.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use cell_state::Time;

/// The time of this machine's clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_micros() as u64)
}

/// A number drawn at random: processes of one name are told apart by it, whatever their seeds.
pub(crate) fn instance() -> u64 {
    // The standard library seeds this from the operating system's randomness.
    RandomState::new().build_hasher().finish()
}

/// Resident memory in bytes; 0 where the machine doesn't tell.
pub(crate) fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}
