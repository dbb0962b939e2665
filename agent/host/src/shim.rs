//! The shim: one small process per task that owns its output, its process group and its exit status, and outlives
//! the agent. Step 10 (run) of a placement's life.
//!
//! ```text
//! agent ──spawns──▶ shim `run DIR` (own session, reaps all that the task leaves behind)
//!                     │ claims DIR/live.json: whoever makes it has the start, nobody has it twice
//!                     └──spawns──▶ stub `exec DIR` (own process group; dies with the shim)
//!                                    │ waits until its pid is in live.json, then becomes the command
//!                                    ▼
//!                                  the task
//! ```
//!
//! Signals to the shim: TERM is passed on to the task's process group; USR1 kills the group. When the task's main process
//! ends, whatever it started and left is killed, and once nothing is left the exit status is written.

mod launch;
mod output;
mod supervise;

pub(crate) use supervise::STARTED;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::task_dir::TaskDir;

/// Runs the shim: what `ohm shim ARGS` does. The arguments are `run DIR [ARG…]`, where the further ones are what this
/// program needs before `exec` to come back here, or `exec DIR PID`.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (verb, dir) = (args.next(), args.next().map(PathBuf::from));
    match (verb.as_ref().and_then(|verb| verb.to_str()), dir) {
        (Some("run"), Some(dir)) => supervise::run(TaskDir::at(dir), args.collect()),
        (Some("exec"), Some(dir)) => launch::exec(&TaskDir::at(dir), args.next()),
        _ => {
            eprintln!("this is for the agent to call: run DIR [ARG...] | exec DIR PID");
            ExitCode::from(2)
        }
    }
}
