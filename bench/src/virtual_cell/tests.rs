//! Small cells whose counts are known by hand: a batch job `a` and a service job `b`, each of another scheduler.

mod architectures;
mod life;
mod staleness;

use cell_state::Resources;
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::transaction::{Atomicity, Detection};

use super::{Architecture, ClassCounts, Counts, Load, Settings, Tries, Way};
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

/// Google's priorities of the two classes.
const BATCH: u8 = 2;
const SERVICE: u8 = 9;

/// A job of tasks of one core each.
fn arrival(at_ms: u64, name: &str, priority: u8, tasks: u32, run_s: Option<u64>) -> Arrival {
    let run_for_us = run_s.map(|s| s * 1_000_000);
    let batch = Batch { size: [1_000, 1 << 30, 0], run_for_us, exit_code: 0, count: tasks };
    Arrival { at_us: at_ms * 1_000, job: job(name.into(), priority, String::new(), false, &[batch]) }
}

/// A decision of a second, whatever the tasks.
fn second() -> Way {
    Way { think_job_us: 1_000_000, think_task_us: 0, ..Way::default() }
}

fn settings(way: Way) -> Settings {
    Settings { batch: way, service: way, run_us: 60_000_000, ..Settings::default() }
}

/// Runs it and has nothing wrong with it.
fn run_on(settings: &Settings, machines: Vec<MachineSpec>, arrivals: Vec<Arrival>) -> Counts {
    let workload = Workload { machines, initial: Vec::new(), arrivals };
    let counts = super::run(settings, Load::of_workload(&workload));
    assert_eq!(counts, super::run(settings, Load::of_workload(&workload)), "the same seed gives the same");
    assert_eq!((counts.violations, divergences(&counts)), (0, 0));
    counts
}

fn divergences(counts: &Counts) -> u64 {
    counts.batch.divergences + counts.service.divergences
}

/// Two jobs of two tasks on one machine, the second half a second after the first.
fn rivals(settings: &Settings, cpus: u64) -> Counts {
    let arrivals = vec![arrival(0, "a", BATCH, 2, None), arrival(500, "b", SERVICE, 2, None)];
    run_on(settings, machines(1, cpus), arrivals)
}

#[test]
fn two_schedulers_that_see_the_same_room_race_for_it() {
    let Counts { batch, service, .. } = rivals(&settings(second()), 3);
    assert_eq!((batch.won, batch.conflicted, batch.placed, batch.full), (1, 0, 2, 1));
    // b planned two tasks at 0.5 s, before a committed its two at 1 s: at 1.5 s there is room for one of them. Its
    // second try, from 2.5 s on, and all later ones find nothing.
    assert_eq!((service.won, service.conflicted, service.placed, service.lost), (0, 1, 1, 1));
    assert_eq!((service.useful_us, service.wasted_us, service.full), (0, 1_000_000, 0));
    assert!(service.fruitless > 20, "{}", service.fruitless);
    // What both lost and won was seen a second before it was judged.
    assert_eq!((service.staleness.mean_s(), service.staleness.max_us()), (1.0, 1_000_000));
    assert_eq!(service.oldest_us, 59_500_000);
    assert_eq!((service.by_scheduler.as_slice(), service.fairness_of_schedulers()), (&[[2, 1]][..], 1.0));
}

#[test]
fn all_or_nothing_loses_both_and_coarse_detection_loses_without_need() {
    let all = Way { atomicity: Atomicity::AllOrNothing, ..second() };
    let counts = rivals(&settings(all), 3).service;
    assert_eq!((counts.conflicted, counts.lost, counts.aborted), (1, 1, 1));
    // There is room for everybody, but the machine changed.
    let coarse = Way { detection: Detection::Version, ..second() };
    let counts = rivals(&settings(coarse), 8).service;
    assert_eq!((counts.conflicted, counts.lost, counts.spurious, counts.placed, counts.won), (1, 2, 2, 2, 1));
    assert_eq!((counts.conflict_fraction(), counts.conflicts_per_attempt()), (1.0, 0.5));
    let fine = rivals(&settings(second()), 8).service;
    assert_eq!((fine.conflicted, fine.placed), (0, 2));
}

#[test]
fn a_gang_waits_for_room_for_all() {
    let arrivals = || vec![arrival(0, "a", BATCH, 2, Some(10)), arrival(2_000, "b", SERVICE, 2, None)];
    let gang = Way { gang: true, atomicity: Atomicity::AllOrNothing, ..second() };
    let counts = run_on(&settings(gang), machines(1, 3), arrivals());
    assert_eq!((counts.service.placed, counts.service.lost, counts.service.full), (2, 0, 1));
    assert!(counts.service.fruitless > 2);
    let parts = run_on(&settings(second()), machines(1, 3), arrivals()).service;
    assert_eq!((parts.placed, parts.full, parts.won), (2, 1, 2));
}

#[test]
fn a_label_may_have_terms_of_its_own() {
    let labels = [("b".to_owned(), super::LabelWay { detection: Some(Detection::Version), atomicity: None })];
    let own = Settings { labels: labels.into(), ..settings(second()) };
    let workload = Workload {
        machines: machines(1, 8),
        initial: Vec::new(),
        arrivals: vec![arrival(0, "a", BATCH, 2, None), arrival(500, "b", SERVICE, 2, None)],
    };
    let mut load = Load::of_workload(&workload);
    load.arrivals = Box::new(load.arrivals.map(|s| super::Submission { label: s.spec.name.clone(), ..s }));
    let counts = super::run(&own, load);
    assert_eq!((counts.batch.conflicted, counts.service.conflicted, counts.service.spurious), (0, 1, 2));
}

#[test]
fn what_is_kept_does_not_grow_with_the_time_simulated() {
    // Jobs of three tasks of ten seconds, one a second: thirty tasks at a time, however long it goes on.
    let most = |architecture, staleness_us, hours: u64| {
        let run_us = hours * 3_600_000_000;
        let settings = Settings {
            architecture,
            staleness_us,
            batch_schedulers: 3,
            run_us,
            ..settings(Way { think_job_us: 300_000, ..second() })
        };
        let machines = machines(20, 4);
        let arrivals = (0..hours * 3_600).map(|n| {
            let arrival = arrival(n * 1_000, &format!("j{n}"), BATCH, 3, Some(10));
            super::Submission::plain(arrival.at_us, arrival.job)
        });
        let load =
            Load { machines: &machines, changes: &[], initial: Vec::new(), arrivals: Box::new(arrivals) };
        let counts = super::run(&settings, load);
        assert!(counts.batch.full > hours * 3_590, "{}", counts.batch.full);
        counts.objects_most
    };
    let parts =
        Architecture::PartitionedSync { parts: 4, gap_us: 1_000_000, prefer: super::Prefer::Adaptive };
    let table = [
        (Architecture::Shared, 0),
        (Architecture::Shared, 2_000_000),
        (Architecture::MonoMulti, 0),
        (Architecture::Offers { every_us: 100_000 }, 0),
        (parts, 0),
    ];
    for (architecture, staleness_us) in table {
        let [one, four] = [1, 4].map(|hours| most(architecture, staleness_us, hours));
        // Besides what waits or runs, up to 256 jobs that are over and forgotten together.
        assert!(
            one < 2_000 && four <= one + one / 10,
            "{architecture:?}: {one} after an hour, {four} after four"
        );
    }
}

#[test]
fn fairness_is_jains() {
    let one = Tries { jobs: 2, sum: 2, squares: 2 };
    let other = Tries { jobs: 1, sum: 2, squares: 4 };
    let mut counts = ClassCounts {
        tries: [one, other, Tries::default(), Tries::default(), Tries::default()],
        ..Default::default()
    };
    assert!((counts.fairness() - 16.0 / 18.0).abs() < 1e-12);
    // On average 1 and 2 decisions: 3² / (2 · 5).
    assert!((counts.fairness_of_sizes() - 0.9).abs() < 1e-12);
    // Half of what was proposed, all, and nothing proposed.
    counts.by_scheduler = vec![[4, 2], [3, 3], [0, 0]];
    assert!((counts.fairness_of_schedulers() - 2.25 / 2.5).abs() < 1e-12);
    assert_eq!(ClassCounts::default().fairness(), 1.0);
}

#[test]
fn days_are_told_by_their_median() {
    let mut counts = ClassCounts { schedulers: 2, ..Default::default() };
    let hour = 3_600_000_000;
    for (day, (busy_h, conflicts)) in [(12, 3), (24, 1), (6, 1)].into_iter().enumerate() {
        counts.useful_us += busy_h * hour;
        counts.wasted_us += hour;
        counts.won += 2;
        counts.conflicted += conflicts;
        counts.end_of_day();
        assert_eq!(counts.daily(super::Daily::Busy).is_some(), day > 0);
    }
    // Days of 13, 25 and 7 hours of two schedulers' 48; conflicts 1.5, 0.5, 0.5.
    let (busy, away) = counts.daily(super::Daily::Busy).unwrap();
    assert!((busy - 13.0 / 48.0).abs() < 1e-12 && (away - 6.0 / 48.0).abs() < 1e-12, "{busy} {away}");
    assert_eq!(counts.daily(super::Daily::ConflictFraction), Some((0.5, 0.0)));
    assert_eq!(counts.daily(super::Daily::Wasted), Some((1.0 / 48.0, 0.0)));
}

#[test]
fn the_same_seed_gives_the_same_counts_on_a_cell_like_cell_c() {
    let whole = crate::synthetic::workload(7, crate::Division::new("service", "batch", 1)).reduced(4);
    let base = Settings {
        promise_percent: 200,
        batch_schedulers: 3,
        run_us: 600_000_000,
        seed: 7,
        ..Settings::default()
    };
    for architecture in architectures::ALL {
        let settings = Settings { architecture, ..base.clone() };
        let counts = super::run(&settings, Load::of_workload(&whole));
        assert_eq!(counts, super::run(&settings, Load::of_workload(&whole)), "{architecture:?}");
        assert_eq!((counts.violations, divergences(&counts)), (0, 0), "{architecture:?}");
        assert!(counts.batch.placed > 10, "{architecture:?}: {counts:?}");
    }
}
