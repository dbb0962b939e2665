//! A copy of the machines and one scheduler's jobs: it moves only when it is at rest, and what others give back wakes the
//! jobs that wait for it.

use cell_state::page::Narrow;
use cell_state::record::{self, Kind, PageRecord};
use cell_state::scope::Digest;
use cell_state::task::Exit;
use cell_state::{Cell, JobId, MachineId, Resources, Seq, TaskId, Time};
use schedulers::copy::{Copy, CopyError, Step};
use schedulers::digest::{Answer, Verdict};
use schedulers::sandbox::{Sandbox, simulated_job};
use schedulers::scheduler::Decision;
use schedulers::settings::Settings;
use schedulers::{Scheduler, built_in};

const INSTANCE: u64 = 0;

fn cpu(n: u64) -> Resources {
    Resources::cpu_memory(n, n)
}

/// A cell of one full machine: another scheduler's job has all of it.
fn full() -> (Sandbox, JobId) {
    let mut sandbox = Sandbox::new(1);
    sandbox.session("mine");
    sandbox.machine("m0", cpu(10));
    let theirs = sandbox.job(simulated_job("theirs", "theirs", 2, cpu(5)));
    assert_eq!(sandbox.place(built_in("batch").expect("built in").as_mut(), theirs).placed.len(), 2);
    (sandbox, theirs)
}

/// The snapshot that a follower of `mine` gets, without loads.
fn snapshot(cell: &Cell) -> Vec<u8> {
    let pages: Vec<_> =
        cell.page_keys().into_iter().filter_map(|key| Some((key, cell.encode_page(&key)?))).collect();
    let narrow =
        Narrow::new("mine", pages.iter().map(|(key, bytes)| (key, &bytes[..]))).expect("sound pages");
    let mut out = Vec::new();
    record::append(&mut out, cell.seq(), Kind::SnapshotStart, &());
    for (key, bytes) in &pages {
        if let Some(bytes) = narrow.page(key, bytes).expect("a sound page") {
            let page = PageRecord { key: *key, bytes: bytes.into_owned() };
            record::append(&mut out, cell.seq(), Kind::Page, &page);
        }
    }
    record::append_hash(&mut out, cell.seq(), Kind::SnapshotEnd, None);
    out
}

/// What all machines hold, as the last word on a position or not.
fn loads(cell: &Cell, more: bool) -> Vec<u8> {
    let mut digest = Digest::new("mine");
    digest.touch_all(cell);
    let mut loads = digest.loads(cell);
    loads.more |= more;
    let mut out = Vec::new();
    record::append(&mut out, cell.seq(), Kind::Loads, &loads);
    out
}

/// Feeds records to a copy and its scheduler, as the runtime does.
fn feed(copy: &mut Copy, scheduler: &mut Scheduler, mut bytes: &[u8]) -> Result<usize, CopyError> {
    let mut steps = 0;
    while let Some(step) = copy.take(&mut bytes)? {
        match step {
            Step::Restored => scheduler.restored(copy.cell().expect("just restored")),
            Step::Event(seq, event) => {
                scheduler.follow(copy.cell_mut().expect("a copy"), Time(0), seq, &event);
            }
            Step::Loads(seq, loads) => scheduler.loads(copy.cell_mut().expect("a copy"), seq, &loads),
            Step::Checked(..) => panic!("there is no hash to compare"),
            Step::Nothing => continue,
        }
        steps += 1;
    }
    Ok(steps)
}

fn scheduler(sandbox: &mut Sandbox) -> Scheduler {
    let mut scheduler =
        Scheduler::new(built_in("batch").expect("built in"), Settings::new("mine", INSTANCE, 7));
    scheduler.opened(&Cell::new(), sandbox.session("mine"), 0);
    scheduler
}

#[test]
fn a_scoped_copy_is_nothing_before_it_knows_what_machines_hold() {
    let (mut sandbox, _) = full();
    let mut scheduler = scheduler(&mut sandbox);
    let mut copy = Copy::scoped("mine");
    assert_eq!(feed(&mut copy, &mut scheduler, &snapshot(sandbox.cell())).expect("sound"), 0);
    assert!(copy.cell().is_none() && copy.seq().is_none());
    assert_eq!(feed(&mut copy, &mut scheduler, &loads(sandbox.cell(), true)).expect("sound"), 0);
    assert!(copy.cell().is_none(), "more is to come");
    assert_eq!(feed(&mut copy, &mut scheduler, &loads(sandbox.cell(), false)).expect("sound"), 1);
    let cell = copy.cell().expect("at rest");
    assert_eq!((cell.seq(), cell.scope(), cell.jobs().count()), (sandbox.cell().seq(), Some("mine"), 0));
    assert_eq!(cell.machines()[0].load.used, cpu(10), "nobody's name is on it, but it is taken");
}

#[test]
fn a_scoped_copy_moves_once_it_is_at_rest_and_half_a_move_is_given_up() {
    let (mut sandbox, theirs) = full();
    let mut scheduler = scheduler(&mut sandbox);
    let mut copy = Copy::scoped("mine");
    let all = [snapshot(sandbox.cell()), loads(sandbox.cell(), false)].concat();
    feed(&mut copy, &mut scheduler, &all).expect("sound");
    let at = copy.seq().expect("at rest");
    sandbox.end(TaskId { job: theirs, group: 0, index: 0 }, Exit::Code(0));
    feed(&mut copy, &mut scheduler, &loads(sandbox.cell(), true)).expect("sound");
    let used = |copy: &Copy| copy.cell().map(|cell| cell.machines()[0].load.used);
    assert_eq!((copy.seq(), used(&copy)), (Some(at), Some(cpu(10))));
    // The stream breaks: the next one goes on after what the copy has.
    copy.resubscribed();
    feed(&mut copy, &mut scheduler, &loads(sandbox.cell(), false)).expect("sound");
    assert_eq!((copy.seq(), used(&copy)), (Some(at.next()), Some(cpu(5))));
    // Loads of the past, and loads in the stream of who has everything, make no sense.
    let (older, _) = full();
    let past = loads(older.cell(), false);
    assert!(matches!(feed(&mut copy, &mut scheduler, &past), Err(CopyError::Gap { .. })));
    let whole = Copy::new().take(&mut &loads(sandbox.cell(), false)[..]);
    assert!(matches!(whole, Err(CopyError::Gap { found: Kind::Loads, .. })));
}

#[test]
fn what_others_give_back_wakes_a_job_of_ones_own() {
    let (mut sandbox, theirs) = full();
    let mine = sandbox.job(simulated_job("mine", "mine", 1, cpu(4)));
    let mut scheduler = scheduler(&mut sandbox);
    let mut copy = Copy::scoped("mine");
    let all = [snapshot(sandbox.cell()), loads(sandbox.cell(), false)].concat();
    feed(&mut copy, &mut scheduler, &all).expect("sound");
    let decide = |copy: &Copy, scheduler: &mut Scheduler, now: u64| loop {
        match scheduler.decide(copy.cell().expect("at rest"), Time(now)) {
            Decision::Again => {}
            decision => return decision,
        }
    };
    assert_eq!(decide(&copy, &mut scheduler, 2_000_000), Decision::Wait, "the machine is full");
    sandbox.end(TaskId { job: theirs, group: 0, index: 1 }, Exit::Code(0));
    feed(&mut copy, &mut scheduler, &loads(sandbox.cell(), false)).expect("sound");
    let Decision::Propose(proposal) = decide(&copy, &mut scheduler, 2_000_001) else {
        panic!("there is room now, and no time has passed that a sweep could have used")
    };
    assert_eq!(proposal.txn.basis, sandbox.cell().seq());
    let outcomes = sandbox.commit(&proposal.txn);
    assert!(outcomes.iter().all(|outcome| outcome.is_accepted()), "{outcomes:?}");
    // The answer is here before the entry, which never comes by itself: the loads tell.
    let verdict = Verdict { at: sandbox.cell().seq(), outcomes: outcomes.into(), failed_assertion: None };
    let number = proposal.txn.id.number;
    scheduler.answer(copy.cell().expect("at rest"), Time(2_000_002), number, Answer::Verdict(verdict));
    assert_eq!(sandbox.cell().machine(MachineId(0)).map(|m| m.free()), Some(cpu(1)));
    assert_eq!(
        (scheduler.stats().placed, mine, copy.seq()),
        (1, JobId(1), Some(Seq(sandbox.cell().seq().0 - 1)))
    );
}
