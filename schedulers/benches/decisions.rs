//! How many placements a policy decides in a second: a plan is made on columns that are kept, and taken back.
//!
//! `cargo bench -p schedulers --bench decisions`; rates are in tasks. `--bench decisions service` for one policy.

mod stage;

use std::fmt;

use cell_state::TaskId;
use cell_state::overlay::Overlay;
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::SeedableRng;
use schedulers::plan::{Plan, Rng};
use schedulers::{Policy, built_in};

use stage::{JOB_TASKS, Shape, stage};

/// A plan to make: machines, percent filled, shape of the job, its tasks.
#[derive(Clone, Copy)]
struct Case(u32, u32, Shape, u32);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} machines {:>2} % {:<11} x{}", self.0, self.1, format!("{:?}", self.2), self.3)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = [1_000, 10_000, 100_000].into_iter().flat_map(|m| [50, 80, 95].map(|p| (m, p)));
    let shapes = [Shape::Plain, Shape::Constrained, Shape::Spread];
    let jobs = shapes.into_iter().flat_map(|shape| JOB_TASKS.map(|tasks| (shape, tasks)));
    sizes.flat_map(move |(m, p)| jobs.clone().map(move |(shape, tasks)| Case(m, p, shape, tasks)))
}

fn main() {
    divan::main();
}

fn decide(bencher: Bencher<'_, '_>, Case(machines, percent, shape, tasks): Case, policy: &str) {
    let stage = stage((machines, percent));
    let mut stage = stage.borrow_mut();
    let (job, now) = (stage.jobs[&(shape, tasks)], stage.sandbox.now());
    let (cell, columns) = stage.sandbox.cell_and_columns();
    let pending: Vec<TaskId> = cell.job(job).into_iter().flat_map(|job| job.pending()).collect();
    let mut policy: Box<dyn Policy> = built_in(policy).expect("a built-in policy");
    let (mut overlay, mut rng) = (Overlay::new(), Rng::seed_from_u64(7));
    bencher.counter(ItemsCount::new(tasks)).bench_local(|| {
        let plan = Plan::new(cell, job, now, &mut overlay, &mut rng).expect("the job is there");
        let mut plan = plan.with_columns(columns);
        policy.plan(&mut plan, &pending);
        assert!(plan.placed().count() == pending.len(), "everything found a place");
        plan.undo_all();
    });
}

#[divan::bench(args = cases(), min_time = 0.15, max_time = 0.15)]
fn batch(bencher: Bencher<'_, '_>, case: Case) {
    decide(bencher, case, "batch");
}

#[divan::bench(args = cases(), min_time = 0.15, max_time = 0.15)]
fn service(bencher: Bencher<'_, '_>, case: Case) {
    decide(bencher, case, "service");
}
