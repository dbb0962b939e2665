//! The agent against the real cell, under everything that can go wrong: crashes of the agent between any two steps,
//! lost connections, lost answers, slow disks, processes that end by themselves or won't.
//!
//! Never: a placement started twice, a report refused for a gap, more started than fits, a newcomer beside its
//! victims. And once the faults stop: what the cell has on the machine is exactly what runs there.

mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{Op, World};

fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>();
    prop_oneof![
        4 => (n, n).prop_map(|(a, b)| Op::Submit(a, b)),
        10 => (n, n).prop_map(|(a, b)| Op::Place(a, b)),
        1 => n.prop_map(Op::StopJob),
        2 => n.prop_map(Op::Evict),
        1 => n.prop_map(Op::Resize),
        1 => n.prop_map(Op::SetState),
        4 => Just(Op::Undrain),
        8 => n.prop_map(Op::Stream),
        8 => Just(Op::Serve),
        8 => Just(Op::Answer),
        6 => n.prop_map(Op::Flush),
        6 => n.prop_map(Op::Launch),
        2 => n.prop_map(Op::Exit),
        4 => n.prop_map(Op::Obey),
        2 => n.prop_map(Op::Pass),
        1 => Just(Op::Disconnect),
        4 => Just(Op::Connect),
        1 => n.prop_map(Op::Crash),
        4 => Just(Op::Restart),
        20 => n.prop_map(Op::Progress),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_cell_has_is_what_runs(ops in prop::collection::vec(op(), 1..160)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.heal();
        world.check_healed();
    }
}

#[test]
fn a_cell_made_anew_gets_new_records_and_a_clean_machine() {
    let mut world = World::new();
    let run = [Op::Restart, Op::Connect, Op::Submit(0, 0), Op::Submit(1, 1)];
    run.into_iter().for_each(|op| world.step(op));
    world.heal();
    world.place_all();
    world.heal();
    assert!(world.running() > 0);
    world.replace_cell();
    for op in [Op::Submit(0, 0), Op::Disconnect, Op::Connect] {
        world.step(op);
    }
    world.heal();
    world.place_all();
    world.heal();
    assert!(world.running() > 0);
    world.check_healed();
}

/// The random runs are about something: they start, preempt and restart tasks.
#[test]
fn the_model_reaches_the_cases_it_is_about() {
    let mut runner = TestRunner::deterministic();
    let (mut starts, mut preempting, mut again) = (0, 0, 0);
    for _ in 0..200 {
        let ops = prop::collection::vec(op(), 160).new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.step(op));
        let counts = world.started();
        starts += counts.0;
        preempting += counts.1;
        again += counts.2;
    }
    assert!(starts > 300 && preempting > 10 && again > 30, "{starts} {preempting} {again}");
}
