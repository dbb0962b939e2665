//! `ohm`, the one binary of the cell scheduler: every process of a cell, and every command for people.
//!
//! Two steps, as in every command below: what was typed ([`typed`]), then what it means, all of it checked before
//! anything starts ([`commands`]). Results go to standard output, everything else to standard error.

mod bounds;
mod commands;
mod connection;
mod copy;
mod demo;
mod failure;
mod job_file;
mod local_cell;
mod pipes;
mod processes;
mod show;
mod stray_tasks;
mod typed;

use std::process::ExitCode;

use clap::Parser;

use crate::typed::Cli;

/// The server's threads free what other threads have allocated: mimalloc does that a sixth cheaper than the C library
/// (docs/decisions/2026-11-22-commit-path.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // A task's shim is started for every task and knows its own arguments: nothing may slow it down.
    if args.nth(1).is_some_and(|first| first == "shim") {
        return agent_host::shim::main(args);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with 0, mistakes to standard error with 1: 2 means "not placed".
            error.print().ok();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match commands::run(cli) {
        Ok(ended) => ended.code(),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            show::say(&format!("error: {}", failure.told()));
            failure.code()
        }
    }
}
