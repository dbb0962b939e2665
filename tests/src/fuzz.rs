//! What the fuzz targets do: every decoder and every entry to the state, given bytes that nobody of ours wrote.
//!
//! Each target is a plain function that takes bytes and must come back. The fuzzer (`tests/fuzz`) and a test of the
//! normal suite, which replays the corpus, call the same functions; docs/fuzzing.md says how to run them.

mod cells;
mod draw;
mod job_files;
mod stores;
mod wire;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its folder of the corpus.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    Target { name: "requests", run: wire::requests },
    Target { name: "replies", run: wire::replies },
    Target { name: "agent_messages", run: wire::agent_messages },
    Target { name: "records", run: stores::records },
    Target { name: "log_file", run: stores::log_file },
    Target { name: "pages", run: stores::pages },
    Target { name: "page_keys", run: stores::page_keys },
    Target { name: "checkpoint", run: stores::checkpoint },
    Target { name: "job_file", run: job_files::job_file },
    Target { name: "judge", run: cells::judge_anything },
    Target { name: "history", run: cells::history },
    Target { name: "events", run: cells::foreign_events },
];

/// Runs the target of that name.
///
/// # Panics
/// There is none, or the bytes found a bug.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of the table");
    (target.run)(bytes);
}
