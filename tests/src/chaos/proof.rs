//! What must be true after the chaos.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cell_state::Cell;
use cell_state::audit::audit;
use cell_state::task::TaskState;
use tokio::runtime::Runtime;
use transport::Role;

use crate::test_cell::{TestCell, wait_for, wait_status};
use crate::witness::{Witness, whole_history};

use super::load::{Acknowledged, STARTS};

/// The starts that tasks noted themselves: job name, task, epoch.
pub(super) type Starts = BTreeSet<(String, String, u32)>;

/// Waits until no job has a task that is pending or live.
pub(super) fn wait_until_all_is_over(cell: &TestCell, jobs: &Acknowledged) {
    wait_for("every task's end", || {
        let listed = cell.json(&["job", "list"]);
        let listed = listed.as_array().expect("a list");
        let open = |job: &&serde_json::Value| {
            let tasks = &job["tasks"];
            ["pending", "placed", "running", "stopping"].iter().any(|state| tasks[state] != 0)
        };
        let ours: BTreeSet<&str> = listed.iter().filter_map(|job| job["name"].as_str()).collect();
        let missing: Vec<&String> = jobs.keys().filter(|name| !ours.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
        listed.iter().find(open).is_none().then_some(())
    });
}

/// The seq of the healed cell; nothing happens any more but reports that are on their way.
pub(super) fn last_seq(runtime: &Runtime, cell: &TestCell) -> u64 {
    let operator = cell.issue(Role::Operator, "admin");
    runtime.block_on(async { wait_status(cell.address(), &operator).await.seq.0 })
}

/// What tasks noted when they started.
pub(super) fn starts(cell: &TestCell) -> Starts {
    let text = std::fs::read_to_string(cell.path(STARTS)).expect("tasks ran");
    let mut starts = Starts::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [job, task, epoch] = words[..] else { panic!("a torn note: {line:?}") };
        let start = (job.to_owned(), task.to_owned(), epoch.parse().expect("an epoch"));
        assert!(starts.insert(start), "{line} was started twice");
    }
    starts
}

/// Every acknowledged job is there, all its tasks have ended, and those that ended well did run.
pub(super) fn jobs_are_there(cell: &Cell, jobs: &Acknowledged, starts: &Starts) {
    let mut epochs: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (job, task, epoch) in starts {
        let last = epochs.entry((job, task)).or_default();
        *last = (*last).max(*epoch);
    }
    for (name, id) in jobs {
        let job = cell.job_named(name).unwrap_or_else(|| panic!("{name} is lost"));
        assert_eq!(job.id, *id, "{name} has another number than was acknowledged");
        for (id, task) in job.tasks() {
            assert_eq!(task.state, TaskState::Completed, "{name} {id}: {task:?}");
            let index = id.index.to_string();
            let started = starts.contains(&(name.clone(), index, task.epoch));
            assert!(started, "{name} {id} ended well in epoch {} and was never started", task.epoch);
        }
    }
    for ((name, task), epoch) in epochs {
        let job = cell.job_named(name).unwrap_or_else(|| panic!("a task of {name} ran, which is no job"));
        let index: u32 = task.parse().expect("an index");
        let known = job.tasks().find(|(id, _)| id.index == index).map(|(_, t)| t.epoch);
        assert!(known >= Some(epoch), "{name} {task} ran in epoch {epoch}, the cell knows {known:?}");
    }
}

/// Every entry of the log could happen where it did, and together they explain the state.
pub(super) fn history(runtime: &Runtime, cell: &TestCell, witness: &mut Witness) {
    let reader = cell.issue(Role::Reader, "witness");
    let history = runtime.block_on(whole_history(cell.address(), &reader, witness.seq()));
    history.explains(witness.cell()).unwrap_or_else(|wrong| panic!("history: {wrong}"));
}

/// The audit, the hashes, the schedulers' plans, and the data on disk.
pub(super) fn sound(cell: &mut TestCell, witness: &mut Witness) {
    let audited = cell.json(&["audit"]);
    assert_eq!(audited["sound"], true, "{audited}");
    let violations: Vec<String> = audit(witness.cell()).iter().map(ToString::to_string).collect();
    assert_eq!(violations, Vec::<String>::new(), "in the witness's copy");
    let seq = witness.seq().0;
    let at = cell.json(&["state", "--at", &seq.to_string()]);
    assert_eq!(at["hash"], witness.cell().hash().to_string(), "at {seq}");
    // The test's own scheduler places blindly, so its plans may be wrong when they are made; nobody else's are.
    let attempts = cell.json(&["txn", "list", "--conflicts", "--limit", "1000"]);
    for attempt in attempts.as_array().expect("a list").iter().filter(|a| a["scheduler"] != "probe") {
        let mut outcomes = attempt["outcomes"].as_array().expect("a list").iter();
        assert!(
            outcomes.all(|o| o["divergence"] != true),
            "a plan that was wrong when it was made: {attempt}"
        );
    }
    for scheduler in cell.json(&["scheduler", "list"]).as_array().expect("a list") {
        assert!(scheduler["hash_mismatches"].as_u64().unwrap_or(0) == 0, "{scheduler}");
    }
    // A clean stop, an audit of the directory, and a start that finds the same state.
    let before = cell.json(&["state", "--at", &seq.to_string()]);
    assert!(cell.get("server").stop().success(), "a clean stop ends well");
    let data = cell.path("server").display().to_string();
    cell.run(&["server", "verify", &data]);
    cell.get("server").restart();
    std::thread::sleep(Duration::from_millis(10));
    let after = wait_for("the server's return", || {
        let output = cell.ohm(&["state", "--at", &seq.to_string(), "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    assert_eq!(before["hash"], after["hash"], "the state after a restart");
}
