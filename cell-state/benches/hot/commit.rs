//! How fast the commit path is: judging, applying, reports. Beside each the plainest code that could do it, on bare
//! arrays, without sessions, names, quotas, pages or anything that a record of a race needs.
//!
//! Rates are in ops.

use std::cell::RefCell;

use cell_state::Cell;
use cell_state::commit::{Judge, Judged};
use cell_state::event::Event;
use cell_state::resources::DIMENSIONS;
use cell_state::transaction::{Op, Transaction};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

use crate::stage::{MACHINE, OPS, TASK, Turning, apply, chosen, commit, events, transactions};

/// Transactions per sample, and those before it. A sample is about a millisecond, so on a busy machine the fastest of
/// them was not interrupted.
const TXNS: u32 = 2_000;

const MACHINES: [u32; 2] = [10_000, 100_000];

fn stage(machines: u32) -> (Cell, Vec<Transaction>) {
    let mut cell = crate::stage::cell(machines, 2 * TXNS * OPS);
    let mut txns = transactions(&cell, 0..2 * TXNS);
    let rest = txns.split_off(TXNS as usize);
    commit(&mut cell, &mut Judge::new(), &txns);
    (cell, rest)
}

fn ops<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(TXNS * OPS))
}

#[divan::bench(args = MACHINES, sample_count = 40, sample_size = 1)]
fn judge(bencher: Bencher<'_, '_>, machines: u32) {
    let (cell, txns) = stage(machines);
    let mut judge = Judge::new();
    let time = cell.time();
    ops(bencher).bench_local(|| {
        txns.iter().filter(|txn| matches!(judge.judge(&cell, time, txn), Ok(Judged::New(_)))).count()
    });
}

#[divan::bench(name = "apply", args = MACHINES, sample_count = 40, sample_size = 1)]
fn apply_placed(bencher: Bencher<'_, '_>, machines: u32) {
    let (cell, txns) = stage(machines);
    let events = events(&mut cell.clone(), &txns);
    let all = |mut cell: Cell| {
        events.iter().for_each(|event| apply(&mut cell, event));
        cell
    };
    ops(bencher).with_inputs(|| cell.clone()).bench_local_values(all);
}

#[divan::bench(args = MACHINES, sample_count = 40, sample_size = 1)]
fn judge_and_apply(bencher: Bencher<'_, '_>, machines: u32) {
    let (cell, txns) = stage(machines);
    let mut judge = Judge::new();
    ops(bencher).with_inputs(|| cell.clone()).bench_local_values(|mut cell| {
        assert_eq!(commit(&mut cell, &mut judge, &txns), (TXNS * OPS) as usize);
        cell
    });
}

/// The same in a cell that has been at it for a while: lists of machines have room, and memory was in use before.
#[divan::bench(args = MACHINES, sample_count = 100, sample_size = 1)]
fn judge_and_apply_steady(bencher: Bencher<'_, '_>, machines: u32) {
    let (cell, txns) = stage(machines);
    let mut turning = Turning { cell, txns, judge: Judge::new() };
    assert_eq!(turning.commit(), (TXNS * OPS) as usize);
    let turning = RefCell::new(turning);
    ops(bencher).with_inputs(|| turning.borrow_mut().turn()).bench_local_values(|()| {
        assert_eq!(turning.borrow_mut().commit(), (TXNS * OPS) as usize);
    });
}

#[divan::bench(args = MACHINES, sample_count = 40, sample_size = 1)]
fn apply_reports(bencher: Bencher<'_, '_>, machines: u32) {
    let (mut cell, txns) = stage(machines);
    let placed = events(&mut cell, &txns);
    let reports = crate::stage::reports(&cell, &placed);
    let all = |mut cell: Cell| {
        reports.iter().for_each(|event| apply(&mut cell, event));
        cell
    };
    ops(bencher).with_inputs(|| cell.clone()).bench_local_values(all);
}

/// A cell as bare arrays.
#[derive(Clone)]
struct Plain {
    machines: Vec<PlainMachine>,
    tasks: Vec<PlainTask>,
}

#[derive(Clone)]
struct PlainMachine {
    limit: [u64; DIMENSIONS],
    used: [u64; DIMENSIONS],
    version: u64,
    tasks: Vec<u32>,
}

#[derive(Clone, Copy)]
struct PlainTask {
    machine: u32,
    epoch: u32,
    live: bool,
}

impl Plain {
    fn commit(&mut self, txns: &[Transaction]) -> usize {
        let mut accepted = 0;
        for (seq, txn) in txns.iter().enumerate() {
            for op in &txn.ops {
                let Op::Place { task, machines, .. } = op else { continue };
                let machine = &mut self.machines[machines[0].index()];
                let at = task.job.0 * crate::stage::JOB_TASKS + task.index;
                let record = &mut self.tasks[at as usize];
                let fits = (0..DIMENSIONS).all(|d| machine.used[d] + TASK.0[d] <= machine.limit[d]);
                if record.live || !fits {
                    continue;
                }
                (0..DIMENSIONS).for_each(|d| machine.used[d] += TASK.0[d]);
                machine.version = seq as u64;
                machine.tasks.push(at);
                *record = PlainTask { machine: machines[0].0, epoch: record.epoch + 1, live: true };
                accepted += 1;
            }
        }
        accepted
    }
}

#[divan::bench(args = MACHINES, sample_count = 40, sample_size = 1)]
fn judge_and_apply_plain(bencher: Bencher<'_, '_>, machines: u32) {
    let (_, txns) = stage(machines);
    let machine = PlainMachine { limit: MACHINE.0, used: [0; DIMENSIONS], version: 0, tasks: Vec::new() };
    let pending = PlainTask { machine: 0, epoch: 0, live: false };
    let mut plain =
        Plain { machines: vec![machine; machines as usize], tasks: vec![pending; (2 * TXNS * OPS) as usize] };
    for n in 0..TXNS * OPS {
        plain.machines[chosen(n, machines) as usize].tasks.push(n);
    }
    ops(bencher).with_inputs(|| plain.clone()).bench_local_values(|mut plain| {
        assert_eq!(plain.commit(&txns), (TXNS * OPS) as usize);
        black_box(plain.tasks.iter().map(|t| t.machine + t.epoch).max());
        plain
    });
}

/// The same transactions one by one with a judge of their own each, as a study or a test may do it.
#[divan::bench(args = MACHINES, sample_count = 40, sample_size = 1)]
fn judge_alone(bencher: Bencher<'_, '_>, machines: u32) {
    let (cell, txns) = stage(machines);
    let time = cell.time();
    let judged =
        |txn: &&Transaction| matches!(cell_state::commit::judge(&cell, time, txn), Ok(Judged::New(_)));
    ops(bencher).bench_local(|| txns.iter().filter(judged).count());
}

/// Cloning what a commit produced: what a second reader of an event costs.
#[divan::bench(sample_count = 40, sample_size = 1)]
fn share_events(bencher: Bencher<'_, '_>) {
    let (mut cell, txns) = stage(10_000);
    let events = events(&mut cell, &txns);
    ops(bencher).bench_local(|| -> Vec<Event> { events.clone() });
}
