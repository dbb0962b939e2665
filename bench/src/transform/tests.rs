//! Tests of the changes over many seeds: each does what it says and nothing else, and the seed decides it.

use std::collections::{BTreeMap, BTreeSet};

use cell_state::Resources;
use cell_state::constraint::{Constraint, Test};

use super::*;
use crate::Scenario;
use crate::fleet::{self, Shape};
use crate::scenario::{Change, Job, Placed, Tasks};

const HOUR_US: u64 = 3_600_000_000;

/// A hundred machines of two shapes, and a job of each of two classes every second and a half.
fn scenario(seed: u64) -> Scenario {
    let shape = |count, cpu| Shape { count, capacity: Resources::cpu_memory(cpu, cpu << 20) };
    let mut scenario = Scenario {
        machines: fleet::machines(&[shape(70, 4_000), shape(30, 16_000)], seed),
        ..Scenario::default()
    };
    for (class, priority) in [("batch", 150), ("service", 250)] {
        for i in 0..2_400u64 {
            let mut job = Job::new(format!("{class}-{i}"), Some(i * HOUR_US / 2_399), class, priority);
            let ask = Resources::cpu_memory(100 + i % 900, (i % 700) << 20);
            let placed = Some(Placed { machine: (i % 100) as u32, at_us: i * HOUR_US / 2_399 });
            job.tasks.push(Tasks { placed, ..Tasks::new(1 + (i % 5) as u32, ask, Some(60_000_000)) });
            scenario.jobs.push(job);
        }
    }
    scenario.put_in_order();
    scenario
}

fn count(scenario: &Scenario, class: &str) -> f64 {
    scenario.jobs.iter().filter(|j| j.class == class).count() as f64
}

#[test]
fn the_rate_of_one_class_scales_and_nothing_else_changes() {
    let before = scenario(1);
    for factor in [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.7] {
        for seed in 0..8 {
            let mut after = before.clone();
            scale_rate(&mut after, "batch", factor, seed).unwrap();
            // Five standard deviations of so many chances.
            let expected = 2_400.0 * factor;
            let allowed = 5.0 * (2_400.0f64 * 0.25).sqrt();
            assert!((count(&after, "batch") - expected).abs() <= allowed, "{factor} {seed}");
            let others =
                |s: &Scenario| s.jobs.iter().filter(|j| j.class != "batch").cloned().collect::<Vec<_>>();
            assert_eq!(others(&after), others(&before));
            let names: BTreeSet<&str> = after.jobs.iter().map(|j| j.name.as_str()).collect();
            assert_eq!(names.len(), after.jobs.len());
            assert_eq!(after.span_us(), HOUR_US);
            assert!(after.jobs.is_sorted_by_key(|j| j.submit_us));
            // Each half of the hour has half of them.
            let first =
                after.jobs.iter().filter(|j| j.class == "batch" && j.submit_us < Some(HOUR_US / 2)).count();
            assert!((first as f64 - expected / 2.0).abs() <= allowed, "{factor} {seed}");
        }
    }
    let mut same = before.clone();
    scale_rate(&mut same, "batch", 1.0, 9).unwrap();
    assert_eq!(same, before);
}

#[test]
fn a_cell_is_filled_up_to_the_target_on_machines_that_have_room() {
    for target in [0.0, 0.1, 0.6, 0.9, 0.99] {
        for seed in 0..3 {
            let mut after = scenario(seed);
            let how = Prefill { target, size: None, priority: 150, run_for_us: None, seed };
            let filled = prefill(&mut after, &how).unwrap();
            let largest = 999.0 / after.capacity().0[0] as f64;
            assert!(filled.after <= target && filled.after > target - 2.0 * largest, "{target} {filled:?}");
            let summary = after.summary();
            assert_eq!(summary.initial_tasks, filled.tasks);
            let fullest = summary.asked_at_start.into_iter().fold(0.0, f64::max);
            assert!((fullest - filled.after).abs() < 1e-12);
            // Of what was there before, nothing is over; the recorded rest of this scenario may be.
            after.jobs.retain(|j| j.submit_us.is_none());
            assert_eq!(after.packing().map_or(0, |p| p.tasks_over), 0);
        }
    }
}

#[test]
fn what_is_there_counts_towards_the_fill() {
    let mut twice = scenario(1);
    let how = |target, seed| Prefill {
        target,
        size: Some(Resources::cpu_memory(1_000, 0)),
        priority: 50,
        run_for_us: Some(5),
        seed,
    };
    let first = prefill(&mut twice, &how(0.3, 1)).unwrap();
    twice
        .jobs
        .iter_mut()
        .filter(|j| j.submit_us.is_none())
        .for_each(|j| j.name = format!("first-{}", j.name));
    let second = prefill(&mut twice, &how(0.5, 2)).unwrap();
    assert_eq!((first.before, second.before), (0.0, first.after));
    assert_eq!(first.tasks + second.tasks, twice.capacity().0[0] / 2 / 1_000);
}

#[test]
fn machines_fail_as_often_as_they_should() {
    for seed in 0..5 {
        let mut after = scenario(1);
        let failures = fail(&mut after, &Failures { mtbf_s: 1_000.0, mttr_s: 200.0, seed }).unwrap();
        // A hundred machines, an hour, one failure every 1,200 seconds: 300, less the last repairs.
        assert!((240..=370).contains(&failures), "{failures}");
        let mut up: BTreeMap<u32, bool> = BTreeMap::new();
        for change in &after.changes {
            let was = up.insert(change.machine, change.change == Change::Up).unwrap_or(true);
            assert_ne!(was, change.change == Change::Up, "each change is one");
        }
        assert!(after.changes.is_sorted_by_key(|c| c.at_us));
        assert_eq!(after.there_at_start(), [true; 100]);
        // Those that have recorded changes now get no more.
        let untouched = 100 - up.len();
        let kept = after.changes.len();
        fail(&mut after, &Failures { mtbf_s: 10.0, mttr_s: 1e9, seed }).unwrap();
        assert_eq!(after.changes.len(), kept + untouched);
    }
}

#[test]
fn labels_and_bonds_are_as_frequent_as_asked_for() {
    let mut after = scenario(1);
    label(&mut after, "arch", &[("arm".into(), 1.0), ("x86".into(), 3.0)], 5).unwrap();
    let arm = after.machines.iter().filter(|m| m.attributes["arch"] == "arm").count();
    assert!((10..=40).contains(&arm), "{arm}");
    let constraint = Constraint { attribute: "arch".into(), test: Test::Equal("arm".into()) };
    bind(&mut after, "service", 0.5, &constraint, 6).unwrap();
    let bound: Vec<&Job> = after.jobs.iter().filter(|j| !j.tasks[0].constraints.is_empty()).collect();
    assert!(bound.iter().all(|j| j.class == "service"));
    assert!((1_075..=1_325).contains(&bound.len()), "{}", bound.len());
    let on_arm = |p: Placed| after.machines[p.machine as usize].attributes["arch"] == "arm";
    assert!(bound.iter().all(|j| j.tasks[0].placed.is_none_or(on_arm)));
    set_priority(&mut after, "service", 350).unwrap();
    assert!(after.jobs.iter().all(|j| j.priority == if j.class == "service" { 350 } else { 150 }));
}

#[test]
fn the_seed_decides_everything() {
    let all = |seed| {
        let mut s = scenario(1);
        scale_rate(&mut s, "batch", 1.5, seed).unwrap();
        prefill(&mut s, &Prefill { target: 0.4, size: None, priority: 0, run_for_us: None, seed }).unwrap();
        fail(&mut s, &Failures { mtbf_s: 900.0, mttr_s: 90.0, seed }).unwrap();
        label(&mut s, "a", &[("x".into(), 1.0), ("y".into(), 1.0)], seed).unwrap();
        s
    };
    assert_eq!(all(1), all(1));
    assert_ne!(all(1), all(2));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut s = scenario(1);
    let told = |result: Result<(), TransformError>| result.unwrap_err().to_string();
    assert_eq!(
        told(scale_rate(&mut s, "x", 1.0, 1)),
        "there is no class \"x\"; the scenario has batch, service"
    );
    assert_eq!(told(scale_rate(&mut s, "batch", -1.0, 1)), "the factor is -1; it must be zero or more");
    assert!(told(scale_rate(&mut s, "batch", 1e9, 1)).contains("jobs would be more than"));
    assert!(told(set_priority(&mut s, "batch", 400)).contains("it must be 0 to 399"));
    assert!(told(label(&mut s, "a", &[], 1)).contains("more than zero"));
    let how = Prefill { target: 1.5, size: None, priority: 0, run_for_us: None, seed: 1 };
    assert!(told(prefill(&mut s, &how).map(drop)).contains("between 0 and 1"));
    assert!(
        told(fail(&mut s, &Failures { mtbf_s: 0.0, mttr_s: 1.0, seed: 1 }).map(drop))
            .contains("more than 0 seconds")
    );
    let mut empty = Scenario { machines: s.machines.clone(), ..Scenario::default() };
    assert_eq!(prefill(&mut empty, &Prefill { target: 0.5, ..how }), Err(TransformError::Nothing));
}
