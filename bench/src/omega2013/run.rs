//! A run: jobs arrive, schedulers decide, tasks end.

use super::agenda::{Agenda, Due};
use super::amounts::{Amounts, Grid, floats};
use super::cell::Cell;
use super::coming::{Arrival, Coming};
use super::figures::Figures;
use super::first_fit::Finder;
use super::jobs::Job;
use super::outcomes::Outcomes;
use super::sbs1::Draws;
use super::schedulers::{Scheduler, Thought, dealt, schedulers, think_s};
use super::two_level::TwoLevel;
use super::{Architecture, Detection, Phase, Settings, StreamJob, Streams, Transaction};

/// Runs these job streams and says what happened. Settings have at least one machine and one scheduler per class.
pub fn run(settings: &Settings, streams: &Streams) -> Figures {
    run_watched(settings, streams, &mut |_| ())
}

/// Runs jobs that are drawn as they come.
pub fn run_drawn(settings: &Settings, draws: &Draws) -> Figures {
    run_coming(settings, Coming::drawn(settings, draws), &mut |_| ())
}

/// The same, telling each time what it is busy with from now on.
pub fn run_watched(settings: &Settings, streams: &Streams, enter: &mut dyn FnMut(Phase)) -> Figures {
    run_coming(settings, Coming::read(settings, streams), enter)
}

fn run_coming(settings: &Settings, coming: Coming<'_>, enter: &mut dyn FnMut(Phase)) -> Figures {
    let machine = (settings.machines.cpus, settings.machines.memory);
    let prefill = (settings.prefill.cpus, settings.prefill.memory);
    match Grid::of(machine, coming.sizes.iter().copied().chain([prefill])) {
        Some(grid) => Simulation::new(settings, coming, &|(c, m)| grid.packed(c, m), enter).finish(),
        None => Simulation::new(settings, coming, &|(c, m)| floats(c, m), enter).finish(),
    }
}

/// The state of a run.
pub(super) struct Simulation<'a, A> {
    pub(super) settings: &'a Settings,
    pub(super) agenda: Agenda,
    coming: Coming<'a>,
    next: Option<Arrival>,
    /// What a pair of cores and memory is here.
    amounts: &'a dyn Fn((f64, f64)) -> A,
    /// The jobs that aren't over, and places of some that are.
    pub(super) jobs: Vec<Job<A>>,
    /// Places in `jobs` that are free again.
    pub(super) over: Vec<u32>,
    /// What became of the jobs that are over, by class.
    pub(super) outcomes: [Outcomes; 2],
    pub(super) schedulers: Vec<Scheduler>,
    pub(super) cell: Cell<A>,
    pub(super) two_level: Option<TwoLevel<A>>,
    pub(super) used: Used,
    pub(super) endings: Vec<Ending<A>>,
    /// Places in `endings` that are free again.
    pub(super) ended: Vec<u32>,
    claims: Vec<u32>,
    recorded: Vec<u32>,
    pub(super) events: u64,
    enter: &'a mut dyn FnMut(Phase),
}

/// Resources in use, now and summed over the samples.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Used {
    pub(super) cpus: f64,
    pub(super) memory: f64,
    pub(super) cpus_locked: f64,
    pub(super) samples: u64,
    pub(super) cpus_sum: f64,
    pub(super) memory_sum: f64,
    pub(super) cpus_locked_sum: f64,
}

impl Used {
    fn sample(&mut self) {
        self.samples += 1;
        self.cpus_sum += self.cpus;
        self.memory_sum += self.memory;
        self.cpus_locked_sum += self.cpus_locked;
    }

    /// So many tasks like this start or, if negative, end.
    pub(super) fn tasks(&mut self, job: &StreamJob, tasks: f64) {
        self.cpus += job.cpus * tasks;
        self.memory += job.memory * tasks;
    }
}

/// Tasks of one commit, which end together.
#[derive(Debug)]
pub(super) struct Ending<A> {
    pub(super) job: StreamJob,
    pub(super) need: A,
    pub(super) scheduler: u32,
    pub(super) machines: Vec<u32>,
}

impl<'a, A: Amounts> Simulation<'a, A> {
    fn new(
        settings: &'a Settings,
        coming: Coming<'a>,
        amounts: &'a dyn Fn((f64, f64)) -> A,
        enter: &'a mut dyn FnMut(Phase),
    ) -> Self {
        let capacity = amounts((settings.machines.cpus, settings.machines.memory));
        let numbered = settings.detection == Detection::SequenceNumbers;
        let mut new = Simulation {
            settings,
            agenda: Agenda::new(),
            coming,
            next: None,
            amounts,
            jobs: Vec::new(),
            over: Vec::new(),
            outcomes: Default::default(),
            schedulers: schedulers(settings),
            cell: Cell::new(settings.machines.count, capacity, numbered),
            two_level: None,
            used: Used::default(),
            endings: Vec::new(),
            ended: Vec::new(),
            claims: Vec::new(),
            recorded: Vec::new(),
            events: 0,
            enter,
        };
        new.prefill(amounts((settings.prefill.cpus, settings.prefill.memory)));
        if settings.architecture == Architecture::Mesos {
            new.two_level = Some(TwoLevel::new(settings, &new.cell, &new.used, new.schedulers.len()));
        }
        new
    }

    /// Places what is there from the start, by the same first fit with a generator of its own.
    fn prefill(&mut self, need: A) {
        let fill = self.settings.prefill;
        let mut finder = Finder::new(self.settings.seed, self.settings.machines.count);
        let task = StreamJob {
            submit_s: 0.0,
            tasks: 1,
            duration_s: f64::INFINITY,
            cpus: fill.cpus,
            memory: fill.memory,
        };
        for _ in 0..fill.jobs {
            self.claims.clear();
            finder.place(&mut self.cell.held, self.cell.capacity, need, fill.tasks, &mut self.claims);
            // The machines hold it already; claiming again counts it.
            for machine in std::mem::take(&mut self.claims) {
                self.cell.free(machine, need);
                self.cell.claim(machine, need);
                self.used.tasks(&task, 1.0);
            }
        }
    }

    fn finish(mut self) -> Figures {
        let end = self.settings.run_time_s;
        self.look_ahead();
        while let Some(due) = self.agenda.next(end) {
            self.handle(due, false);
        }
        // A defect of the original: the first event past the end is still executed, and it alone.
        if self.settings.defects.runs_past_the_end
            && let Some(due) = self.agenda.next(f64::MAX)
        {
            self.handle(due, true);
            let end_s = self.agenda.now();
            return Figures::of(&mut self, end_s);
        }
        Figures::of(&mut self, end)
    }

    fn handle(&mut self, due: Due, past: bool) {
        self.events += 1;
        match due {
            Due::Sample => self.used.sample(),
            Due::Arrival => self.come(),
            Due::Again(job) => self.queue(job),
            Due::Decision(scheduler) => match self.settings.architecture {
                Architecture::MonoSingle | Architecture::MonoMulti => self.decide_directly(scheduler),
                Architecture::Omega | Architecture::Mesos => self.decide_optimistically(scheduler),
            },
            Due::Ends(ending) => {
                (self.enter)(Phase::End);
                self.end(ending, past);
                (self.enter)(Phase::Rest);
            }
            Due::OfferTime => self.make_offer(),
            Due::Offered(offer) => self.use_offer(offer),
            Due::Answered(offer) => self.end_offer(offer),
        }
    }

    /// Has the agenda know of the next job.
    fn look_ahead(&mut self) {
        self.next = self.coming.next();
        if let Some(next) = &self.next {
            self.agenda.arrives_at(next.of.submit_s);
        }
    }

    /// The next job is submitted.
    fn come(&mut self) {
        let Some(Arrival { class, dealt: number, of }) = self.next.take() else { return };
        self.look_ahead();
        let need = (self.amounts)((of.cpus, of.memory));
        let job = Job::new(class, dealt(self.settings, class, number), of, need);
        let place = match self.over.pop() {
            Some(place) => {
                self.jobs[place as usize] = job;
                place
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() as u32 - 1
            }
        };
        self.queue(place);
    }

    fn queue(&mut self, job: u32) {
        let now = self.agenda.now();
        let state = &mut self.jobs[job as usize];
        state.queue(now);
        let scheduler = state.scheduler;
        self.schedulers[scheduler as usize].queue.push_back(job);
        if self.settings.architecture == Architecture::Mesos {
            self.ask_for_offer(scheduler);
        } else if self.schedulers[scheduler as usize].thinking.is_none() {
            self.think(scheduler);
        }
    }

    /// Takes up the next job of a scheduler's queue, if there is one.
    fn think(&mut self, scheduler: u32) {
        let idle = &mut self.schedulers[scheduler as usize];
        let Some(job) = idle.queue.pop_front() else { return };
        let state = &mut self.jobs[job as usize];
        state.take_up(self.agenda.now());
        let takes_s = think_s(self.settings, state.class, state.unscheduled);
        let copy = (self.settings.architecture == Architecture::Omega).then(|| self.cell.watch());
        idle.thinking = Some(Thought { job, takes_s, copy });
        self.agenda.after(takes_s, Due::Decision(scheduler));
    }

    /// The end of a decision on the cell itself: no copy, no conflicts.
    fn decide_directly(&mut self, number: u32) {
        let scheduler = &mut self.schedulers[number as usize];
        let thought = scheduler.thinking.take().expect("a decision ends a thought");
        let job = &mut self.jobs[thought.job as usize];
        job.attempts += 1;
        let mut found = self
            .ended
            .last()
            .map_or_else(Vec::new, |slot| std::mem::take(&mut self.endings[*slot as usize].machines));
        found.clear();
        let capacity = self.cell.capacity;
        scheduler.finder.place(&mut self.cell.held, capacity, job.need, job.unscheduled, &mut found);
        self.cell.numbers_sum += found.len() as u64;
        if !found.is_empty() {
            // Tasks won and attempts retried are counted for transactions only, and there are none.
            scheduler.counts.won += 1;
            scheduler.counts.useful_s += thought.takes_s;
            self.placed(thought.job, found);
        } else if !self.settings.defects.fruitless_time_is_idle {
            scheduler.counts.wasted_s += thought.takes_s;
        }
        self.leftovers(thought.job);
        self.think(number);
    }

    /// The end of a decision on a copy of the cell: claims machines there, then commits the claims.
    fn decide_optimistically(&mut self, number: u32) {
        let scheduler = &mut self.schedulers[number as usize];
        let thought = scheduler.thinking.take().expect("a decision ends a thought");
        let copy = thought.copy.expect("an optimistic decision has a copy");
        let job = &mut self.jobs[thought.job as usize];
        job.attempts += 1;
        let (need, unscheduled) = (job.need, job.unscheduled);
        self.claims.clear();
        self.recorded.clear();
        let finder = &mut scheduler.finder;
        (self.enter)(Phase::Place);
        self.cell.claim_at(copy, need, &mut self.claims, &mut self.recorded, |held, capacity, claims| {
            finder.place(held, capacity, need, unscheduled, claims);
        });
        let thinking = self.schedulers.iter().filter_map(|s| s.thinking?.copy);
        self.cell.forget(|| thinking.min());
        let whole = self.claims.len() == unscheduled as usize;
        // A defect of the original: a part of a gang is committed all the same.
        let parts = self.settings.transaction == Transaction::Incremental
            || self.settings.defects.parts_pass_as_whole;
        if self.claims.is_empty() || !(whole || parts) {
            let counts = &mut self.schedulers[number as usize].counts;
            counts.fruitless += 1;
            if !self.settings.defects.fruitless_time_is_idle {
                counts.wasted_s += thought.takes_s;
            }
        } else {
            (self.enter)(Phase::Commit);
            self.commit(number, thought);
        }
        (self.enter)(Phase::Rest);
        self.leftovers(thought.job);
        self.think(number);
    }

    /// Commits the claims just made.
    fn commit(&mut self, number: u32, thought: Thought) {
        let need = self.jobs[thought.job as usize].need;
        let all = self.settings.transaction == Transaction::AllOrNothing;
        let mut won = self
            .ended
            .last()
            .map_or_else(Vec::new, |slot| std::mem::take(&mut self.endings[*slot as usize].machines));
        won.clear();
        let mut lost = 0;
        for (at, machine) in self.claims.iter().enumerate() {
            if !self.cell.conflicts(*machine, need, self.recorded.get(at).copied()) {
                self.cell.claim(*machine, need);
                won.push(*machine);
                continue;
            }
            lost += 1;
            if all {
                lost += won.len();
                for machine in won.drain(..) {
                    self.cell.free(machine, need);
                    if !self.settings.defects.undone_claims_leave_marks {
                        self.cell.unmark(machine);
                    }
                }
                break;
            }
        }
        let counts = &mut self.schedulers[number as usize].counts;
        counts.tasks_won += won.len() as u64;
        counts.tasks_lost += lost as u64;
        counts.retried += u64::from(self.jobs[thought.job as usize].attempts > 1);
        if lost == 0 {
            counts.won += 1;
            counts.useful_s += thought.takes_s;
        } else {
            counts.lost += 1;
            let useful = match self.settings.defects.one_conflict_wastes_all {
                true => 0.0,
                false => won.len() as f64 / self.claims.len() as f64,
            };
            counts.useful_s += thought.takes_s * useful;
            counts.wasted_s += thought.takes_s * (1.0 - useful);
        }
        if !won.is_empty() {
            self.placed(thought.job, won);
        }
    }
}
