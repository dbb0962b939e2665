//! The deciding part through its doors: what is in flight counts, answers count once, and when it keeps still.

use std::sync::Arc;

use cell_state::event::Event;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Cell, JobId, Resources, Seq, SessionId, Time};
use schedulers::digest::{Answer, Verdict};
use schedulers::plan::Terms;
use schedulers::sandbox::{Sandbox, simulated_job};
use schedulers::scheduler::Decision;
use schedulers::settings::Settings;
use schedulers::{Scheduler, built_in};

fn cpu(milli: u64) -> Resources {
    Resources::cpu_memory(milli, milli)
}

/// A server and one scheduler process "s" with its copy.
struct Pair {
    server: Sandbox,
    scheduler: Scheduler,
    copy: Cell,
    session: SessionId,
}

impl Pair {
    fn new(policy: &str, settings: impl FnOnce(Settings) -> Settings) -> Pair {
        let mut server = Sandbox::new(1);
        let session = server.session("s");
        let settings = settings(Settings::new("s", 0, 1));
        let mut scheduler = Scheduler::new(built_in(policy).expect("a built-in policy"), settings);
        let copy = server.cell().clone();
        scheduler.opened(&copy, session, 0);
        scheduler.restored(&copy);
        Pair { server, scheduler, copy, session }
    }

    /// The copy jumps to where the server is.
    fn catch_up(&mut self) {
        self.copy = self.server.cell().clone();
        self.scheduler.restored(&self.copy);
    }

    fn job(&mut self, count: u32, size: u64) -> JobId {
        let name = format!("j{}", self.server.cell().job_count());
        let job = self.server.job(simulated_job(&name, "s", count, cpu(size)));
        self.catch_up();
        job
    }

    fn decide(&mut self) -> Option<Arc<Transaction>> {
        match self.scheduler.decide(&self.copy, self.server.now()) {
            Decision::Propose(proposal) => Some(proposal.txn),
            Decision::Again | Decision::Wait => None,
        }
    }

    fn commit(&mut self, txn: &Transaction) -> Verdict {
        let outcomes = self.server.commit(txn).into();
        Verdict { at: self.server.cell().seq(), outcomes, failed_assertion: None }
    }

    fn answer(&mut self, txn: &Transaction, answer: Answer) {
        self.scheduler.answer(&self.copy, self.server.now(), txn.id.number, answer);
    }
}

#[test]
fn what_is_in_flight_counts_so_a_process_never_races_itself() {
    let mut pair = Pair::new("batch", |settings| Settings { tasks_per_txn: 3, in_flight: 4, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.job(12, 100);
    let sent: Vec<_> = std::iter::from_fn(|| pair.decide()).collect();
    let ops: Vec<usize> = sent.iter().map(|txn| txn.ops.len()).collect();
    assert_eq!(ops, [3, 3, 3, 1], "ten fit, and all of that is known before any answer");
    for txn in &sent {
        let verdict = pair.commit(txn);
        assert!(verdict.outcomes.iter().all(Outcome::is_accepted));
    }
}

#[test]
fn an_answer_that_comes_twice_counts_once_and_the_log_is_an_answer_too() {
    let mut pair = Pair::new("batch", |settings| settings);
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    let txn = pair.decide().unwrap();
    assert_eq!(pair.scheduler.unanswered().count(), 1);
    let verdict = pair.commit(&txn);
    pair.answer(&txn, Answer::Verdict(verdict.clone()));
    pair.answer(&txn, Answer::Verdict(verdict));
    pair.answer(&txn, Answer::Busy);
    assert_eq!((pair.scheduler.stats().placed, pair.scheduler.stats().busy), (2, 0));
    assert_eq!(pair.scheduler.unanswered().count(), 0);

    pair.job(3, 100);
    let txn = pair.decide().unwrap();
    let judged = cell_state::commit::judge(pair.server.cell(), pair.server.now(), &txn).unwrap();
    let cell_state::commit::Judged::New(committed) = judged else { panic!("it is new") };
    let seq = pair.copy.seq().next();
    pair.scheduler.follow(&mut pair.copy, pair.server.now(), seq, &Event::Committed(committed));
    assert_eq!((pair.scheduler.stats().placed, pair.scheduler.unanswered().count()), (5, 0));
    assert_eq!(pair.scheduler.queued(), 0);
}

#[test]
fn a_busy_server_gets_the_same_tasks_again_after_a_pause_under_a_new_number() {
    let mut pair = Pair::new("batch", |settings| settings);
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    let first = pair.decide().unwrap();
    pair.answer(&first, Answer::Busy);
    assert_eq!(pair.decide(), None);
    let next = pair.scheduler.next_time(&pair.copy).unwrap();
    pair.server.pass(next.since(pair.server.now()));
    let second = pair.decide().unwrap();
    assert_eq!((first.id.number, second.id.number, second.ops.len()), (1, 2, 2));
}

#[test]
fn a_server_that_lost_its_data_is_scheduled_for_like_a_new_one() {
    let mut pair = Pair::new("batch", |settings| Settings { lag_max: 5, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    let judged = pair.decide().unwrap();
    let far = Verdict { at: Seq(1_000), outcomes: vec![Outcome::Aborted; 2].into(), failed_assertion: None };
    pair.answer(&judged, Answer::Verdict(far));

    // The new log has not come as far as the old one, and numbers sessions and jobs from 0 again.
    pair.server = Sandbox::new(1);
    let session = pair.server.session("s");
    assert_eq!(session, pair.session);
    pair.scheduler.opened(&pair.copy, session, 0);
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    let txn = pair.decide().expect("neither the old lag nor the old plan is in the way");
    assert_eq!((txn.ops.len(), txn.id.number), (2, 2));
    assert!(pair.commit(&txn).outcomes.iter().all(Outcome::is_accepted));
}

#[test]
fn nothing_is_decided_on_a_copy_that_is_too_far_behind() {
    let mut pair = Pair::new("batch", |settings| Settings { lag_max: 5, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.job(4, 100);
    pair.job(4, 100);
    let txn = pair.decide().unwrap();
    // The answer says that the server is far ahead.
    let at = Seq(pair.copy.seq().0 + 6);
    pair.answer(
        &txn,
        Answer::Verdict(Verdict { at, outcomes: vec![Outcome::Aborted; 4].into(), failed_assertion: None }),
    );
    assert_eq!((pair.decide(), pair.scheduler.next_time(&pair.copy)), (None, None));
    let event = Event::JobsForgotten { jobs: Vec::new() };
    pair.scheduler.follow(&mut pair.copy, Time(0), pair.server.cell().seq().next(), &event);
    assert!(pair.decide().is_some(), "within the bound again");
}

#[test]
fn an_artificial_decision_time_keeps_it_busy_and_the_basis_old() {
    let mut pair =
        Pair::new("batch", |settings| Settings { think_job_us: 1_000_000, think_task_us: 5_000, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    let basis = pair.copy.seq();
    pair.job(1, 100);
    let now = pair.server.now();
    let Decision::Propose(proposal) = pair.scheduler.decide(&pair.copy, now) else { panic!("there is work") };
    let ops = proposal.txn.ops.len() as u64;
    assert_eq!(proposal.send_at, now.plus(1_000_000 + 5_000 * ops));
    assert!(proposal.txn.basis >= basis);
    assert_eq!(pair.decide(), None, "one thought at a time");
    assert_eq!(pair.scheduler.next_time(&pair.copy), Some(proposal.send_at));
    pair.server.pass(proposal.send_at.since(now));
    assert!(pair.decide().is_some());
}

#[test]
fn all_or_nothing_proposes_whole_jobs_only() {
    let terms = Terms { atomicity: Atomicity::AllOrNothing, detection: Detection::Fit };
    let mut pair = Pair::new("service", |settings| Settings { terms, tasks_per_txn: 2, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.job(11, 100);
    pair.job(10, 100);
    let txn = pair.decide().unwrap();
    assert_eq!(
        (txn.ops.len(), txn.ops[0].task().job),
        (10, JobId(1)),
        "the first job doesn't fit as a whole"
    );
    assert_eq!(pair.decide(), None);
}

#[test]
fn coarse_detection_keeps_off_machines_with_work_in_flight() {
    let terms = Terms { atomicity: Atomicity::Incremental, detection: Detection::Version };
    let mut pair = Pair::new("batch", |settings| Settings { terms, ..settings });
    pair.server.machine("m0", cpu(1_000));
    pair.server.machine("m1", cpu(1_000));
    // What fills the third, of a lower band, need not go only because the others are busy for a moment.
    pair.server.machine("m2", cpu(200));
    let mut low = simulated_job("low", "s", 2, cpu(100));
    low.priority = 0;
    let low = pair.server.job(low);
    pair.server.place(built_in("batch").unwrap().as_mut(), low);
    for _ in 0..3 {
        pair.job(1, 100);
    }
    let sent: Vec<_> = std::iter::from_fn(|| pair.decide()).collect();
    assert_eq!(sent.len(), 2, "the third waits until one of the machines is settled");
    let first = |txn: &Transaction| match &txn.ops[0] {
        Op::Place { machines, .. } => machines[0],
        other => panic!("only places are expected, not {other:?}"),
    };
    assert_ne!(first(&sent[0]), first(&sent[1]));
    for txn in &sent {
        let verdict = pair.commit(txn);
        assert!(verdict.outcomes.iter().all(Outcome::is_accepted));
        pair.answer(txn, Answer::Verdict(verdict));
    }
    pair.catch_up();
    assert!(pair.decide().is_some());
}

#[test]
fn another_session_gives_up_what_the_old_one_had_in_flight() {
    let mut pair = Pair::new("batch", |settings| settings);
    pair.server.machine("m0", cpu(1_000));
    pair.job(2, 100);
    assert!(pair.decide().is_some());
    pair.scheduler.opened(&pair.copy, SessionId(pair.session.0 + 7), 0);
    assert_eq!(pair.scheduler.unanswered().count(), 0);
    let again = pair.decide().unwrap();
    assert_eq!((again.id.session, again.id.number), (SessionId(pair.session.0 + 7), 1));
}
