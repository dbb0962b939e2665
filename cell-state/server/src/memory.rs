//! How much memory this process has resident.

/// Resident bytes, or 0 where the system doesn't say.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_running_process_has_some() {
        assert!(super::resident_bytes() > 1 << 20);
    }
}
