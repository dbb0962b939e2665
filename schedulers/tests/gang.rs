//! The `gang` policy: whole jobs or nothing of them, whatever else happens to the cell meanwhile.

use cell_state::constraint::{Constraint, Test};
use cell_state::job::JobSpec;
use cell_state::task::Exit;
use cell_state::transaction::{Atomicity, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Cell, JobId, Resources, SessionId};
use schedulers::digest::{Answer, Verdict};
use schedulers::preview::preview;
use schedulers::sandbox::{Sandbox, simulated_job};
use schedulers::scheduler::Decision;
use schedulers::settings::Settings;
use schedulers::{Policy, Scheduler, built_in};

fn cpu(milli: u64) -> Resources {
    Resources::cpu_memory(milli, milli)
}

fn machines(server: &mut Sandbox, count: u32) {
    for i in 0..count {
        server.machine(&format!("m{i}"), cpu(1_000));
    }
}

fn policy() -> Box<dyn Policy> {
    built_in("gang").expect("a built-in policy")
}

fn spec(name: &str, count: u32, size: u64) -> JobSpec {
    simulated_job(name, "gang", count, cpu(size))
}

/// One process of the gang scheduler with its copy.
struct Process {
    scheduler: Scheduler,
    session: SessionId,
    copy: Cell,
}

impl Process {
    fn start(server: &mut Sandbox) -> Process {
        let session = server.session("gang");
        let settings = Settings { tasks_per_txn: 2, ..Settings::new("gang", 0, 1) };
        let mut process =
            Process { scheduler: Scheduler::new(policy(), settings), session, copy: Cell::new() };
        process.scheduler.opened(server.cell(), session, 0);
        process.catch_up(server);
        process
    }

    fn catch_up(&mut self, server: &Sandbox) {
        self.copy = server.cell().clone();
        self.scheduler.restored(&self.copy);
    }

    /// The next transaction, if one comes within the longest pause.
    fn decide(&mut self, server: &mut Sandbox) -> Option<Transaction> {
        for _ in 0..100 {
            match self.scheduler.decide(&self.copy, server.now()) {
                Decision::Propose(proposal) => return Some((*proposal.txn).clone()),
                Decision::Again | Decision::Wait => server.pass(1_000_000),
            }
        }
        None
    }

    fn commit(&mut self, server: &mut Sandbox, txn: &Transaction) -> Vec<Outcome> {
        assert_eq!((txn.id.session, txn.atomicity), (self.session, Atomicity::AllOrNothing));
        let outcomes = server.commit(txn);
        let verdict =
            Verdict { at: server.cell().seq(), outcomes: outcomes.clone().into(), failed_assertion: None };
        self.catch_up(server);
        self.scheduler.answer(&self.copy, server.now(), txn.id.number, Answer::Verdict(verdict));
        outcomes
    }
}

fn live(server: &Sandbox, job: JobId) -> u32 {
    server.cell().job(job).expect("it was submitted").counts().live()
}

#[test]
fn a_gang_that_does_not_fit_takes_nothing_and_all_of_it_once_it_does() {
    let mut server = Sandbox::new(1);
    machines(&mut server, 3);
    let gang = server.job(spec("gang", 4, 600));
    let other = server.job(spec("other", 1, 300));
    let mut process = Process::start(&mut server);
    let txn = process.decide(&mut server).expect("the job that fits is placed");
    assert_eq!(txn.ops.iter().map(|op| op.task().job).collect::<Vec<_>>(), [other]);
    process.commit(&mut server, &txn);
    assert_eq!(process.decide(&mut server), None, "three of four would fit");
    assert_eq!((live(&server, gang), live(&server, other)), (0, 1));

    server.machine("m3", cpu(1_000));
    process.catch_up(&server);
    let txn = process.decide(&mut server).expect("the gang fits now");
    assert_eq!(txn.ops.len(), 4, "more tasks than a transaction of other policies would take");
    process.commit(&mut server, &txn);
    assert_eq!(live(&server, gang), 4);
}

#[test]
fn groups_of_a_gang_wait_for_each_other() {
    let mut server = Sandbox::new(1);
    let m0 = server.machine("m0", cpu(1_000));
    let mut both = spec("both", 2, 500);
    let mut far = both.groups[0].clone();
    far.name = "far".into();
    far.constraints = vec![Constraint { attribute: "zone".into(), test: Test::Equal("b".into()) }];
    both.groups.push(far);
    let gang = server.job(both);
    let mut process = Process::start(&mut server);
    assert_eq!(process.decide(&mut server), None);
    // Room for one of the groups comes and goes: the other one still has none.
    let filler = server.job(simulated_job("filler", "batch", 2, cpu(500)));
    server.place(built_in("batch").unwrap().as_mut(), filler);
    process.catch_up(&server);
    assert_eq!(process.decide(&mut server), None);
    let tasks = server.cell().machine(m0).unwrap().load.tasks.clone();
    tasks.into_iter().for_each(|task| server.end(task, Exit::Code(0)));
    process.catch_up(&server);
    assert_eq!(process.decide(&mut server), None);
    assert_eq!(live(&server, gang), 0);

    server.machine_in("m1", cpu(1_000), ("zone", "b"));
    process.catch_up(&server);
    let txn = process.decide(&mut server).expect("both groups fit now");
    process.commit(&mut server, &txn);
    assert_eq!(live(&server, gang), 4);
}

#[test]
fn of_two_gangs_that_race_one_gets_all_and_the_other_nothing() {
    let mut server = Sandbox::new(1);
    machines(&mut server, 4);
    let first = server.job(spec("first", 4, 600));
    let mut process = Process::start(&mut server);
    let txn = process.decide(&mut server).expect("it fits");
    // Somebody else takes one machine before the transaction arrives.
    let other = server.job(simulated_job("other", "batch", 1, cpu(1_000)));
    server.place(built_in("batch").unwrap().as_mut(), other);
    let outcomes = process.commit(&mut server, &txn);
    assert!(outcomes.iter().all(|outcome| !outcome.is_accepted()), "{outcomes:?}");
    assert_eq!((live(&server, first), process.decide(&mut server)), (0, None));
}

#[test]
fn what_a_gang_lost_is_placed_again_by_itself() {
    let mut server = Sandbox::new(1);
    machines(&mut server, 2);
    let gang = server.job(spec("gang", 2, 600));
    let mut process = Process::start(&mut server);
    let txn = process.decide(&mut server).expect("it fits");
    process.commit(&mut server, &txn);
    let task = txn.ops[1].task();
    server.start(task);
    server.end(task, Exit::Code(1));
    process.catch_up(&server);
    let txn = process.decide(&mut server).expect("the failed task is restarted");
    assert_eq!(txn.ops.iter().map(|op| op.task()).collect::<Vec<_>>(), [task]);
    process.commit(&mut server, &txn);
    assert_eq!(live(&server, gang), 2);
}

#[test]
fn a_preview_shows_the_whole_gang_or_nothing_of_it() {
    for (count, placed) in [(3, 0), (4, 4)] {
        let mut server = Sandbox::new(1);
        machines(&mut server, count);
        let now = server.now();
        let seen = preview(server.cell_mut(), policy().as_mut(), spec("gang", 4, 600), now, 1).unwrap();
        assert_eq!((seen.placements.len(), seen.unplaced), (placed, 4 - placed as u32));
        let terms = seen.transactions.iter().all(|txn| txn.atomicity == Atomicity::AllOrNothing);
        assert!(terms, "a plan that is committed is committed as a whole");
    }
}
