//! A cell, a disk, a machine with processes and a connection, all in memory, each able to fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use agent::{Agent, Input, Intent, Kept, Output, PlacementId, Signal, Spec, Write};
use cell_state::admit::{Command, admit};
use cell_state::audit::audit;
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event};
use cell_state::machine::MachineState;
use cell_state::resources::Overcommit;
use cell_state::task::{Exit, TaskState};
use cell_state::transaction::{Atomicity, Detection, Op as TxnOp, Transaction};
use cell_state::{Cell, JobId, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};

mod link;
mod machine;
mod shapes;

use link::Link;
use shapes::{job_spec, machine_spec};

/// One step; the numbers choose among what is possible.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A job is submitted, first or with another count.
    Submit(u8, u8),
    /// A scheduler places a pending task, preempting if the second number says so.
    Place(u8, u8),
    StopJob(u8),
    Evict(u8),
    Resize(u8),
    SetState(u8),
    Undrain,
    /// The next entries of the log arrive.
    Stream(u8),
    /// The server takes a request.
    Serve,
    /// An answer arrives.
    Answer,
    /// Writes become durable.
    Flush(u8),
    /// A start under way succeeds or fails.
    Launch(u8),
    /// A process ends by itself.
    Exit(u8),
    /// A process ends because it was told to.
    Obey(u8),
    /// Time passes.
    Pass(u8),
    Disconnect,
    Connect,
    /// The agent is gone; the number decides what becomes of starts under way and unflushed writes.
    Crash(u8),
    Restart,
    /// All goes well for some rounds.
    Progress(u8),
}

#[derive(Clone, Debug)]
struct Process {
    intent: Intent,
    launched: bool,
    termed: bool,
    killed: bool,
}

pub(crate) struct World {
    now: Time,
    pub(crate) cell: Cell,
    pub(crate) log: Vec<Event>,
    /// The state after each of the last entries, the latest last: what a server that lags may still send.
    pub(crate) states: VecDeque<Cell>,
    next_txn: u64,
    pub(crate) agent: Option<Agent>,
    disk: Kept,
    unflushed: VecDeque<(u64, Write)>,
    /// Placements whose data is being fetched.
    preparing: VecDeque<PlacementId>,
    processes: BTreeMap<PlacementId, Process>,
    exits: BTreeMap<PlacementId, Exit>,
    starts: BTreeMap<PlacementId, u32>,
    link: Link,
    resized: bool,
    /// Placements that preempt, with their victims as the cell saw them.
    victims: BTreeMap<PlacementId, Vec<PlacementId>>,
}

impl World {
    pub(crate) fn new() -> World {
        let mut world = World {
            now: Time(1_000_000),
            cell: Cell::new(),
            log: Vec::new(),
            states: VecDeque::new(),
            next_txn: 0,
            agent: None,
            disk: Kept::new(77),
            unflushed: VecDeque::new(),
            preparing: VecDeque::new(),
            processes: BTreeMap::new(),
            exits: BTreeMap::new(),
            starts: BTreeMap::new(),
            link: Link::default(),
            resized: false,
            victims: BTreeMap::new(),
        };
        world.found_cell();
        world.restart();
        world.connect();
        world
    }

    fn found_cell(&mut self) {
        let config = CellConfig { name: "c".into(), ..CellConfig::default() };
        self.command(Command::Configure(config));
        self.command(Command::OpenSession { scheduler: "s".into(), instance: 1 });
        self.next_txn = 0;
    }

    /// The server's data is wiped; agent and processes stay.
    pub(crate) fn replace_cell(&mut self) {
        self.cell = Cell::new();
        self.log.clear();
        self.states.clear();
        self.victims.clear();
        self.starts.clear();
        self.link = Link::default();
        self.found_cell();
    }

    /// Starts so far: all, those that preempted, and those that weren't their task's first placement.
    pub(crate) fn started(&self) -> (usize, usize, usize) {
        let preempted = |id: &&PlacementId| self.victims.get(id).is_some_and(|v| !v.is_empty());
        let starts = self.starts.keys();
        let again = starts.clone().filter(|id| id.epoch > 1).count();
        (starts.len(), starts.filter(preempted).count(), again)
    }

    pub(crate) fn running(&self) -> usize {
        self.processes.values().filter(|p| p.launched).count()
    }

    fn command(&mut self, command: Command) {
        if let Ok(admitted) = admit(&self.cell, self.now, command)
            && let Some(event) = admitted.event
        {
            self.append(event);
        }
    }

    fn append(&mut self, event: Event) {
        self.cell.apply(self.cell.seq().next(), &event);
        self.log.push(event);
        self.states.push_back(self.cell.clone());
        if self.states.len() > 6 {
            self.states.pop_front();
        }
        assert_eq!(audit(&self.cell), Vec::new());
    }

    fn commit(&mut self, op: TxnOp) {
        self.next_txn += 1;
        let txn = Transaction {
            id: TxnId { session: SessionId(0), number: self.next_txn },
            basis: self.cell.seq(),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: vec![op],
            assertions: Vec::new(),
        };
        if let Ok(Judged::New(committed)) = judge(&self.cell, self.now, &txn) {
            for outcome in committed.outcomes.iter() {
                if let cell_state::verdict::Outcome::Placed(placed) = outcome {
                    let extra = placed.extra.as_deref();
                    let epoch = |task: &TaskId| self.cell.task(*task).map_or(0, |t| t.epoch);
                    let ids = extra.iter().flat_map(|e| &e.preempted);
                    let ids = ids.map(|task| PlacementId { task: *task, epoch: epoch(task) }).collect();
                    self.victims.insert(PlacementId { task: placed.task, epoch: placed.epoch }, ids);
                }
            }
            self.append(Event::Committed(committed));
        }
    }

    fn tasks(&self, which: impl Fn(TaskState) -> bool) -> Vec<TaskId> {
        let all = self.cell.jobs().flat_map(|job| job.tasks());
        all.filter(|(_, task)| which(task.state)).map(|(id, _)| id).collect()
    }

    fn live(&self) -> Vec<TaskId> {
        self.tasks(|s| matches!(s, TaskState::Placed | TaskState::Running))
    }

    pub(crate) fn place_all(&mut self) {
        for n in 0..8 {
            self.step(Op::Place(n, 0));
        }
    }

    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Submit(which, shape) => self.command(Command::SubmitJob(job_spec(which, shape))),
            Op::Place(n, preempt) => {
                let Some(task) = pick(&self.tasks(|s| s == TaskState::Pending), n) else { return };
                let victims: Vec<TaskId> = if preempt.is_multiple_of(3) {
                    pick(&self.live(), preempt).into_iter().collect()
                } else {
                    Vec::new()
                };
                self.commit(TxnOp::Place { task, machines: MachineId(0).into(), preempt: victims });
            }
            Op::StopJob(n) => {
                let names: Vec<String> = self.cell.jobs().map(|job| job.spec().name.clone()).collect();
                if let Some(name) = pick(&names, n) {
                    self.command(Command::StopJob { name });
                }
            }
            Op::Evict(n) => {
                let Some(task) = pick(&self.live(), n) else { return };
                let epoch = self.cell.task(task).expect("it is there").epoch;
                let op = if n.is_multiple_of(2) {
                    TxnOp::Evict { task, epoch }
                } else {
                    TxnOp::Stop { task, epoch }
                };
                self.commit(op);
            }
            Op::Resize(n) => {
                let Some(task) = pick(&self.live(), n) else { return };
                let epoch = self.cell.task(task).expect("it is there").epoch;
                self.resized = true;
                self.commit(TxnOp::Resize {
                    task,
                    epoch,
                    resources: Resources::cpu_memory(u64::from(n % 3), 1),
                });
            }
            Op::SetState(n) => {
                let states = [MachineState::Ready, MachineState::Draining, MachineState::Down];
                self.set_state(states[usize::from(n) % 3]);
            }
            Op::Undrain => self.set_state(MachineState::Ready),
            Op::Progress(n) => (0..n % 16).for_each(|_| self.progress()),
            Op::Stream(n) => self.stream(n),
            Op::Serve => self.serve(),
            Op::Answer => self.answer(),
            Op::Flush(n) => self.flush(usize::from(n) % 4 + 1),
            Op::Launch(n) => self.launch(n),
            Op::Exit(n) => self.exit(n),
            Op::Obey(n) => self.obey(n),
            Op::Pass(n) => {
                self.now = self.now.plus(u64::from(n) * 50_000);
                self.tell(Input::Wake);
            }
            Op::Disconnect => self.disconnect(),
            Op::Connect => self.connect(),
            Op::Crash(n) => self.crash(n),
            Op::Restart => self.restart(),
        }
    }

    fn set_state(&mut self, state: MachineState) {
        self.command(Command::SetMachineState { machine: "m".into(), state, grace_us: None });
    }

    pub(crate) fn tell(&mut self, input: Input<'_>) {
        let Some(agent) = &mut self.agent else { return };
        agent.handle(self.now, input);
        while let Some(output) = self.agent.as_mut().and_then(Agent::poll) {
            self.act(output);
        }
        if let Some(agent) = &self.agent {
            assert!(agent.next_timeout().is_none_or(|at| at > self.now), "due at {:?}", agent.next_timeout());
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Record { number, write } => self.unflushed.push_back((number, write)),
            Output::Prepare(id, _) => self.preparing.push_back(id),
            Output::Start(start) => {
                let id = start.intent.id;
                let starts = self.starts.entry(id).or_default();
                *starts += 1;
                assert_eq!(*starts, 1, "{id} is started a second time");
                assert!(self.disk.records.contains_key(&id), "{id} is started before its intent is durable");
                let here = self.processes.values().map(|p| p.intent.resources);
                let sum = here.fold(start.intent.resources, |sum, r| sum.plus(&r));
                let over = sum.first_over(&machine_spec().capacity);
                assert!(self.resized || over.is_none(), "{id} is started beside {:?}", self.processes);
                for victim in self.victims.get(&id).into_iter().flatten() {
                    assert!(
                        !self.processes.contains_key(victim),
                        "{id} is started beside its victim {victim}"
                    );
                }
                let process = Process { intent: start.intent, launched: false, termed: false, killed: false };
                self.processes.insert(id, process);
            }
            Output::Signal(id, signal) => {
                let process = self.processes.get_mut(&id).expect("only what is there is signalled");
                match signal {
                    Signal::Term => process.termed = true,
                    Signal::Kill => process.killed = true,
                }
            }
            Output::Register { .. } | Output::FetchSpec { .. } | Output::Report { .. } => {
                self.link.send(output)
            }
        }
    }

    fn progress(&mut self) {
        for op in [Op::Serve, Op::Answer, Op::Stream(1), Op::Flush(3), Op::Launch(1), Op::Obey(0)] {
            self.step(op);
        }
    }

    /// The faults stop: everything under way is carried through until nothing more happens.
    pub(crate) fn heal(&mut self) {
        if self.cell.machine(MachineId(0)).is_some_and(|m| m.state == MachineState::Draining) {
            self.command(Command::SetMachineState {
                machine: "m".into(),
                state: MachineState::Ready,
                grace_us: None,
            });
        }
        self.restart();
        for round in 0..2_000 {
            self.connect();
            let before = (self.cell.seq(), self.processes.len(), self.link.pending(), self.unflushed.len());
            self.progress();
            let after = (self.cell.seq(), self.processes.len(), self.link.pending(), self.unflushed.len());
            let timeout = self.agent.as_ref().and_then(Agent::next_timeout);
            if before == after && self.unflushed.is_empty() && self.link.is_idle(&self.log) {
                let launching = self.processes.values().any(|p| !p.launched) || !self.preparing.is_empty();
                match timeout {
                    Some(at) => {
                        self.now = at;
                        self.tell(Input::Wake);
                    }
                    None if !launching => return,
                    None => {}
                }
            }
            assert!(round < 1_999, "never comes to rest: {:#?}", self.agent);
        }
    }

    /// What the cell has on the machine is what runs there.
    pub(crate) fn check_healed(&self) {
        let assigned = self.cell.assigned(MachineId(0));
        for a in &assigned {
            let id = PlacementId { task: a.task, epoch: a.epoch };
            assert_eq!(a.state, TaskState::Running, "{id}: {a:#?}\n{:#?}\n{:#?}", self.agent, self.processes);
            assert!(self.processes.contains_key(&id), "{id} should run");
        }
        assert_eq!(self.processes.len(), assigned.len(), "strangers run: {:?} {assigned:?}", self.processes);
        let agent = self.agent.as_ref().expect("it is there");
        assert_eq!(agent.placements().count(), assigned.len(), "{agent:#?}");
        assert_eq!(self.disk.records.len(), assigned.len(), "{:?}", self.disk);
        assert!(self.disk.reports.is_empty());
    }
}

pub(crate) fn pick<T: Clone>(from: &[T], n: u8) -> Option<T> {
    if from.is_empty() { None } else { Some(from[usize::from(n) % from.len()].clone()) }
}

pub(crate) fn spec_of(cell: &Cell, job: JobId, version: u32) -> Option<Arc<Spec>> {
    let version = cell.job(job)?.version(version)?;
    Some(Arc::new(Spec::compile((*version.spec).clone())))
}

pub(crate) fn overcommit() -> Overcommit {
    Overcommit::default()
}

pub(crate) fn seq_of(log: &[Event]) -> Seq {
    Seq(log.len() as u64)
}
