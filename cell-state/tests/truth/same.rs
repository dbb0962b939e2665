//! Random histories, driven through the cell and the reference model at once: at every step both must say the same.

use std::collections::{BTreeMap, BTreeSet};

use cell_state::admit::{self, Command};
use cell_state::audit::audit;
use cell_state::commit::{self, Judged};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::Band;
use cell_state::overlay::Overlay;
use cell_state::resources::{Dimension, Overcommit};
use cell_state::task::{Exit, StopReason, TaskState};
use cell_state::transaction::{Assertion, Atomicity, Choices, Detection, Op, Transaction};
use cell_state::verdict::{ConflictKind, Outcome};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::histories::{RandomOp, Step, job, machine, step, team_name};
use crate::model::{Life, Model, ModelTask, Told};
use crate::pages;

/// The cell and the model side by side.
pub(crate) struct Both {
    pub(crate) cell: Cell,
    pub(crate) model: Model,
    pub(crate) log: Vec<Event>,
    sent: Vec<Transaction>,
    numbers: BTreeMap<SessionId, u64>,
    /// What has come of ops so far, in words.
    came: BTreeSet<String>,
}

impl Both {
    pub(crate) fn new() -> Both {
        let (cell, model) = (Cell::new(), Model::default());
        let (sent, log, numbers) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut both = Both { cell, model, log, sent, numbers, came: BTreeSet::new() };
        both.command(Command::Configure(CellConfig { name: "random".into(), ..CellConfig::default() }));
        for (i, name) in ["s0", "s1", "s0"].into_iter().enumerate() {
            both.command(Command::OpenSession { scheduler: name.into(), instance: i as u64 });
        }
        for name in 0..5 {
            both.command(Command::SubmitJob(job(name, 3, 1 + name % 2, 0)));
            let spec = machine(name.min(3), 5, name % 2 * 2, name / 2);
            both.command(Command::RegisterMachine { spec, incarnation: 0 });
        }
        both
    }

    fn now(&self) -> Time {
        Time(1_000 + self.cell.seq().0)
    }

    fn command(&mut self, command: Command) {
        // What the product refuses or finds already so changes nothing, and the model is not told.
        let Ok(admitted) = admit::admit(&self.cell, self.now(), command.clone()) else { return };
        if let Some(event) = admitted.event {
            self.model.obey(&command);
            self.apply(event);
        }
    }

    fn apply(&mut self, event: Event) {
        self.cell.apply(self.cell.seq().next(), &event);
        self.log.push(event);
        self.check();
    }

    /// A task by a random number: mostly one for which `likely` holds, sometimes any.
    fn task(&self, number: u16, likely: impl Fn(&TaskId, &ModelTask) -> bool) -> TaskId {
        let all = self.model.tasks.iter();
        let mut found: Vec<TaskId> = all.clone().filter(|(id, t)| likely(id, t)).map(|(id, _)| *id).collect();
        if found.is_empty() || number.is_multiple_of(16) {
            found = all.map(|(id, _)| *id).collect();
        }
        let id = found.get(usize::from(number / 16) % found.len().max(1)).copied();
        let nobodys = TaskId { job: JobId(1_000), group: 0, index: 0 };
        id.filter(|_| !number.is_multiple_of(64)).unwrap_or(nobodys)
    }

    fn epoch(&self, task: TaskId, old: bool) -> u32 {
        let epoch = self.model.tasks.get(&task).map_or(0, |t| t.epoch);
        if old { epoch.wrapping_sub(1) } else { epoch }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Machine { name, cpu, devices, rack, incarnation } => {
                let spec = machine(*name, *cpu, *devices, *rack);
                self.command(Command::RegisterMachine { spec, incarnation: u64::from(*incarnation) });
            }
            Step::State { name, state } => {
                self.command(Command::SetMachineState {
                    machine: format!("m{name}"),
                    state: *state,
                    grace_us: None,
                });
            }
            Step::Job { name, count, cpu, ask } => {
                self.command(Command::SubmitJob(job(*name, *count, *cpu, *ask)));
            }
            Step::StopJob { name } => self.command(Command::StopJob { name: format!("j{name}") }),
            Step::Forget { name } => {
                let jobs = self.model.job_named(&format!("j{name}")).into_iter().collect();
                self.command(Command::ForgetJobs { jobs });
            }
            Step::Quota { team, high, cpu } => {
                let band = if *high { Band::Production } else { Band::Batch };
                let limit = cpu.map(|cpu| Resources([u64::from(cpu), 9, 9, 9000, 9, 0, 0, 0]));
                self.command(Command::SetQuota { team: team_name(*team), band, limit });
            }
            Step::Overcommit { percent } => {
                let mut overcommit = Overcommit::default();
                overcommit.0[0] = *percent;
                self.command(Command::Configure(CellConfig { overcommit, ..self.cell.config().clone() }));
            }
            Step::End { session } => {
                let known = self.model.sessions[usize::from(*session)].clone();
                self.command(Command::EndSession { session: SessionId(u32::from(*session)) });
                self.command(Command::OpenSession { scheduler: known.scheduler, instance: known.instance });
            }
            Step::Report { task, end, old } => self.report(*task, *end, *old),
            Step::Transact { session, behind, all, coarse, ops, assertion } => {
                let session = SessionId(u32::from(*session));
                let number = self.numbers.entry(session).or_insert(0);
                *number += 1;
                let id = TxnId { session, number: *number };
                let scheduler = self.model.sessions[session.0 as usize].scheduler.clone();
                let basis = Seq(self.model.seq.saturating_sub(u64::from(*behind)));
                let ops = ops.iter().map(|op| self.op(op, &scheduler)).collect::<Vec<_>>();
                let own = |op: &Op| {
                    self.model.jobs.get(&op.task().job).is_none_or(|j| j.spec.scheduler == scheduler)
                };
                let ops: Vec<Op> = ops.into_iter().filter(|op| own(op)).collect();
                let atomicity = if *all { Atomicity::AllOrNothing } else { Atomicity::Incremental };
                let detection = if *coarse { Detection::Version } else { Detection::Fit };
                let assertions = assertion.map(|a| self.assertion(a)).into_iter().collect();
                if !ops.is_empty() {
                    let txn = Transaction { id, basis, atomicity, detection, ops, assertions };
                    self.feasible_is_accepted(&txn);
                    self.sent.push(txn.clone());
                    self.transact(&txn);
                }
            }
            Step::Resend { back } => {
                if let Some(txn) = self.sent.iter().rev().nth(usize::from(*back) % 8).cloned() {
                    self.transact(&txn);
                }
            }
        }
    }

    fn report(&mut self, task: u16, end: Option<i8>, old: bool) {
        let task = self.task(task, |_, t| t.life.is_live());
        let Some(machine) = self.model.tasks.get(&task).and_then(|t| t.machine) else { return };
        let seen = match end {
            None => Seen::Started,
            Some(-1) => Seen::Ended(Exit::Signal(9)),
            Some(code) => Seen::Ended(Exit::Code(code.into())),
        };
        let found = &self.model.machines[machine];
        let (incarnation, first) = (found.incarnation, found.reports_seen + u64::from(!old));
        let reports = vec![Report { task, epoch: self.epoch(task, old), seen }];
        self.command(Command::Report { machine: MachineId(machine as u32), incarnation, first, reports });
    }

    fn op(&self, op: &RandomOp, scheduler: &str) -> Op {
        let own = |id: &TaskId| self.model.jobs[&id.job].spec.scheduler == scheduler;
        let live = |number: u16| self.task(number, |id, t| own(id) && t.life.is_live());
        match op {
            RandomOp::Place { task, machines, victims } => {
                let count = self.model.machines.len() as u32;
                // One number more than there are machines: sometimes nobody's.
                let machines: Choices =
                    machines.iter().map(|m| MachineId(u32::from(*m) % (count + 1))).collect();
                let there = Some(machines[0].index());
                let victim = |v: &u16| self.task(*v, |_, t| t.life.is_live() && t.machine == there);
                let task = self.task(*task, |id, t| own(id) && t.life == Life::Pending);
                Op::Place { task, machines, preempt: victims.iter().map(victim).collect() }
            }
            RandomOp::Evict { task, old } => {
                let task = live(*task);
                Op::Evict { task, epoch: self.epoch(task, *old) }
            }
            RandomOp::Stop { task, old } => {
                let task = live(*task);
                Op::Stop { task, epoch: self.epoch(task, *old) }
            }
            RandomOp::Resize { task, cpu } => {
                let task = live(*task);
                let gpu = self.cell.charge(task).get(Dimension::GPU);
                let resources = Resources::cpu_memory((*cpu).into(), 1).with(Dimension::GPU, gpu);
                Op::Resize { task, epoch: self.epoch(task, false), resources }
            }
        }
    }

    fn assertion(&self, number: u8) -> Assertion {
        let job = self.task(u16::from(number), |_, t| t.life.is_live()).job;
        match number % 3 {
            0 => Assertion::AtMost {
                job,
                attribute: "rack".into(),
                value: "r0".into(),
                max: u32::from(number % 4),
            },
            1 => Assertion::JobVersion { job, version: 1 },
            _ => Assertion::Unchanged { machine: MachineId(u32::from(number % 5)) },
        }
    }

    fn transact(&mut self, txn: &Transaction) {
        let judged = commit::judge(&self.cell, self.now(), txn).expect("within all bounds");
        let expected = self.model.judge(txn);
        let told = match judged {
            Judged::Again { outcomes, .. } => outcomes.iter().map(told).collect(),
            Judged::New(committed) => {
                let told: Vec<Told> = committed.outcomes.iter().map(told).collect();
                self.no_false_alarm(txn, &committed.outcomes);
                self.came.extend(committed.outcomes.iter().map(word));
                self.apply(Event::Committed(committed));
                told
            }
        };
        assert_eq!(told, expected, "{txn:#?}\nat {}", self.cell.seq());
    }

    /// At an equal state, what the overlay of a policy calls feasible is what the commit accepts.
    fn feasible_is_accepted(&self, txn: &Transaction) {
        for op in &txn.ops {
            let Op::Place { task, machines, preempt } = op else { continue };
            let feasible = Overlay::new().fits(&self.cell, *task, machines[0], preempt).is_ok();
            let (machines, basis) = (machines[0].into(), self.cell.seq());
            let op = Op::Place { task: *task, machines, preempt: preempt.clone() };
            let id = TxnId { number: u64::MAX, ..txn.id };
            let alone = Transaction { id, basis, ops: vec![op], assertions: Vec::new(), ..txn.clone() };
            let Ok(Judged::New(committed)) = commit::judge(&self.cell, self.now(), &alone) else {
                panic!("a new transaction within all bounds")
            };
            assert_eq!(committed.outcomes[0].is_accepted(), feasible, "{alone:#?}");
        }
    }

    /// A plan that was feasible when it was made is never called a divergence.
    fn no_false_alarm(&self, txn: &Transaction, outcomes: &[Outcome]) {
        for (op, outcome) in txn.ops.iter().zip(outcomes) {
            let (Op::Place { .. }, Outcome::Conflict(conflict)) = (op, outcome) else { continue };
            if conflict.divergence {
                assert!(matches!(conflict.kind, ConflictKind::Misfit(_)), "{conflict:?}");
            }
            assert_eq!(conflict.stale_entries, self.cell.seq().0 - txn.basis.0);
        }
    }

    /// Both have the same state, and the audit finds nothing.
    fn check(&self) {
        let violations = audit(&self.cell);
        assert!(violations.is_empty(), "{violations:?}");
        assert_eq!(self.cell.seq().0, self.model.seq);
        for (id, task) in &self.model.tasks {
            let found = self.cell.task(*id).unwrap_or_else(|| panic!("{id} is gone"));
            let life = life(found.state);
            assert_eq!((life, found.epoch, found.restarts), (task.life, task.epoch, task.restarts), "{id}");
            if task.life.is_live() {
                assert_eq!(found.machine.map(|m| m.index()), task.machine, "{id}");
                assert_eq!(self.cell.charge(*id), task.promised, "{id}");
            }
        }
        let tasks: u32 = self.cell.jobs().map(|j| j.counts().total()).sum();
        assert_eq!(tasks as usize, self.model.tasks.len());
        for id in self.model.machine_ids() {
            let (found, at) = (self.cell.machine(id).expect("registered"), id.index());
            assert_eq!(found.load.used, self.model.used(at), "{}", found.spec.name);
            assert_eq!(found.version.0, self.model.machines[at].changed_at, "{}", found.spec.name);
            assert_eq!(found.limit, self.model.limit(at));
            for (task, grant) in &found.load.extra().grants {
                assert_eq!(*grant, self.model.tasks[task].grant, "{task}");
            }
        }
        for (team, band) in self.model.quotas.keys() {
            assert_eq!(self.cell.quotas().used(team, *band), self.model.team_used(team, *band));
        }
    }
}

fn told(outcome: &Outcome) -> Told {
    match outcome {
        Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } => Told::Accepted,
        Outcome::Conflict(conflict) if conflict.spurious => Told::LostForNothing,
        Outcome::Conflict(_) => Told::Lost,
        Outcome::Aborted => Told::Aborted,
    }
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Placed(placed) => match placed.extra.as_deref() {
            None => "placed".into(),
            Some(extra) if !extra.preempted.is_empty() => "preempted".into(),
            Some(extra) if !extra.grant.devices.is_empty() => "device given".into(),
            Some(_) => "ports given".into(),
        },
        Outcome::Stopping { reason, .. } => format!("{reason:?}"),
        Outcome::Resized { .. } => "resized".into(),
        Outcome::Conflict(conflict) if conflict.spurious => "spurious".into(),
        Outcome::Conflict(conflict) => conflict.kind.word().into(),
        Outcome::Aborted => "aborted".into(),
    }
}

fn life(state: TaskState) -> Life {
    match state {
        TaskState::Pending => Life::Pending,
        TaskState::Placed => Life::Placed,
        TaskState::Running => Life::Running,
        TaskState::Stopping(StopReason::Stop) => Life::StoppingForGood,
        TaskState::Stopping(StopReason::Evict | StopReason::Drain) => Life::Leaving,
        TaskState::Completed => Life::Completed,
        TaskState::Failed => Life::Failed,
        TaskState::Stopped => Life::Stopped,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cell_and_the_model_always_agree(steps in prop::collection::vec(step(), 1..120)) {
        let mut both = Both::new();
        for step in &steps {
            both.step(step);
        }
        pages::replay_is_equal(&mut both);
    }

    #[test]
    fn a_snapshot_goes_on_like_the_original(
        before in prop::collection::vec(step(), 1..80),
        after in prop::collection::vec(step(), 1..40),
    ) {
        let mut both = Both::new();
        for step in &before {
            both.step(step);
        }
        pages::round_trip(&mut both.cell);
        let mut copy = pages::copy(&both.cell);
        let known = both.log.len();
        for step in &after {
            both.step(step);
        }
        for event in &both.log[known..] {
            copy.apply(copy.seq().next(), event);
        }
        prop_assert_eq!(copy.hash(), both.cell.hash());
    }
}

/// The random histories are worth something: they reach every outcome.
#[test]
fn random_histories_reach_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let histories = prop::collection::vec(step(), 60..120);
    let mut came = BTreeSet::new();
    for _ in 0..150 {
        let steps = histories.new_tree(&mut runner).expect("no filter, no rejection").current();
        let mut both = Both::new();
        steps.iter().for_each(|step| both.step(step));
        came.append(&mut both.came);
    }
    let all = [
        "Evict",
        "Stop",
        "aborted",
        "changed",
        "constraint",
        "device",
        "device given",
        "epoch",
        "machine-state",
        "no-machine",
        "no-task",
        "placed",
        "port",
        "ports given",
        "preempted",
        "quota",
        "resized",
        "resource",
        "same-job",
        "spurious",
        "task-state",
        "victim",
        "waiting",
    ];
    let missing: Vec<&str> = all.into_iter().filter(|word| !came.contains(*word)).collect();
    assert!(missing.is_empty(), "never came: {missing:?}");
}
