//! No wake-up is ever lost: several scheduler processes against a server in memory, with random events, stale copies,
//! answers that are lost, doubled or refused, crashes and snapshots. After the faults heal, everything that could be
//! placed is placed, within the stated time.

use std::collections::VecDeque;

use cell_state::admit::{Answer as Admission, Command, admit};
use cell_state::audit::audit;
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{Band, Spread};
use cell_state::machine::MachineState;
use cell_state::overlay::Overlay;
use cell_state::task::{Exit, TaskState};
use cell_state::transaction::{Atomicity, Detection, Transaction};
use cell_state::{Cell, MachineId, Resources, Seq, TaskId, Time};
use proptest::prelude::*;
use schedulers::bounds::{FRUITLESS_MAX_US, SWEEP_US};
use schedulers::digest::{Answer, Verdict};
use schedulers::plan::Terms;
use schedulers::sandbox::{machine_spec, simulated_job};
use schedulers::scheduler::Decision;
use schedulers::settings::Settings;
use schedulers::{Scheduler, built_in};

/// Three processes of two scheduler names.
const PROCESSES: [&str; 3] = ["batch", "batch", "service"];

struct Process {
    scheduler: Scheduler,
    copy: Cell,
    /// Sent, not yet judged.
    sent: VecDeque<Transaction>,
    /// Judged, not yet answered.
    answers: VecDeque<(u64, Answer)>,
}

struct World {
    server: Cell,
    log: Vec<Event>,
    now: Time,
    processes: Vec<Process>,
    instances: u64,
    terms: Terms,
    seed: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Submit { job: u8, count: u32, size: u64, priority: u16, distinct: bool, spread: Option<u32> },
    StopJob(u8),
    Machine { machine: u8, size: u64 },
    MachineState { machine: u8, state: MachineState },
    Start(u16),
    End(u16, bool),
    Quota(Option<u64>),
    Pass(u64),
    Deliver(usize, usize),
    Snapshot(usize),
    Decide(usize),
    Judge(usize),
    Refuse(usize),
    Answer(usize),
    AnswerTwice(usize),
    LoseAnswer(usize),
    Resend(usize),
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        Just(MachineState::Ready),
        Just(MachineState::Ready),
        Just(MachineState::Draining),
        Just(MachineState::Down)
    ];
    let process = || 0..PROCESSES.len();
    let submit = (0..6u8, 1..12u32, 1..6u64, 0..400u16, any::<bool>(), prop::option::weighted(0.2, 0..4u32));
    prop_oneof![
        4 => submit.prop_map(|(job, count, size, priority, distinct, spread)| Step::Submit {
            job, count, size, priority, distinct, spread,
        }),
        1 => (0..6u8).prop_map(Step::StopJob),
        4 => (0..8u8, 1..12u64).prop_map(|(machine, size)| Step::Machine { machine, size }),
        2 => (0..8u8, state).prop_map(|(machine, state)| Step::MachineState { machine, state }),
        2 => any::<u16>().prop_map(Step::Start),
        5 => (any::<u16>(), any::<bool>()).prop_map(|(task, well)| Step::End(task, well)),
        1 => prop::option::of(0..20u64).prop_map(Step::Quota),
        4 => (1..3_000_000u64).prop_map(Step::Pass),
        12 => (process(), 1..6usize).prop_map(|(p, entries)| Step::Deliver(p, entries)),
        1 => process().prop_map(Step::Snapshot),
        12 => process().prop_map(Step::Decide),
        12 => process().prop_map(Step::Judge),
        1 => process().prop_map(Step::Refuse),
        8 => process().prop_map(Step::Answer),
        1 => process().prop_map(Step::AnswerTwice),
        1 => process().prop_map(Step::LoseAnswer),
        1 => process().prop_map(Step::Resend),
        1 => process().prop_map(Step::Crash),
    ]
}

impl World {
    fn new(seed: u64, terms: Terms) -> World {
        let (server, log) = (Cell::new(), Vec::new());
        let mut world =
            World { server, log, now: Time(1_000_000), processes: Vec::new(), instances: 0, terms, seed };
        world.command(Command::Configure(CellConfig { name: "test".into(), ..CellConfig::default() }));
        for name in PROCESSES {
            let process = world.start(name);
            world.processes.push(process);
        }
        world
    }

    /// A new process: it opens a session and starts from a snapshot.
    fn start(&mut self, name: &str) -> Process {
        self.instances += 1;
        let settings = Settings {
            terms: self.terms,
            in_flight: 3,
            tasks_per_txn: 4,
            ..Settings::new(name, self.instances, self.seed + self.instances)
        };
        let mut scheduler = Scheduler::new(built_in(name).expect("a built-in policy"), settings);
        let opened = self.command(Command::OpenSession { scheduler: name.into(), instance: self.instances });
        let Some(Admission::Session { session, last_number }) = opened else { panic!("a session opens") };
        let copy = self.server.clone();
        scheduler.opened(&copy, session, last_number);
        scheduler.restored(&copy);
        Process { scheduler, copy, sent: VecDeque::new(), answers: VecDeque::new() }
    }

    fn append(&mut self, event: Event) -> Seq {
        let seq = self.server.seq().next();
        self.server.apply(seq, &event);
        self.log.push(event);
        seq
    }

    fn command(&mut self, command: Command) -> Option<Admission> {
        let admitted = admit(&self.server, self.now, command).ok()?;
        admitted.event.map(|event| self.append(event));
        Some(admitted.answer)
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Submit { job, count, size, priority, distinct, spread } => {
                // Half of the jobs belong to each scheduler name.
                let scheduler = PROCESSES[usize::from(1 + job % 2)];
                let mut spec =
                    simulated_job(&format!("j{job}"), scheduler, count, Resources::cpu_memory(size, 1));
                spec.priority = priority;
                spec.groups[0].distinct_machines = distinct;
                spec.groups[0].spread =
                    spread.map(|max| Spread { attribute: "rack".into(), max_per_value: max });
                self.command(Command::SubmitJob(spec));
            }
            Step::StopJob(job) => drop(self.command(Command::StopJob { name: format!("j{job}") })),
            Step::Machine { machine, size } => {
                let mut spec = machine_spec(&format!("m{machine}"), Resources::cpu_memory(size, 100));
                spec.attributes.insert("rack".into(), format!("r{}", machine % 3));
                self.command(Command::RegisterMachine { spec, incarnation: size % 2 });
            }
            Step::MachineState { machine, state } => {
                self.command(Command::SetMachineState {
                    machine: format!("m{machine}"),
                    state,
                    grace_us: None,
                });
            }
            Step::Start(pick) => self.report(pick, Seen::Started),
            Step::End(pick, well) => self.report(pick, Seen::Ended(Exit::Code(i32::from(!well)))),
            Step::Quota(limit) => {
                let limit = limit.map(|cpu| Resources::cpu_memory(cpu, 1_000));
                self.command(Command::SetQuota { team: "team".into(), band: Band::Batch, limit });
            }
            Step::Pass(micros) => self.now = self.now.plus(micros),
            Step::Deliver(p, entries) => self.deliver(p, entries),
            Step::Snapshot(p) => {
                self.processes[p].copy = self.server.clone();
                let process = &mut self.processes[p];
                process.scheduler.restored(&process.copy);
            }
            Step::Decide(p) => drop(self.decide(p)),
            Step::Judge(p) => drop(self.judge(p)),
            Step::Refuse(p) => {
                if let Some(txn) = self.processes[p].sent.pop_front() {
                    self.processes[p].answers.push_back((txn.id.number, Answer::Busy));
                }
            }
            Step::Answer(p) => drop(self.answer(p)),
            Step::AnswerTwice(p) => {
                let first = self.processes[p].answers.front().cloned();
                self.processes[p].answers.extend(first);
            }
            Step::LoseAnswer(p) => drop(self.processes[p].answers.pop_front()),
            Step::Resend(p) => self.resend(p),
            Step::Crash(p) => {
                let session = self.processes[p].scheduler.session().expect("opened at the start");
                self.command(Command::EndSession { session });
                self.processes[p] = self.start(PROCESSES[p]);
            }
        }
    }

    fn live(&self) -> Vec<TaskId> {
        self.server.machines().iter().flat_map(|m| m.load.tasks.iter().copied()).collect()
    }

    fn report(&mut self, pick: u16, seen: Seen) {
        let live = self.live();
        if !live.is_empty() {
            self.report_on(live[usize::from(pick) % live.len()], seen);
        }
    }

    fn report_on(&mut self, task: TaskId, seen: Seen) {
        let found = self.server.task(task).expect("live tasks are in the cell");
        let (epoch, id): (_, MachineId) = (found.epoch, found.machine.expect("a live task has a machine"));
        let machine = self.server.machine(id).expect("of the cell");
        let (incarnation, first) = (machine.incarnation, machine.reports_seen + 1);
        let reports = vec![Report { task, epoch, seen }];
        self.command(Command::Report { machine: id, incarnation, first, reports });
    }

    fn deliver(&mut self, p: usize, entries: usize) {
        let process = &mut self.processes[p];
        for _ in 0..entries {
            let at = process.copy.seq().0 as usize;
            let Some(event) = self.log.get(at) else { return };
            process.scheduler.follow(&mut process.copy, self.now, Seq(at as u64 + 1), event);
        }
    }

    fn decide(&mut self, p: usize) -> bool {
        let process = &mut self.processes[p];
        match process.scheduler.decide(&process.copy, self.now) {
            Decision::Propose(proposal) => {
                process.sent.push_back((*proposal.txn).clone());
                true
            }
            Decision::Again => true,
            Decision::Wait => false,
        }
    }

    fn judge(&mut self, p: usize) -> bool {
        let Some(txn) = self.processes[p].sent.pop_front() else { return false };
        let number = txn.id.number;
        let verdict = match judge(&self.server, self.now, &txn) {
            Err(rejection) => panic!("a scheduler of ours sent a wrong transaction: {rejection}"),
            Ok(Judged::Again { at, outcomes, failed_assertion }) => {
                Verdict { at, outcomes, failed_assertion }
            }
            Ok(Judged::New(committed)) => {
                let (outcomes, failed_assertion) =
                    (committed.outcomes.clone(), committed.failed_assertion.clone());
                Verdict { at: self.append(Event::Committed(committed)), outcomes, failed_assertion }
            }
        };
        self.processes[p].answers.push_back((number, Answer::Verdict(verdict)));
        true
    }

    fn answer(&mut self, p: usize) -> bool {
        let process = &mut self.processes[p];
        let Some((number, answer)) = process.answers.pop_front() else { return false };
        process.scheduler.answer(&process.copy, self.now, number, answer);
        true
    }

    /// A new connection: what was under way is lost, and what has no answer is sent again.
    fn resend(&mut self, p: usize) {
        let process = &mut self.processes[p];
        process.answers.clear();
        process.sent = process.scheduler.unanswered().map(|txn| (**txn).clone()).collect();
    }

    /// Everything works from now on, for so long.
    fn heal(&mut self, micros: u64) {
        (0..PROCESSES.len()).for_each(|p| self.resend(p));
        let end = self.now.plus(micros);
        while self.now < end {
            let mut busy = false;
            for p in 0..PROCESSES.len() {
                self.deliver(p, usize::MAX);
                busy |= self.decide(p);
                busy |= self.judge(p);
                busy |= self.answer(p);
            }
            for task in self.live() {
                if matches!(self.server.task(task).map(|t| t.state), Some(TaskState::Stopping(_))) {
                    self.report_on(task, Seen::Ended(Exit::Signal(15)));
                    busy = true;
                }
            }
            if !busy {
                let processes = self.processes.iter();
                let next = processes.filter_map(|p| p.scheduler.next_time(&p.copy)).min();
                self.now = next.unwrap_or(end).clamp(self.now.plus(1), end);
            }
        }
    }

    /// Pending tasks that would fit somewhere, with the machine.
    fn left_out(&self) -> Vec<(TaskId, MachineId)> {
        let overlay = Overlay::new();
        let pending = self.server.jobs().flat_map(|job| job.pending().collect::<Vec<_>>());
        // What has just become due may still be in a pause.
        let since = Time(self.now.0 - FRUITLESS_MAX_US);
        let due = pending.filter(|task| self.server.eligible_at(*task).is_none_or(|due| due < since));
        let open = due.filter_map(|task| {
            let limit = self.domain_limit(task);
            let machines = self.server.machines().iter();
            let mut allowed =
                machines.filter(|m| limit.as_ref().is_none_or(|(full, _)| !full.contains(&rack(m))));
            allowed.find(|m| overlay.fits(&self.server, task, m.id, &[]).is_ok()).map(|m| (task, m.id))
        });
        open.collect()
    }

    /// The racks that may take no more of a task's job, if its group has a limit.
    fn domain_limit(&self, task: TaskId) -> Option<(Vec<String>, u32)> {
        let job = self.server.job(task.job)?;
        // Only the service policy knows spreading.
        let spread = job.spec().groups[0].spread.as_ref().filter(|_| job.spec().scheduler == "service")?;
        let max = Some(spread.max_per_value).filter(|max| *max > 0)?;
        let live = || job.tasks().filter(|(_, t)| t.state.is_live()).filter_map(|(_, t)| t.machine);
        let count = |r: &str| {
            live().filter(|m| rack(self.server.machine(*m).expect("of the cell")) == r).count() as u32
        };
        Some((["r0", "r1", "r2"].into_iter().filter(|r| count(r) >= max).map(str::to_owned).collect(), max))
    }
}

fn rack(machine: &cell_state::machine::Machine) -> String {
    machine.attribute("rack").unwrap_or("").to_owned()
}

fn terms() -> impl Strategy<Value = Terms> {
    let detection = prop_oneof![2 => Just(Detection::Fit), 1 => Just(Detection::Version)];
    detection.prop_map(|detection| Terms { atomicity: Atomicity::Incremental, detection })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_placeable_is_placed_once_the_faults_heal(
        steps in prop::collection::vec(step(), 1..300),
        seed in 0..u64::MAX / 2,
        terms in terms(),
    ) {
        let mut world = World::new(seed, terms);
        for step in &steps {
            world.step(step);
        }
        // Well before the next sweep: the wake-ups alone must do.
        world.heal(SWEEP_US / 3);
        let violations: Vec<String> = audit(&world.server).iter().map(ToString::to_string).collect();
        prop_assert_eq!(violations, Vec::<String>::new());
        prop_assert_eq!(world.left_out(), vec![]);
        for process in &mut world.processes {
            prop_assert_eq!(process.scheduler.unanswered().count(), 0);
            prop_assert_eq!(process.scheduler.stats().divergences, 0, "{:?}", process.scheduler.take_alarms());
            prop_assert_eq!(process.copy.hash(), world.server.hash());
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_log(
        steps in prop::collection::vec(step(), 1..100),
        seed in 0..u64::MAX / 2,
    ) {
        let run = || {
            let mut world = World::new(seed, Terms::default());
            steps.iter().for_each(|step| world.step(step));
            world.heal(SWEEP_US);
            world.log
        };
        prop_assert_eq!(run(), run());
    }
}
