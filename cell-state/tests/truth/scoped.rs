//! The state of a follower of one scheduler's jobs, kept by what the server would send it, against the whole state: the
//! one fit rule gives the same answers on both, whatever has happened and wherever the follower joined.

use std::sync::Arc;

use cell_state::event::{Committed, Event, Report, Seen};
use cell_state::machine::{Machine, MachineSpec, MachineState};
use cell_state::overlay::Overlay;
use cell_state::page::{Narrow, PageKey, Restore};
use cell_state::record::{self, Kind};
use cell_state::scope::{Digest, Loads};
use cell_state::session::Memory;
use cell_state::task::Exit;
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::{ConflictKind, Outcome, Placed, PlacedExtra};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};
use proptest::prelude::*;

use crate::histories::{machine, step};
use crate::same::Both;

/// A scoped state and what the server keeps for its subscription.
struct Follower {
    scheduler: &'static str,
    digest: Digest,
    cell: Cell,
}

impl Follower {
    /// Joins with the pages of an older state; what has happened since is in the log.
    fn join(scheduler: &'static str, older: &Cell, whole: &Cell, log: &[Event]) -> Follower {
        let pages: Vec<(PageKey, Vec<u8>)> = older
            .page_keys()
            .into_iter()
            .map(|key| (key, older.encode_page(&key).expect("a page")))
            .collect();
        let narrow =
            Narrow::new(scheduler, pages.iter().map(|(key, bytes)| (key, &bytes[..]))).expect("sound");
        let mut restore = Restore::new(older.seq());
        for (key, bytes) in &pages {
            if let Some(bytes) = narrow.page(key, bytes).expect("a sound page") {
                restore.add(*key, &bytes).expect("a narrowed page");
            }
        }
        let cell = restore.finish().expect("all pages of a scoped state").scoped_to(scheduler);
        let mut digest = Digest::new(scheduler);
        digest.touch_all(whole);
        let mut follower = Follower { scheduler, digest, cell };
        follower.catch_up(whole, log);
        follower
    }

    /// The subscription is a new one, after what the follower has.
    fn resume(&mut self) {
        self.digest = Digest::new(self.scheduler);
    }

    /// Takes everything up to where the whole state is, by way of records.
    fn catch_up(&mut self, whole: &Cell, log: &[Event]) {
        let mut sent = Vec::new();
        for (i, event) in log.iter().enumerate().skip(self.cell.seq().0 as usize) {
            if self.digest.entry(whole, event) {
                record::append_event(&mut sent, Seq(i as u64 + 1), event);
            }
        }
        loop {
            let loads = self.digest.loads(whole);
            record::append(&mut sent, whole.seq(), Kind::Loads, &loads);
            if !loads.more {
                break;
            }
        }
        let mut rest = &sent[..];
        while let Some((record, length)) = record::read(rest).expect("sound records") {
            match record.kind {
                Kind::Event => self.cell.follow(record.seq, &record.event().expect("an event")),
                Kind::Loads => self.cell.apply_loads(record.seq, &record.loads().expect("loads")),
                other => panic!("{other:?}"),
            }
            rest = &rest[length..];
        }
        self.check(whole);
    }

    fn check(&self, whole: &Cell) {
        assert_eq!((self.cell.seq(), self.cell.time()), (whole.seq(), whole.time()));
        assert_eq!(self.cell.config(), whole.config());
        assert_eq!(self.cell.machines().len(), whole.machines().len());
        for (own, machine) in self.cell.machines().iter().zip(whole.machines()) {
            assert_eq!(shown(own), shown(machine));
        }
        let sessions = whole.sessions().iter().cloned().map(|mut session| {
            session.remembered = Memory::default();
            (session.id, session.scheduler, session.instance, session.live, session.remembered)
        });
        let own = self.cell.sessions().iter().cloned();
        let own = own.map(|s| (s.id, s.scheduler, s.instance, s.live, s.remembered));
        assert!(own.eq(sessions));
        for (team, band, limit) in whole.quotas().limits() {
            assert_eq!(self.cell.quotas().limit(team, band), Some(limit));
            assert_eq!(self.cell.quotas().used(team, band), whole.quotas().used(team, band), "{team} {band}");
        }
        let theirs = whole.jobs().filter(|job| job.spec().scheduler == self.scheduler).map(|job| job.id);
        assert!(self.cell.jobs().map(|job| job.id).eq(theirs), "all of the scheduler's jobs and no others");
        self.tasks_are_equal(whole);
        self.verdicts_are_equal(whole);
    }

    fn own(&self) -> impl Iterator<Item = TaskId> {
        self.cell.jobs().flat_map(|job| job.tasks()).map(|(task, _)| task)
    }

    fn tasks_are_equal(&self, whole: &Cell) {
        for job in self.cell.jobs() {
            let other = whole.job(job.id).expect("just compared");
            assert_eq!((job.desired, job.counts()), (other.desired, other.counts()));
            assert_eq!(job.current().since, other.current().since);
            assert!(job.tasks().eq(other.tasks()), "{}", job.id);
            assert!(job.pending().eq(other.pending()), "{}", job.id);
        }
        for task in self.own() {
            assert_eq!(self.cell.eligible_at(task), whole.eligible_at(task));
            let (here, there) = (self.cell.task(task).expect("its own"), whole.task(task).expect("equal"));
            if let (true, Some(machine)) = (here.state.is_live(), there.machine) {
                assert_eq!(self.cell.charge(task), whole.charge(task));
                let grant = |cell: &Cell| {
                    cell.machine(machine).and_then(|m| m.load.extra().grants.get(&task).cloned())
                };
                assert_eq!(grant(&self.cell), grant(whole));
            }
        }
    }

    /// Every pending task on every machine, alone and with each task there that the scheduler could preempt; and every
    /// live task resized.
    fn verdicts_are_equal(&self, whole: &Cell) {
        let verdict = |cell: &Cell, task, machine, victims: &[TaskId]| {
            let found = Overlay::new().fits(cell, task, machine, victims);
            // Which of several tasks of the job is named is chance.
            found.map_err(|kind| if kind.word() == "same-job" { ConflictKind::NoTask } else { kind })
        };
        let live: Vec<TaskId> =
            self.own().filter(|task| self.cell.task(*task).is_some_and(|t| t.state.is_live())).collect();
        let machines = 0..=whole.machines().len() as u32;
        for task in self.own() {
            for machine in machines.clone().map(MachineId) {
                let own = verdict(&self.cell, task, machine, &[]);
                assert_eq!(own, verdict(whole, task, machine, &[]), "{task} on {}", machine.0);
                for victim in &live {
                    let own = verdict(&self.cell, task, machine, &[*victim]);
                    assert_eq!(own, verdict(whole, task, machine, &[*victim]), "{task} for {victim}");
                }
            }
            for cpu in [1, 4] {
                let resized = |cell| Overlay::new().resize(cell, task, &Resources::cpu_memory(cpu, 1));
                assert_eq!(resized(&self.cell), resized(whole), "{task} resized");
            }
        }
    }
}

/// What a scheduler looks at of a machine.
fn shown(machine: &Machine) -> impl PartialEq + std::fmt::Debug + '_ {
    let extra = machine.load.extra();
    let devices: Vec<_> = extra.devices.iter().enumerate().filter(|(_, milli)| **milli > 0).collect();
    (&machine.spec, machine.state, machine.version, machine.limit, machine.load.used, &extra.ports, devices)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_scoped_state_answers_like_the_whole_one(
        before in prop::collection::vec(step(), 0..60),
        meanwhile in prop::collection::vec(step(), 0..20),
        after in prop::collection::vec((prop::collection::vec(step(), 1..8), prop::bool::weighted(0.2)), 1..12),
    ) {
        let mut both = Both::new();
        before.iter().for_each(|step| both.step(step));
        let older = both.cell.clone();
        meanwhile.iter().for_each(|step| both.step(step));
        let mut followers = ["s0", "s1", "nobody"].map(|name| Follower::join(name, &older, &both.cell, &both.log));
        for (steps, resumes) in &after {
            steps.iter().for_each(|step| both.step(step));
            for follower in &mut followers {
                if *resumes {
                    follower.resume();
                }
                follower.catch_up(&both.cell, &both.log);
            }
        }
    }
}

/// More entries may be read between two of them, so a state that is read isn't held for long.
#[test]
fn loads_of_a_large_cell_come_in_pieces() {
    let mut digest = Digest::new("s0");
    let mut cell = Cell::new();
    for n in 0..20_000u32 {
        let spec = Arc::new(MachineSpec { name: format!("x{n}"), ..machine(0, 5, 0, 0) });
        let event = Event::MachineRegistered { machine: MachineId(n), spec, incarnation: 0, time: Time(1) };
        cell.apply(cell.seq().next(), &event);
        assert!(digest.entry(&cell, &event));
    }
    let (mut pieces, mut told): (Vec<Loads>, Vec<u32>) = (Vec::new(), Vec::new());
    loop {
        let loads = digest.loads(&cell);
        told.extend(loads.machines.iter().map(|load| load.machine.0));
        pieces.push(loads);
        if digest.touched() == 0 {
            break;
        }
    }
    told.sort_unstable();
    assert!(told.into_iter().eq(0..20_000), "each machine once");
    let (last, others) = pieces.split_last().expect("at least one");
    assert!(
        !last.more && others.len() > 2 && others.iter().all(|loads| loads.more && loads.quotas.is_empty())
    );
    let mut bytes = Vec::new();
    let lengths = pieces.iter().map(|loads| record::append(&mut bytes, cell.seq(), Kind::Loads, loads));
    assert!(lengths.max().is_some_and(|longest| longest < 1 << 20));
}

#[test]
fn what_makes_room_is_told_from_what_takes_it() {
    let both = Both::new();
    let before = &both.cell.machines()[0];
    let mut load = before.amounts();
    assert!(!load.frees(before));
    load.used = load.used.plus(&Resources::cpu_memory(1, 0));
    assert!(!load.frees(before), "more is used");
    let mut fuller = before.clone();
    fuller.load.used = Resources::cpu_memory(3, 3);
    assert!(load.frees(&fuller));
    load.used = Resources::cpu_memory(9, 2);
    assert!(load.frees(&fuller), "less of one dimension is enough");
    load.used = Resources::cpu_memory(9, 9);
    load.state = MachineState::Draining;
    assert!(load.frees(&fuller), "a change of state is worth a look");
}

/// One's own newcomer waits for a task of another scheduler's, which then goes; and the other way round.
#[test]
fn preemptions_between_schedulers_are_seen_from_both_sides() {
    let mut whole = Cell::new();
    let mut log = Vec::new();
    let older = whole.clone();
    let mut followers = ["s0", "s1"].map(|name| Follower::join(name, &older, &whole, &log));
    let machine = Arc::new(machine(0, 5, 0, 0));
    let job = |n: u8| Arc::new(crate::histories::job(n, 1, 4, 0));
    let task = |job: u32| TaskId { job: JobId(job), group: 0, index: 0 };
    let opened = |n: u32| Event::SessionOpened {
        session: SessionId(n),
        scheduler: format!("s{n}"),
        instance: n.into(),
        time: Time(1),
    };
    let placed = |n: u32, epoch, preempted| {
        let extra = Some(Box::new(PlacedExtra { preempted, ..PlacedExtra::default() }));
        let placed = Placed { task: task(n), machine: MachineId(0), epoch, version: 1, extra };
        Event::Committed(Committed {
            txn: TxnId { session: SessionId(n), number: u64::from(epoch) },
            basis: Seq(0),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            time: Time(2),
            outcomes: [Outcome::Placed(placed)].into(),
            failed_assertion: None,
        })
    };
    let ended = |n: u32, first| {
        let report = Report { task: task(n), epoch: 1, seen: Seen::Ended(Exit::Signal(15)) };
        let (machine, reports) = (MachineId(0), vec![report]);
        Event::Reported { machine, incarnation: 0, first, reports, time: Time(3) }
    };
    let events = [
        Event::MachineRegistered { machine: MachineId(0), spec: machine, incarnation: 0, time: Time(1) },
        opened(0),
        opened(1),
        // Of priorities 100 and 150.
        Event::JobSubmitted { job: JobId(0), spec: job(0), time: Time(1) },
        Event::JobSubmitted { job: JobId(1), spec: job(1), time: Time(1) },
        placed(0, 1, Vec::new()),
        placed(1, 1, vec![task(0)]),
        ended(0, 1),
        ended(1, 2),
    ];
    for event in events {
        whole.apply(whole.seq().next(), &event);
        log.push(event);
        followers.iter_mut().for_each(|follower| follower.catch_up(&whole, &log));
    }
    assert_eq!(whole.machines()[0].load.used, Resources::ZERO);
}
