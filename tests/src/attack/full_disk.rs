//! Writes that fail half way, as on a full disk: the server must stop and say why, and the next one must have
//! everything that was acknowledged.
//!
//! A limit on the size of files is set on the running server: a write across it is cut short, and the next one fails.

use std::time::Duration;

use rand::RngExt;
use rustix::process::{Pid, Resource, Rlimit};

use super::field::Field;
use super::{Plan, Summary};
use crate::test_cell::{PATIENCE, TestCell};

/// The exit code of a server whose log failed.
const LOG_FAILED: i32 = 4;

/// Log files have a header of this size: the log goes on behind it.
const HEADER_BYTES: u64 = 4_096;

pub(super) fn run(plan: Plan) -> Summary {
    // The checkpoint's files are out of this: it is the log that may lose nothing.
    let args = ["--checkpoint-every", "1h", "--down-after", "60s"];
    let mut field = Field::of(TestCell::start_without_size_signal(&args), &plan);
    let mut rng = plan.rng();
    let mut failures = 0;
    for _ in plan.steps() {
        field.goes_on();
        // What is written already stays; somewhere behind it, or at once, it ends.
        let limit = HEADER_BYTES + rng.random_range(0..512 << 10);
        let server = field.cell.get("server");
        let pid = server.pid().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        rustix::process::prlimit(Some(pid), Resource::Fsize, limit).expect("it is our child");
        let before = server.printed().len();
        let status = server.wait(PATIENCE).expect("it stops when its log fails");
        let told = server.printed()[before..].to_owned();
        assert_eq!(status.code(), Some(LOG_FAILED), "{told}");
        assert!(told.contains("the log failed"), "it does not say why it stopped:\n{told}");
        failures += 1;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..50)));
        field.cell.get("server").restart();
    }
    field.goes_on();
    field.prove(vec![("failed logs", failures)])
}
