//! The bounds: over each of them there is one clear rejection, and nothing has changed.

use cell_state::admit::{self, Command, Rejection, RejectionCode};
use cell_state::bounds;
use cell_state::commit::{self, Judged};
use cell_state::constraint::{Constraint, Test};
use cell_state::event::{Event, Report, Seen};
use cell_state::job::JobSpec;
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};

use crate::script::{Came, Stage};
use crate::words;

const NOW: Time = Time(9_000_000);

/// Two machines, a job of ten tasks, a session that has seen it all.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for line in ["session s1", "machine m0 cpu=10", "machine m1 cpu=10", "job a count=10 cpu=1", "look s1"] {
        assert!(matches!(stage.line(line), Came::Now(_)));
    }
    stage
}

fn place(index: u32) -> Op {
    let task = TaskId { job: JobId(0), group: 0, index };
    Op::Place { task, machines: MachineId(0).into(), preempt: Vec::new() }
}

fn txn(number: u64, ops: Vec<Op>) -> Transaction {
    Transaction {
        id: TxnId { session: SessionId(0), number },
        basis: Seq(1),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        ops,
        assertions: Vec::new(),
    }
}

fn rejected(cell: &Cell, txn: &Transaction) -> Rejection {
    commit::judge(cell, NOW, txn).expect_err("over a bound")
}

#[test]
fn transactions_over_a_bound_are_rejected_by_field() {
    let stage = stage();
    let cell = &stage.cell;
    let good = txn(1, vec![place(0)]);
    let task = TaskId { job: JobId(0), group: 0, index: 0 };
    let unchanged = Assertion::Unchanged { machine: MachineId(0) };
    let many = |n: usize| (0..n).map(|i| place(i as u32)).collect::<Vec<Op>>();
    let victims = vec![task; bounds::PREEMPT_VICTIMS_MAX + 1];
    let machines = vec![MachineId(0); bounds::PLACE_MACHINES_MAX + 1].into();
    let too_much = Resources::cpu_memory(bounds::AMOUNT_MAX + 1, 0);
    let table = [
        ("id.session", Transaction { id: TxnId { session: SessionId(7), number: 1 }, ..good.clone() }),
        ("id.number", Transaction { id: TxnId { session: SessionId(0), number: 0 }, ..good.clone() }),
        ("basis", Transaction { basis: cell.seq().next(), ..good.clone() }),
        ("ops", txn(1, Vec::new())),
        ("ops", txn(1, many(bounds::TXN_OPS_MAX + 1))),
        (
            "assertions",
            Transaction { assertions: vec![unchanged; bounds::TXN_ASSERTIONS_MAX + 1], ..good.clone() },
        ),
        ("ops[1].machines", txn(1, vec![place(0), Op::Place { task, machines, preempt: Vec::new() }])),
        ("ops[0].machines", txn(1, vec![Op::Place { task, machines: [].into(), preempt: Vec::new() }])),
        ("ops[0].preempt", txn(1, vec![Op::Place { task, machines: MachineId(0).into(), preempt: victims }])),
        ("ops[0].resources", txn(1, vec![Op::Resize { task, epoch: 0, resources: too_much }])),
    ];
    for (field, over) in table {
        assert_eq!(rejected(cell, &over).field, field);
    }
    assert!(matches!(commit::judge(cell, NOW, &txn(1, many(bounds::TXN_OPS_MAX))), Ok(Judged::New(_))));
}

#[test]
fn an_answer_that_is_no_longer_remembered_is_not_judged_again() {
    let mut stage = stage();
    let last = bounds::SESSION_OUTCOMES_MAX as u64 + 1;
    for number in 1..=last {
        let Ok(Judged::New(committed)) = commit::judge(&stage.cell, NOW, &txn(number, vec![place(0)])) else {
            panic!("{number} is new");
        };
        stage.apply(Event::Committed(committed));
    }
    let forgotten = rejected(&stage.cell, &txn(1, vec![place(0)]));
    assert_eq!((forgotten.code, forgotten.field.as_str()), (RejectionCode::Forgotten, "id.number"));
    let again = commit::judge(&stage.cell, NOW, &txn(2, vec![place(0)]));
    assert!(matches!(again, Ok(Judged::Again { .. })), "{again:?}");
}

/// A job that is sound but for one change.
fn job(change: impl FnOnce(&mut JobSpec)) -> Command {
    let mut spec = words::job(&["b", "count=1", "cpu=1"]);
    change(&mut spec);
    Command::SubmitJob(spec)
}

#[test]
fn jobs_over_a_bound_are_rejected_by_field() {
    let stage = stage();
    let constraint = Constraint { attribute: "a".into(), test: Test::Exists };
    let values = vec!["v".to_owned(); bounds::CONSTRAINT_VALUES_MAX + 1];
    let in_many = Constraint { attribute: "a".into(), test: Test::In(values) };
    let long_value = "x".repeat(bounds::JOB_SPEC_BYTES_MAX);
    let table = [
        ("name", job(|s| s.name = "n".repeat(bounds::NAME_BYTES_MAX + 1))),
        ("name", job(|s| s.name = String::new())),
        ("name", job(|s| s.name = "-x".into())),
        ("team", job(|s| s.team = "a b".into())),
        ("scheduler", job(|s| s.scheduler = String::new())),
        ("priority", job(|s| s.priority = bounds::PRIORITY_MAX + 1)),
        ("groups", job(|s| s.groups.clear())),
        ("groups", job(|s| s.groups = vec![words::group("g"); bounds::JOB_GROUPS_MAX + 1])),
        ("groups[1].name", job(|s| s.groups.push(words::group("g0")))),
        ("groups[0].count", job(|s| s.groups[0].count = bounds::GROUP_TASKS_MAX + 1)),
        (
            "groups[0].constraints",
            job(|s| s.groups[0].constraints = vec![constraint; bounds::CONSTRAINTS_MAX + 1]),
        ),
        ("groups[0].constraints[0]", job(|s| s.groups[0].constraints = vec![in_many])),
        ("groups[0].restart.attempts", job(|s| s.groups[0].restart.attempts = bounds::RESTARTS_MAX + 1)),
        (
            "job",
            job(|s| {
                let equal = Constraint { attribute: "a".into(), test: Test::Equal(long_value) };
                s.groups[0].constraints = vec![equal];
            }),
        ),
    ];
    let before = stage.cell.clone().hash();
    for (field, command) in table {
        let rejection = admit::admit(&stage.cell, NOW, command).expect_err(field);
        assert_eq!(rejection.field, field, "{rejection}");
        assert!(!rejection.problem.is_empty());
    }
    assert_eq!(stage.cell.clone().hash(), before);
}

#[test]
fn too_many_versions_in_use_are_rejected_until_old_tasks_have_ended() {
    let mut stage = stage();
    let mut made = 1;
    for index in 0..20 {
        // Each version is kept in use by one running task of its own.
        stage.line("look s1");
        stage.line(&format!("s1 place a.{index} on m0 m1"));
        let Came::Now(came) = stage.line(&format!("job a count=20 cpu=1 delay={index}")) else {
            panic!("a submission answers at once")
        };
        if came.starts_with("rejected") {
            break;
        }
        made += 1;
    }
    assert_eq!(made, bounds::JOB_VERSIONS_MAX);
    stage.line("report m0 a.0 code=0");
    let Came::Now(came) = stage.line("job a count=20 cpu=1 delay=99") else {
        panic!("a submission answers at once")
    };
    assert!(came.starts_with("job"), "{came}");
}

#[test]
fn reports_over_the_bound_are_rejected() {
    let stage = stage();
    let report = Report { task: TaskId { job: JobId(0), group: 0, index: 0 }, epoch: 1, seen: Seen::Started };
    for count in [0, bounds::REPORTS_MAX + 1] {
        let reports = vec![report; count];
        let command = Command::Report { machine: MachineId(0), incarnation: 1, first: 1, reports };
        assert_eq!(admit::admit(&stage.cell, NOW, command).expect_err("over the bound").field, "reports");
    }
}
