//! Views that are older than the plan.

use super::*;
use crate::virtual_cell::{Placing, Prefer, Retry};

/// A decision that takes no time: all staleness is the view's.
fn instant() -> Way {
    Way { think_job_us: 0, think_task_us: 0, ..Way::default() }
}

#[test]
fn a_plan_on_an_old_view_meets_what_it_could_not_see() {
    // a takes the only room at 0 s. b comes at 1 s and sees the machine as it was 5 s before, at the start: it is
    // empty. It tries once, keeps off the machine until it sees why it lost, and finds nothing from then on.
    let arrivals = || vec![arrival(0, "a", BATCH, 2, None), arrival(1_000, "b", SERVICE, 2, None)];
    let stale = Settings { staleness_us: 5_000_000, ..settings(instant()) };
    let service = run_on(&stale, machines(1, 2), arrivals()).service;
    assert_eq!((service.won, service.conflicted, service.lost), (0, 1, 2));
    assert_eq!((service.staleness.max_us(), service.staleness.count()), (1_000_000, 1));
    let fresh = run_on(&settings(instant()), machines(1, 2), arrivals()).service;
    assert_eq!((fresh.conflicted, fresh.lost, fresh.staleness.count()), (0, 0, 0));
}

#[test]
fn an_old_view_is_as_old_as_it_says() {
    // a's task runs from 0 s to 10 s. b comes at 11 s: with a view of 3 s ago the machine is full until 13 s.
    let arrivals = || vec![arrival(0, "a", BATCH, 2, Some(10)), arrival(11_000, "b", SERVICE, 2, None)];
    let stale = Settings { staleness_us: 3_000_000, ..settings(instant()) };
    let service = run_on(&stale, machines(1, 2), arrivals()).service;
    assert_eq!((service.fruitless, service.full, service.place[1].max_us()), (2, 1, 2_000_000));
    assert_eq!((service.staleness.max_us(), service.conflicted), (3_000_000, 0));
}

#[test]
fn a_scheduler_knows_what_it_placed_before_its_view_shows_it() {
    // Two jobs of one scheduler, a second apart, on a view of 10 s ago: the second doesn't choose the first one's room.
    let arrivals = vec![arrival(0, "a", BATCH, 2, None), arrival(1_000, "c", BATCH, 2, None)];
    let stale = Settings { staleness_us: 10_000_000, ..settings(instant()) };
    let batch = run_on(&stale, machines(2, 2), arrivals).batch;
    assert_eq!((batch.conflicted, batch.placed, batch.full), (0, 4, 2));
}

#[test]
fn coarse_detection_on_an_old_view_loses_to_any_change() {
    let coarse = Way { detection: Detection::Version, ..instant() };
    let arrivals = vec![arrival(0, "a", BATCH, 2, None), arrival(1_000, "b", SERVICE, 2, None)];
    let stale = Settings { staleness_us: 5_000_000, ..settings(coarse) };
    let service = run_on(&stale, machines(1, 8), arrivals).service;
    // The next try that may use the machine is the one at 6 s, whose view is of 1 s.
    assert_eq!((service.conflicted, service.spurious, service.full), (1, 2, 1));
    assert_eq!(service.place[1].max_us(), 5_000_000);
}

fn by_parts(prefer: Prefer) -> Settings {
    let architecture = Architecture::PartitionedSync { parts: 2, gap_us: 20_000_000, prefer };
    Settings { architecture, ..settings(instant()) }
}

/// Machines 0 and 1 are parts 0 and 1. The batch scheduler sees part 0 at 0, 20, 40 s and part 1 at 10, 30 s; the
/// service scheduler the other way round.
#[test]
fn each_scheduler_sees_another_part_last() {
    // a takes one core of each of two machines at 5 s, the rest of the first to be had at 12 s is not known to b.
    let arrivals = |at| vec![arrival(5_000, "a", BATCH, 4, None), arrival(at, "b", SERVICE, 2, None)];
    // At 12 s b has seen part 0 at 10 s: it is full. Part 1 it has seen at 0 s, when it was empty.
    let counts = run_on(&by_parts(Prefer::Latency), machines(2, 2), arrivals(12_000)).service;
    assert_eq!((counts.conflicted, counts.lost), (1, 2));
    assert_eq!(counts.staleness.max_us(), 12_000_000);
    // At 21 s it has seen both after a came.
    let counts = run_on(&by_parts(Prefer::Latency), machines(2, 2), arrivals(21_000)).service;
    assert_eq!((counts.conflicted, counts.fruitless > 10), (0, true));
}

#[test]
fn latency_first_takes_what_it_saw_last_and_quality_first_what_is_best() {
    // At 12 s the service scheduler has seen part 0 at 10 s and part 1 at 0 s. Both have room.
    let arrivals = || vec![arrival(12_000, "b", SERVICE, 1, None)];
    let mut ages = Vec::new();
    for seed in 0..20 {
        let settings = Settings { seed, ..by_parts(Prefer::Latency) };
        let latency = run_on(&settings, machines(2, 2), arrivals()).service;
        assert_eq!((latency.staleness.max_us(), latency.full), (2_000_000, 1));
        let settings = Settings { seed, ..by_parts(Prefer::Quality) };
        ages.push(run_on(&settings, machines(2, 2), arrivals()).service.staleness.max_us());
    }
    assert!(ages.contains(&2_000_000) && ages.contains(&12_000_000), "{ages:?}");
}

#[test]
fn transactions_in_flight_are_counted_by_those_planned_after_them() {
    // A job of six tasks goes out in three transactions of two; verdicts come 10 s after each proposal.
    let settings = Settings { commit_us: 10_000_000, in_flight: 3, tasks_per_txn: 2, ..settings(second()) };
    let batch = run_on(&settings, machines(3, 2), vec![arrival(0, "a", BATCH, 6, None)]).batch;
    assert_eq!((batch.won, batch.conflicted, batch.placed, batch.decisions), (3, 0, 6, 3));
    // Proposed at 1, 2 and 3 s.
    assert_eq!((batch.place[1].max_us(), batch.staleness.max_us()), (13_000_000, 11_000_000));
    // With one in flight each waits for the verdict on the one before.
    let one = Settings { in_flight: 1, ..settings };
    let batch = run_on(&one, machines(3, 2), vec![arrival(0, "a", BATCH, 6, None)]).batch;
    assert_eq!((batch.won, batch.place[1].max_us()), (3, 33_000_000));
}

#[test]
fn fallbacks_save_what_the_first_choice_loses() {
    let way = |fallbacks| Way { fallbacks, ..second() };
    let arrivals = || vec![arrival(0, "a", BATCH, 1, None), arrival(500, "b", SERVICE, 1, None)];
    let (mut lost, mut fell_back) = (0, 0);
    for seed in 0..20 {
        let run = |fallbacks| {
            let settings = Settings { seed, ..settings(way(fallbacks)) };
            run_on(&settings, machines(2, 1), arrivals()).service
        };
        lost += run(0).lost;
        let with = run(1);
        assert_eq!((with.lost, with.full), (0, 1));
        fell_back += with.fell_back;
    }
    // Who loses without a fallback takes it with one.
    assert!(lost > 0 && lost == fell_back, "{lost} {fell_back}");
}

#[test]
fn pauses_after_lost_races_are_those_of_a_scheduler_process() {
    let stale = Settings { retry: Retry::BackOff, staleness_us: 500_000, ..settings(instant()) };
    let arrivals = || vec![arrival(0, "a", BATCH, 2, Some(30)), arrival(100, "b", SERVICE, 2, None)];
    let service = run_on(&stale, machines(1, 2), arrivals()).service;
    // It is back within a second of the room being seen, not only at whole seconds.
    assert!((30_400_000..31_500_000).contains(&service.place[1].max_us()), "{:?}", service.place[1].max_us());
    assert_eq!(service.full, 1);
}

#[test]
fn few_choices_spread_what_best_fit_heaps_up() {
    let herd = Way { sample: 1_000, ..second() };
    let choices = Way { placing: Placing::Choices, sample: 2, ..second() };
    let arrivals = || {
        let jobs = (0..40).map(|n| arrival(0, &format!("a{n}"), BATCH, 1, None));
        jobs.collect::<Vec<Arrival>>()
    };
    let run = |way| {
        let settings = Settings { batch_schedulers: 20, ..settings(way) };
        let mut first = arrivals();
        first[0].job.groups[0].resources = Resources::cpu_memory(1_500, 1 << 30);
        run_on(&settings, machines(100, 3), first).batch
    };
    let (herding, spread) = (run(herd), run(choices));
    assert!(herding.lost > 2 * spread.lost, "{} {}", herding.lost, spread.lost);
    assert_eq!(spread.full, 40);
}
