//! The scan for machines with room, beside the plain loop over machines that it replaces and beside a plain sum of as
//! many bytes, which is what memory and cache allow; and what a private view costs.
//!
//! `cargo bench -p schedulers --bench scan`; rates are in machines, those of `view` in tasks. With no filter it ends with
//! the ratios, measured in turns.

mod stage;

use std::hint::black_box;

use cell_state::fit::Demand;
use cell_state::overlay::Overlay;
use cell_state::{Cell, MachineId, TaskId};
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::SeedableRng;
use schedulers::columns::Columns;
use schedulers::plan::{Plan, Rng};

use stage::{Shape, stage};

const MACHINES: [u32; 3] = [1_000, 10_000, 100_000];
const PERCENT: u32 = 80;

fn main() {
    divan::main();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--bench"] {
        ratios::print();
    }
}

/// The demand of a job to plan, in four dimensions.
fn demand(cell: &Cell, job: cell_state::JobId) -> (TaskId, &Demand) {
    let task = TaskId { job, group: 0, index: 0 };
    (task, cell.demand(task).expect("the job is there"))
}

/// All machines once around, by columns: how many seem to have room.
fn scan(cell: &Cell, columns: &mut Columns, job: cell_state::JobId) -> u32 {
    let (mut overlay, mut rng) = (Overlay::new(), Rng::seed_from_u64(1));
    let plan = Plan::new(cell, job, cell.time(), &mut overlay, &mut rng).expect("the job is there");
    let mut plan = plan.with_columns(columns);
    let walk = plan.scan(TaskId { job, group: 0, index: 0 });
    walk.map_or(0, |mut walk| plan.count_of(&mut walk))
}

/// All machines once, by the fit rule.
fn plain(cell: &Cell, overlay: &Overlay, task: TaskId, demand: &Demand) -> usize {
    cell.machines().iter().filter(|machine| overlay.fit_demand(task, demand, machine).is_ok()).count()
}

/// As many bytes as four columns have.
fn sum(columns: &[u32]) -> u32 {
    columns.iter().fold(0, |sum, amount| sum.wrapping_add(*amount))
}

#[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
fn by_columns(bencher: Bencher<'_, '_>, machines: u32) {
    let stage = stage((machines, PERCENT));
    let mut stage = stage.borrow_mut();
    let job = stage.jobs[&(Shape::Plain, 1)];
    let (cell, columns) = stage.sandbox.cell_and_columns();
    bencher.counter(ItemsCount::new(machines)).bench_local(|| scan(cell, columns, job));
}

#[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
fn by_the_fit_rule(bencher: Bencher<'_, '_>, machines: u32) {
    let stage = stage((machines, PERCENT));
    let stage = stage.borrow();
    let (cell, overlay) = (stage.sandbox.cell(), Overlay::new());
    let (task, demand) = demand(cell, stage.jobs[&(Shape::Plain, 1)]);
    bencher.counter(ItemsCount::new(machines)).bench_local(|| plain(cell, &overlay, task, demand));
}

#[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
fn sum_of_columns(bencher: Bencher<'_, '_>, machines: u32) {
    let columns = vec![1u32; 4 * machines as usize];
    bencher.counter(ItemsCount::new(machines)).bench_local(|| sum(black_box(&columns)));
}

#[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
fn columns_made(bencher: Bencher<'_, '_>, machines: u32) {
    let stage = stage((machines, PERCENT));
    let stage = stage.borrow();
    let (cell, overlay) = (stage.sandbox.cell(), Overlay::new());
    bencher.counter(ItemsCount::new(machines)).bench_local(|| {
        let mut columns = Columns::new();
        columns.refresh(cell, &overlay);
        columns
    });
}

#[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
fn one_percent_read_again(bencher: Bencher<'_, '_>, machines: u32) {
    let stage = stage((machines, PERCENT));
    let mut stage = stage.borrow_mut();
    let (cell, columns) = stage.sandbox.cell_and_columns();
    let overlay = Overlay::new();
    bencher.counter(ItemsCount::new(machines / 100)).bench_local(|| {
        (0..machines / 100).for_each(|i| columns.touch(MachineId(i * 100)));
        columns.refresh(cell, &overlay);
    });
}

/// A view is an overlay: made, filled with the placements of a plan, and taken back.
mod view {
    use super::*;

    const TASKS: u32 = 100;

    fn with_plan(bencher: Bencher<'_, '_>, machines: u32, end: impl Fn(&mut Overlay, cell_state::JobId)) {
        let stage = stage((machines, PERCENT));
        let stage = stage.borrow();
        let (cell, job) = (stage.sandbox.cell(), stage.jobs[&(Shape::Plain, TASKS)]);
        let (task, demand) = demand(cell, job);
        let empty = Overlay::new();
        let roomy = cell.machines().iter().filter(|m| empty.fit_demand(task, demand, m).is_ok());
        let roomy: Vec<MachineId> = roomy.map(|machine| machine.id).take(TASKS as usize).collect();
        let mut overlay = Overlay::new();
        bencher.counter(ItemsCount::new(TASKS)).bench_local(|| {
            for (index, machine) in (0..TASKS).zip(&roomy) {
                let placed = overlay.place(cell, TaskId { index, ..task }, *machine, &[]);
                assert!(placed.is_ok(), "it has the room");
            }
            end(&mut overlay, job);
        });
    }

    #[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
    fn placed_and_cleared(bencher: Bencher<'_, '_>, machines: u32) {
        with_plan(bencher, machines, |overlay, _| overlay.clear());
    }

    #[divan::bench(args = MACHINES, min_time = 0.3, max_time = 0.3)]
    fn placed_and_undone_one_by_one(bencher: Bencher<'_, '_>, machines: u32) {
        with_plan(bencher, machines, |overlay, job| {
            (0..TASKS).for_each(|index| overlay.undo(TaskId { job, group: 0, index }));
        });
    }
}

/// The same things measured in turns, so that what else the machine does hits all alike.
mod ratios {
    use super::*;

    const ROUNDS: usize = 15;

    pub(super) fn print() {
        println!("\nmachines per microsecond, median of {ROUNDS} rounds in turns (fastest, slowest)");
        for machines in MACHINES {
            let stage = stage((machines, PERCENT));
            let mut stage = stage.borrow_mut();
            let job = stage.jobs[&(Shape::Plain, 1)];
            let (cell, columns) = stage.sandbox.cell_and_columns();
            let (task, demand) = demand(cell, job);
            let (overlay, bytes) = (Overlay::new(), vec![1u32; 4 * machines as usize]);
            let (mut by_columns, mut by_rule, mut by_sum) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                by_columns.push(rate(machines, || scan(cell, columns, job)));
                by_rule.push(rate(machines, || plain(cell, &overlay, task, demand)));
                by_sum.push(rate(machines, || sum(black_box(&bytes))));
            }
            let [columns, rule, sum] = [by_columns, by_rule, by_sum].map(median);
            println!(
                "{machines:>6} machines: columns {columns}, fit rule {rule}, sum {sum}: columns are {:.1} times the \
                 fit rule and {:.0} % of the sum",
                columns.0 / rule.0,
                100.0 * columns.0 / sum.0
            );
        }
    }

    struct Rate(f64, f64, f64);

    impl std::fmt::Display for Rate {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:.0} ({:.0}, {:.0})", self.0, self.2, self.1)
        }
    }

    fn median(mut rates: Vec<f64>) -> Rate {
        rates.sort_by(f64::total_cmp);
        Rate(rates[rates.len() / 2], rates[0], rates[rates.len() - 1])
    }

    /// Machines per microsecond over about a million machines.
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench measures time")]
    fn rate<T>(machines: u32, mut run: impl FnMut() -> T) -> f64 {
        let times = 2_000_000 / machines;
        let began = std::time::Instant::now();
        for _ in 0..times {
            black_box(run());
        }
        f64::from(times * machines) / began.elapsed().as_secs_f64() / 1e6
    }
}
