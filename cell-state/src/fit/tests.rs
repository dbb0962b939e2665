//! The fit rule, case by case.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::ids::{JobId, MachineId};
use crate::machine::MachineSpec;

fn machine(cpu: u64, gpus: usize) -> Machine {
    let capacity = Resources::cpu_memory(cpu, 1_000).with(Dimension::GPU, gpus as u64 * 1_000);
    let spec = MachineSpec {
        name: "m".into(),
        capacity,
        attributes: BTreeMap::new(),
        devices: (0..gpus).map(|i| format!("gpu{i}")).collect(),
        ports: (100, 101),
    };
    Machine::new(MachineId(0), Arc::new(spec), capacity)
}

fn demand(resources: Resources) -> Demand {
    Demand { resources, matchers: Vec::new(), distinct_machines: false, ports: Vec::new() }
}

fn task(job: u32, index: u32) -> TaskId {
    TaskId { job: JobId(job), group: 0, index }
}

fn alone(demand: &Demand, machine: &Machine) -> Result<Grant, Misfit> {
    fit(task(0, 0), demand, machine, None, &Resources::ZERO)
}

#[test]
fn every_dimension_counts_and_the_first_short_one_is_named() {
    let mut m = machine(4, 0);
    m.load.add(task(1, 0), &Resources::cpu_memory(3, 0), None);
    assert!(alone(&demand(Resources::cpu_memory(1, 1_000)), &m).is_ok());
    let short = alone(&demand(Resources::cpu_memory(2, 2_000)), &m);
    assert_eq!(short, Err(Misfit::Resource { dimension: Dimension::CPU, wanted: 2, free: 1 }));
}

#[test]
fn what_victims_hold_counts_as_free() {
    let mut m = machine(4, 0);
    m.load.add(task(1, 0), &Resources::cpu_memory(3, 0), None);
    let wanted = demand(Resources::cpu_memory(4, 0));
    assert!(fit(task(0, 0), &wanted, &m, None, &Resources::cpu_memory(3, 0)).is_ok());
}

#[test]
fn only_ready_machines_take_tasks() {
    for state in [MachineState::Draining, MachineState::Down] {
        let mut m = machine(4, 0);
        m.state = state;
        assert_eq!(alone(&demand(Resources::ZERO), &m), Err(Misfit::State(state)));
    }
}

#[test]
fn distinct_machines_looks_at_the_load_and_at_the_plan() {
    let mut wanted = demand(Resources::ZERO);
    wanted.distinct_machines = true;
    let mut m = machine(4, 0);
    assert!(alone(&wanted, &m).is_ok());
    let delta = Delta { tasks: [task(0, 7)].as_slice().into(), ..Delta::default() };
    let planned = fit(task(0, 0), &wanted, &m, Some(&delta), &Resources::ZERO);
    assert_eq!(planned, Err(Misfit::SameJob(task(0, 7))));
    m.load.add(task(0, 3), &Resources::ZERO, None);
    assert_eq!(alone(&wanted, &m), Err(Misfit::SameJob(task(0, 3))));
}

#[test]
fn ports_fixed_and_dynamic() {
    let mut m = machine(4, 0);
    let mut wanted = demand(Resources::ZERO);
    wanted.ports =
        vec![PortAsk { name: "a".into(), number: None }, PortAsk { name: "b".into(), number: Some(100) }];
    assert_eq!(alone(&wanted, &m).unwrap().ports, [101, 100]);
    m.load.add(task(1, 0), &Resources::ZERO, Some(&Grant { ports: vec![101], devices: vec![] }));
    assert_eq!(alone(&wanted, &m), Err(Misfit::Ports { wanted: 1, free: 0 }));
    m.load.add(task(2, 0), &Resources::ZERO, Some(&Grant { ports: vec![100], devices: vec![] }));
    assert_eq!(alone(&wanted, &m), Err(Misfit::Port(100)));
}

#[test]
fn a_fraction_of_a_device_goes_where_it_leaves_the_least() {
    let mut m = machine(4, 3);
    let gpu = |milli| demand(Resources::ZERO.with(Dimension::GPU, milli));
    let held = Grant { ports: vec![], devices: vec![(1, 600)] };
    m.load.add(task(1, 0), &Resources::ZERO.with(Dimension::GPU, 600), Some(&held));
    assert_eq!(alone(&gpu(300), &m).unwrap().devices, [(1, 300)]);
    assert_eq!(alone(&gpu(500), &m).unwrap().devices, [(0, 500)]);
    assert_eq!(alone(&gpu(2_000), &m).unwrap().devices, [(0, 1_000), (2, 1_000)]);
    let more = Grant { ports: vec![], devices: vec![(0, 500)] };
    m.load.add(task(2, 0), &Resources::ZERO.with(Dimension::GPU, 500), Some(&more));
    let short = Err(Misfit::Resource { dimension: Dimension::GPU, wanted: 2_000, free: 1_900 });
    assert_eq!(alone(&gpu(2_000), &m), short);
    let more = Grant { ports: vec![], devices: vec![(2, 700)] };
    m.load.add(task(3, 0), &Resources::ZERO.with(Dimension::GPU, 700), Some(&more));
    assert_eq!(alone(&gpu(600), &m), Err(Misfit::Devices { wanted_milli: 600, largest_free_milli: 500 }));
}
