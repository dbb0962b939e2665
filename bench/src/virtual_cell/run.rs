//! A run: the state of it, how it begins, and the loop of its events.

use std::collections::BTreeMap;

use cell_state::admit::{Answer, Command, admit};
use cell_state::audit::audit;
use cell_state::commit::Judge;
use cell_state::event::{CellConfig, Event};
use cell_state::resources::Overcommit;
use cell_state::{Cell, Dimension, JobId, MachineId, Resources, Time};
use schedulers::batch::{Batch, BatchOptions};
use schedulers::choices::Choices;
use schedulers::service::{Service, ServiceOptions};
use schedulers::{Policy, rendezvous};

use super::agenda::{Agenda, Due};
use super::counts::{ClassCounts, Counts, DAY_US, size_of};
use super::load::{Load, Submission};
use super::offers::Offers;
use super::scheduler::{Scheduler, Waiting};
use super::views::Views;
use super::{Architecture, Class, Placing, Settings, Way};
use crate::figures::fraction;
use crate::scenario::MachineChange;

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
            Placing::Service => {
                let (fallbacks, preempt) = (way.fallbacks, way.preempt);
                Box::new(Service::new(ServiceOptions { fallbacks, preempt }))
            }
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
    changes: std::slice::Iter<'a, MachineChange>,
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
    pub(super) groups: [(usize, usize); 2],
    /// Of every job that isn't over.
    jobs: BTreeMap<JobId, Info>,
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
            jobs: BTreeMap::new(),
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

    /// The name that schedulers of a class share.
    pub(super) fn name(&self, class: Class) -> String {
        match class {
            _ if self.is_monolithic() => "all".to_owned(),
            Class::Batch => "batch".to_owned(),
            Class::Service => "service".to_owned(),
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
        *self.jobs.get(&job).expect("who has a job in hand keeps it known")
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
        self.jobs.insert(job, Info { class, scheduler, way });
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

    /// Jobs that are over are forgotten, but for those that somebody still has in hand.
    pub(super) fn forget(&mut self, mut jobs: Vec<JobId>) {
        jobs.sort_unstable();
        jobs.dedup();
        for job in &jobs {
            if !self.waiting.contains_key(job) {
                self.jobs.remove(job);
            }
        }
        self.apply(&Event::JobsForgotten { jobs });
    }

    /// Everything whose number may grow with the time simulated.
    fn objects(&self) -> u64 {
        let of_scheduler = |s: &Scheduler| s.queue.len() + s.flights.len() + s.unseen.len();
        let here = [
            self.jobs.len(),
            self.waiting.len(),
            self.over.len(),
            self.ways.len(),
            self.agenda.len(),
            self.views.kept(),
            self.schedulers.iter().map(of_scheduler).sum(),
        ];
        here.into_iter().sum::<usize>() as u64
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
        self.counts.objects_most = self.counts.objects_most.max(self.objects());
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
