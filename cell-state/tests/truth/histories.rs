//! Random histories of a cell: what may happen, and the machines and jobs it happens to.

use std::collections::BTreeMap;

use cell_state::Resources;
use cell_state::constraint::{Constraint, Test};
use cell_state::job::{GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::resources::Dimension;
use proptest::prelude::*;

/// One step of a random history, in numbers that are given a meaning by what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Machine { name: u8, cpu: u8, devices: u8, rack: u8, incarnation: u8 },
    State { name: u8, state: MachineState },
    Job { name: u8, count: u8, cpu: u8, ask: u8 },
    StopJob { name: u8 },
    Forget { name: u8 },
    Quota { team: bool, high: bool, cpu: Option<u8> },
    Overcommit { percent: u16 },
    End { session: u8 },
    Report { task: u16, end: Option<i8>, old: bool },
    Transact { session: u8, behind: u8, all: bool, coarse: bool, ops: Vec<RandomOp>, assertion: Option<u8> },
    Resend { back: u8 },
}

/// One op of a random transaction.
#[derive(Clone, Debug)]
pub(crate) enum RandomOp {
    Place { task: u16, machines: Vec<u8>, victims: Vec<u16> },
    Evict { task: u16, old: bool },
    Stop { task: u16, old: bool },
    Resize { task: u16, cpu: u8 },
}

fn op() -> impl Strategy<Value = RandomOp> {
    let victims = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(any::<u16>(), 1..3)];
    let place = (any::<u16>(), prop::collection::vec(0u8..20, 1..3), victims);
    prop_oneof![
        8 => place.prop_map(|(task, machines, victims)| RandomOp::Place { task, machines, victims }),
        1 => (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(task, old)| RandomOp::Evict { task, old }),
        1 => (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(task, old)| RandomOp::Stop { task, old }),
        2 => (any::<u16>(), 0u8..6).prop_map(|(task, cpu)| RandomOp::Resize { task, cpu }),
    ]
}

/// A random step; transactions and reports are the most frequent.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        3 => Just(MachineState::Ready),
        2 => Just(MachineState::Draining),
        1 => Just(MachineState::Down)
    ];
    let transact =
        (0u8..3, prop_oneof![3 => Just(0u8), 1 => 0u8..6], any::<bool>(), prop::bool::weighted(0.3));
    let transact = (transact, prop::collection::vec(op(), 1..6), prop::option::weighted(0.3, any::<u8>()));
    prop_oneof![
        2 => (0u8..4, 1u8..8, 0u8..3, 0u8..2, 0u8..2).prop_map(|(name, cpu, devices, rack, incarnation)| {
            Step::Machine { name, cpu, devices, rack, incarnation }
        }),
        1 => (0u8..4, state).prop_map(|(name, state)| Step::State { name, state }),
        2 => (0u8..6, 0u8..4, 0u8..4, any::<u8>()).prop_map(|(name, count, cpu, ask)| {
            Step::Job { name, count, cpu, ask }
        }),
        1 => (0u8..6).prop_map(|name| Step::StopJob { name }),
        1 => (0u8..6).prop_map(|name| Step::Forget { name }),
        1 => (any::<bool>(), any::<bool>(), prop::option::of(0u8..8)).prop_map(|(team, high, cpu)| {
            Step::Quota { team, high, cpu }
        }),
        1 => (100u16..180).prop_map(|percent| Step::Overcommit { percent }),
        1 => (0u8..3).prop_map(|session| Step::End { session }),
        8 => (any::<u16>(), prop::option::of(-1i8..2), prop::bool::weighted(0.1)).prop_map(|(task, end, old)| {
            Step::Report { task, end, old }
        }),
        12 => transact.prop_map(|((session, behind, all, coarse), ops, assertion)| {
            Step::Transact { session, behind, all, coarse, ops, assertion }
        }),
        1 => any::<u8>().prop_map(|back| Step::Resend { back }),
    ]
}

pub(crate) fn team_name(first: bool) -> String {
    if first { "red".into() } else { "blue".into() }
}

pub(crate) fn machine(name: u8, cpu: u8, devices: u8, rack: u8) -> MachineSpec {
    MachineSpec {
        name: format!("m{name}"),
        capacity: Resources([cpu.into(), 20, 0, u64::from(devices) * 1000, 0, 0, 0, 0]),
        attributes: BTreeMap::from([("rack".to_owned(), format!("r{rack}"))]),
        devices: (0..devices).map(|d| format!("gpu{d}")).collect(),
        ports: (100, 102),
    }
}

/// A job whose odder wishes are the bits of `ask`.
pub(crate) fn job(name: u8, count: u8, cpu: u8, ask: u8) -> JobSpec {
    let bit = |n: u8| ask & (1 << n) != 0;
    let mut resources = Resources::cpu_memory(cpu.into(), 1);
    if name == 4 {
        resources = resources.with(Dimension::GPU, if bit(0) { 1000 } else { 600 });
    }
    let rack = Constraint { attribute: "rack".into(), test: Test::Equal("r0".into()) };
    let web = PortAsk { name: "web".into(), number: Some(101) };
    let other = PortAsk { name: "other".into(), number: None };
    let group = |name: &str| GroupSpec {
        name: name.into(),
        count: count.into(),
        resources,
        constraints: if bit(1) && bit(2) { vec![rack.clone()] } else { Vec::new() },
        distinct_machines: bit(3) && bit(4),
        spread: None,
        ports: if name.ends_with('0') && bit(5) { vec![other.clone(), web.clone()] } else { Vec::new() },
        restart: Restart {
            on: if bit(6) { RestartOn::Always } else { RestartOn::Failure },
            attempts: u16::from(ask % 3),
            delay_us: 0,
        },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: format!("j{name}"),
        kind: JobKind::Service,
        // A job keeps its team and priority, so they follow from its name.
        priority: 100 + 50 * u16::from(name % 4),
        team: team_name(name.is_multiple_of(2)),
        scheduler: format!("s{}", name % 2),
        groups: vec![group("g0"), group("g1")],
    }
}
