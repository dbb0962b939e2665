//! Cells of any size and transactions on them, for the benches: by arithmetic, the same on every run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cell_state::bounds::RESTARTS_MAX;
use cell_state::commit::{Judge, Judged, read_ahead};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::task::Exit;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Cell, JobId, MachineId, Resources, SessionId, TaskId, Time, TxnId};

/// Tasks of one job.
pub(crate) const JOB_TASKS: u32 = 10_000;

/// Ops of one transaction.
pub(crate) const OPS: u32 = 10;

/// What each task asks for.
pub(crate) const TASK: Resources = Resources([100, 256 << 20, 0, 0, 0, 0, 0, 0]);

/// What each machine has.
pub(crate) const MACHINE: Resources = Resources([1 << 30, 1 << 50, 1 << 40, 0, 40_000, 0, 0, 0]);

/// A cell of so many machines and so many pending tasks, with one session.
pub(crate) fn cell(machines: u32, tasks: u32) -> Cell {
    let mut cell = Cell::new();
    let time = Time(1_700_000_000_000_000);
    apply(
        &mut cell,
        &Event::Configured { config: CellConfig { name: "bench".into(), ..Default::default() } },
    );
    for n in 0..machines {
        let spec = Arc::new(MachineSpec {
            name: format!("machine-{n:06}"),
            capacity: MACHINE,
            attributes: BTreeMap::new(),
            devices: Vec::new(),
            ports: DEFAULT_PORTS,
        });
        apply(&mut cell, &Event::MachineRegistered { machine: MachineId(n), spec, incarnation: 1, time });
    }
    let (session, scheduler, instance) = (SessionId(0), "batch".into(), 1);
    apply(&mut cell, &Event::SessionOpened { session, scheduler, instance, time });
    submit(&mut cell, tasks);
    cell
}

/// Submits so many tasks in jobs of [`JOB_TASKS`].
pub(crate) fn submit(cell: &mut Cell, tasks: u32) {
    for n in 0..tasks.div_ceil(JOB_TASKS) {
        let (spec, time) = (Arc::new(job(n, JOB_TASKS.min(tasks - n * JOB_TASKS))), cell.time());
        apply(cell, &Event::JobSubmitted { job: JobId(n), spec, time });
    }
}

fn job(n: u32, count: u32) -> JobSpec {
    let group = GroupSpec {
        name: "g".into(),
        count,
        resources: TASK,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        // So that what failed can be placed again.
        restart: Restart { on: RestartOn::Failure, attempts: RESTARTS_MAX, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: format!("job-{n}"),
        kind: JobKind::Batch,
        priority: 100,
        team: "bench".into(),
        scheduler: "batch".into(),
        groups: vec![group],
    }
}

/// Applies the next entry.
pub(crate) fn apply(cell: &mut Cell, event: &Event) {
    cell.apply(cell.seq().next(), event);
}

/// A machine for the n-th placement: spread like chance, without any.
pub(crate) fn chosen(n: u32, machines: u32) -> u32 {
    ((u64::from(n.wrapping_mul(2_654_435_761)) * u64::from(machines)) >> 32) as u32
}

/// The task of the n-th placement.
pub(crate) fn task(n: u32) -> TaskId {
    TaskId { job: JobId(n / JOB_TASKS), group: 0, index: n % JOB_TASKS }
}

/// Transactions of these numbers, each of [`OPS`] placements of tasks of its own.
pub(crate) fn transactions(cell: &Cell, numbers: Range<u32>) -> Vec<Transaction> {
    let machines = cell.machines().len() as u32;
    let place = |n: u32| Op::Place {
        task: task(n),
        machines: MachineId(chosen(n, machines)).into(),
        preempt: Vec::new(),
    };
    let txn = |t: u32| Transaction {
        id: TxnId { session: SessionId(0), number: u64::from(t) + 1 },
        basis: cell.seq(),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        ops: (t * OPS..(t + 1) * OPS).map(place).collect(),
        assertions: Vec::new(),
    };
    numbers.map(txn).collect()
}

/// Judges and applies them; returns how many ops were accepted.
pub(crate) fn commit(cell: &mut Cell, judge: &mut Judge, txns: &[Transaction]) -> usize {
    let time = cell.time();
    let mut accepted = 0;
    for (i, txn) in txns.iter().enumerate() {
        if let Some(next) = txns.get(i + 1) {
            read_ahead(cell, next);
        }
        let Ok(Judged::New(committed)) = judge.judge(cell, time, txn) else { panic!("a good transaction") };
        accepted += committed.outcomes.iter().filter(|o| o.is_accepted()).count();
        apply(cell, &Event::Committed(committed));
    }
    accepted
}

/// The same, and the events that came of it.
pub(crate) fn events(cell: &mut Cell, txns: &[Transaction]) -> Vec<Event> {
    let (time, mut judge) = (cell.time(), Judge::new());
    let commit = |txn| {
        let Ok(Judged::New(committed)) = judge.judge(cell, time, txn) else { panic!("a good transaction") };
        let event = Event::Committed(committed);
        apply(cell, &event);
        event
    };
    txns.iter().map(commit).collect()
}

/// What the agents say of these placements: each machine that its tasks have ended well.
pub(crate) fn reports(cell: &Cell, placed: &[Event]) -> Vec<Event> {
    let outcomes = placed.iter().filter_map(|event| match event {
        Event::Committed(committed) => Some(committed.outcomes.iter()),
        _ => None,
    });
    let tasks = outcomes.flatten().filter_map(|outcome| match outcome {
        Outcome::Placed(placed) => Some(placed.task),
        _ => None,
    });
    ended(cell, tasks, Exit::Code(0))
}

/// What the agents say when these tasks have ended.
fn ended(cell: &Cell, tasks: impl Iterator<Item = TaskId>, exit: Exit) -> Vec<Event> {
    let mut by_machine: BTreeMap<MachineId, Vec<Report>> = BTreeMap::new();
    for id in tasks {
        let Some(task) = cell.task(id) else { continue };
        let report = Report { task: id, epoch: task.epoch, seen: Seen::Ended(exit) };
        by_machine.entry(task.machine.unwrap_or(MachineId(0))).or_default().push(report);
    }
    let event = |(machine, reports): (MachineId, Vec<Report>)| {
        let seen = cell.machine(machine).map_or(0, |m| m.reports_seen);
        Event::Reported { machine, incarnation: 1, first: seen + 1, reports, time: cell.time() }
    };
    by_machine.into_iter().map(event).collect()
}

/// A cell whose tasks come and go: the same transactions can be committed again and again, and machines have the room in
/// their lists that they have had before.
pub(crate) struct Turning {
    pub(crate) cell: Cell,
    pub(crate) txns: Vec<Transaction>,
    pub(crate) judge: Judge,
}

impl Turning {
    /// Ends the tasks that the transactions placed, and numbers these anew.
    pub(crate) fn turn(&mut self) {
        let tasks = self.txns.iter().flat_map(|txn| &txn.ops).map(Op::task);
        for event in ended(&self.cell, tasks, Exit::Code(1)) {
            apply(&mut self.cell, &event);
        }
        let basis = self.cell.seq();
        let count = self.txns.len() as u64;
        for txn in &mut self.txns {
            (txn.id.number, txn.basis) = (txn.id.number + count, basis);
        }
    }

    /// Commits them.
    pub(crate) fn commit(&mut self) -> usize {
        commit(&mut self.cell, &mut self.judge, &self.txns)
    }
}
