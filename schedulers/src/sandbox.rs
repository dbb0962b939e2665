//! A whole cell in memory, for trying a policy: its plans are judged and applied by the server's own code.
//!
//! ```
//! use cell_state::Resources;
//! use schedulers::policy::built_in;
//! use schedulers::sandbox::{Sandbox, simulated_job};
//!
//! let mut sandbox = Sandbox::new(1);
//! sandbox.machine("m0", Resources::cpu_memory(4_000, 8 << 30));
//! let job = sandbox.job(simulated_job("web", "service", 3, Resources::cpu_memory(1_000, 1 << 30)));
//! let mut policy = built_in("service").unwrap();
//! assert_eq!(sandbox.place(policy.as_mut(), job).placed.len(), 3);
//! ```

use std::collections::BTreeMap;

use cell_state::admit::{Answer, Command, admit};
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{Band, GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec, MachineState};
use cell_state::overlay::Overlay;
use cell_state::resources::Overcommit;
use cell_state::task::Exit;
use cell_state::transaction::Transaction;
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{Cell, Epoch, JobId, MachineId, Resources, SessionId, TaskId, Time, TxnId};
use rand::SeedableRng;

use crate::columns::Columns;
use crate::plan::{Plan, Rng, Terms};
use crate::policy::Policy;

/// A cell in memory with its own server and agents, all one thread.
pub struct Sandbox {
    cell: Cell,
    rng: Rng,
    now: Time,
    sessions: BTreeMap<String, SessionId>,
    numbers: BTreeMap<SessionId, u64>,
    /// Of the cell as it is, without any plan.
    columns: Columns,
}

/// What became of a job's pending tasks.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Placed {
    /// Where tasks were placed, in the order they were.
    pub placed: Vec<(TaskId, MachineId)>,
    /// Tasks asked to go for them.
    pub preempted: Vec<TaskId>,
    /// Races lost; in a sandbox nobody races, so a policy that gets any planned on something that isn't so.
    pub conflicts: Vec<Conflict>,
}

/// A job of one group of equal tasks that run until they are stopped, at priority 100, of team "team".
pub fn simulated_job(name: &str, scheduler: &str, count: u32, resources: Resources) -> JobSpec {
    let group = GroupSpec {
        name: "main".into(),
        count,
        resources,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Failure, attempts: 3, delay_us: 1_000_000 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: name.into(),
        kind: JobKind::Service,
        priority: 100,
        team: "team".into(),
        scheduler: scheduler.into(),
        groups: vec![group],
    }
}

/// A machine without attributes or devices.
pub fn machine_spec(name: &str, capacity: Resources) -> MachineSpec {
    let (attributes, devices) = (BTreeMap::new(), Vec::new());
    MachineSpec { name: name.into(), capacity, attributes, devices, ports: DEFAULT_PORTS }
}

impl Sandbox {
    /// An empty cell; everything left to chance follows from the seed.
    pub fn new(seed: u64) -> Sandbox {
        let (sessions, numbers) = (BTreeMap::new(), BTreeMap::new());
        let mut sandbox = Sandbox {
            cell: Cell::new(),
            rng: Rng::seed_from_u64(seed),
            now: Time(1_000_000),
            sessions,
            numbers,
            columns: Columns::new(),
        };
        let config = CellConfig { name: "sandbox".into(), ..CellConfig::default() };
        sandbox.command(Command::Configure(config));
        sandbox
    }

    /// The cell.
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The cell, to be changed behind the sandbox's back.
    pub fn cell_mut(&mut self) -> &mut Cell {
        self.columns.forget();
        &mut self.cell
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass.
    pub fn pass(&mut self, micros: u64) {
        self.now = self.now.plus(micros);
    }

    /// Sends a command, and returns its answer.
    ///
    /// # Panics
    /// When the cell rejects it.
    pub fn command(&mut self, command: Command) -> Answer {
        let admitted = admit(&self.cell, self.now, command).expect("a sandbox is only given good commands");
        if let Some(event) = admitted.event {
            self.apply(&event);
        }
        admitted.answer
    }

    /// Applies an event as the next entry of the log.
    pub fn apply(&mut self, event: &Event) {
        self.cell.apply(self.cell.seq().next(), event);
        self.columns.follow(&self.cell, event);
    }

    /// The cell, and its columns.
    pub fn cell_and_columns(&mut self) -> (&Cell, &mut Columns) {
        (&self.cell, &mut self.columns)
    }

    /// Lets every machine be promised so many percent of its capacity.
    pub fn overcommit(&mut self, overcommit: Overcommit) {
        let config = CellConfig { overcommit, ..self.cell.config().clone() };
        self.command(Command::Configure(config));
    }

    /// Adds a plain machine.
    pub fn machine(&mut self, name: &str, capacity: Resources) -> MachineId {
        self.machine_of(machine_spec(name, capacity))
    }

    /// Adds a machine with one attribute, such as its rack.
    pub fn machine_in(&mut self, name: &str, capacity: Resources, attribute: (&str, &str)) -> MachineId {
        let mut spec = machine_spec(name, capacity);
        spec.attributes.insert(attribute.0.to_owned(), attribute.1.to_owned());
        self.machine_of(spec)
    }

    /// Adds a machine of this description.
    pub fn machine_of(&mut self, spec: MachineSpec) -> MachineId {
        match self.command(Command::RegisterMachine { spec, incarnation: 1 }) {
            Answer::Machine(machine) => machine,
            other => unreachable!("registering a machine is answered with its number, not {other:?}"),
        }
    }

    /// Sets the state of a machine.
    pub fn set_state(&mut self, machine: MachineId, state: MachineState) {
        let found = self.cell.machine(machine).map(|m| m.spec.name.clone());
        self.command(Command::SetMachineState { machine: found.unwrap_or_default(), state, grace_us: None });
    }

    /// Submits a job.
    pub fn job(&mut self, spec: JobSpec) -> JobId {
        match self.command(Command::SubmitJob(spec)) {
            Answer::Job { job, .. } => job,
            other => unreachable!("submitting a job is answered with its number, not {other:?}"),
        }
    }

    /// Sets a quota.
    pub fn quota(&mut self, team: &str, band: Band, limit: Option<Resources>) {
        self.command(Command::SetQuota { team: team.to_owned(), band, limit });
    }

    /// The session under which the scheduler of that name commits here; opened when it is first needed.
    pub fn session(&mut self, scheduler: &str) -> SessionId {
        if let Some(session) = self.sessions.get(scheduler) {
            return *session;
        }
        let (name, instance) = (scheduler.to_owned(), self.sessions.len() as u64);
        match self.command(Command::OpenSession { scheduler: name.clone(), instance }) {
            Answer::Session { session, .. } => {
                self.sessions.insert(name, session);
                session
            }
            other => unreachable!("opening a session is answered with its number, not {other:?}"),
        }
    }

    /// Commits a transaction as the server does.
    ///
    /// # Panics
    /// When the server would call it wrong.
    pub fn commit(&mut self, txn: &Transaction) -> Vec<Outcome> {
        match judge(&self.cell, self.now, txn).expect("a sandbox is only given good transactions") {
            Judged::New(committed) => {
                let mut outcomes = committed.outcomes.to_vec();
                outcomes.extend(committed.failed_assertion.clone().map(Outcome::Conflict));
                self.apply(&Event::Committed(committed));
                outcomes
            }
            Judged::Again { outcomes, .. } => outcomes.to_vec(),
        }
    }

    /// Has a policy place what it can of a job, as the job's scheduler, until it places nothing more.
    pub fn place(&mut self, policy: &mut dyn Policy, job: JobId) -> Placed {
        self.place_on_terms(policy, job, Terms::default())
    }

    /// The same under other terms.
    pub fn place_on_terms(&mut self, policy: &mut dyn Policy, job: JobId, terms: Terms) -> Placed {
        let mut result = Placed::default();
        let Some(scheduler) = self.cell.job(job).map(|j| j.spec().scheduler.clone()) else { return result };
        let session = self.session(&scheduler);
        loop {
            let tasks: Vec<TaskId> = self.cell.job(job).into_iter().flat_map(|j| j.pending()).collect();
            let number = self.numbers.entry(session).or_default();
            *number += 1;
            let id = TxnId { session, number: *number };
            let mut overlay = Overlay::new();
            let plan = Plan::new(&self.cell, job, self.now, &mut overlay, &mut self.rng);
            let txn = plan.filter(|_| !tasks.is_empty()).and_then(|plan| {
                let mut plan = plan.on_terms(terms).with_columns(&mut self.columns);
                policy.plan(&mut plan, &tasks);
                plan.into_transaction(id)
            });
            // The plan is over, whatever comes of it.
            overlay.placements().for_each(|(_, machine)| self.columns.touch(machine));
            let Some(txn) = txn else { return result };
            let before = result.placed.len();
            for outcome in self.commit(&txn) {
                match outcome {
                    Outcome::Placed(placed) => {
                        result.placed.push((placed.task, placed.machine));
                        result.preempted.extend(placed.extra.into_iter().flat_map(|e| e.preempted));
                    }
                    Outcome::Conflict(conflict) => result.conflicts.push(*conflict),
                    Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => {}
                }
            }
            if result.placed.len() == before {
                return result;
            }
        }
    }

    /// The agent reports that a live task has started.
    pub fn start(&mut self, task: TaskId) {
        self.report(task, Seen::Started);
    }

    /// The agent reports that a live task has ended.
    pub fn end(&mut self, task: TaskId, exit: Exit) {
        self.report(task, Seen::Ended(exit));
    }

    fn report(&mut self, task: TaskId, seen: Seen) {
        let found = self.cell.task(task).filter(|t| t.state.is_live());
        let placed: Option<(MachineId, Epoch)> = found.and_then(|t| Some((t.machine?, t.epoch)));
        let Some((id, epoch)) = placed else { return };
        let Some(machine) = self.cell.machine(id) else { return };
        let (incarnation, first) = (machine.incarnation, machine.reports_seen + 1);
        let reports = vec![Report { task, epoch, seen }];
        self.command(Command::Report { machine: id, incarnation, first, reports });
    }
}
