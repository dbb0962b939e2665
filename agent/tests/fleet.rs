//! A fleet gives each of its agents the part of the log that concerns it, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent::{Agent, Fleet, Input, Kept, Output, Setup, Spec};
use cell_state::admit::{Answer, Command, admit};
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event};
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::resources::Overcommit;
use cell_state::task::TaskState;
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{Cell, JobId, MachineId, Resources, SessionId, TaskId, Time, TxnId};

const NOW: Time = Time(1);
const MACHINES: u32 = 40;

struct Site {
    cell: Cell,
    fleet: Fleet,
    transactions: u64,
}

fn spec(n: u32) -> MachineSpec {
    MachineSpec {
        name: format!("m{n}"),
        capacity: Resources::cpu_memory(10, 10),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        ports: (20_000, 20_009),
    }
}

fn job(name: &str, count: u32) -> JobSpec {
    let group = GroupSpec {
        name: "g".into(),
        count,
        resources: Resources::cpu_memory(1, 1),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: name.into(),
        kind: JobKind::Service,
        priority: 100,
        team: "t".into(),
        scheduler: "s".into(),
        groups: vec![group],
    }
}

impl Site {
    fn new() -> Site {
        let setup = |n| Setup { spec: Arc::new(spec(n)), kept: Kept::new(1), found: Vec::new() };
        let fleet = Fleet::new((0..MACHINES).map(|n| Agent::new(setup(n))).collect());
        let mut site = Site { cell: Cell::new(), fleet, transactions: 0 };
        site.command(Command::Configure(CellConfig { name: "c".into(), ..CellConfig::default() }));
        site.command(Command::OpenSession { scheduler: "s".into(), instance: 1 });
        for slot in 0..MACHINES as usize {
            site.fleet.handle(NOW, slot, Input::Connected { overcommit: Overcommit::default() });
        }
        site.settle();
        for slot in 0..MACHINES as usize {
            site.fleet.handle(NOW, slot, Input::Snapshot { at: site.cell.seq(), assigned: &[] });
        }
        site.fleet.snapshot_ended(site.cell.seq());
        assert!(site.fleet.is_synced());
        site
    }

    fn command(&mut self, command: Command) -> Answer {
        let admitted = admit(&self.cell, NOW, command).expect("a good command");
        admitted.event.into_iter().for_each(|event| self.append(&event));
        admitted.answer
    }

    fn append(&mut self, event: &Event) {
        let at = self.cell.seq().next();
        self.cell.apply(at, event);
        self.fleet.event(NOW, at, event);
    }

    fn place(&mut self, tasks: impl Iterator<Item = TaskId>) {
        let place = |task: TaskId| Op::Place {
            task,
            machines: MachineId((task.index * 7 + task.job.0) % MACHINES).into(),
            preempt: Vec::new(),
        };
        self.transactions += 1;
        let txn = Transaction {
            id: TxnId { session: SessionId(0), number: self.transactions },
            basis: self.cell.seq(),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: tasks.map(place).collect(),
            assertions: Vec::new(),
        };
        let Judged::New(committed) = judge(&self.cell, NOW, &txn).expect("a good transaction") else {
            panic!("judged before")
        };
        self.append(&Event::Committed(committed));
    }

    /// Does what the agents ask until they ask no more; processes start and end at once when told to.
    fn settle(&mut self) {
        while let Some((slot, output)) = self.fleet.poll() {
            match output {
                Output::Record { number, .. } => {
                    self.fleet.handle(NOW, slot, Input::Recorded { upto: number })
                }
                Output::Prepare(id, _) => self.fleet.handle(NOW, slot, Input::Prepared(id)),
                Output::Start(start) => self.fleet.handle(NOW, slot, Input::Started(start.intent.id)),
                Output::Signal(id, _) => {
                    self.fleet.handle(NOW, slot, Input::Ended(id, cell_state::task::Exit::Signal(9)));
                }
                Output::Register { spec, incarnation } => {
                    let answer =
                        self.command(Command::RegisterMachine { spec: (*spec).clone(), incarnation });
                    let Answer::Machine(machine) = answer else { panic!("{answer:?}") };
                    self.fleet.handle(NOW, slot, Input::Registered { machine, at: self.cell.seq() });
                }
                Output::FetchSpec { job, version } => {
                    let spec = self
                        .cell
                        .job(job)
                        .expect("it is there")
                        .version(version)
                        .expect("it is there")
                        .spec
                        .clone();
                    let spec = Arc::new(Spec::compile((*spec).clone()));
                    self.fleet.handle(NOW, slot, Input::Spec { job, version, spec: &spec });
                }
                Output::Report { machine, incarnation, first, reports } => {
                    let answer = self.command(Command::Report { machine, incarnation, first, reports });
                    let Answer::Reported { upto } = answer else { panic!("{answer:?}") };
                    self.fleet.handle(NOW, slot, Input::Acknowledged { upto, at: self.cell.seq() });
                }
            }
        }
    }

    /// Every agent runs exactly what the cell has on its machine.
    fn check(&self) -> usize {
        let mut running = 0;
        for (slot, agent) in self.fleet.agents().iter().enumerate() {
            let machine = self.cell.machine_named(&agent.spec().name).expect("it is there").id;
            assert_eq!(self.fleet.slot_of(machine), Some(slot));
            let assigned = self.cell.assigned(machine);
            assert!(assigned.iter().all(|a| a.state == TaskState::Running), "{assigned:?}");
            let wanted: Vec<_> = assigned.iter().map(|a| (a.task, a.epoch)).collect();
            let there: Vec<_> = agent.placements().map(|(id, here)| (id.task, id.epoch, here)).collect();
            assert_eq!(there, wanted.iter().map(|(t, e)| (*t, *e, true)).collect::<Vec<_>>(), "slot {slot}");
            running += wanted.len();
        }
        running
    }
}

#[test]
fn each_agent_gets_its_part() {
    let mut site = Site::new();
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        site.command(Command::SubmitJob(job(name, 60)));
        site.place((0..60).map(|index| TaskId { job: JobId(n as u32), group: 0, index }));
    }
    site.settle();
    assert_eq!(site.check(), 180);
    site.command(Command::StopJob { name: "b".into() });
    site.command(Command::SubmitJob(job("c", 10)));
    site.settle();
    assert_eq!(site.check(), 70);
    site.command(Command::SetMachineState {
        machine: "m3".into(),
        state: MachineState::Draining,
        grace_us: None,
    });
    site.command(Command::SetMachineState {
        machine: "m4".into(),
        state: MachineState::Down,
        grace_us: None,
    });
    site.settle();
    let left = site.check();
    assert!(left < 70);
    assert_eq!(
        site.cell.machine_named("m4").expect("it is there").state,
        MachineState::Ready,
        "it registered again"
    );
    let pending: Vec<_> = site.cell.jobs().flat_map(|job| job.pending()).collect();
    let replace = pending.len();
    site.command(Command::SetMachineState {
        machine: "m3".into(),
        state: MachineState::Ready,
        grace_us: None,
    });
    site.place(pending.into_iter());
    site.settle();
    assert_eq!(site.check(), left + replace);
}
