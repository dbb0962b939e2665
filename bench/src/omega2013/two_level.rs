//! Two-level scheduling: an allocator offers all that is free to one framework at a time.
//!
//! What is free lies in a pool. An offer takes the whole pool, and what comes back is merged, the smaller pool into
//! the larger one: an offer costs what changed while it was out, not a walk over all machines.

use super::agenda::{Agenda, Due};
use super::amounts::Amounts;
use super::cell::Cell;
use super::jobs::Job;
use super::run::{Ending, Simulation, Used};
use super::schedulers::think_s;
use super::{Settings, StreamJob};

/// Free resources of machines, as what of each machine is not in here.
#[derive(Debug)]
struct Pool<A> {
    held: Vec<A>,
    /// Machines that had something in here since the pool was empty, each once.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    /// Machines with something in here.
    machines: u32,
    cpus: f64,
    memory: f64,
}

impl<A: Amounts> Pool<A> {
    fn empty(machines: usize, capacity: A) -> Pool<A> {
        Pool {
            held: vec![capacity; machines],
            touched: Vec::new(),
            is_touched: vec![false; machines],
            machines: 0,
            cpus: 0.0,
            memory: 0.0,
        }
    }

    /// Puts resources of a machine in; the sums are the caller's.
    fn put(&mut self, machine: u32, amount: A, capacity: A) {
        let held = &mut self.held[machine as usize];
        let was_empty = capacity.minus(*held).is_zero();
        *held = held.minus(amount);
        if was_empty {
            self.machines += 1;
            if !std::mem::replace(&mut self.is_touched[machine as usize], true) {
                self.touched.push(machine);
            }
        }
    }

    /// Moves all of this pool into another one.
    fn pour_into(&mut self, into: &mut Pool<A>, capacity: A) {
        for machine in self.touched.drain(..) {
            let amount = capacity.minus(self.held[machine as usize]);
            self.held[machine as usize] = capacity;
            self.is_touched[machine as usize] = false;
            if !amount.is_zero() {
                into.put(machine, amount, capacity);
            }
        }
        into.cpus += std::mem::take(&mut self.cpus);
        into.memory += std::mem::take(&mut self.memory);
        self.machines = 0;
    }
}

/// An offer that is out.
#[derive(Debug)]
struct Offer<A> {
    framework: u32,
    pool: Pool<A>,
    /// Cores locked by it until it is answered.
    cpus: f64,
    /// What the framework places with it.
    accepted: Vec<Ending<A>>,
}

/// The allocator.
#[derive(Debug)]
pub(super) struct TwoLevel<A> {
    capacity: A,
    free: Pool<A>,
    /// Empty pools, for the next offers.
    spare: Vec<Pool<A>>,
    offers: Vec<Option<Offer<A>>>,
    /// Frameworks that want offers.
    wants: Vec<bool>,
    /// Cores and memory each framework uses.
    uses: Vec<(f64, f64)>,
    /// Whether an offer is being prepared.
    planned: bool,
    batch_s: f64,
}

impl<A: Amounts> TwoLevel<A> {
    pub(super) fn new(settings: &Settings, cell: &Cell<A>, used: &Used, frameworks: usize) -> TwoLevel<A> {
        let machines = settings.machines;
        let mut free = Pool::empty(cell.held.len(), cell.capacity);
        for (machine, held) in (0..).zip(&cell.held) {
            let amount = cell.capacity.minus(*held);
            if !amount.is_zero() {
                free.put(machine, amount, cell.capacity);
            }
        }
        free.cpus = f64::from(machines.count) * machines.cpus - used.cpus;
        free.memory = f64::from(machines.count) * machines.memory - used.memory;
        TwoLevel {
            capacity: cell.capacity,
            free,
            spare: Vec::new(),
            offers: Vec::new(),
            wants: vec![false; frameworks],
            uses: vec![(0.0, 0.0); frameworks],
            planned: false,
            batch_s: settings.offers.batch_s,
        }
    }

    /// Some time from now an offer is made, unless that is planned already.
    pub(super) fn plan_offer(&mut self, agenda: &mut Agenda) {
        if !std::mem::replace(&mut self.planned, true) {
            agenda.after(self.batch_s, Due::OfferTime);
        }
    }

    /// Tasks ended on these machines.
    pub(super) fn give_back(&mut self, ending: &Ending<A>, machines: &[u32]) {
        let tasks = machines.len() as f64;
        machines.iter().for_each(|machine| self.free.put(*machine, ending.need, self.capacity));
        self.free.cpus += ending.job.cpus * tasks;
        self.free.memory += ending.job.memory * tasks;
        self.charge(ending.scheduler, &ending.job, -tasks);
    }

    fn charge(&mut self, framework: u32, job: &StreamJob, tasks: f64) {
        let uses = &mut self.uses[framework as usize];
        uses.0 += job.cpus * tasks;
        uses.1 += job.memory * tasks;
    }

    /// The framework that wants an offer and has the smallest dominant share.
    fn neediest(&self, settings: &Settings) -> Option<u32> {
        let machines = settings.machines;
        let share = |(cpus, memory): (f64, f64)| (cpus / machines.cpus).max(memory / machines.memory);
        let wanting = (0..).zip(&self.wants).filter(|(_, wants)| **wants);
        let shares = wanting.map(|(number, _): (u32, _)| (share(self.uses[number as usize]), number));
        shares.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, number)| number)
    }

    /// Whether so little is free that no offer is made.
    fn is_short(&self, settings: &Settings) -> bool {
        // A defect of the original compares the cores with the smallest memory too.
        let memory = match settings.defects.memory_taken_for_cpus {
            true => self.free.cpus,
            false => self.free.memory,
        };
        self.free.cpus < settings.offers.cpus_min || memory < settings.offers.memory_min
    }

    /// Takes all that is free out as an offer.
    fn take_all(&mut self, framework: u32) -> u32 {
        let empty = self.spare.pop().unwrap_or_else(|| Pool::empty(self.free.held.len(), self.capacity));
        let pool = std::mem::replace(&mut self.free, empty);
        let cpus = pool.cpus;
        let offer = Some(Offer { framework, pool, cpus, accepted: Vec::new() });
        match self.offers.iter().position(Option::is_none) {
            Some(slot) => {
                self.offers[slot] = offer;
                slot as u32
            }
            None => {
                self.offers.push(offer);
                self.offers.len() as u32 - 1
            }
        }
    }
}

const THERE: &str = "an offer is there until it is answered";
const ALLOCATOR: &str = "offers are made by an allocator";

impl<A: Amounts> Simulation<'_, A> {
    /// A framework has a job queued: it wants offers.
    pub(super) fn ask_for_offer(&mut self, framework: u32) {
        let two_level = self.two_level.as_mut().expect(ALLOCATOR);
        two_level.wants[framework as usize] = true;
        two_level.plan_offer(&mut self.agenda);
    }

    /// Makes an offer, if anybody wants one and enough is free.
    pub(super) fn make_offer(&mut self) {
        let two_level = self.two_level.as_mut().expect(ALLOCATOR);
        two_level.planned = false;
        if two_level.is_short(self.settings) {
            return;
        }
        let Some(framework) = two_level.neediest(self.settings) else { return };
        self.used.cpus_locked += two_level.free.cpus;
        self.cell.numbers_sum += u64::from(two_level.free.machines);
        let offer = two_level.take_all(framework);
        self.agenda.after(self.settings.offers.decision_s, Due::Offered(offer));
    }

    /// A framework places its queued jobs into an offer, one after another.
    pub(super) fn use_offer(&mut self, number: u32) {
        let two_level = self.two_level.as_mut().expect(ALLOCATOR);
        let mut offer = two_level.offers[number as usize].take().expect(THERE);
        let framework = offer.framework as usize;
        let mut takes_s = 0.0;
        while offer.pool.cpus > 0.000_001 && offer.pool.memory > 0.000_001 {
            let Some(job) = self.schedulers[framework].queue.pop_front() else { break };
            takes_s += self.place_into(&mut offer, job);
        }
        let two_level = self.two_level.as_mut().expect(ALLOCATOR);
        if self.schedulers[framework].queue.is_empty() {
            two_level.wants[framework] = false;
        }
        two_level.offers[number as usize] = Some(offer);
        self.agenda.after(takes_s, Due::Answered(number));
    }

    /// Places what it can of a job into an offer, and says how long that takes.
    fn place_into(&mut self, offer: &mut Offer<A>, number: u32) -> f64 {
        let capacity = self.cell.capacity;
        let job = &mut self.jobs[number as usize];
        job.take_up(self.agenda.now());
        let takes_s = think_s(self.settings, job.class, job.unscheduled);
        job.attempts += 1;
        let scheduler = &mut self.schedulers[offer.framework as usize];
        let mut found = Vec::new();
        let tried = might_fit(&offer.pool, job, self.settings);
        if tried {
            let pool = &mut offer.pool;
            scheduler.finder.place(&mut pool.held, capacity, job.need, job.unscheduled, &mut found);
            pool.cpus -= job.of.cpus * found.len() as f64;
            pool.memory -= job.of.memory * found.len() as f64;
            let mut full: Vec<u32> = found.clone();
            full.retain(|machine| capacity.minus(pool.held[*machine as usize]).is_zero());
            full.sort_unstable();
            full.dedup();
            pool.machines -= full.len() as u32;
        }
        if !found.is_empty() {
            scheduler.counts.won += 1;
            scheduler.counts.useful_s += takes_s;
            job.unscheduled -= found.len() as u32;
            let ending = Ending { job: job.of, need: job.need, scheduler: job.scheduler, machines: found };
            offer.accepted.push(ending);
        } else {
            scheduler.counts.fruitless += u64::from(tried);
            if !self.settings.defects.fruitless_time_is_idle {
                scheduler.counts.wasted_s += takes_s;
            }
        }
        self.leftovers(number);
        takes_s
    }

    /// An offer is answered: what was accepted runs, the rest is free again.
    pub(super) fn end_offer(&mut self, number: u32) {
        let two_level = self.two_level.as_mut().expect(ALLOCATOR);
        let mut offer = two_level.offers[number as usize].take().expect(THERE);
        self.used.cpus_locked -= offer.cpus;
        // The smaller pool is poured into the larger one.
        if offer.pool.touched.len() > two_level.free.touched.len() {
            std::mem::swap(&mut offer.pool, &mut two_level.free);
        }
        offer.pool.pour_into(&mut two_level.free, two_level.capacity);
        two_level.spare.push(offer.pool);
        for ending in &offer.accepted {
            let tasks = ending.machines.len() as f64;
            two_level.charge(ending.scheduler, &ending.job, tasks);
            self.used.tasks(&ending.job, tasks);
            self.cell.numbers_sum += ending.machines.len() as u64;
        }
        two_level.plan_offer(&mut self.agenda);
        offer.accepted.into_iter().for_each(|ending| self.end_later(ending));
    }
}

/// Whether a task would fit what an offer has in all.
fn might_fit<A>(pool: &Pool<A>, job: &Job<A>, settings: &Settings) -> bool {
    // A defect of the original compares the memory with the task's cores.
    let memory = if settings.defects.memory_taken_for_cpus { job.of.cpus } else { job.of.memory };
    pool.cpus > job.of.cpus && pool.memory > memory
}
