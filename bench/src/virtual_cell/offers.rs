//! Two-level offers: an allocator offers all that is free to the scheduler with the smallest dominant share, and to
//! nobody else until it is answered.
//!
//! One offer at a time is the *big* one: all that is free but for what others hold. What became free since lies in the
//! pool, and is the next scheduler's offer. So an offer costs what changed while the big one was out, never a walk
//! over all machines.

use std::collections::BTreeMap;

use cell_state::machine::Machine;
use cell_state::resources::DIMENSIONS;
use cell_state::{MachineId, Resources, Seq};
use schedulers::sight::{Sight, Within};

/// Resources of machines.
type Amounts = BTreeMap<MachineId, Resources>;

/// What the allocator knows of a scheduler.
#[derive(Clone, Debug, Default)]
struct Framework {
    /// What its tasks hold.
    used: Resources,
    /// It has jobs queued, and no offer.
    wants: bool,
    /// Jobs it may still decide on with the offer it has.
    jobs_left: Option<usize>,
    /// What it was offered, or hoards; of the big offer only what it hoards.
    held: Amounts,
    /// Of this, what is kept for gangs that aren't complete.
    hoard: Amounts,
}

/// The allocator.
#[derive(Debug)]
pub(super) struct Offers {
    frameworks: Vec<Framework>,
    capacity: Resources,
    /// Who has the big offer.
    big: Option<usize>,
    /// While it is out: what became free since, and nobody was offered.
    pool: Amounts,
    /// What doesn't belong to the big offer: the pool, and all that others hold.
    apart: Amounts,
    pub(super) every_us: u64,
    /// Whether a round of offers is planned.
    pub(super) planned: bool,
}

fn add(to: &mut Amounts, machine: MachineId, amount: &Resources) {
    let sum = to.entry(machine).or_insert(Resources::ZERO);
    *sum = sum.plus(amount);
}

fn take(from: &mut Amounts, machine: MachineId, amount: &Resources) {
    if let Some(left) = from.get_mut(&machine) {
        *left = left.minus(amount);
        if *left == Resources::ZERO {
            from.remove(&machine);
        }
    }
}

impl Offers {
    pub(super) fn new(schedulers: usize, capacity: Resources, every_us: u64) -> Offers {
        let frameworks = vec![Framework::default(); schedulers];
        let (pool, apart) = (Amounts::new(), Amounts::new());
        Offers { frameworks, capacity, big: None, pool, apart, every_us, planned: false }
    }

    /// A scheduler wants an offer. True when a round of offers is to be planned for it.
    pub(super) fn ask(&mut self, who: usize) -> bool {
        self.frameworks[who].wants = true;
        !std::mem::replace(&mut self.planned, true)
    }

    /// The scheduler that wants an offer and has the smallest dominant share, if there is anything to offer.
    pub(super) fn neediest(&self) -> Option<usize> {
        if self.big.is_some() && self.pool.is_empty() {
            return None;
        }
        let share = |used: &Resources| {
            let part = |d: usize| crate::figures::fraction(used.0[d], self.capacity.0[d]);
            (0..DIMENSIONS).map(part).fold(0.0, f64::max)
        };
        let wanting = self.frameworks.iter().enumerate().filter(|(_, f)| f.wants);
        let shares = wanting.map(|(number, f)| (share(&f.used), number));
        shares.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, number)| number)
    }

    /// Whether a scheduler waits for an offer.
    pub(super) fn anybody_wants(&self) -> bool {
        self.frameworks.iter().any(|framework| framework.wants)
    }

    /// Makes an offer for so many jobs.
    pub(super) fn make(&mut self, who: usize, jobs: usize) {
        let framework = &mut self.frameworks[who];
        (framework.wants, framework.jobs_left) = (false, Some(jobs));
        if self.big.is_none() {
            self.big = Some(who);
            // What it hoards is part of what it has now.
            for (machine, amount) in std::mem::take(&mut framework.held) {
                take(&mut self.apart, machine, &amount);
            }
        } else {
            for (machine, amount) in std::mem::take(&mut self.pool) {
                add(&mut framework.held, machine, &amount);
            }
        }
    }

    /// Whether a scheduler may take up another job with the offer it has.
    pub(super) fn take_up(&mut self, who: usize) -> bool {
        match &mut self.frameworks[who].jobs_left {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// A scheduler answers its offer: what it has not used is free again, but for what it hoards.
    pub(super) fn answer(&mut self, who: usize) {
        let framework = &mut self.frameworks[who];
        if framework.jobs_left.take().is_none() {
            return;
        }
        if self.big == Some(who) {
            self.big = None;
            for (machine, amount) in std::mem::take(&mut self.pool) {
                take(&mut self.apart, machine, &amount);
            }
            for (machine, amount) in &framework.hoard {
                add(&mut self.apart, *machine, amount);
            }
            framework.held = framework.hoard.clone();
            return;
        }
        for (machine, amount) in std::mem::replace(&mut framework.held, framework.hoard.clone()) {
            let kept = framework.hoard.get(&machine).copied().unwrap_or(Resources::ZERO);
            let back = amount.minus(&kept);
            match self.big {
                None => take(&mut self.apart, machine, &back),
                Some(_) if back != Resources::ZERO => add(&mut self.pool, machine, &back),
                Some(_) => {}
            }
        }
    }

    /// A task of a scheduler's was placed.
    pub(super) fn placed(&mut self, who: usize, machine: MachineId, amount: &Resources) {
        let framework = &mut self.frameworks[who];
        framework.used = framework.used.plus(amount);
        if self.big != Some(who) && framework.held.contains_key(&machine) {
            take(&mut framework.held, machine, amount);
            take(&mut self.apart, machine, amount);
        }
    }

    /// A task of a scheduler's is gone.
    pub(super) fn ended(&mut self, who: usize, machine: MachineId, amount: &Resources) {
        let framework = &mut self.frameworks[who];
        framework.used = framework.used.minus(amount);
        if self.big.is_some() {
            add(&mut self.pool, machine, amount);
            add(&mut self.apart, machine, amount);
        }
    }

    /// A scheduler keeps this for a gang.
    pub(super) fn hoard(&mut self, who: usize, machine: MachineId, amount: &Resources) {
        add(&mut self.frameworks[who].hoard, machine, amount);
    }

    /// It keeps it no longer; what it still has of it goes back with its next answer, or is free at once.
    pub(super) fn release(&mut self, who: usize, machine: MachineId, amount: &Resources) {
        let framework = &mut self.frameworks[who];
        take(&mut framework.hoard, machine, amount);
        if framework.jobs_left.is_none() {
            take(&mut framework.held, machine, amount);
            match self.big {
                None => take(&mut self.apart, machine, amount),
                Some(_) => add(&mut self.pool, machine, amount),
            }
        }
    }

    /// What a scheduler sees of machines: its offer.
    pub(super) fn sight(&self, who: usize) -> Offered<'_> {
        let framework = &self.frameworks[who];
        Offered { is_big: self.big == Some(who), apart: &self.apart, held: &framework.held }
    }
}

/// What a scheduler was offered.
pub(super) struct Offered<'a> {
    is_big: bool,
    apart: &'a Amounts,
    held: &'a Amounts,
}

impl Offered<'_> {
    /// Machines of which it sees something else than others do.
    pub(super) fn machines(&self) -> impl Iterator<Item = MachineId> {
        if self.is_big { self.apart.keys().copied() } else { self.held.keys().copied() }
    }

    /// The machines it was offered, when those aren't all.
    pub(super) fn within(&self, machines: usize) -> Option<Within> {
        (!self.is_big).then(|| Within::list(self.held.keys().copied(), machines))
    }
}

impl Sight for Offered<'_> {
    fn machine<'s>(&'s self, now: &'s Machine) -> &'s Machine {
        now
    }

    fn withheld(&self, seen: &Machine) -> Option<Resources> {
        if self.is_big {
            return self.apart.get(&seen.id).copied();
        }
        let held = self.held.get(&seen.id).copied().unwrap_or(Resources::ZERO);
        Some(seen.free().minus(&held))
    }

    fn seq(&self, _: MachineId, now: Seq) -> Seq {
        now
    }
}
