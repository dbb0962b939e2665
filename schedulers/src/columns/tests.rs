//! The scan against the slow loop: what the columns offer and the fit rule confirms is exactly what the fit rule finds.

use std::collections::BTreeSet;

use cell_state::admit::Command;
use cell_state::constraint::{Constraint, Test};
use cell_state::event::CellConfig;
use cell_state::fit::Demand;
use cell_state::job::PortAsk;
use cell_state::machine::MachineSpec;
use cell_state::overlay::Overlay;
use cell_state::resources::{Overcommit, Schema};
use cell_state::task::Exit;
use cell_state::{JobId, Resources, TaskId};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::plan::{Plan, Rng};
use crate::sandbox::{Sandbox, machine_spec, simulated_job};

/// A cell whose resources all have names.
fn sandbox(seed: u64) -> Sandbox {
    let mut sandbox = Sandbox::new(seed);
    let schema = Schema { custom: vec!["x".into(), "y".into(), "z".into()] };
    let config = CellConfig { schema, ..sandbox.cell().config().clone() };
    sandbox.command(Command::Configure(config));
    sandbox
}

/// Amounts of every size, so that scaling and rounding are met: from one unit to far beyond 31 bits.
fn amount(rng: &mut Rng) -> u64 {
    let bits = [0, 1, 4, 10, 31, 32, 40, 50][rng.random_range(0..8usize)];
    rng.random_range(0..=1u64 << bits)
}

fn spec(rng: &mut Rng, i: usize) -> MachineSpec {
    let mut spec = machine_spec(&format!("m{i}"), Resources::ZERO);
    for d in [Dimension::CPU, Dimension::MEMORY, Dimension::DISK, Dimension::NET, Dimension(6)] {
        spec.capacity = spec.capacity.with(d, if rng.random_bool(0.8) { amount(rng) } else { 0 });
    }
    let devices = rng.random_range(0..3usize);
    spec.devices = (0..devices).map(|d| format!("gpu{d}")).collect();
    spec.capacity = spec.capacity.with(Dimension::GPU, devices as u64 * 1_000);
    spec.ports = (20_000, 20_000 + rng.random_range(0..4u16));
    if rng.random_bool(0.8) {
        spec.attributes.insert("rack".into(), format!("r{}", rng.random_range(0..4)));
    }
    spec
}

fn job(rng: &mut Rng, sandbox: &mut Sandbox, i: usize) -> JobId {
    let machines = sandbox.cell().machines();
    let mut wanted = Resources::ZERO;
    for d in [Dimension::CPU, Dimension::MEMORY, Dimension::DISK, Dimension::NET, Dimension(6)] {
        // As often as not exactly what some machine has, or one more: the edges are where rounding could err.
        let some = machines.get(rng.random_range(0..machines.len().max(1)));
        let there = some.map_or(0, |machine| machine.free().get(d));
        let amounts = [0, 0, amount(rng), there, there.saturating_add(1), there / 2];
        wanted = wanted.with(d, amounts[rng.random_range(0..6usize)].min(1 << 50));
    }
    wanted = wanted.with(Dimension::GPU, [0, 0, 0, 300, 1_000, 2_000][rng.random_range(0..6usize)]);
    let mut spec = simulated_job(&format!("j{i}"), "s", rng.random_range(1..12), wanted);
    let group = &mut spec.groups[0];
    group.distinct_machines = rng.random_bool(0.3);
    let ports = rng.random_range(0..3usize);
    group.ports =
        (0..ports).map(|p| PortAsk { name: format!("p{p}"), number: (p == 1).then_some(9_000) }).collect();
    if rng.random_bool(0.4) {
        let tests = [Test::Exists, Test::Equal("r1".into()), Test::NotEqual("r2".into())];
        let test = tests[rng.random_range(0..3usize)].clone();
        group.constraints.push(Constraint { attribute: "rack".into(), test });
    }
    sandbox.job(spec)
}

fn check(cell: &Cell, columns: &mut Columns, overlay: &Overlay, task: TaskId, demand: &Demand, start: usize) {
    columns.refresh(cell, overlay);
    let slow: BTreeSet<MachineId> = cell
        .machines()
        .iter()
        .filter(|machine| overlay.fit_demand(task, demand, machine).is_ok())
        .map(|machine| machine.id)
        .collect();
    let query = columns.query(demand, cell.machines());
    let mut scan = Scan::new(query.clone(), 0..columns.len(), start);
    let found: Vec<MachineId> = std::iter::from_fn(|| scan.next_candidate(columns)).collect();
    assert_eq!(Scan::new(query.clone(), 0..columns.len(), start).count(columns) as usize, found.len());
    let once: BTreeSet<MachineId> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "a machine came twice");
    let confirmed = |id: &MachineId| overlay.fit_demand(task, demand, &cell.machines()[id.index()]).is_ok();
    assert_eq!(once.iter().copied().filter(confirmed).collect::<BTreeSet<_>>(), slow);

    // The levels offer the same candidates, and order them as the score does.
    let levels = columns.take_levels(&query);
    for machine in cell.machines() {
        let level = levels.of(machine.id.0);
        assert_eq!(level > 0, once.contains(&machine.id), "{:?}", machine.id);
        assert_eq!(level, columns.level_of(&query, machine.id));
        // Scores are coarse on a machine that is a millionth of the largest.
        let asked = Dimension::all().filter(|d| demand.resources.get(*d) > 0);
        let largest = |d| cell.machines().iter().map(|m| m.limit.get(d)).max().unwrap_or(0);
        let coarse = asked.into_iter().any(|d| machine.limit.get(d) < largest(d) >> 20);
        if slow.contains(&machine.id) && !coarse {
            let exact = Score::Even.of(demand, &overlay.free(machine), &machine.limit);
            let (base, share) = if exact < 0.0 { (32.0, exact.rem_euclid(2.0)) } else { (96.0, exact) };
            let close = ((f64::from(level) - base) / 32.0 - share).abs();
            assert!(close < 0.05, "{level} for {exact}");
            let packed = Score::Pack.of(demand, &overlay.free(machine), &machine.limit);
            let quick = columns.score(Score::Pack, &query, machine.id).expect("it fits");
            assert!((f64::from(quick) - packed).abs() < 0.01, "{quick} for {packed}");
        }
    }
    columns.give_back_levels(query, levels);
}

fn step(rng: &mut Rng, sandbox: &mut Sandbox, i: usize) {
    let machines = sandbox.cell().machines().len();
    let some = MachineId(rng.random_range(0..machines.max(1)) as u32);
    match rng.random_range(0..10) {
        0 => {
            let again = if machines > 0 && rng.random_bool(0.5) { some.index() } else { machines };
            let mut spec = spec(rng, again);
            if let Some(known) = sandbox.cell().machine(MachineId(again as u32)) {
                // What is in use must stay there.
                let (devices, ports) = (known.spec.devices.clone(), known.spec.ports);
                let gpu = known.spec.capacity.get(Dimension::GPU);
                let capacity = spec.capacity.max(&known.spec.capacity).with(Dimension::GPU, gpu);
                spec = MachineSpec { capacity, devices, ports, ..spec };
            }
            sandbox.machine_of(spec);
        }
        1 if machines > 0 => {
            let states = [MachineState::Ready, MachineState::Draining, MachineState::Down];
            let state = states[rng.random_range(0..3usize)];
            sandbox.set_state(some, state);
        }
        2 => {
            let percent = [100, 150, 120][rng.random_range(0..3usize)];
            let percent = sandbox.cell().config().overcommit.0[0].max(percent);
            sandbox.overcommit(Overcommit([percent; DIMENSIONS]));
        }
        3 | 4 => {
            let live = sandbox.cell().machines().iter().flat_map(|m| m.load.tasks.clone());
            let ended: Vec<TaskId> = live.filter(|_| rng.random_bool(0.2)).collect();
            ended.iter().for_each(|task| sandbox.end(*task, Exit::Code(0)));
        }
        _ => {
            let job = job(rng, sandbox, i);
            let name = ["batch", "service"][rng.random_range(0..2usize)];
            let mut policy = crate::built_in(name).expect("a built-in policy");
            sandbox.place(policy.as_mut(), job);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scan_and_confirm_find_exactly_what_the_fit_rule_finds(seed in any::<u64>()) {
        let mut rng = Rng::seed_from_u64(seed);
        let mut sandbox = sandbox(seed);
        for i in 0..rng.random_range(0..200usize) {
            let spec = spec(&mut rng, i);
            sandbox.machine_of(spec);
        }
        for i in 0..12 {
            step(&mut rng, &mut sandbox, i);
            let job = job(&mut rng, &mut sandbox, 1_000 + i);
            let now = sandbox.now();
            let (cell, columns) = sandbox.cell_and_columns();
            let machines = cell.machines().len().max(1);
            let task = TaskId { job, group: 0, index: 0 };
            let demand = cell.demand(task).expect("the job was just submitted");
            let mut overlay = Overlay::new();
            check(cell, columns, &overlay, task, demand, rng.random_range(0..machines));
            // On a plan that fills up, of which some is taken back.
            let mut chance = Rng::seed_from_u64(seed);
            let plan = Plan::new(cell, job, now, &mut overlay, &mut chance).expect("the job is there");
            let mut plan = plan.with_columns(columns);
            for index in 0..10 {
                let machine = MachineId(rng.random_range(0..machines) as u32);
                drop(plan.place(TaskId { index, ..task }, machine));
            }
            plan.undo(TaskId { index: 3, ..task });
            if rng.random_bool(0.3) {
                plan.undo_all();
            }
            let planned: Vec<MachineId> = plan.planned_on().collect();
            check(cell, columns, &overlay, TaskId { index: 11, ..task }, demand, 0);
            planned.into_iter().for_each(|machine| columns.touch(machine));
        }
    }
}

#[test]
fn every_width_of_demand_is_scanned() {
    let mut sandbox = sandbox(1);
    for i in 0..130 {
        let spec =
            machine_spec(&format!("m{i}"), Resources([i * 7 % 100; DIMENSIONS]).with(Dimension::GPU, 0));
        sandbox.machine_of(spec);
    }
    for width in 0..DIMENSIONS {
        let mut wanted = Resources::ZERO;
        for d in Dimension::all().filter(|d| *d != Dimension::GPU).take(width) {
            wanted = wanted.with(d, 50);
        }
        let job = sandbox.job(simulated_job(&format!("j{width}"), "s", 1, wanted));
        let task = TaskId { job, group: 0, index: 0 };
        let (cell, columns) = sandbox.cell_and_columns();
        let demand = cell.demand(task).expect("the job was just submitted");
        for start in [0, 1, 63, 64, 129] {
            check(cell, columns, &Overlay::new(), task, demand, start);
        }
    }
}
