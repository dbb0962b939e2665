//! Each architecture on one or two machines.

use super::*;
use crate::virtual_cell::Prefer;

/// One of each.
pub(super) const ALL: [Architecture; 8] = [
    Architecture::Shared,
    Architecture::MonoSingle,
    Architecture::MonoMulti,
    Architecture::Partitions { service_percent: 50 },
    Architecture::Offers { every_us: 1_000_000 },
    Architecture::PartitionedSync { parts: 2, gap_us: 4_000_000, prefer: Prefer::Latency },
    Architecture::PartitionedSync { parts: 2, gap_us: 4_000_000, prefer: Prefer::Quality },
    Architecture::PartitionedSync { parts: 2, gap_us: 4_000_000, prefer: Prefer::Adaptive },
];

fn under(architecture: Architecture) -> Settings {
    Settings { architecture, ..settings(second()) }
}

#[test]
fn a_monolithic_scheduler_has_no_rivals_and_a_queue() {
    let slow = Way { think_job_us: 3_000_000, ..second() };
    let settings = Settings { service: slow, ..under(Architecture::MonoMulti) };
    let Counts { batch, service, .. } = rivals(&settings, 8);
    assert_eq!((batch.conflicted + service.conflicted, batch.placed, service.placed), (0, 2, 2));
    // b waits half a second while a is decided on, and is placed 3 s later. What was planned was judged at once.
    assert_eq!((batch.wait_s(), service.wait_s()[0]), ([0.0; 4], 0.5));
    assert_eq!((service.waits_full.max_us(), service.place[1].max_us()), (500_000, 3_500_000));
    assert_eq!((batch.useful_us, service.useful_us, service.staleness.max_us()), (1_000_000, 3_000_000, 0));
    // With a single path a takes as long as b.
    let single = Settings { architecture: Architecture::MonoSingle, ..settings };
    let Counts { batch, service, .. } = rivals(&single, 8);
    assert_eq!((batch.useful_us, service.useful_us, service.wait_s()[0]), (3_000_000, 3_000_000, 2.5));
}

#[test]
fn partitions_leave_room_that_the_other_class_lacks() {
    let settings = under(Architecture::Partitions { service_percent: 50 });
    let arrivals = vec![arrival(0, "a", BATCH, 3, None), arrival(0, "b", SERVICE, 1, None)];
    let Counts { batch, service, .. } = run_on(&settings, machines(2, 2), arrivals);
    // Each class has one machine of two cores: a's third task waits though the other machine has room.
    assert_eq!((batch.placed, batch.full, service.placed, service.full), (2, 0, 1, 1));
    assert_eq!((batch.lost + service.lost, batch.wait_s()[0]), (0, 0.0));
    assert!(batch.fruitless > 20);
    let shared = under(Architecture::Shared);
    let arrivals = vec![arrival(0, "a", BATCH, 3, None), arrival(0, "b", SERVICE, 1, None)];
    assert_eq!(run_on(&shared, machines(2, 2), arrivals).batch.full, 1);
}

#[test]
fn an_offer_is_nobody_elses_until_it_is_answered() {
    let settings = under(Architecture::Offers { every_us: 100_000 });
    let slow = Way { think_job_us: 10_000_000, ..second() };
    let settings = Settings { service: slow, ..settings };
    // b is offered everything at 0.1 s and thinks until 10.1 s; a gets an offer only then, in the next round.
    let arrivals = vec![arrival(0, "b", SERVICE, 1, None), arrival(500, "a", BATCH, 1, None)];
    let Counts { batch, service, .. } = run_on(&settings, machines(2, 2), arrivals);
    assert_eq!((service.wait_s()[0], service.placed, service.useful_us), (0.1, 1, 10_000_000));
    assert!((batch.wait_s()[0] - 9.6).abs() <= 0.1, "{}", batch.wait_s()[0]);
    assert_eq!((batch.placed, batch.lost + service.lost, batch.fruitless), (1, 0, 0));
}

#[test]
fn what_ends_while_an_offer_is_out_is_the_next_offer() {
    let slow = Way { think_job_us: 10_000_000, ..second() };
    let settings = Settings { service: slow, ..under(Architecture::Offers { every_us: 100_000 }) };
    let arrivals = vec![
        arrival(0, "early", BATCH, 1, Some(3)),
        arrival(2_000, "b", SERVICE, 1, None),
        arrival(3_000, "a", BATCH, 2, None),
    ];
    let Counts { batch, service, .. } = run_on(&settings, machines(1, 2), arrivals);
    // `early` runs from 1.1 s to 4.1 s on one of two cores. b is offered the other one at 2.1 s. a asks in vain, until
    // that core is free at 4.1 s: its first task is placed a second after the round of 4.1 s or 4.2 s.
    assert_eq!((service.placed, batch.lost + service.lost), (1, 0));
    assert_eq!((batch.placed, batch.full), (2, 1));
    let wait_s = batch.waits_first.max_us() as f64 / 1e6;
    assert!((1.0..=1.3).contains(&wait_s), "{wait_s}");
}

#[test]
fn a_gang_hoards_offers_until_it_is_complete() {
    let gang = Way { gang: true, atomicity: Atomicity::AllOrNothing, ..second() };
    let offers = Architecture::Offers { every_us: 100_000 };
    let arrivals = vec![
        arrival(0, "early", BATCH, 2, Some(20)),
        arrival(3_000, "b", SERVICE, 3, None),
        arrival(10_000, "a", BATCH, 1, None),
    ];
    let settings = Settings { service: gang, ..under(offers) };
    let Counts { batch, service, .. } = run_on(&settings, machines(1, 4), arrivals);
    // b keeps the two cores it was offered; a, which would fit, has nothing until `early` ends: then b needs one core,
    // and a takes the other.
    assert_eq!((service.placed, service.full, service.won, service.lost), (3, 1, 1, 0));
    assert_eq!((batch.placed, batch.full), (3, 2));
    assert!(batch.place[0].max_us() > 10_000_000, "{}", batch.place[0].max_us());
}

#[test]
fn a_repeat_loser_claims_machines_before_it_decides() {
    // A batch job comes every second and is decided on in half a second; b takes three, so the one machine has
    // always changed: under coarse detection b never wins.
    let quick = Way { think_job_us: 500_000, ..second() };
    let coarse = Way { think_job_us: 3_000_000, detection: Detection::Version, ..second() };
    let arrivals = || {
        let small = (0..60).map(|n| arrival(n * 1_000, &format!("a{n}"), BATCH, 1, Some(1)));
        let mut all: Vec<Arrival> = small.chain([arrival(100, "b", SERVICE, 2, None)]).collect();
        all.sort_by_key(|a| a.at_us);
        all
    };
    let plain = Settings { batch: quick, service: coarse, ..settings(second()) };
    let service = run_on(&plain, machines(1, 16), arrivals()).service;
    assert!(service.full == 0 && service.conflicted > 10, "{service:?}");
    let escalating = Settings { escalate_after: 2, ..plain };
    let service = run_on(&escalating, machines(1, 16), arrivals()).service;
    // Two decisions are lost, each 3 s with a second between; the third claims at 8.1 s and is over at 11.1 s.
    assert_eq!((service.conflicted, service.won, service.escalated, service.full), (2, 1, 1, 1));
    assert_eq!((service.place[1].max_us(), service.staleness.sum_us()), (11_000_000, 6_000_000));
}

#[test]
fn jobs_of_a_class_are_divided_as_among_processes_of_one_name() {
    let settings = Settings { batch_schedulers: 4, ..under(Architecture::Shared) };
    let arrivals = (0..40).map(|n| arrival(0, &format!("a{n}"), BATCH, 1, None)).collect();
    let batch = run_on(&settings, machines(2, 64), arrivals).batch;
    assert_eq!((batch.schedulers, batch.placed, batch.full), (4, 40, 40));
    let shares: Vec<u64> = batch.by_scheduler.iter().map(|[proposed, _]| *proposed).collect();
    assert!(shares.iter().all(|share| (4..=18).contains(share)), "{shares:?}");
    // Each decides on its own ones one after another, so the longest wait is that of the one with most.
    assert_eq!(batch.waits_first.max_us(), (shares.iter().max().unwrap() - 1) * 1_000_000);
}
