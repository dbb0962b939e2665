//! A cell under load with a copy that follows it, and the proof at the end.

use cell_state::Seq;
use cell_state::audit::audit;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transport::Role;

use super::{Plan, Summary};
use crate::history::{History, Wrong};
use crate::pressure::{Book, Pressure};
use crate::test_cell::{TestCell, wait_for, wait_status};
use crate::witness::{Witness, whole_history};

/// Transactions that must be answered for a load to count as going on.
const GOES_ON: u64 = 30;

pub(super) struct Field {
    pub(super) cell: TestCell,
    pub(super) runtime: Runtime,
    pub(super) pressure: Pressure,
    witness: JoinHandle<Witness>,
    goal: watch::Sender<Option<Seq>>,
}

impl Field {
    /// Starts everything, and waits until the load is under way.
    pub(super) fn start(plan: &Plan, server_args: &[&str]) -> Field {
        Field::of(TestCell::start(server_args), plan)
    }

    pub(super) fn of(cell: TestCell, plan: &Plan) -> Field {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (witness, goal) = Witness::start(&runtime, &cell);
        let pressure = Pressure::start(&runtime, &cell, plan.shape);
        let field = Field { cell, runtime, pressure, witness, goal };
        field.goes_on();
        field
    }

    /// Waits until more transactions were answered.
    pub(super) fn goes_on(&self) {
        let before = self.pressure.acknowledged();
        wait_for("answers", || (self.pressure.acknowledged() >= before + GOES_ON).then_some(()));
    }

    /// The server's resident memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let operator = self.cell.issue(Role::Operator, "admin");
        self.runtime.block_on(wait_status(self.cell.address(), &operator)).memory_bytes
    }

    /// Ends the load and proves that nothing is lost or wrong.
    pub(super) fn prove(self, counted: Vec<(&'static str, u64)>) -> Summary {
        let Field { mut cell, runtime, pressure, witness, goal } = self;
        let counters = pressure.counters.clone();
        let books = pressure.finish(&runtime);
        let reader = cell.issue(Role::Reader, "witness");
        let seq = runtime.block_on(wait_status(cell.address(), &reader)).seq;
        goal.send(Some(seq)).expect("the witness waits for it");
        let mut witness = runtime.block_on(witness).expect("the witness saw nothing wrong");
        let history = runtime.block_on(whole_history(cell.address(), &reader, witness.seq()));
        explained(&history, &books, &mut witness).unwrap_or_else(|wrong| panic!("history: {wrong}"));
        sound(&mut cell, &mut witness);
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        Summary {
            counted,
            answers: books.iter().map(|book| book.told.len() as u64).sum(),
            resent: load(&counters.resent),
            asked_again: load(&counters.asked_again),
            entries: history.seq().0,
            accepted: history.accepted,
            marks: (witness.marks, witness.breaks),
        }
    }
}

fn explained(history: &History, books: &[Book], witness: &mut Witness) -> Result<(), Wrong> {
    books.iter().try_for_each(|book| book.is_in(history))?;
    history.explains(witness.cell())
}

/// The audit, the hash, the data directory, and the state that the next server finds there.
fn sound(cell: &mut TestCell, witness: &mut Witness) {
    let audited = cell.json(&["audit"]);
    assert_eq!(audited["sound"], true, "{audited}");
    let violations: Vec<String> = audit(witness.cell()).iter().map(ToString::to_string).collect();
    assert_eq!(violations, Vec::<String>::new(), "in the copy that followed");
    let (seq, hash) = (witness.seq().0.to_string(), witness.cell().hash().to_string());
    assert_eq!(cell.json(&["state", "--at", &seq])["hash"], hash.as_str(), "at {seq}");
    assert!(cell.get("server").stop().success(), "a clean stop ends well");
    let data = cell.path("server").display().to_string();
    cell.run(&["server", "verify", &data]);
    cell.get("server").restart();
    let after = wait_for("the server's return", || {
        let output = cell.ohm(&["state", "--at", &seq, "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    assert_eq!(after["hash"], hash.as_str(), "the state at {seq} after a restart");
}
