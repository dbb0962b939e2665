//! The shim: one small process per task that owns its output, its process group and its exit status, and outlives
//! the agent. Step 10 (run) of a placement's life.
//!
//! ```text
//! agent ──spawns once──▶ nursery `serve`
//!   │  ▲                   │ forks for each directory that the agent names
//!   │  │                   ▼
//!   │  └──words────────── shim (own session, reaps all that the task leaves behind)
//!   │                       │ claims DIR/live.json: whoever makes it has the start, nobody has it twice
//!   └──makes DIR            │ makes the task's control groups
//!                           └──forks──▶ a process that confines itself, and then becomes the command, or the
//!                                       first process of the task's own process numbers and the command's parent
//!                                       (own process group; dies with the shim)
//! ```
//!
//! A fork of the nursery, which is small and has one thread, costs a fifth of starting a program; that is why shims are made
//! this way. The nursery ends with its agent; shims go on. `run DIR` is a shim without a nursery, for one who looks for a
//! fault.
//!
//! Signals to the shim: TERM is passed on to the task's process group; USR1 kills the group. When the task's main process
//! ends, whatever it started and left is killed, and once nothing is left the exit status is written.

mod container;
mod context;
mod control;
mod enter;
mod first;
mod health;
mod launch;
mod life;
mod nursery;
mod output;
mod signals;
mod streams;
mod supervise;
mod word;

pub(crate) use enter::{Plan, Told};
pub(crate) use word::{What, Word};

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::task_dir::TaskDir;

/// Runs the shim: what `ohm shim ARGS` does. The arguments are `serve`, `run DIR`, `enter DIR` or `trial`.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (verb, dir) = (args.next(), args.next().map(PathBuf::from));
    match (verb.as_ref().and_then(|verb| verb.to_str()), dir) {
        (Some("serve"), _) => nursery::serve(),
        (Some("run"), Some(dir)) => supervise::run(&TaskDir::at(dir), None),
        (Some("enter"), Some(dir)) => enter::enter(&TaskDir::at(dir)),
        // What the agent runs to see what tasks may do here: it came to run, which is all.
        (Some("trial"), None) => ExitCode::SUCCESS,
        _ => {
            eprintln!("this is for the agent to call: serve | run DIR | enter DIR | trial");
            ExitCode::from(2)
        }
    }
}
