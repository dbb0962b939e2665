//! What a process of the cell uses, as the system says.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use study::load::Used;

use crate::local_cell::LocalCell;

/// Resident memory of a process of the cell; 0 when it isn't running.
pub(super) fn resident(cell: &mut LocalCell, process: &str) -> u64 {
    let Some(pid) = cell.processes.pid(process) else { return 0 };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|kb| kb.trim().parse::<u64>().ok()).map_or(0, |kb| kb << 10)
}

/// What a process did in a stretch of time.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(super) struct Work {
    /// Milliseconds of processor time for each second.
    pub(super) cpu_ms_per_s: f64,
    /// Microseconds of processor time in all.
    pub(super) cpu_us: u64,
}

/// Begins to watch a process.
pub(super) struct Watch {
    pid: Option<u32>,
    before: Option<Used>,
    started: Instant,
}

impl Watch {
    /// From now on.
    pub(super) fn start(cell: &mut LocalCell, process: &str) -> Watch {
        let pid = cell.processes.pid(process);
        Watch { pid, before: pid.and_then(Used::of), started: Instant::now() }
    }

    /// What it did since.
    pub(super) fn done(&self) -> Work {
        let now = self.pid.and_then(Used::of);
        let Some((now, before)) = now.zip(self.before.as_ref()) else { return Work::default() };
        let cpu_us = now.since(before).cpu_us;
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        Work { cpu_ms_per_s: cpu_us as f64 / 1e3 / seconds, cpu_us }
    }
}

/// Bytes of the checkpoints in a server's data: it keeps two, the older one until the newer is verified.
pub(super) fn checkpoint_bytes(data: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(data) else { return 0 };
    let is_one = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("checkpoint");
    entries.flatten().filter(is_one).map(|entry| bytes_in(&entry.path())).sum()
}

/// Bytes that the files below a directory take on the disk.
pub(super) fn bytes_in(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
