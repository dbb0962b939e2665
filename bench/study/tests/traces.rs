//! Real traces as scenarios, checked against known facts about them. Skipped, with a message, where a trace is not: in
//! `$OHM_TRACES` or `../shared/traces` beside the workspace.

use std::path::{Path, PathBuf};

use bench::fleet::{Shape, machines};
use cell_state::Resources;
use study::traces::{Format, Given, Problems, generic};

fn trace(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let traces =
        std::env::var_os("OHM_TRACES").map_or_else(|| workspace.join("../shared/traces"), PathBuf::from);
    let path = traces.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "skipped: there is no trace in {}; docs/workload-format.md says where to get it",
        path.display()
    );
    None
}

#[test]
fn google_2011_is_a_scenario_that_reads_back_the_same() {
    let Some(dir) = trace("google2011_cell_c") else { return };
    let traced = Format::Google2011.read(&[dir], &Given { seed: 1, ..Given::default() }).unwrap();
    let scenario = traced.scenario;
    let summary = scenario.summary();
    assert_eq!(
        (summary.machines_at_start, summary.initial_tasks, summary.tasks),
        (12_477, 132_982, 132_982 + 46_587)
    );
    let percent = |share: f64| (share * 1_000.0).round() / 10.0;
    assert_eq!((percent(summary.asked_at_start[0]), percent(summary.asked_at_start[1])), (113.5, 93.3));
    // Of the placements at the start alone, 10,832 machines are over (see tests/google2011.rs); those on the 13
    // machines that come later are on none.
    let mut start = scenario.clone();
    start.jobs.retain(|j| j.submit_us.is_none());
    let packing = start.packing().unwrap();
    assert_eq!(packing.tasks + packing_unknown(&traced.notes), 132_982);
    assert!(packing.machines_over >= 10_832, "{packing:?}");
    let dir = tempfile::tempdir().unwrap();
    generic::write(&scenario, dir.path()).unwrap();
    let checked = generic::check(dir.path());
    assert_eq!(checked.problems, Problems::default());
    assert!(checked.scenario == scenario);
}

/// How many placements the notes say were left out.
fn packing_unknown(notes: &[String]) -> u64 {
    let note = notes.iter().find(|note| note.contains("placements on machines"));
    note.and_then(|note| note.split(' ').next())
        .map_or(0, |count| count.parse().expect("notes begin with a count"))
}

#[test]
fn azure_has_its_batches_and_machines() {
    let Some(path) = trace("azure_v1_vm/vms_dev_test_flat.csv.gz") else { return };
    let shape = Shape { count: 2_000, capacity: Resources::cpu_memory(64_000, 256 << 30) };
    let given = Given { machines: machines(&[shape], 1), seed: 1 };
    let traced = Format::Azure.read(&[path], &given).unwrap();
    let scenario = traced.scenario;
    let tasks: u64 = scenario.jobs.iter().map(bench::scenario::Job::count).sum();
    let largest = scenario.jobs.iter().map(bench::scenario::Job::count).max();
    assert_eq!((scenario.jobs.len(), tasks, largest), (136_055, 669_435, Some(1_404)));
    assert_eq!(scenario.span_us(), 791_100 * 1_000_000);
    let running_on: u32 =
        scenario.jobs.iter().flat_map(|j| &j.tasks).filter(|t| t.run_for_us.is_none()).map(|t| t.count).sum();
    assert_eq!(running_on, 37_628);
}
