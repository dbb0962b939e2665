//! A run: the state of it, how it begins, and the loop of its events.

use std::collections::{BTreeMap, VecDeque};

use cell_state::admit::{Answer, Command, admit};
use cell_state::audit::audit;
use cell_state::commit::Judge;
use cell_state::event::{CellConfig, Event};
use cell_state::machine::MachineState;
use cell_state::overlay::Overlay;
use cell_state::resources::Overcommit;
use cell_state::{Cell, Dimension, JobId, MachineId, Resources, Time};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use schedulers::batch::{Batch, BatchOptions};
use schedulers::choices::Choices;
use schedulers::pace::Pace;
use schedulers::plan::Rng;
use schedulers::sight::Within;
use schedulers::{Policy, rendezvous};

use super::agenda::{Agenda, Due};
use super::counts::{ClassCounts, Counts, DAY_US, size_of};
use super::load::{Load, Submission};
use super::offers::Offers;
use super::scheduler::{Scheduler, Waiting};
use super::views::Views;
use super::{Architecture, Class, Placing, Settings, Way};
use crate::figures::fraction;
use crate::scenario::Change;

/// When arrivals begin: time 0 is the cell's own beginning.
pub(super) const START: Time = Time(1_000_000);

/// What makes the policies of a run: given the class and which of its schedulers it is for.
pub type Policies<'p> = dyn FnMut(Class, usize) -> Box<dyn Policy> + 'p;

/// Gives a cell this load and says what happened.
pub fn run(settings: &Settings, load: Load<'_>) -> Counts {
    let policy = |class: Class, _: usize| -> Box<dyn Policy> {
        let way = match class {
            Class::Batch => settings.batch,
            Class::Service => settings.service,
        };
        match way.placing {
            Placing::Choices => Box::new(Choices::new(way.sample)),
            Placing::Batch => Box::new(Batch::new(BatchOptions {
                sample: way.sample,
                fallbacks: way.fallbacks,
                preempt: way.preempt,
                score: way.score,
            })),
        }
    };
    run_policies(settings, load, &mut { policy })
}

/// The same with policies of the caller's.
pub fn run_policies(settings: &Settings, load: Load<'_>, policies: &mut Policies<'_>) -> Counts {
    let Load { machines, changes, initial, arrivals } = load;
    let mut run = Run::new(settings, policies);
    let order = run.register(machines, changes);
    run.share_out(&order);
    run.fill(initial, &order);
    run.begin_views();
    let mut load = Coming { arrivals, next: None, changes: changes.iter(), order };
    run.events(&mut load);
    run.finish()
}

/// Who decides on a job, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) class: Class,
    pub(super) scheduler: u32,
    /// The position of its way.
    way: u32,
}

/// What is still to come of a load.
struct Coming<'a> {
    arrivals: Box<dyn Iterator<Item = Submission> + 'a>,
    next: Option<Submission>,
    changes: std::slice::Iter<'a, crate::scenario::MachineChange>,
    /// The number of each machine in the cell.
    order: Vec<MachineId>,
}

pub(super) struct Run<'a> {
    pub(super) settings: &'a Settings,
    pub(super) cell: Cell,
    pub(super) judge: Judge,
    pub(super) now: Time,
    pub(super) agenda: Agenda,
    pub(super) schedulers: Vec<Scheduler>,
    /// The first scheduler of each class, and how many there are.
    groups: [(usize, usize); 2],
    /// By number of the job.
    jobs: Vec<Info>,
    ways: Vec<Way>,
    pub(super) waiting: BTreeMap<JobId, Waiting>,
    pub(super) views: Views,
    pub(super) offers: Option<Offers>,
    pub(super) counts: Counts,
    /// Jobs that are over, to be forgotten.
    pub(super) over: Vec<JobId>,
}

pub(super) const GOOD: &str = "a simulation gives its cell only good commands";

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, policies: &mut Policies<'_>) -> Run<'a> {
        let mut new = Run {
            settings,
            cell: Cell::new(),
            judge: Judge::new(),
            now: START,
            agenda: Agenda::default(),
            schedulers: Vec::new(),
            groups: [(0, 0); 2],
            jobs: Vec::new(),
            ways: Vec::new(),
            waiting: BTreeMap::new(),
            views: Views::default(),
            offers: None,
            counts: Counts::default(),
            over: Vec::new(),
        };
        let overcommit = Overcommit([settings.promise_percent; 8]);
        let config = CellConfig { name: "study".into(), overcommit, ..CellConfig::default() };
        new.command(Command::Configure(config));
        if new.is_monolithic() {
            new.open(Class::Service, 1, policies);
            new.groups = [(0, 1); 2];
            (new.counts.batch.schedulers, new.counts.batch.by_scheduler) = (1, vec![[0; 2]]);
        } else {
            new.open(Class::Batch, settings.batch_schedulers.max(1), policies);
            new.open(Class::Service, settings.service_schedulers.max(1), policies);
        }
        new
    }

    pub(super) fn is_monolithic(&self) -> bool {
        matches!(self.settings.architecture, Architecture::MonoSingle | Architecture::MonoMulti)
    }

    /// Opens the sessions of a class of schedulers: processes of one name.
    fn open(&mut self, class: Class, count: u32, policies: &mut Policies<'_>) {
        let first = self.schedulers.len();
        self.groups[class as usize] = (first, count as usize);
        let counts = self.class_counts(class);
        (counts.schedulers, counts.by_scheduler) = (u64::from(count), vec![[0; 2]; count as usize]);
        let settings = self.settings;
        for place in 0..count as usize {
            let number = self.schedulers.len() as u64;
            let command = Command::OpenSession { scheduler: self.name(class), instance: number };
            let Answer::Session { session, .. } = self.command(command) else {
                unreachable!("opening a session is answered with its number")
            };
            self.schedulers.push(Scheduler {
                class,
                place,
                session,
                number: 0,
                rng: Rng::seed_from_u64(settings.seed.wrapping_mul(1_000_003).wrapping_add(number)),
                policy: policies(class, place),
                queue: VecDeque::new(),
                thinking: None,
                flights: VecDeque::new(),
                pace: Pace::new(settings.in_flight, settings.tasks_per_txn, settings.adaptive),
                overlay: Overlay::new(),
                unseen: VecDeque::new(),
                view: None,
                within: None,
                hurried: false,
            });
        }
    }

    /// The name that schedulers of a class share.
    fn name(&self, class: Class) -> String {
        match class {
            _ if self.is_monolithic() => "all".to_owned(),
            Class::Batch => "batch".to_owned(),
            Class::Service => "service".to_owned(),
        }
    }

    /// Registers the machines; returns the number of each.
    fn register(
        &mut self,
        machines: &[cell_state::machine::MachineSpec],
        changes: &[crate::scenario::MachineChange],
    ) -> Vec<MachineId> {
        let mut order: Vec<usize> = (0..machines.len()).collect();
        // Where machines are divided each part gets its share of every kind.
        match self.settings.architecture {
            Architecture::Partitions { .. } | Architecture::PartitionedSync { .. } => {
                order.shuffle(&mut Rng::seed_from_u64(self.settings.seed ^ 0x7061_7274));
            }
            Architecture::Shared
            | Architecture::MonoSingle
            | Architecture::MonoMulti
            | Architecture::Offers { .. } => {}
        }
        let mut numbers = vec![MachineId(0); machines.len()];
        for (number, at) in (0..).zip(&order) {
            numbers[*at] = MachineId(number);
            self.command(Command::RegisterMachine { spec: machines[*at].clone(), incarnation: 1 });
        }
        let mut first: BTreeMap<u32, Change> = BTreeMap::new();
        for change in changes {
            first.entry(change.machine).or_insert(change.change);
        }
        for (machine, _) in first.iter().filter(|(_, change)| **change == Change::Up) {
            let machine = numbers[*machine as usize];
            self.apply(&Event::MachineStateSet { machine, state: MachineState::Down, time: START });
        }
        numbers
    }

    /// Says who may use which machines.
    fn share_out(&mut self, order: &[MachineId]) {
        let machines = order.len();
        match self.settings.architecture {
            Architecture::Partitions { service_percent } => {
                let service = machines * usize::from(service_percent.min(100)) / 100;
                for scheduler in &mut self.schedulers {
                    let (first, all, of) = match scheduler.class {
                        Class::Service => (0, service, self.settings.service_schedulers),
                        Class::Batch => (service, machines - service, self.settings.batch_schedulers),
                    };
                    let of = of.max(1) as usize;
                    let at = |place: usize| first + all * place / of;
                    let range = at(scheduler.place)..at(scheduler.place + 1);
                    scheduler.within = Some(Within::range(range, machines));
                }
            }
            Architecture::Offers { every_us } => {
                let capacity = self.capacity();
                self.offers = Some(Offers::new(self.schedulers.len(), capacity, every_us.max(1)));
            }
            Architecture::Shared
            | Architecture::MonoSingle
            | Architecture::MonoMulti
            | Architecture::PartitionedSync { .. } => {}
        }
    }

    fn begin_views(&mut self) {
        let (now, lag_us) = (self.now, self.settings.staleness_us);
        if let Architecture::PartitionedSync { parts, gap_us, .. } = self.settings.architecture {
            let schedulers = self.schedulers.len();
            self.views.by_parts(&self.cell, now, parts, gap_us, schedulers);
            self.schedulers.iter_mut().enumerate().for_each(|(view, s)| s.view = Some(view));
        } else if lag_us > 0 {
            self.views.lag(&self.cell, now, lag_us);
            self.schedulers.iter_mut().for_each(|scheduler| scheduler.view = Some(0));
        }
    }

    pub(super) fn class_counts(&mut self, class: Class) -> &mut ClassCounts {
        match class {
            Class::Batch => &mut self.counts.batch,
            Class::Service => &mut self.counts.service,
        }
    }

    /// Who decides on a job, and whose figures it counts in.
    pub(super) fn info(&self, job: JobId) -> Info {
        self.jobs[job.0 as usize]
    }

    /// How a job is decided on.
    pub(super) fn way(&self, job: JobId) -> Way {
        self.ways[self.info(job).way as usize]
    }

    pub(super) fn command(&mut self, command: Command) -> Answer {
        let admitted = admit(&self.cell, self.now, command).expect(GOOD);
        if let Some(event) = admitted.event {
            self.apply(&event);
        }
        admitted.answer
    }

    pub(super) fn apply(&mut self, event: &Event) {
        self.views.before(&self.cell, event, self.now);
        self.cell.apply(self.cell.seq().next(), event);
        self.views.after(&self.cell, event);
    }

    /// Submits a job to whom it belongs.
    pub(super) fn submit(&mut self, submission: Submission) -> JobId {
        let Submission { mut spec, label, gang, .. } = submission;
        let class = Class::of(&label, spec.priority);
        let way = self.way_of(class, &label, gang);
        spec.scheduler = self.name(class);
        let Answer::Job { job, .. } = self.command(Command::SubmitJob(spec)) else {
            unreachable!("submitting a job is answered with its number")
        };
        let (first, count) = self.groups[class as usize];
        let instances: Vec<u64> = (first..first + count).map(|number| number as u64).collect();
        let scheduler = rendezvous::owner(job, &instances).expect("each class has schedulers") as u32;
        debug_assert_eq!(job.0 as usize, self.jobs.len(), "jobs are numbered in order");
        self.jobs.push(Info { class, scheduler, way });
        job
    }

    /// The position of the way of jobs like this.
    fn way_of(&mut self, class: Class, label: &str, gang: bool) -> u32 {
        let mut way = match class {
            Class::Batch => self.settings.batch,
            Class::Service => self.settings.service,
        };
        if self.settings.architecture == Architecture::MonoSingle {
            let service = self.settings.service;
            (way.think_job_us, way.think_task_us) = (service.think_job_us, service.think_task_us);
        }
        if let Some(own) = self.settings.labels.get(label) {
            way.detection = own.detection.unwrap_or(way.detection);
            (way.atomicity, way.gang) = own.atomicity.unwrap_or((way.atomicity, way.gang));
        }
        if gang {
            (way.atomicity, way.gang) = (cell_state::transaction::Atomicity::AllOrNothing, true);
        }
        let known = self.ways.iter().position(|other| *other == way);
        known.unwrap_or_else(|| {
            self.ways.push(way);
            self.ways.len() - 1
        }) as u32
    }

    fn events(&mut self, load: &mut Coming<'_>) {
        self.next_arrival(load);
        self.next_change(load);
        self.agenda.at(START.plus(DAY_US), Due::Day);
        let end = START.plus(self.settings.run_us);
        while let Some((time, due)) = self.agenda.next(end) {
            self.now = time;
            self.counts.events += 1;
            match due {
                Due::Arrival => {
                    if let Some(submission) = load.next.take() {
                        self.arrive(submission);
                    }
                    self.next_arrival(load);
                }
                Due::Again(job) => self.queue(job),
                Due::Decision(scheduler) => self.decide(scheduler),
                Due::Verdict(scheduler) => self.answer(scheduler),
                Due::Ends(endings) => self.end(&endings),
                Due::Change => {
                    if let Some(change) = load.changes.next() {
                        self.change(load.order[change.machine as usize], change.change);
                    }
                    self.next_change(load);
                }
                Due::Offers => self.make_offers(),
                Due::Day => {
                    self.counts.batch.end_of_day();
                    self.counts.service.end_of_day();
                    self.agenda.at(self.now.plus(DAY_US), Due::Day);
                }
            }
        }
        self.now = end;
    }

    fn next_arrival(&mut self, load: &mut Coming<'_>) {
        load.next = load.arrivals.next();
        if let Some(next) = &load.next {
            self.agenda.at(START.plus(next.at_us).max(self.now), Due::Arrival);
        }
    }

    fn next_change(&mut self, load: &Coming<'_>) {
        if let Some(next) = load.changes.as_slice().first() {
            self.agenda.at(START.plus(next.at_us).max(self.now), Due::Change);
        }
    }

    fn arrive(&mut self, submission: Submission) {
        let size = size_of(crate::workload::tasks(&submission.spec));
        let job = self.submit(submission);
        let class = self.info(job).class;
        self.class_counts(class).jobs += 1;
        self.waiting.insert(job, Waiting::new(self.now, size, false));
        self.queue(job);
    }

    pub(super) fn capacity(&self) -> Resources {
        self.cell.machines().iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.spec.capacity))
    }

    fn finish(mut self) -> Counts {
        let pending: Vec<(Class, u64)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| !waiting.back)
            .map(|(job, waiting)| (self.info(*job).class, self.now.since(waiting.since)))
            .collect();
        for (class, age_us) in pending {
            let counts = self.class_counts(class);
            counts.oldest_us = counts.oldest_us.max(age_us);
        }
        let promised = self.cell.machines().iter().fold(Resources::ZERO, |sum, m| sum.plus(&m.load.used));
        let capacity = self.capacity();
        let part = |dimension| fraction(promised.get(dimension), capacity.get(dimension));
        self.counts.cpu_promised = part(Dimension::CPU);
        self.counts.memory_promised = part(Dimension::MEMORY);
        self.counts.violations = audit(&self.cell).len() as u64;
        self.counts
    }
}
