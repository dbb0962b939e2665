//! Small cells whose counts are known by hand.

use cell_state::Resources;
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::transaction::{Atomicity, Detection};

use super::{Architecture, Counts, Settings, Way, run};
use crate::workload::{Arrival, Batch, Workload, job};

fn machines(count: usize, cpus: u64) -> Vec<MachineSpec> {
    let machine = |n| MachineSpec {
        name: format!("m{n}"),
        capacity: Resources::cpu_memory(cpus * 1_000, 64 << 30),
        attributes: Default::default(),
        devices: Vec::new(),
        ports: DEFAULT_PORTS,
    };
    (0..count).map(machine).collect()
}

/// A batch job of tasks of one core at a time, of this scheduler.
fn arrival(at_ms: u64, name: &str, scheduler: &str, tasks: u32, run_s: Option<u64>) -> Arrival {
    let run_for_us = run_s.map(|s| s * 1_000_000);
    let batch = Batch { size: [1_000, 1 << 30, 0], run_for_us, exit_code: 0, count: tasks };
    Arrival { at_us: at_ms * 1_000, job: job(name.into(), 2, scheduler.into(), false, &[batch]) }
}

fn settings(way: Way) -> Settings {
    Settings { batch: way, run_us: 60_000_000, ..Settings::default() }
}

/// A decision of a second, whatever the tasks.
fn second() -> Way {
    Way { think_job_us: 1_000_000, think_task_us: 0, ..Way::default() }
}

fn two_rivals(way: Way, cpus: u64, architecture: Architecture) -> Counts {
    let arrivals = vec![arrival(0, "a", "batch-0", 2, None), arrival(500, "b", "batch-1", 2, None)];
    let workload = Workload { machines: machines(1, cpus), initial: Vec::new(), arrivals };
    run(&Settings { architecture, ..settings(way) }, &workload)
}

#[test]
fn two_schedulers_that_see_the_same_room_race_for_it() {
    let counts = two_rivals(second(), 3, Architecture::Shared).batch;
    // b planned two tasks at 0.5 s, before a committed its two at 1 s: at 1.5 s there is room for one of them. Its
    // second try, from 2.5 s on, and all later ones find nothing.
    assert_eq!((counts.won, counts.conflicted, counts.placed, counts.lost), (1, 1, 3, 1));
    assert_eq!((counts.useful_us, counts.wasted_us), (1_000_000, 1_000_000));
    assert_eq!(counts.conflict_fraction(), 1.0);
    assert!(counts.fruitless > 20, "{}", counts.fruitless);
    assert_eq!((counts.jobs, counts.full, counts.divergences), (2, 1, 0));
}

#[test]
fn all_or_nothing_loses_both_and_coarse_detection_loses_without_need() {
    let all = Way { atomicity: Atomicity::AllOrNothing, ..second() };
    let counts = two_rivals(all, 3, Architecture::Shared).batch;
    assert_eq!((counts.conflicted, counts.lost, counts.aborted), (1, 1, 1));
    // There is room for everybody, but the machine changed.
    let coarse = Way { detection: Detection::Version, ..second() };
    let counts = two_rivals(coarse, 8, Architecture::Shared).batch;
    assert_eq!((counts.conflicted, counts.lost, counts.spurious, counts.placed), (1, 2, 2, 4));
    let fine = two_rivals(second(), 8, Architecture::Shared).batch;
    assert_eq!((fine.conflicted, fine.placed), (0, 4));
}

#[test]
fn a_gang_waits_for_room_for_all() {
    let arrivals = vec![arrival(0, "a", "batch-0", 2, Some(10)), arrival(2_000, "b", "batch-1", 2, None)];
    let workload = Workload { machines: machines(1, 3), initial: Vec::new(), arrivals };
    let gang = Way { gang: true, atomicity: Atomicity::AllOrNothing, ..second() };
    let counts = run(&settings(gang), &workload).batch;
    assert_eq!((counts.placed, counts.lost, counts.full), (4, 0, 2));
    let parts = run(&settings(second()), &workload).batch;
    assert_eq!((parts.placed, parts.full, parts.won), (4, 2, 3));
    assert!(counts.fruitless > 2);
}

#[test]
fn a_monolithic_scheduler_has_no_rivals_and_a_queue() {
    let counts = two_rivals(second(), 8, Architecture::Monolithic).batch;
    assert_eq!((counts.conflicted, counts.placed, counts.full), (0, 4, 2));
    // b waits half a second while a is decided on.
    assert_eq!(counts.waits_us, [0, 500_000]);
    assert_eq!(counts.wait_s(), [0.25, 0.0, 0.0, 0.0]);
}

#[test]
fn fairness_is_jains() {
    let counts = super::ClassCounts { tries: vec![1, 1, 2], ..Default::default() };
    assert!((counts.fairness() - 16.0 / 18.0).abs() < 1e-12);
    assert_eq!(super::ClassCounts::default().fairness(), 1.0);
}

#[test]
fn the_same_seed_gives_the_same_counts() {
    let whole = crate::synthetic::workload(7, crate::Division::new("service", "batch", 3)).reduced(5);
    let settings = Settings { promise_percent: 200, run_us: 1_200_000_000, seed: 7, ..Settings::default() };
    let counts = run(&settings, &whole);
    assert_eq!(counts, run(&settings, &whole));
    assert_eq!(counts.batch.divergences + counts.service.divergences, 0);
    assert!(counts.batch.placed > 20, "{counts:?}");
}
