//! A run: jobs arrive, schedulers plan and propose, the cell judges, tasks end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cell_state::admit::{Answer, Command, admit};
use cell_state::commit::{Judge, Judged};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{Band, Run};
use cell_state::overlay::Overlay;
use cell_state::resources::Overcommit;
use cell_state::task::Exit;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{Cell, Dimension, Epoch, JobId, MachineId, Resources, SessionId, TaskId, Time, TxnId};
use rand::SeedableRng;
use schedulers::Policy;
use schedulers::batch::{Batch, BatchOptions};
use schedulers::plan::{Plan, Rng, Terms};

use super::agenda::{Agenda, Due};
use super::counts::{ClassCounts, Counts};
use super::{Architecture, Settings, Way};
use crate::figures::fraction;
use crate::priority;
use crate::workload::Workload;

/// When arrivals begin: time 0 is the cell's own beginning.
const START: Time = Time(1_000_000);

/// Gives a cell this workload and says what happened.
pub fn run(settings: &Settings, workload: &Workload) -> Counts {
    let mut run = VirtualCell::new(settings, workload);
    run.fill(workload);
    run.finish(workload)
}

/// A class of jobs, by who decides on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Batch,
    Service,
}

/// A scheduler: its queue and what it thinks about.
struct Scheduler {
    session: SessionId,
    number: u64,
    rng: Rng,
    policy: Batch,
    queue: VecDeque<JobId>,
    thinking: Option<Thought>,
}

/// What a scheduler thinks about.
struct Thought {
    job: JobId,
    takes_us: u64,
    /// What it will propose, if it has planned already.
    planned: Option<Option<Transaction>>,
}

/// What is known of a job that arrived.
struct Waiting {
    queued_at: Time,
    tries: u32,
}

struct VirtualCell<'a> {
    settings: &'a Settings,
    cell: Cell,
    judge: Judge,
    now: Time,
    agenda: Agenda,
    schedulers: Vec<Scheduler>,
    by_name: BTreeMap<String, usize>,
    waiting: BTreeMap<JobId, Waiting>,
    counts: Counts,
}

const GOOD: &str = "a simulation gives its cell only good commands";

impl<'a> VirtualCell<'a> {
    fn new(settings: &'a Settings, workload: &Workload) -> VirtualCell<'a> {
        let mut new = VirtualCell {
            settings,
            cell: Cell::new(),
            judge: Judge::new(),
            now: START,
            agenda: Agenda::default(),
            schedulers: Vec::new(),
            by_name: BTreeMap::new(),
            waiting: BTreeMap::new(),
            counts: Counts::default(),
        };
        let overcommit = Overcommit([settings.promise_percent; 8]);
        let config = CellConfig { name: "study".into(), overcommit, ..CellConfig::default() };
        new.command(Command::Configure(config));
        for spec in &workload.machines {
            new.command(Command::RegisterMachine { spec: spec.clone(), incarnation: 1 });
        }
        let jobs = workload.initial.iter().chain(workload.arrivals.iter().map(|a| &a.job));
        // In the order of their names, so that seeds don't depend on which job comes first.
        let mut names: BTreeMap<String, Class> = BTreeMap::new();
        for job in jobs {
            let class = match settings.architecture {
                Architecture::Monolithic => Class::Service,
                Architecture::Shared => class_of(job.priority),
            };
            names.entry(job.scheduler.clone()).or_insert(class);
        }
        for (name, class) in names {
            new.scheduler(name, class);
        }
        if settings.architecture == Architecture::Monolithic {
            (new.counts.batch.schedulers, new.counts.service.schedulers) = (1, 1);
        }
        new
    }

    fn scheduler(&mut self, name: String, class: Class) {
        let number = self.schedulers.len();
        let command = Command::OpenSession { scheduler: name.clone(), instance: number as u64 };
        let Answer::Session { session, .. } = self.command(command) else {
            unreachable!("opening a session is answered with its number")
        };
        let way = self.way(class);
        let options =
            BatchOptions { sample: way.sample, fallbacks: way.fallbacks, preempt: false, score: way.score };
        self.by_name.insert(name, number);
        self.class_counts(class).schedulers += 1;
        self.schedulers.push(Scheduler {
            session,
            number: 0,
            rng: Rng::seed_from_u64(self.settings.seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
            policy: Batch::new(options),
            queue: VecDeque::new(),
            thinking: None,
        });
    }

    fn way(&self, class: Class) -> Way {
        match class {
            Class::Batch => self.settings.batch,
            Class::Service => self.settings.service,
        }
    }

    fn class_counts(&mut self, class: Class) -> &mut ClassCounts {
        match class {
            Class::Batch => &mut self.counts.batch,
            Class::Service => &mut self.counts.service,
        }
    }

    /// A job's class; its scheduler may be of the other one when there is only one scheduler.
    fn class_of_job(&self, job: JobId) -> Class {
        self.cell.job(job).map_or(Class::Batch, |job| class_of(job.spec().priority))
    }

    /// The scheduler that decides on a job. A monolithic one decides on everybody's.
    fn decides(&self, job: JobId) -> usize {
        match self.settings.architecture {
            Architecture::Monolithic => 0,
            Architecture::Shared => self.owner(job),
        }
    }

    fn owner(&self, job: JobId) -> usize {
        let owner = self.cell.job(job).map(|job| self.by_name[&job.spec().scheduler]);
        owner.expect("a job that was submitted is in the cell")
    }

    fn command(&mut self, command: Command) -> Answer {
        let admitted = admit(&self.cell, self.now, command).expect(GOOD);
        if let Some(event) = admitted.event {
            self.apply(&event);
        }
        admitted.answer
    }

    fn apply(&mut self, event: &Event) {
        self.cell.apply(self.cell.seq().next(), event);
    }

    fn submit(&mut self, spec: cell_state::job::JobSpec) -> JobId {
        match self.command(Command::SubmitJob(spec)) {
            Answer::Job { job, .. } => job,
            other => unreachable!("submitting a job is answered with its number, not {other:?}"),
        }
    }

    /// Places what is there from the start, before the clock runs.
    fn fill(&mut self, workload: &Workload) {
        for spec in &workload.initial {
            let job = self.submit(spec.clone());
            while let Some(txn) = self.plan(job, self.owner(job)) {
                if self.commit(&txn).is_empty() {
                    break;
                }
            }
            self.counts.initial_left += self.pending(job).len() as u64;
        }
    }

    fn finish(mut self, workload: &Workload) -> Counts {
        let mut arrivals = workload.arrivals.iter();
        let mut next = arrivals.next();
        if let Some(first) = next {
            self.agenda.at(START.plus(first.at_us), Due::Arrival);
        }
        let end = START.plus(self.settings.run_us);
        while let Some((time, due)) = self.agenda.next(end) {
            self.now = time;
            self.counts.events += 1;
            match due {
                Due::Arrival => {
                    if let Some(arrival) = next {
                        self.arrive(arrival.job.clone());
                    }
                    next = arrivals.next();
                    if let Some(arrival) = next {
                        self.agenda.at(START.plus(arrival.at_us), Due::Arrival);
                    }
                }
                Due::Again(job) => self.queue(job),
                Due::Decision(scheduler) => self.decide(scheduler),
                Due::End(task, epoch, machine) => self.end(task, epoch, machine),
            }
        }
        let capacity = self.cell.machines().iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.spec.capacity));
        let promised = self.cell.machines().iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.load.used));
        let part = |dimension| fraction(promised.get(dimension), capacity.get(dimension));
        self.counts.cpu_promised = part(Dimension::CPU);
        self.counts.memory_promised = part(Dimension::MEMORY);
        self.counts
    }

    fn arrive(&mut self, spec: cell_state::job::JobSpec) {
        let class = class_of(spec.priority);
        let job = self.submit(spec);
        self.class_counts(class).jobs += 1;
        self.waiting.insert(job, Waiting { queued_at: self.now, tries: 0 });
        self.queue(job);
    }

    fn queue(&mut self, job: JobId) {
        let decides = self.decides(job);
        let scheduler = &mut self.schedulers[decides];
        scheduler.queue.push_back(job);
        if scheduler.thinking.is_none() {
            self.think(decides);
        }
    }

    /// Takes up the next job of a scheduler's queue, if there is one.
    fn think(&mut self, number: usize) {
        let Some(job) = self.schedulers[number].queue.pop_front() else { return };
        let class = self.class_of_job(job);
        let tasks = self.pending(job).len() as u64;
        let waiting = self.waiting.get_mut(&job).expect("a queued job has arrived");
        waiting.tries += 1;
        let waited = (waiting.tries == 1).then(|| self.now.since(waiting.queued_at));
        let counts = self.class_counts(class);
        counts.waits_us.extend(waited);
        counts.decisions += 1;
        let way = self.way(class);
        let takes_us = way.think_job_us + way.think_task_us * tasks;
        let planned = match self.settings.architecture {
            Architecture::Shared => Some(self.plan(job, number)),
            Architecture::Monolithic => None,
        };
        self.schedulers[number].thinking = Some(Thought { job, takes_us, planned });
        self.agenda.at(self.now.plus(takes_us), Due::Decision(number));
    }

    fn pending(&self, job: JobId) -> Vec<TaskId> {
        self.cell.job(job).into_iter().flat_map(|job| job.pending()).collect()
    }

    /// What a scheduler would propose for a job now.
    fn plan(&mut self, job: JobId, number: usize) -> Option<Transaction> {
        let tasks = self.pending(job);
        let way = self.way(self.class_of_job(job));
        let owner = self.owner(job);
        let (session, txn_number) = (self.schedulers[owner].session, self.schedulers[owner].number + 1);
        let scheduler = &mut self.schedulers[number];
        let mut overlay = Overlay::new();
        let terms = Terms { atomicity: way.atomicity, detection: way.detection };
        let plan = Plan::new(&self.cell, job, self.now, &mut overlay, &mut scheduler.rng)?;
        let mut plan = plan.on_terms(terms);
        scheduler.policy.plan(&mut plan, &tasks);
        let txn = plan.into_transaction(TxnId { session, number: txn_number })?;
        if way.gang && txn.ops.len() < tasks.len() {
            return None;
        }
        self.schedulers[owner].number += 1;
        Some(txn)
    }

    /// Judges and applies a transaction as the server does; the tasks that were placed end later by themselves.
    fn commit(&mut self, txn: &Transaction) -> Arc<[Outcome]> {
        let Judged::New(committed) = self.judge.judge(&self.cell, self.now, txn).expect(GOOD) else {
            unreachable!("a simulated transaction is sent once")
        };
        let outcomes = committed.outcomes.clone();
        self.apply(&Event::Committed(committed));
        for outcome in outcomes.iter() {
            if let Outcome::Placed(placed) = outcome {
                self.end_later(placed);
            }
        }
        outcomes
    }

    fn end_later(&mut self, placed: &Placed) {
        let job = self.cell.job(placed.task.job);
        let group = job.and_then(|job| job.spec().groups.get(usize::from(placed.task.group)));
        if let Some(Run::Simulated { run_for_us: Some(us), .. }) = group.map(|group| &group.run) {
            let due = Due::End(placed.task, placed.epoch, placed.machine);
            self.agenda.at(self.now.plus(*us), due);
        }
    }

    fn decide(&mut self, number: usize) {
        let thought = self.schedulers[number].thinking.take().expect("a decision ends a thought");
        let Thought { job, takes_us, planned } = thought;
        let class = self.class_of_job(job);
        let txn = planned.unwrap_or_else(|| self.plan(job, number));
        match txn {
            None => {
                let counts = self.class_counts(class);
                counts.fruitless += 1;
                counts.fruitless_us += takes_us;
            }
            Some(txn) => {
                let outcomes = self.commit(&txn);
                let first = |at: usize| is_first_choice(&txn, at, &outcomes);
                self.class_counts(class).judged(&outcomes, first, takes_us);
            }
        }
        self.leftovers(job, class);
        self.think(number);
    }

    /// What is left of a job is tried again, unless it was tried too often.
    fn leftovers(&mut self, job: JobId, class: Class) {
        let left = self.pending(job).len();
        let tries = self.waiting.get(&job).map_or(0, |waiting| waiting.tries);
        if left == 0 {
            self.waiting.remove(&job);
            let counts = self.class_counts(class);
            counts.full += 1;
            counts.tries.push(u64::from(tries));
        } else if tries >= self.settings.attempts_max {
            self.waiting.remove(&job);
            self.class_counts(class).given_up += 1;
        } else {
            self.agenda.at(self.now.plus(self.settings.retry_us), Due::Again(job));
        }
    }

    fn end(&mut self, task: TaskId, epoch: Epoch, id: MachineId) {
        let Some(machine) = self.cell.machine(id) else { return };
        let (incarnation, first) = (machine.incarnation, machine.reports_seen + 1);
        let reports = vec![Report { task, epoch, seen: Seen::Ended(Exit::Code(0)) }];
        self.command(Command::Report { machine: id, incarnation, first, reports });
    }
}

fn class_of(priority: u16) -> Class {
    if priority::is_production(Band::of(priority)) { Class::Service } else { Class::Batch }
}

/// Whether an op was placed on the machine it named first.
fn is_first_choice(txn: &Transaction, at: usize, outcomes: &[Outcome]) -> bool {
    match (txn.ops.get(at), outcomes.get(at)) {
        (Some(Op::Place { machines, .. }), Some(Outcome::Placed(placed))) => {
            machines.first() == Some(&placed.machine)
        }
        _ => true,
    }
}
