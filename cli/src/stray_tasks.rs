//! Tasks that outlive their agents, as they should: a cell for trying, which is about to be deleted, ends them here.
//!
//! They are found by their shims, whose arguments name the task's directory; a shim that gets SIGUSR1 kills its task's
//! process group and ends once nothing of it is left.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::bounds::{POLL_EVERY, STOP_GRACE};

/// Kills every task whose directory is under `dir` and waits until the shims are gone. Says how many there were.
pub(crate) async fn kill(dir: &Path) -> usize {
    let found = shims(dir);
    for shim in &found {
        // It may have ended by itself in the meantime.
        kill_process(*shim, Signal::USR1).ok();
    }
    let until = Instant::now() + STOP_GRACE;
    let mut left = found.clone();
    while !left.is_empty() {
        if Instant::now() >= until {
            // A task dies with its shim.
            for shim in &left {
                kill_process(*shim, Signal::KILL).ok();
            }
            break;
        }
        tokio::time::sleep(POLL_EVERY).await;
        left = shims(dir);
    }
    found.len()
}

/// The shims of tasks whose directories are under `dir`: processes called `… shim run DIR …`.
fn shims(dir: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|p| p.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_shim(*pid, dir)).filter_map(Pid::from_raw).collect()
}

fn is_shim(pid: i32, dir: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let of_task = |w: &&[&[u8]]| {
        let place = PathBuf::from(std::ffi::OsStr::from_bytes(w[2]));
        w[0] == b"shim" && w[1] == b"run" && place.starts_with(dir)
    };
    words.windows(3).any(|w| of_task(&w))
}
