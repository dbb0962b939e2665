//! The machines as columns: what each has left, dimension by dimension, in the form that a scan reads fastest. Step 4
//! (think) of a placement's life begins with a look at them.
//!
//! They show the cell with everything planned and in flight on top, as [`Overlay::free`] does. Amounts are scaled to
//! 31 bits, free amounts rounded up and wanted ones down, so that a scan never leaves a machine out that the fit rule
//! would take. What a scan finds is only a candidate: the one fit rule has the last word on each.
//!
//! They are brought up to date from what changed. Whoever changes the cell or the overlay says so ([`Columns::follow`],
//! [`Columns::touch`]), and the next look reads those machines again and no others.

mod attributes;
mod levels;
mod scan;

use cell_state::event::Event;
use cell_state::fit::Demand;
use cell_state::machine::{Machine, MachineState};
use cell_state::overlay::Overlay;
use cell_state::resources::DIMENSIONS;
use cell_state::{Cell, Dimension, MachineId};

use crate::bounds::CHANGES_MAX;
use crate::score::{RARE, Score};
use crate::sight::Sight;
pub(crate) use attributes::DomainMap;
pub(crate) use levels::{Levels, WANTED_LEAST};
pub(crate) use scan::Query;
pub use scan::Scan;

use attributes::Attributes;
use levels::Kept;

/// Machines scanned together; a mask of one block is one word.
const BLOCK: usize = 64;

/// The bits of a scaled amount: one less than the word has, since signed numbers compare fastest.
const AMOUNT_BITS: u32 = 31;

/// One dimension; empty while no machine has any of it.
#[derive(Debug, Default)]
struct Column {
    /// Amounts are counted in units of two to this power.
    shift: u32,
    /// No machine's limit is larger.
    largest: u64,
    /// What may still be committed, rounded up.
    free: Vec<[i32; BLOCK]>,
    /// One divided by the limit.
    inverse: Vec<[f32; BLOCK]>,
}

impl Column {
    fn scaled_up(&self, amount: u64) -> i32 {
        let units = amount.saturating_add((1 << self.shift) - 1) >> self.shift;
        i32::try_from(units).unwrap_or(i32::MAX)
    }

    /// At least one unit: who has nothing left has not even a part of one.
    fn scaled_down(&self, amount: u64) -> i32 {
        i32::try_from(amount >> self.shift).unwrap_or(i32::MAX).max(1)
    }
}

/// The machines of a cell as columns.
#[derive(Debug, Default)]
pub struct Columns {
    /// How many machines are shown.
    machines: usize,
    by_dimension: [Column; DIMENSIONS],
    /// Which machines take tasks.
    ready: Vec<u64>,
    /// Which machines have any of each rare resource: they are left to those who ask for it.
    rare: [Vec<u64>; RARE.len()],
    /// Machines that were touched and not read again since, each once.
    dirty: Vec<u32>,
    is_dirty: Vec<u64>,
    /// Nothing that is shown holds any more.
    void: bool,
    /// Machines in the order they were read again, from a position on: what is derived from columns follows it.
    changes: Vec<u32>,
    changes_from: u64,
    attributes: Attributes,
    kept: Vec<Kept>,
}

impl Columns {
    /// Columns that show nothing yet.
    pub fn new() -> Columns {
        Columns::default()
    }

    /// The cell is another one, or the overlay is: everything is read again.
    pub fn forget(&mut self) {
        *self = Columns { void: true, ..Columns::default() };
    }

    /// What is free on a machine, or its state, has changed.
    pub fn touch(&mut self, machine: MachineId) {
        let i = machine.index();
        // A machine that isn't shown yet is read when it first is.
        if let Some(word) = self.is_dirty.get_mut(i / BLOCK).filter(|_| i < self.machines)
            && *word & bit(i) == 0
        {
            *word |= bit(i);
            self.dirty.push(machine.0);
        }
    }

    /// Takes note of what an event changed that the cell has just applied.
    pub fn follow(&mut self, cell: &Cell, event: &Event) {
        match event {
            Event::Configured { .. } => self.void = true,
            Event::MachineRegistered { machine, .. } => {
                self.attributes.changed(*machine);
                self.touch(*machine);
            }
            Event::MachineStateSet { machine, .. } | Event::Reported { machine, .. } => self.touch(*machine),
            Event::Committed(committed) => {
                for machine in committed.outcomes.iter().filter_map(|outcome| outcome.loads(cell)) {
                    self.touch(machine);
                }
            }
            Event::QuotaSet { .. }
            | Event::JobSubmitted { .. }
            | Event::JobStopped { .. }
            | Event::JobsForgotten { .. }
            | Event::SessionOpened { .. }
            | Event::SessionEnded { .. } => {}
        }
    }

    /// Reads again what was touched, so that the columns show the cell with the overlay on top.
    pub fn refresh(&mut self, cell: &Cell, overlay: &Overlay) {
        self.refresh_as_seen(cell, overlay, None);
    }

    /// The same for machines as somebody sees them. Columns that others look at too are to be told
    /// ([`Columns::touch`]) of every machine that those see otherwise.
    pub fn refresh_as_seen(&mut self, cell: &Cell, overlay: &Overlay, sight: Option<&dyn Sight>) {
        let machines = cell.machines();
        if machines.len() > self.machines {
            self.grow(machines.len());
        }
        if !self.void && machines.len() == self.machines {
            while let Some(id) = self.dirty.pop() {
                let i = id as usize;
                self.is_dirty[i / BLOCK] &= !bit(i);
                if !self.read(&machines[i], overlay, sight) {
                    self.void = true;
                    break;
                }
                self.changes.push(id);
            }
        }
        if machines.len() < self.machines {
            self.forget();
        }
        if self.void {
            self.rebuild(machines, overlay, sight);
        }
        if self.changes.len() > CHANGES_MAX.max(self.machines) {
            self.forget_changes();
        }
    }

    /// How many machines are shown.
    pub(crate) fn len(&self) -> usize {
        self.machines
    }

    /// The values of an attribute with the machines that have each.
    pub(crate) fn domains(&mut self, attribute: &str, machines: &[Machine]) -> std::sync::Arc<DomainMap> {
        self.attributes.domains(attribute, machines)
    }

    /// What a task of this demand asks the columns for.
    pub(crate) fn query(&mut self, demand: &Demand, machines: &[Machine]) -> Query {
        let mut query = Query::new();
        for d in Dimension::all() {
            let (wanted, column) = (demand.resources.get(d), &self.by_dimension[d.index()]);
            if wanted == 0 {
                continue;
            }
            query.impossible |= column.free.is_empty() || wanted > column.largest;
            query.ask(d, column.scaled_down(wanted));
        }
        if !query.impossible && !demand.matchers.is_empty() {
            query.matching = Some(self.attributes.matching(demand, machines));
        }
        query
    }

    /// The score of a machine; `None` when it hasn't the resources.
    pub(crate) fn score(&self, score: Score, query: &Query, machine: MachineId) -> Option<f32> {
        let (block, lane) = (machine.index() / BLOCK, machine.index() % BLOCK);
        let (mut least, mut sum) = (1.0f32, 0.0f32);
        for (d, wanted) in query.asked() {
            let column = &self.by_dimension[d];
            let left = (column.free[block][lane] - wanted) as f32 * column.inverse[block][lane];
            least = least.min(left);
            sum += left;
        }
        if least < 0.0 {
            return None;
        }
        let wasted = query.unasked_rare().filter(|r| self.rare[*r][block] & bit(lane) != 0).count();
        let penalty = wasted as f32 * Score::RARE_PENALTY as f32;
        Some(match score {
            Score::Even => least - penalty,
            Score::Pack if query.asked().len() == 0 => 1.0 - penalty,
            Score::Pack => 1.0 - sum / query.asked().len() as f32 - penalty,
        })
    }

    /// Machines of a block with something rare that isn't asked for.
    fn wasteful(&self, query: &Query, block: usize) -> u64 {
        query.unasked_rare().fold(0, |word, r| word | self.rare[r][block])
    }

    fn grow(&mut self, machines: usize) {
        let blocks = machines.div_ceil(BLOCK);
        for column in self.by_dimension.iter_mut().filter(|c| !c.free.is_empty()) {
            column.free.resize(blocks, [0; BLOCK]);
            column.inverse.resize(blocks, [1.0; BLOCK]);
        }
        for words in self.rare.iter_mut().chain([&mut self.ready, &mut self.is_dirty]) {
            words.resize(blocks, 0);
        }
        let known = self.machines;
        self.machines = machines;
        (known..machines).for_each(|i| self.touch(MachineId(i as u32)));
    }

    /// Reads one machine; false when a column has to be scaled anew for it.
    fn read(&mut self, machine: &Machine, overlay: &Overlay, sight: Option<&dyn Sight>) -> bool {
        let i = machine.id.index();
        let machine = sight.map_or(machine, |sight| sight.machine(machine));
        let (block, lane) = (i / BLOCK, i % BLOCK);
        let mut free = overlay.free(machine);
        if let Some(withheld) = sight.and_then(|sight| sight.withheld(machine)) {
            free = free.minus(&withheld);
        }
        for d in Dimension::all() {
            let (limit, column) = (machine.limit.get(d), &mut self.by_dimension[d.index()]);
            if limit > column.largest {
                if column.free.is_empty() || bits(limit) > AMOUNT_BITS + column.shift {
                    return false;
                }
                column.largest = limit;
            }
            if !column.free.is_empty() {
                column.free[block][lane] = column.scaled_up(free.get(d));
                let units = limit as f32 / (1u64 << column.shift) as f32;
                column.inverse[block][lane] = if limit == 0 { 1.0 } else { 1.0 / units };
            }
        }
        for (words, d) in self.rare.iter_mut().zip(RARE) {
            set(words, i, machine.limit.get(d) > 0);
        }
        set(&mut self.ready, i, machine.state == MachineState::Ready);
        true
    }

    fn rebuild(&mut self, machines: &[Machine], overlay: &Overlay, sight: Option<&dyn Sight>) {
        let blocks = machines.len().div_ceil(BLOCK);
        for d in Dimension::all() {
            let largest = machines.iter().map(|m| m.limit.get(d)).max().unwrap_or(0);
            let shift = bits(largest).saturating_sub(AMOUNT_BITS);
            let blocks = if largest == 0 { 0 } else { blocks };
            let (free, inverse) = (vec![[0; BLOCK]; blocks], vec![[1.0; BLOCK]; blocks]);
            self.by_dimension[d.index()] = Column { shift, largest, free, inverse };
        }
        self.ready = vec![0; blocks];
        self.rare = std::array::from_fn(|_| vec![0; blocks]);
        self.is_dirty = vec![0; blocks];
        self.dirty.clear();
        self.machines = machines.len();
        self.void = false;
        for machine in machines {
            let read = self.read(machine, overlay, sight);
            debug_assert!(read, "the columns were just scaled to the largest machine");
        }
        self.forget_changes();
    }

    /// What was derived from the columns is derived anew.
    fn forget_changes(&mut self) {
        self.changes_from += self.changes.len() as u64 + 1;
        self.changes.clear();
        self.kept.clear();
    }
}

fn bits(amount: u64) -> u32 {
    u64::BITS - amount.leading_zeros()
}

fn bit(i: usize) -> u64 {
    1 << (i % BLOCK)
}

fn set(words: &mut [u64], i: usize, on: bool) {
    let word = &mut words[i / BLOCK];
    *word = if on { *word | bit(i) } else { *word & !bit(i) };
}

#[cfg(test)]
mod tests;
