//! The state itself: whatever is asked of it, what is admitted leaves it sound.

use std::collections::BTreeMap;

use cell_state::admit::{Command, admit};
use cell_state::audit::audit;
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{Band, GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::resources::Dimension;
use cell_state::task::Exit;
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId, codec};

use super::draw::Draw;
use super::stores::same_from_its_pages;
use crate::history::History;

/// Steps of one script.
const STEPS_MAX: usize = 200;

/// Resubmissions of foreign events are small: what they may ask for is bounded before they are applied.
const FOREIGN_TASKS_MAX: u32 = 1_000;

/// Bytes as a script of commands and transactions. Whatever is admitted leaves the cell sound, its log explains it, and
/// it is the same when read back from its pages.
pub(super) fn history(bytes: &[u8]) {
    let (mut cell, log) = play(bytes);
    sound(&cell);
    let mut history = History::new();
    for (index, event) in log.iter().enumerate() {
        history.take(Seq(index as u64 + 1), event).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    history.explains(&cell).unwrap_or_else(|wrong| panic!("{wrong}"));
    same_from_its_pages(&mut cell);
}

/// Bytes as a transaction, judged on a cell with something of everything.
pub(super) fn judge_anything(bytes: &[u8]) {
    let (mut cell, _) = play(&(0..=255).cycle().take(1_500).collect::<Vec<u8>>());
    let whole = codec::decode::<Transaction>(bytes).ok();
    let drawn = Some(transaction(&mut Draw(bytes), &cell));
    for txn in whole.into_iter().chain(drawn) {
        let Ok(Judged::New(committed)) = judge(&cell, Time(1 << 40), &txn) else { continue };
        let outcomes = committed.outcomes.clone();
        cell.apply(cell.seq().next(), &Event::Committed(committed));
        sound(&cell);
        match judge(&cell, Time(1 << 41), &txn) {
            Ok(Judged::Again { outcomes: again, .. }) => assert_eq!(again[..], outcomes[..]),
            other => panic!("a resend is judged anew: {other:?}"),
        }
    }
}

/// Events of another cell's history, and any that decode, applied to one they don't belong to: it goes on, alike on
/// every copy, and can be looked at.
pub(super) fn foreign_events(bytes: &[u8]) {
    let (ours, theirs) = bytes.split_at(bytes.len() / 2);
    let (mut cell, _) = play(ours);
    let (_, log) = play(theirs);
    let mut copy = cell.clone();
    let decoded = codec::decode::<Event>(theirs).ok().filter(is_small);
    for event in log.iter().chain(&decoded) {
        cell.apply(cell.seq().next(), event);
        copy.apply(copy.seq().next(), event);
    }
    assert_eq!(cell.hash(), copy.hash(), "two copies differ");
    audit(&cell);
}

/// Numbers that a server gives out without gaps, and counts within bounds that admission holds.
fn is_small(event: &Event) -> bool {
    match event {
        Event::JobSubmitted { job, spec, .. } => {
            job.0 < FOREIGN_TASKS_MAX && spec.groups.iter().all(|group| group.count < FOREIGN_TASKS_MAX)
        }
        Event::Configured { .. }
        | Event::QuotaSet { .. }
        | Event::MachineRegistered { .. }
        | Event::MachineStateSet { .. }
        | Event::JobStopped { .. }
        | Event::JobsForgotten { .. }
        | Event::SessionOpened { .. }
        | Event::SessionEnded { .. }
        | Event::Committed(_)
        | Event::Reported { .. } => true,
    }
}

fn sound(cell: &Cell) {
    let violations: Vec<String> = audit(cell).iter().map(ToString::to_string).collect();
    assert_eq!(violations, Vec::<String>::new());
}

/// Plays a script on an empty cell: the cell and its log.
fn play(bytes: &[u8]) -> (Cell, Vec<Event>) {
    let (mut cell, mut log, mut draw) = (Cell::new(), Vec::new(), Draw(bytes));
    for _ in 0..STEPS_MAX {
        if draw.is_over() {
            break;
        }
        let time = Time(cell.seq().0 * 1_000);
        let event = if draw.chance(120) {
            match judge(&cell, time, &transaction(&mut draw, &cell)) {
                Ok(Judged::New(committed)) => Some(Event::Committed(committed)),
                Ok(Judged::Again { .. }) | Err(_) => None,
            }
        } else {
            let command = command(&mut draw, &cell);
            admit(&cell, time, command).ok().and_then(|admitted| admitted.event)
        };
        if let Some(event) = event {
            cell.apply(cell.seq().next(), &event);
            log.push(event);
        }
    }
    (cell, log)
}

const SCHEDULERS: [&str; 2] = ["red", "blue"];
const STATES: [MachineState; 3] = [MachineState::Ready, MachineState::Draining, MachineState::Down];

fn command(draw: &mut Draw<'_>, cell: &Cell) -> Command {
    match draw.below(12) {
        0..2 => Command::RegisterMachine { spec: machine(draw), incarnation: u64::from(draw.below(3)) },
        2..4 => Command::SubmitJob(job(draw)),
        4 => Command::OpenSession {
            scheduler: draw.of(&SCHEDULERS).to_owned(),
            instance: u64::from(draw.below(3)),
        },
        5 => Command::StopJob { name: format!("job-{}", draw.below(5)) },
        6 => Command::SetMachineState {
            machine: format!("m{}", draw.below(5)),
            state: draw.of(&STATES),
            grace_us: None,
        },
        7 => Command::SetQuota {
            team: draw.of(&SCHEDULERS).to_owned(),
            band: draw.of(&Band::ALL),
            limit: draw.chance(128).then(|| amount(draw)),
        },
        8 => {
            let mut config = CellConfig { name: "dev".to_owned(), ..CellConfig::default() };
            config.overcommit.0[0] = 100 + 10 * u16::from(draw.byte());
            Command::Configure(config)
        }
        9 => match draw.below(2) {
            0 => Command::EndSession { session: SessionId(u32::from(draw.below(5))) },
            _ => Command::ForgetJobs { jobs: (0..u32::from(draw.below(6))).map(JobId).collect() },
        },
        _ => report(draw, cell),
    }
}

fn report(draw: &mut Draw<'_>, cell: &Cell) -> Command {
    let machine = MachineId(u32::from(draw.below(5)));
    let found = cell.machine(machine);
    let seen = found.map_or(0, |m| m.reports_seen);
    let count = draw.below(4);
    let reports = (0..count).map(|_| {
        let task = task(draw, cell);
        let epoch = cell.task(task).map_or(0, |t| t.epoch).wrapping_sub(u32::from(draw.chance(20)));
        let ends = [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::Unseen];
        let seen = if draw.chance(100) { Seen::Started } else { Seen::Ended(draw.of(&ends)) };
        Report { task, epoch, seen }
    });
    let reports = reports.collect();
    let first = if draw.chance(20) { draw.number() } else { seen + 1 };
    Command::Report { machine, incarnation: found.map_or(0, |m| m.incarnation), first, reports }
}

fn amount(draw: &mut Draw<'_>) -> Resources {
    let mut amount = Resources::cpu_memory(draw.number(), u64::from(draw.below(8)));
    if draw.chance(30) {
        amount = amount.with(Dimension::NET, draw.number());
    }
    amount
}

fn machine(draw: &mut Draw<'_>) -> MachineSpec {
    let name = format!("m{}", draw.below(5));
    let devices = u64::from(draw.below(3));
    MachineSpec {
        name,
        capacity: amount(draw).plus(&Resources::cpu_memory(200, 20)).with(Dimension::GPU, devices * 1_000),
        attributes: BTreeMap::from([("rack".to_owned(), format!("r{}", draw.below(2)))]),
        devices: (0..devices).map(|n| format!("gpu{n}")).collect(),
        ports: (20_000, 20_000 + u16::from(draw.below(9))),
    }
}

fn job(draw: &mut Draw<'_>) -> JobSpec {
    let name = format!("job-{}", draw.below(5));
    let groups = (0..=draw.below(2)).map(|number| {
        let gpu = if draw.chance(40) { draw.of(&[250, 500, 1_000, 2_000]) } else { 0 };
        let count = draw.below(3);
        let ports = (0..count).map(|n| PortAsk {
            name: format!("p{n}"),
            number: draw.chance(60).then(|| 20_000 + u16::from(draw.below(9))),
        });
        let ports = ports.collect();
        GroupSpec {
            name: format!("g{number}"),
            count: u32::from(draw.below(40)),
            ports,
            resources: amount(draw).with(Dimension::GPU, gpu),
            constraints: Vec::new(),
            distinct_machines: draw.chance(40),
            spread: None,
            restart: Restart {
                on: draw.of(&[RestartOn::Never, RestartOn::Failure, RestartOn::Always]),
                attempts: u16::from(draw.below(4)),
                delay_us: 1_000,
            },
            data: cell_state::job::data::Data::default(),
            stop_grace_us: 1_000,
            run: Run::Simulated { run_for_us: None, exit_code: 0 },
        }
    });
    let groups = groups.collect();
    JobSpec {
        name,
        kind: draw.of(&[JobKind::Service, JobKind::Batch]),
        priority: 100 * u16::from(draw.below(4)),
        team: draw.of(&SCHEDULERS).to_owned(),
        scheduler: draw.of(&SCHEDULERS).to_owned(),
        groups,
    }
}

fn task(draw: &mut Draw<'_>, cell: &Cell) -> TaskId {
    let job = JobId(u32::from(draw.below(6)));
    let task = TaskId { job, group: u16::from(draw.below(2)), index: u32::from(draw.byte()) };
    // Mostly one that is there.
    let size = cell.job(job).and_then(|j| j.groups.get(usize::from(task.group))).map_or(0, |g| g.tasks.len());
    if size > 0 && draw.chance(240) { TaskId { index: task.index % size as u32, ..task } } else { task }
}

fn transaction(draw: &mut Draw<'_>, cell: &Cell) -> Transaction {
    let session = SessionId(u32::from(draw.below(4)));
    let last = cell.session(session).map_or(0, |s| s.last_number);
    let number = if draw.chance(20) { draw.number() } else { last.saturating_add(1) };
    let behind = if draw.chance(60) { draw.number() } else { 0 };
    let ops = (0..=draw.below(5)).map(|_| op(draw, cell)).collect();
    let assertions = (0..if draw.chance(60) { 2 } else { 0 }).map(|_| assertion(draw)).collect();
    Transaction {
        id: TxnId { session, number },
        basis: Seq(cell.seq().0.saturating_sub(behind)),
        atomicity: draw.of(&[Atomicity::Incremental, Atomicity::AllOrNothing]),
        detection: draw.of(&[Detection::Fit, Detection::Version]),
        ops,
        assertions,
    }
}

fn op(draw: &mut Draw<'_>, cell: &Cell) -> Op {
    let task = task(draw, cell);
    let epoch = cell.task(task).map_or(0, |t| t.epoch).wrapping_add(u32::from(draw.chance(20)));
    match draw.below(8) {
        0 => Op::Evict { task, epoch },
        1 => Op::Stop { task, epoch },
        2 => Op::Resize { task, epoch, resources: amount(draw) },
        _ => Op::Place {
            task,
            machines: (0..=draw.below(3)).map(|_| MachineId(u32::from(draw.below(6)))).collect(),
            preempt: (0..if draw.chance(60) { draw.below(4) } else { 0 })
                .map(|_| self::task(draw, cell))
                .collect(),
        },
    }
}

fn assertion(draw: &mut Draw<'_>) -> Assertion {
    let job = JobId(u32::from(draw.below(6)));
    match draw.below(3) {
        0 => Assertion::AtMost {
            job,
            attribute: draw.of(&["rack", "name", "zone"]).to_owned(),
            value: draw.of(&["r0", "r1", "m0"]).to_owned(),
            max: u32::from(draw.below(4)),
        },
        1 => Assertion::JobVersion { job, version: u32::from(draw.below(3)) },
        _ => Assertion::Unchanged { machine: MachineId(u32::from(draw.below(6))) },
    }
}
