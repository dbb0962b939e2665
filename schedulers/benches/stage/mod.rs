//! The cells that benches plan on: machines of three sizes, filled with tasks of four sizes by the server's own code.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cell_state::bounds::{GROUP_TASKS_MAX, TXN_OPS_MAX};
use cell_state::constraint::{Constraint, Test};
use cell_state::job::Spread;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{Dimension, JobId, MachineId, Resources, TaskId, TxnId};
use rand::{RngExt, SeedableRng};
use schedulers::plan::Rng;
use schedulers::sandbox::{Sandbox, machine_spec, simulated_job};

/// What the jobs to be planned ask for besides resources.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shape {
    /// Nothing.
    Plain,
    /// One kernel of four.
    Constrained,
    /// Even over the racks.
    Spread,
}

/// How many machines, filled to how many percent on average.
pub(crate) type Size = (u32, u32);

/// A filled cell with jobs to plan.
pub(crate) struct Stage {
    /// The cell.
    pub(crate) sandbox: Sandbox,
    /// Jobs nothing of which is placed, by shape and number of tasks.
    pub(crate) jobs: BTreeMap<(Shape, u32), JobId>,
}

/// Tasks of the jobs to plan.
pub(crate) const JOB_TASKS: [u32; 2] = [1, 100];

/// What a task of the jobs to plan asks for: a hundredth of the commonest machine.
pub(crate) fn wanted() -> Resources {
    amounts(10, 1)
}

/// So many of so many thousandths of the commonest machine, in four dimensions.
fn amounts(thousandths: u64, times: u64) -> Resources {
    let n = thousandths * times;
    let resources = Resources::cpu_memory(32 * n, (n << 37) / 1_000);
    resources.with(Dimension::DISK, (n << 41) / 1_000).with(Dimension::NET, 10 * n)
}

thread_local! {
    static STAGES: RefCell<BTreeMap<Size, Rc<RefCell<Stage>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The cell of this size; made once.
pub(crate) fn stage(size: Size) -> Rc<RefCell<Stage>> {
    STAGES.with_borrow_mut(|stages| {
        stages.entry(size).or_insert_with(|| Rc::new(RefCell::new(make(size)))).clone()
    })
}

fn make((machines, percent): Size) -> Stage {
    let mut rng = Rng::seed_from_u64(u64::from(machines) + u64::from(percent));
    let mut sandbox = Sandbox::new(1);
    for i in 0..machines {
        let times = [1, 1, 1, 2, 4][rng.random_range(0..5usize)];
        let mut spec = machine_spec(&format!("m{i}"), amounts(250 * times, 4));
        spec.attributes.insert("rack".into(), format!("r{}", i / 40));
        spec.attributes.insert("kernel".into(), format!("{}", rng.random_range(0..4)));
        sandbox.machine_of(spec);
    }
    fill(&mut sandbox, percent, &mut rng);
    let mut jobs = BTreeMap::new();
    for shape in [Shape::Plain, Shape::Constrained, Shape::Spread] {
        for tasks in JOB_TASKS {
            let mut spec = simulated_job(&format!("{shape:?}-{tasks}"), "s", tasks, wanted());
            let group = &mut spec.groups[0];
            let kernel = Constraint { attribute: "kernel".into(), test: Test::Equal("2".into()) };
            group.constraints.extend((shape == Shape::Constrained).then_some(kernel));
            group.spread =
                (shape == Shape::Spread).then(|| Spread { attribute: "rack".into(), max_per_value: 0 });
            jobs.insert((shape, tasks), sandbox.job(spec));
        }
    }
    Stage { sandbox, jobs }
}

/// Fills each machine to about so many percent, some more and some less.
fn fill(sandbox: &mut Sandbox, percent: u32, rng: &mut Rng) {
    let sizes = [40, 90, 150, 260];
    let count = (sandbox.cell().machines().len() as u32 * 20).min(GROUP_TASKS_MAX);
    let jobs = sizes.map(|size| {
        (
            sandbox.job(simulated_job(&format!("filler-{size}"), "s", count, amounts(size, 1))),
            amounts(size, 1),
        )
    });
    let session = sandbox.session("s");
    let (mut next, mut number, mut ops) = ([0u32; 4], 1_000_000, Vec::new());
    for id in 0..sandbox.cell().machines().len() as u32 {
        let machine = MachineId(id);
        let mut free = sandbox.cell().machines()[machine.index()].limit;
        let off = (100 - percent).min(20);
        let share = u64::from(percent + rng.random_range(0..=2 * off) - off);
        let least = free.get(Dimension::CPU) * (100 - share) / 100;
        while free.get(Dimension::CPU) > least {
            let pick = rng.random_range(0..4usize);
            let (job, size) = jobs[pick];
            if size.first_over(&free).is_some() || next[pick] == count {
                break;
            }
            free = free.minus(&size);
            let task = TaskId { job, group: 0, index: next[pick] };
            next[pick] += 1;
            ops.push(Op::Place { task, machines: [machine].into(), preempt: Vec::new() });
        }
        if ops.len() + 100 > TXN_OPS_MAX.min(2_000) || machine.index() + 1 == sandbox.cell().machines().len()
        {
            number += 1;
            let ops = std::mem::take(&mut ops);
            let (atomicity, detection) = (Atomicity::Incremental, Detection::Fit);
            let (id, basis) = (TxnId { session, number }, sandbox.cell().seq());
            let assertions = Vec::new();
            let txn = Transaction { id, basis, atomicity, detection, ops, assertions };
            assert!(sandbox.commit(&txn).iter().all(|outcome| outcome.is_accepted()), "all of it fits");
        }
    }
}
