//! Tests of scenarios by hand-computed figures.

use super::*;
use crate::Division;

fn cpu(milli: u64) -> Resources {
    Resources::cpu_memory(milli, 0)
}

fn on(machine: u32, at_us: u64, count: u32, milli: u64, run_for_us: Option<u64>) -> Tasks {
    Tasks { placed: Some(Placed { machine, at_us }), ..Tasks::new(count, cpu(milli), run_for_us) }
}

fn job(name: &str, submit_us: Option<u64>, tasks: Vec<Tasks>) -> Job {
    Job { tasks, ..Job::new(name.to_owned(), submit_us, "batch", 150) }
}

fn two_machines(jobs: Vec<Job>) -> Scenario {
    let machines = (0..2).map(|i| machine(format!("m{i}"), cpu(100), BTreeMap::new())).collect();
    let mut scenario = Scenario { machines, changes: Vec::new(), jobs };
    scenario.put_in_order();
    scenario
}

#[test]
fn offered_load_is_the_mean_over_the_span() {
    let scenario = two_machines(vec![
        // All of the 10 seconds on half a machine, then half of the time on a whole one.
        job("a", None, vec![Tasks::new(1, cpu(50), None)]),
        job("b", Some(5_000_000), vec![Tasks::new(2, cpu(50), Some(60_000_000))]),
        job("c", Some(10_000_000), vec![Tasks::new(7, cpu(50), Some(1))]),
    ]);
    let summary = scenario.summary();
    assert_eq!((summary.jobs, summary.initial_jobs, summary.tasks, summary.initial_tasks), (3, 1, 10, 1));
    assert_eq!((summary.span_us, summary.capacity), (10_000_000, cpu(200)));
    assert_eq!((summary.asked_at_start[0], summary.offered[0]), (0.25, 0.5));
    assert_eq!((summary.offered[1], summary.packing), (0.0, None));
    let class = ClassSummary { class: "batch".into(), jobs: 3, arriving_jobs: 2, tasks: 10 };
    assert_eq!(summary.classes, [class]);
}

#[test]
fn recorded_placements_over_capacity_are_counted() {
    let mut scenario = two_machines(vec![
        // 60 + 3 * 20: the third of the three is too many.
        job("a", None, vec![on(0, 0, 1, 60, Some(9)), on(0, 0, 3, 20, Some(10))]),
        // At 10 everything is gone again: this fits exactly.
        job("b", Some(5), vec![on(0, 10, 1, 100, None)]),
        // The machine is away from 20 to 30, and what was on it is lost.
        job("c", Some(6), vec![on(1, 7, 1, 90, Some(100)), on(1, 25, 1, 10, None), on(1, 31, 1, 100, None)]),
    ]);
    scenario.changes = vec![
        MachineChange { at_us: 20, machine: 1, change: Change::Down },
        MachineChange { at_us: 30, machine: 1, change: Change::Up },
    ];
    let packing = scenario.packing().unwrap();
    let expected = Packing {
        tasks: 8,
        tasks_on_absent: 1,
        // The second on machine 1, for the one put on it while it was away is still there.
        tasks_over: 2,
        machines_used: 2,
        machines_over: 2,
        fullest: [1.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    };
    assert_eq!(packing, expected);
    assert_eq!(packing.over_share(), 0.25);
}

#[test]
fn a_live_cell_gets_every_task_once_in_groups() {
    let zoned =
        Tasks { constraints: vec![condition("zone=eu").unwrap()], ..Tasks::new(2, cpu(10), Some(1_000)) };
    let many: Vec<Tasks> = (1..=70).map(|milli| Tasks::new(1, cpu(milli), None)).collect();
    let scenario = two_machines(vec![
        job("a", None, vec![on(0, 0, 1, 10, Some(1_000)), on(1, 0, 4, 10, Some(1_000)), zoned]),
        job("b", Some(7), many),
    ]);
    let workload = scenario.workload(Division::new("service", "batch", 1));
    assert_eq!(workload.machines, scenario.machines);
    let groups: Vec<_> =
        workload.initial[0].groups.iter().map(|g| (g.name.as_str(), g.count, g.constraints.len())).collect();
    assert_eq!(groups, [("g0", 5, 0), ("g1", 2, 1)]);
    let arrivals: Vec<_> =
        workload.arrivals.iter().map(|a| (a.at_us, a.job.name.as_str(), a.job.groups.len())).collect();
    assert_eq!(arrivals, [(7, "b", 64), (7, "b-part1", 6)]);
    for job in workload.initial.iter().chain(workload.arrivals.iter().map(|a| &a.job)) {
        cell_state::validate::job(job, &cell_state::resources::Schema::default()).unwrap();
    }
}

#[test]
fn machines_that_come_later_are_not_there_at_the_start() {
    let mut scenario = two_machines(Vec::new());
    scenario.changes = vec![
        MachineChange { at_us: 5, machine: 1, change: Change::Up },
        MachineChange { at_us: 6, machine: 1, change: Change::Down },
    ];
    assert_eq!(scenario.there_at_start(), [true, false]);
    let summary = scenario.summary();
    assert_eq!((summary.machines, summary.machines_at_start, summary.downs), (2, 1, 1));
    assert_eq!(summary.capacity, cpu(100));
    scenario.cut(6);
    assert_eq!(scenario.changes.len(), 1);
}
