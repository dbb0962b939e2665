//! Tasks that outlive their agents, as they should: a cell for trying, which is about to be deleted, ends them here.
//!
//! They are found by their shims, which the tasks' directories name; a shim that gets SIGUSR1 kills its task's process
//! group and ends once nothing of it is left.

use std::path::Path;
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

/// Those of an agent's data directory, and of all agents of a cell's.
fn shims(dir: &Path) -> Vec<Pid> {
    let agents = std::fs::read_dir(dir.join("agents")).into_iter().flatten().flatten();
    let places = agents.map(|agent| agent.path()).chain([dir.to_owned()]);
    places.flat_map(|place| agent_host::exec::shims(&place)).filter_map(Pid::from_raw).collect()
}
