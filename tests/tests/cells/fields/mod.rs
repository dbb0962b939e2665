//! What each field of a job file does, shown by jobs that differ in it: docs/job-file-tests.md says which test shows which.

mod of_placement;
mod of_processes;

use cell_tests::test_cell::{TestCell, wait_for};
use serde_json::Value;

/// Submits a job file and doesn't wait for what comes of it.
fn submit(cell: &TestCell, file: &str) {
    cell.write("job.toml", file);
    cell.run(&["job", "run", "--detach", "job.toml"]);
}

/// Waits until as many tasks of a job are in each of these states, and returns its status then.
fn settled(cell: &TestCell, job: &str, states: &[(&str, u32)]) -> Value {
    wait_for(&format!("{states:?} of {job}"), || {
        let status = cell.json(&["job", "status", job]);
        states.iter().all(|(state, count)| status["tasks"][state] == *count).then_some(status)
    })
}

/// The machines of a job's live tasks.
fn machines(status: &Value) -> Vec<String> {
    let tasks = status["task_list"].as_array().expect("a list of tasks").iter();
    let mut machines: Vec<String> =
        tasks.filter_map(|task| Some(task["machine"].as_str()?.to_owned())).collect();
    machines.sort();
    machines
}
