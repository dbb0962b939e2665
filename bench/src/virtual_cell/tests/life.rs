//! What happens to tasks after they were placed: preemption, lost machines, recorded places.

use std::collections::BTreeMap;

use super::*;
use crate::scenario::{Change, Job, MachineChange, Placed, Scenario, Tasks};

fn scenario(machines: Vec<MachineSpec>, jobs: Vec<Job>) -> Scenario {
    let mut scenario = Scenario { machines, changes: Vec::new(), jobs };
    scenario.put_in_order();
    scenario
}

fn scenario_job(name: &str, at_s: Option<u64>, class: &str, tasks: Tasks) -> Job {
    let priority = if class == "service" { 250 } else { 150 };
    let mut job = Job::new(name.to_owned(), at_s.map(|s| s * 1_000_000), class, priority);
    job.tasks.push(tasks);
    job
}

fn tasks(count: u32, run_s: Option<u64>) -> Tasks {
    Tasks::new(count, Resources::cpu_memory(1_000, 1 << 30), run_s.map(|s| s * 1_000_000))
}

fn run_scenario(settings: &Settings, scenario: &Scenario) -> Counts {
    let counts = crate::virtual_cell::run(settings, Load::of_scenario(scenario));
    assert_eq!((counts.violations, divergences(&counts)), (0, 0));
    counts
}

#[test]
fn who_has_to_go_is_placed_again() {
    let preempting = Way { preempt: true, ..second() };
    let settings = Settings { service: preempting, grace_us: 2_000_000, ..settings(second()) };
    let jobs = vec![
        scenario_job("a", Some(0), "batch", tasks(2, None)),
        scenario_job("b", Some(5), "service", tasks(1, Some(10))),
    ];
    let counts = run_scenario(&settings, &scenario(machines(1, 2), jobs.clone()));
    // b is placed at 6 s, its victim gone at 8 s; b runs until 18 s, and then the victim is placed again.
    assert_eq!((counts.service.full, counts.batch.preempted, counts.batch.failed), (1, 1, 0));
    assert_eq!((counts.batch.placed, counts.batch.full, counts.batch.jobs), (3, 1, 1));
    let never = Settings { service: second(), ..settings };
    let counts = run_scenario(&never, &scenario(machines(1, 2), jobs));
    assert_eq!((counts.service.full, counts.batch.preempted), (0, 0));
}

#[test]
fn what_a_machine_held_is_lost_with_it_and_placed_elsewhere() {
    let mut scenario =
        scenario(machines(2, 2), vec![scenario_job("a", Some(0), "batch", tasks(4, Some(100)))]);
    let change = |at_s: u64, change| MachineChange { at_us: at_s * 1_000_000, machine: 0, change };
    scenario.changes = vec![change(10, Change::Down), change(20, Change::Up)];
    let counts = run_scenario(&settings(second()), &scenario);
    // Two tasks are lost at 10 s and find no room until the machine is back at 20 s, empty.
    assert_eq!((counts.batch.failed, counts.batch.placed, counts.batch.full), (2, 6, 1));
    assert!(counts.batch.fruitless >= 4, "{}", counts.batch.fruitless);
    assert_eq!(counts.cpu_promised, 1.0);
}

#[test]
fn a_machine_that_comes_later_takes_nothing_before() {
    let mut scenario = scenario(machines(1, 2), vec![scenario_job("a", Some(0), "batch", tasks(2, None))]);
    scenario.changes = vec![MachineChange { at_us: 10_500_000, machine: 0, change: Change::Up }];
    let batch = run_scenario(&settings(second()), &scenario).batch;
    // Decisions end at 1, 3, 5, … s: the one that begins at 12 s finds the machine.
    assert_eq!((batch.full, batch.place[1].max_us(), batch.fruitless), (1, 13_000_000, 6));
}

#[test]
fn jobs_that_were_there_are_put_where_they_were() {
    let mut there = tasks(1, None);
    let mut jobs = Vec::new();
    for machine in [2, 0] {
        there.placed = Some(Placed { machine, at_us: 0 });
        jobs.push(scenario_job(&format!("old{machine}"), None, "batch", there.clone()));
    }
    // What comes needs a machine of its own: only machine 1 is empty.
    let mut big = tasks(1, None);
    big.ask = Resources::cpu_memory(2_000, 1 << 30);
    jobs.push(scenario_job("new", Some(1), "service", big.clone()));
    jobs.push(scenario_job("too-late", Some(5), "service", big));
    for architecture in architectures::ALL {
        let settings = Settings { architecture, ..settings(second()) };
        let counts = run_scenario(&settings, &scenario(machines(3, 2), jobs.clone()));
        assert_eq!(counts.initial_left, 0, "{architecture:?}");
        if !matches!(architecture, Architecture::Partitions { .. }) {
            assert_eq!((counts.service.full, counts.cpu_promised), (1, 4.0 / 6.0), "{architecture:?}");
        }
    }
}

#[test]
fn constraints_hold_and_gangs_of_a_scenario_are_gangs() {
    let mut machines = machines(3, 2);
    for (machine, zone) in machines.iter_mut().zip(["a", "a", "b"]) {
        machine.attributes = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    }
    let mut bound = tasks(3, None);
    bound.constraints = vec![crate::scenario::condition("zone=a").unwrap()];
    let mut gang = scenario_job("gang", Some(2), "batch", bound.clone());
    gang.gang = true;
    let first = scenario_job("first", Some(0), "service", bound);
    let counts = run_scenario(&settings(second()), &scenario(machines, vec![first, gang]));
    // Zone a has four cores: one is left, and the gang takes none of it.
    assert_eq!((counts.service.placed, counts.batch.placed, counts.batch.conflicted), (3, 0, 0));
}

#[test]
fn many_short_jobs_leave_nothing_behind() {
    let jobs = (0..600).map(|n| scenario_job(&format!("j{n}"), Some(n / 20), "batch", tasks(1, Some(1))));
    let quick = Way { think_job_us: 1_000, ..second() };
    let counts = run_scenario(&settings(quick), &scenario(machines(50, 2), jobs.collect()));
    assert_eq!((counts.batch.full, counts.cpu_promised), (600, 0.0));
}
