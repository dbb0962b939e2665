//! The queue as a state machine: order, fairness, waking.

use cell_state::Resources;
use cell_state::job::Band;

use super::*;
use crate::sandbox::{Sandbox, simulated_job};

const FREE: Resources = Resources::ZERO;

fn queue_of(jobs: &[(u32, u16)]) -> Queue {
    let mut queue = Queue::new();
    queue.advance(&Cell::new(), &Overlay::new(), Time(1));
    for (job, priority) in jobs {
        queue.offer(JobId(*job), *priority);
    }
    queue
}

fn pops(queue: &mut Queue) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).map(|job| job.0).collect()
}

fn demand(bytes: &[u8]) -> Class {
    Class::Demand(bytes.to_vec())
}

#[test]
fn priority_first_then_first_come() {
    let mut queue = queue_of(&[(1, 100), (2, 200), (3, 100), (4, 300), (0, 200)]);
    assert_eq!(pops(&mut queue), [4, 2, 0, 1, 3]);
}

#[test]
fn a_giant_job_takes_turns_with_its_equals() {
    let mut queue = queue_of(&[(1, 100), (2, 100), (3, 100)]);
    let mut order = Vec::new();
    for _ in 0..6 {
        let job = queue.pop().unwrap();
        order.push(job.0);
        queue.requeue(job);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn offering_twice_is_one_entry_and_a_new_priority_counts() {
    let mut queue = queue_of(&[(1, 100), (2, 200), (1, 100), (1, 300)]);
    assert_eq!(queue.len(), 2);
    assert_eq!(pops(&mut queue), [1, 2]);
}

#[test]
fn a_fruitless_job_pauses_longer_each_time_but_never_beyond_the_bound() {
    let mut queue = queue_of(&[(1, 100)]);
    let (cell, overlay) = (Cell::new(), Overlay::new());
    let mut now = Time(1);
    let mut last = 0;
    for _ in 0..20 {
        assert_eq!(queue.pop(), Some(JobId(1)));
        queue.block(JobId(1), 0, demand(b"a"));
        queue.fruitless(JobId(1));
        queue.offer(JobId(1), 100);
        let wakes = queue.next_time().unwrap();
        let pause = wakes.since(now);
        assert!(pause >= last && pause <= FRUITLESS_MAX_US, "{pause} after {last}");
        last = pause;
        now = wakes.max(now);
        queue.advance(&cell, &overlay, now);
    }
    assert_eq!(last, FRUITLESS_MAX_US);
}

#[test]
fn a_job_waits_for_its_time() {
    let mut queue = queue_of(&[(1, 100)]);
    let (cell, overlay) = (Cell::new(), Overlay::new());
    queue.pop();
    queue.wake_at(JobId(1), Time(500));
    queue.wake_at(JobId(1), Time(900));
    assert_eq!(queue.next_time(), Some(Time(500)));
    queue.advance(&cell, &overlay, Time(499));
    assert_eq!(queue.pop(), None);
    queue.advance(&cell, &overlay, Time(500));
    assert_eq!(queue.pop(), Some(JobId(1)));
}

#[test]
fn a_class_wakes_one_by_one_for_as_long_as_they_are_placed() {
    let mut sandbox = Sandbox::new(1);
    let machine = sandbox.machine("m0", Resources::cpu_memory(1_000, 1_000));
    let jobs: Vec<JobId> = (0..4)
        .map(|i| sandbox.job(simulated_job(&format!("j{i}"), "batch", 1, Resources::cpu_memory(100, 100))))
        .collect();
    let mut queue = queue_of(&jobs.iter().map(|job| (job.0, 100)).collect::<Vec<_>>());
    let class = Class::of_room(sandbox.cell().job(jobs[0]).unwrap(), 0, &exclude::NONE);
    while let Some(job) = queue.pop() {
        queue.block(job, 0, class.clone());
    }
    queue.freed(machine);
    queue.advance(sandbox.cell(), &Overlay::new(), Time(2));
    assert_eq!(pops(&mut queue), [jobs[0].0]);
    queue.planned(jobs[0]);
    assert_eq!(pops(&mut queue), [jobs[1].0]);
    queue.forget(jobs[1]);
    assert_eq!(pops(&mut queue), [jobs[2].0], "one that is gone passes it on");
    queue.block(jobs[2], 0, class.clone());
    queue.planned(jobs[2]);
    assert_eq!(pops(&mut queue), [] as [u32; 0], "the chain ends with the one that found no room");
}

#[test]
fn a_machine_that_is_too_small_wakes_nobody() {
    let mut sandbox = Sandbox::new(1);
    let machine = sandbox.machine("m0", Resources::cpu_memory(50, 50));
    let job = sandbox.job(simulated_job("j", "batch", 1, Resources::cpu_memory(100, 100)));
    let mut queue = queue_of(&[(job.0, 100)]);
    queue.pop();
    queue.block(job, 0, Class::of_room(sandbox.cell().job(job).unwrap(), 0, &exclude::NONE));
    queue.freed(machine);
    queue.advance(sandbox.cell(), &Overlay::new(), Time(2));
    assert_eq!(queue.pop(), None);
}

#[test]
fn the_sweep_wakes_everything_within_its_bound_in_turn() {
    let mut queue = queue_of(&(0..2_000).map(|job| (job, 100)).collect::<Vec<_>>());
    let (cell, overlay) = (Cell::new(), Overlay::new());
    while let Some(job) = queue.pop() {
        queue.block(job, 0, demand(b"all the same"));
    }
    let mut woken = BTreeSet::new();
    for round in 1..=4 {
        queue.advance(&cell, &overlay, Time(1 + round * SWEEP_US));
        let now = pops(&mut queue);
        assert!(now.len() <= 2 * SWEEP_CLASSES_MAX);
        for job in now {
            woken.insert(job);
            queue.block(JobId(job), 0, demand(b"all the same"));
        }
    }
    assert_eq!(woken.len(), 2_000);
}

#[test]
fn quota_wakes_only_when_there_is_some() {
    let mut sandbox = Sandbox::new(1);
    let machine = sandbox.machine("m0", Resources::cpu_memory(1_000, 1_000));
    let spec = simulated_job("j", "batch", 1, Resources::cpu_memory(100, 100));
    let (team, band) = (spec.team.clone(), Band::of(spec.priority));
    let job = sandbox.job(spec);
    sandbox.quota(&team, band, Some(FREE));
    let mut queue = queue_of(&[(job.0, 100)]);
    queue.pop();
    queue.block(job, 0, Class::of_quota(sandbox.cell().job(job).unwrap(), 0));
    queue.freed(machine);
    queue.advance(sandbox.cell(), &Overlay::new(), Time(2));
    assert_eq!(queue.pop(), None);
    sandbox.quota(&team, band, None);
    queue.freed(machine);
    queue.advance(sandbox.cell(), &Overlay::new(), Time(3));
    assert_eq!(queue.pop(), Some(job));
}
