//! What the built-in policies are for: packing, evenness, spreading, keeping apart, preempting, and the same by seed.

use std::collections::{BTreeMap, BTreeSet};

use cell_state::job::{JobSpec, Spread};
use cell_state::overlay::Overlay;
use cell_state::transaction::{Assertion, Op};
use cell_state::verdict::{ConflictKind, Outcome};
use cell_state::{Cell, Dimension, JobId, MachineId, Resources, TaskId, TxnId};
use rand::SeedableRng;
use schedulers::batch::{Batch, BatchOptions};
use schedulers::plan::Rng;
use schedulers::sandbox::{Placed, Sandbox, machine_spec, simulated_job};
use schedulers::service::{Service, ServiceOptions};
use schedulers::{Plan, Policy, built_in};

fn cpu(milli: u64) -> Resources {
    Resources::cpu_memory(milli, milli)
}

fn batch() -> Box<dyn Policy> {
    built_in("batch").expect("a built-in policy")
}

fn service() -> Box<dyn Policy> {
    built_in("service").expect("a built-in policy")
}

/// A cell of `count` machines in racks of four, each with 1000 of everything.
fn cell_of(count: usize, seed: u64) -> Sandbox {
    let mut sandbox = Sandbox::new(seed);
    for i in 0..count {
        sandbox.machine_in(&format!("m{i}"), cpu(1_000), ("rack", &format!("r{}", i / 4)));
    }
    sandbox
}

fn place(sandbox: &mut Sandbox, policy: &mut dyn Policy, spec: JobSpec) -> (JobId, Placed) {
    let job = sandbox.job(spec);
    let placed = sandbox.place(policy, job);
    assert_eq!(placed.conflicts, [], "nobody races in a sandbox");
    (job, placed)
}

/// How many tasks of these each value of an attribute holds.
fn by_attribute(cell: &Cell, placed: &[(TaskId, MachineId)], attribute: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for (_, machine) in placed {
        let value =
            cell.machine(*machine).expect("of the cell").attribute(attribute).unwrap_or("").to_owned();
        *counts.entry(value).or_default() += 1;
    }
    counts
}

#[test]
fn batch_fills_machines_up_and_service_keeps_them_even() {
    let spec = || simulated_job("j", "s", 32, cpu(100));
    let mut packed = cell_of(32, 1);
    let (_, placed) = place(&mut packed, batch().as_mut(), spec());
    let used = placed.placed.iter().map(|(_, m)| *m).collect::<BTreeSet<_>>().len();
    assert!((4..=8).contains(&used), "32 tasks of a tenth of a machine use {used} machines");

    let mut even = cell_of(32, 1);
    let (_, placed) = place(&mut even, service().as_mut(), spec());
    assert_eq!(placed.placed.iter().map(|(_, m)| *m).collect::<BTreeSet<_>>().len(), 32);
}

#[test]
fn both_find_the_only_machine_with_room() {
    for mut policy in [batch(), service()] {
        let mut sandbox = cell_of(500, 7);
        let last = sandbox.machine("large", cpu(5_000));
        let (_, placed) = place(&mut sandbox, policy.as_mut(), simulated_job("j", "s", 3, cpu(1_500)));
        assert_eq!(placed.placed.iter().map(|(_, m)| *m).collect::<Vec<_>>(), [last; 3], "{}", policy.name());
    }
}

#[test]
fn the_whole_cell_can_be_filled_to_the_last_task() {
    for mut policy in [batch(), service()] {
        let mut sandbox = cell_of(40, 3);
        let (_, placed) = place(&mut sandbox, policy.as_mut(), simulated_job("j", "s", 1_000, cpu(100)));
        assert_eq!(placed.placed.len(), 400, "{}", policy.name());
    }
}

#[test]
fn service_spreads_evenly_over_racks_of_unequal_size() {
    let mut sandbox = Sandbox::new(1);
    for (i, rack) in ["a", "a", "a", "a", "a", "a", "b", "b", "c", "c", "c"].into_iter().enumerate() {
        sandbox.machine_in(&format!("m{i}"), cpu(1_000), ("rack", rack));
    }
    let mut spec = simulated_job("j", "s", 30, cpu(100));
    spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 0 });
    let (_, placed) = place(&mut sandbox, service().as_mut(), spec);
    let racks = by_attribute(sandbox.cell(), &placed.placed, "rack");
    assert_eq!(racks.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn spreading_counts_what_runs_already() {
    let mut sandbox = cell_of(12, 1);
    let mut spec = simulated_job("j", "s", 3, cpu(100));
    spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 0 });
    let (_, mut placed) = place(&mut sandbox, service().as_mut(), spec.clone());
    for count in [4, 7, 12] {
        spec.groups[0].count = count;
        placed.placed.extend(place(&mut sandbox, service().as_mut(), spec.clone()).1.placed);
        let racks = by_attribute(sandbox.cell(), &placed.placed, "rack");
        let (least, most) = (racks.values().min().unwrap(), racks.values().max().unwrap());
        assert!(racks.len() == 3 && most - least <= 1, "{racks:?} for {count} tasks");
    }
}

#[test]
fn a_limit_per_domain_is_kept_and_asserted() {
    let mut sandbox = cell_of(12, 1);
    sandbox.machine("no-rack", cpu(1_000));
    let mut spec = simulated_job("j", "s", 10, cpu(100));
    spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 2 });
    let (_, placed) = place(&mut sandbox, service().as_mut(), spec);
    let racks = by_attribute(sandbox.cell(), &placed.placed, "rack");
    assert_eq!(racks.into_iter().collect::<Vec<_>>(), [("r0".into(), 2), ("r1".into(), 2), ("r2".into(), 2)]);
}

#[test]
fn two_processes_can_not_break_a_limit_together() {
    let mut sandbox = cell_of(4, 1);
    let mut spec = simulated_job("j", "s", 2, cpu(100));
    spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 1 });
    let job = sandbox.job(spec);
    let session = sandbox.session("s");
    // Both plan one of the two tasks on the same state, on different machines of the only rack.
    let plan = |number: u64, index: u32| {
        let (mut overlay, mut rng) = (Overlay::new(), Rng::seed_from_u64(number));
        let mut plan = Plan::new(sandbox.cell(), job, sandbox.now(), &mut overlay, &mut rng).unwrap();
        service().plan(&mut plan, &[TaskId { job, group: 0, index }]);
        plan.into_transaction(TxnId { session, number }).unwrap()
    };
    let (first, second) = (plan(1, 0), plan(2, 1));
    assert!(matches!(&first.assertions[..], [Assertion::AtMost { max: 1, .. }]));
    assert!(matches!(&sandbox.commit(&first)[..], [Outcome::Placed(_)]));
    match &sandbox.commit(&second)[..] {
        [Outcome::Aborted, Outcome::Conflict(conflict)] => {
            assert_eq!(conflict.kind, ConflictKind::Assertion { index: 0, found: 2, allowed: 1 });
        }
        other => panic!("the second must fail by its assertion, not {other:?}"),
    }
}

#[test]
fn distinct_machines_are_distinct_and_one_task_stays_pending_when_they_run_out() {
    for mut policy in [batch(), service()] {
        let mut sandbox = cell_of(20, 5);
        let mut spec = simulated_job("j", "s", 21, cpu(10));
        spec.groups[0].distinct_machines = true;
        let (job, placed) = place(&mut sandbox, policy.as_mut(), spec);
        assert_eq!(
            placed.placed.iter().map(|(_, m)| *m).collect::<BTreeSet<_>>().len(),
            20,
            "{}",
            policy.name()
        );
        assert_eq!(sandbox.cell().job(job).unwrap().counts().pending, 1);
    }
}

#[test]
fn service_keeps_tasks_of_a_job_apart_even_where_it_need_not() {
    let mut sandbox = cell_of(8, 1);
    place(&mut sandbox, service().as_mut(), simulated_job("other", "s", 4, cpu(900)));
    let (_, placed) = place(&mut sandbox, service().as_mut(), simulated_job("j", "s", 8, cpu(50)));
    assert_eq!(placed.placed.iter().map(|(_, m)| *m).collect::<BTreeSet<_>>().len(), 8);
}

#[test]
fn machines_with_gpus_are_the_last_choice_of_those_who_need_none() {
    for mut policy in [batch(), service()] {
        let mut sandbox = Sandbox::new(2);
        let mut spec = machine_spec("gpu", cpu(1_000).with(Dimension::GPU, 1_000));
        spec.devices = vec!["nvidia0".into()];
        let gpu = sandbox.machine_of(spec);
        for i in 0..9 {
            sandbox.machine(&format!("m{i}"), cpu(1_000));
        }
        let (_, placed) = place(&mut sandbox, policy.as_mut(), simulated_job("j", "s", 90, cpu(100)));
        assert_eq!(placed.placed.iter().filter(|(_, m)| *m == gpu).count(), 0, "{}", policy.name());
        let (_, placed) = place(&mut sandbox, policy.as_mut(), simulated_job("k", "s", 10, cpu(100)));
        assert_eq!(placed.placed.iter().filter(|(_, m)| *m == gpu).count(), 10, "{}", policy.name());
    }
}

#[test]
fn preemption_goes_across_bands_only_and_takes_no_more_than_needed() {
    /// Priority of what runs, priority of the newcomer, victims.
    const TABLE: [(u16, u16, usize); 7] =
        [(100, 200, 2), (50, 150, 2), (150, 199, 0), (200, 299, 0), (299, 300, 2), (200, 100, 0), (0, 99, 0)];
    for mut policy in [batch(), service()] {
        for (running, newcomer, victims) in TABLE {
            let mut sandbox = Sandbox::new(4);
            sandbox.machine("m0", cpu(1_000));
            let mut low = simulated_job("low", "s", 10, cpu(100));
            low.priority = running;
            place(&mut sandbox, policy.as_mut(), low);
            let mut high = simulated_job("high", "s", 1, cpu(200));
            high.priority = newcomer;
            let (_, placed) = place(&mut sandbox, policy.as_mut(), high);
            let case = format!("{} {newcomer} over {running}", policy.name());
            assert_eq!(placed.preempted.len(), victims, "{case}");
            assert_eq!(placed.placed.len(), usize::from(victims > 0), "{case}");
        }
    }
}

#[test]
fn preemption_takes_the_lowest_priority_and_the_fewest() {
    let mut sandbox = Sandbox::new(4);
    sandbox.machine("m0", cpu(1_000));
    for (name, priority, count, size) in [("a", 120, 1, 400), ("b", 20, 1, 400), ("c", 10, 2, 100)] {
        let mut spec = simulated_job(name, "s", count, cpu(size));
        spec.priority = priority;
        place(&mut sandbox, batch().as_mut(), spec);
    }
    let mut high = simulated_job("high", "s", 1, cpu(400));
    high.priority = 250;
    let (_, placed) = place(&mut sandbox, batch().as_mut(), high);
    let victims: Vec<String> = placed
        .preempted
        .iter()
        .map(|task| sandbox.cell().job(task.job).unwrap().spec().name.clone())
        .collect();
    assert_eq!(victims, ["b"], "the two small ones turn out to be needless");
}

#[test]
fn preemption_can_be_switched_off() {
    let options = BatchOptions { preempt: false, ..BatchOptions::default() };
    let policies: [Box<dyn Policy>; 2] = [
        Box::new(Batch::new(options)),
        Box::new(Service::new(ServiceOptions { preempt: false, ..ServiceOptions::default() })),
    ];
    for mut policy in policies {
        let mut sandbox = Sandbox::new(4);
        sandbox.machine("m0", cpu(1_000));
        place(&mut sandbox, policy.as_mut(), simulated_job("low", "s", 10, cpu(100)));
        let mut high = simulated_job("high", "s", 1, cpu(200));
        high.priority = 250;
        assert_eq!(place(&mut sandbox, policy.as_mut(), high).1, Placed::default());
    }
}

#[test]
fn a_task_that_no_preemption_helps_preempts_nobody() {
    let mut sandbox = Sandbox::new(4);
    sandbox.machine_in("m0", cpu(1_000), ("zone", "a"));
    place(&mut sandbox, batch().as_mut(), simulated_job("low", "s", 10, cpu(100)));
    let mut high = simulated_job("high", "s", 1, cpu(200));
    high.priority = 250;
    high.groups[0].constraints = vec![cell_state::constraint::Constraint {
        attribute: "zone".into(),
        test: cell_state::constraint::Test::Equal("b".into()),
    }];
    assert_eq!(place(&mut sandbox, batch().as_mut(), high).1, Placed::default());
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    for name in ["batch", "service", "gang"] {
        let plan = |seed| {
            let sandbox = &mut cell_of(200, 1);
            let job = sandbox.job(simulated_job("j", "s", 50, cpu(100)));
            let session = sandbox.session("s");
            let tasks: Vec<TaskId> = sandbox.cell().job(job).unwrap().pending().collect();
            let (mut overlay, mut rng) = (Overlay::new(), Rng::seed_from_u64(seed));
            let mut plan = Plan::new(sandbox.cell(), job, sandbox.now(), &mut overlay, &mut rng).unwrap();
            built_in(name).unwrap().plan(&mut plan, &tasks);
            plan.into_transaction(TxnId { session, number: 1 }).unwrap()
        };
        assert_eq!(plan(1), plan(1), "{name}");
        assert_ne!(plan(1), plan(2), "{name}");
    }
}

#[test]
fn fallbacks_are_other_machines_that_would_do() {
    for name in ["batch", "service", "gang"] {
        let mut sandbox = cell_of(48, 1);
        let mut spec = simulated_job("j", "s", 20, cpu(100));
        spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 4 });
        let job = sandbox.job(spec);
        let session = sandbox.session("s");
        let tasks: Vec<TaskId> = sandbox.cell().job(job).unwrap().pending().collect();
        let (mut overlay, mut rng) = (Overlay::new(), Rng::seed_from_u64(3));
        let mut plan = Plan::new(sandbox.cell(), job, sandbox.now(), &mut overlay, &mut rng).unwrap();
        built_in(name).unwrap().plan(&mut plan, &tasks);
        let txn = plan.into_transaction(TxnId { session, number: 1 }).unwrap();
        for op in &txn.ops {
            let Op::Place { machines, .. } = op else { panic!("only places are expected") };
            assert_eq!(machines.iter().collect::<BTreeSet<_>>().len(), 3, "{name}: {machines:?}");
            let rack =
                |m: &MachineId| sandbox.cell().machine(*m).unwrap().attribute("rack").unwrap().to_owned();
            if name == "service" {
                assert!(
                    machines.iter().all(|m| rack(m) == rack(&machines[0])),
                    "a fallback stays in its domain"
                );
            }
        }
    }
}
