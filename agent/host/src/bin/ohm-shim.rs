//! The shim as an executable of its own: what `ohm shim` is, for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_host::shim::main(std::env::args_os().skip(1))
}
