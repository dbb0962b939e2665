//! Scores of all machines for one demand, rounded to levels of a byte: the best are then found by looking for the
//! largest byte. Levels are kept between plans for the demands asked for last, and only machines that have changed are
//! scored again.

use cell_state::MachineId;
use rand::RngExt;

use super::scan::Query;
use super::{BLOCK, Columns, bit};
use crate::bounds::LEVELS_KEPT;
use crate::plan::Rng;

/// Levels between the worst and the best score.
const STEPS: f32 = 32.0;

/// The lowest level of a machine that keeps nothing rare from others; those that do are this much lower.
pub(crate) const WANTED_LEAST: u8 = 96;
const WASTE: u8 = 64;

/// Machines of the highest level are drawn blindly when at least one in so many is of it.
const BLIND: usize = 16;

/// Adding this puts a number below it, rounded to an integer, into the low bits of a float.
const ROUND: f32 = 8_388_608.0;

/// Levels that were put aside.
#[derive(Debug)]
pub(super) struct Kept {
    query: Query,
    levels: Levels,
}

/// A level for each machine; 0 for those that lack resources, take no tasks, or were drawn.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    bytes: Vec<u8>,
    /// The highest level, how many machines are of it, and which, once they have been collected.
    top: u8,
    left: usize,
    members: Option<Vec<u32>>,
    /// Machines whose level is not what it was scored.
    changed: Vec<u32>,
    /// How far they have followed the changes of the columns.
    seen: u64,
}

#[inline(always)]
fn level(least: f32) -> u8 {
    let rounded = (least * STEPS + (ROUND + f32::from(WANTED_LEAST))).to_bits() as u8;
    if least >= 0.0 { rounded } else { 0 }
}

/// What is free in a dimension, and one divided by the limit.
type Shares<'c> = (&'c [[i32; BLOCK]], &'c [[f32; BLOCK]]);

/// The levels of blocks of machines, by the fullest of these columns.
#[inline(never)]
fn evenness<const D: usize>(columns: [Shares<'_>; D], wanted: [i32; D], out: &mut [[u8; BLOCK]]) {
    let columns = columns.map(|(free, inverse)| (&free[..out.len()], &inverse[..out.len()]));
    for (b, levels) in out.iter_mut().enumerate() {
        let mut least = [1.0f32; BLOCK];
        for d in 0..D {
            let (free, inverse, wanted) = (&columns[d].0[b], &columns[d].1[b], wanted[d]);
            for i in 0..BLOCK {
                let left = free[i].wrapping_sub(wanted) as f32 * inverse[i];
                least[i] = if left < least[i] { left } else { least[i] };
            }
        }
        for i in 0..BLOCK {
            levels[i] = level(least[i]);
        }
    }
}

impl Columns {
    /// The levels of all machines for a demand. To be given back when they are no longer needed.
    pub(crate) fn take_levels(&mut self, query: &Query) -> Levels {
        let Some(at) = self.kept.iter().position(|kept| kept.query == *query) else {
            return self.score_all(query);
        };
        let mut levels = self.kept.remove(at).levels;
        let news = &self.changes[(levels.seen - self.changes_from) as usize..];
        if levels.bytes.len() != self.ready.len() * BLOCK || news.len() > self.machines / 4 {
            return self.score_all(query);
        }
        for machine in news {
            levels.bytes[*machine as usize] = self.level_of(query, MachineId(*machine));
        }
        levels.seen = self.changes_now();
        levels
    }

    /// Puts levels aside for the next one who asks for the same.
    pub(crate) fn give_back_levels(&mut self, query: Query, mut levels: Levels) {
        // The columns may have been made anew meanwhile: then these follow nothing.
        if levels.seen < self.changes_from {
            return;
        }
        for machine in std::mem::take(&mut levels.changed) {
            levels.bytes[machine as usize] = self.level_of(&query, MachineId(machine));
        }
        (levels.left, levels.members) = (0, None);
        if self.kept.len() >= LEVELS_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept { query, levels });
    }

    fn changes_now(&self) -> u64 {
        self.changes_from + self.changes.len() as u64
    }

    /// The level of one machine now.
    pub(crate) fn level_of(&self, query: &Query, machine: MachineId) -> u8 {
        let (i, block, lane) = (machine.index(), machine.index() / BLOCK, machine.index() % BLOCK);
        if query.impossible || query.usable(self, block) & bit(i) == 0 {
            return 0;
        }
        let left = query.asked().map(|(d, wanted)| {
            let column = &self.by_dimension[d];
            column.free[block][lane].wrapping_sub(wanted) as f32 * column.inverse[block][lane]
        });
        let level = level(left.fold(1.0, |least, left| if left < least { left } else { least }));
        if level > 0 && self.wasteful(query, block) & bit(i) != 0 { level - WASTE } else { level }
    }

    fn score_all(&self, query: &Query) -> Levels {
        let mut blocks = vec![[0u8; BLOCK]; self.ready.len()];
        if !query.impossible {
            let asked: Vec<(usize, i32)> = query.asked().collect();
            match asked.len() {
                0 => blocks.iter_mut().for_each(|levels| *levels = [level(1.0); BLOCK]),
                1 => self.score_by::<1>(&asked, &mut blocks),
                2 => self.score_by::<2>(&asked, &mut blocks),
                3 => self.score_by::<3>(&asked, &mut blocks),
                4 => self.score_by::<4>(&asked, &mut blocks),
                5 => self.score_by::<5>(&asked, &mut blocks),
                6 => self.score_by::<6>(&asked, &mut blocks),
                7 => self.score_by::<7>(&asked, &mut blocks),
                _ => self.score_by::<8>(&asked, &mut blocks),
            }
        }
        for (b, levels) in blocks.iter_mut().enumerate() {
            let (usable, rare) = (query.usable(self, b), self.wasteful(query, b));
            // Nearly always nothing is left to do here.
            if usable == u64::MAX && rare == 0 {
                continue;
            }
            for (lane, level) in levels.iter_mut().enumerate() {
                *level = if usable & bit(lane) == 0 { 0 } else { *level };
                *level -= if *level > 0 && rare & bit(lane) != 0 { WASTE } else { 0 };
            }
        }
        Levels { bytes: blocks.into_flattened(), seen: self.changes_now(), ..Levels::default() }
    }

    fn score_by<const D: usize>(&self, asked: &[(usize, i32)], out: &mut [[u8; BLOCK]]) {
        let column = |i: usize| &self.by_dimension[asked[i].0];
        let columns = std::array::from_fn::<_, D, _>(|i| (&column(i).free[..], &column(i).inverse[..]));
        evenness(columns, std::array::from_fn(|i| asked[i].1), out);
    }
}

impl Levels {
    /// The level of a machine.
    pub(crate) fn of(&self, machine: u32) -> u8 {
        self.bytes[machine as usize]
    }

    /// Takes a machine out until the levels are given back.
    pub(crate) fn take_out(&mut self, machine: MachineId) {
        self.set(machine, 0);
    }

    /// Puts a drawn machine back.
    pub(crate) fn put_back(&mut self, machine: MachineId, level: u8) {
        self.set(machine, level);
    }

    /// The highest level there is.
    pub(crate) fn top(&mut self) -> Option<u8> {
        if self.left == 0 {
            self.top = self.bytes.iter().copied().fold(0, u8::max);
            self.members = None;
            if self.top == 0 {
                return None;
            }
            self.left = self.bytes.iter().map(|byte| usize::from(*byte == self.top)).sum();
        }
        Some(self.top)
    }

    /// Takes out one machine of the highest level, by chance.
    pub(crate) fn draw(&mut self, rng: &mut Rng) -> Option<(MachineId, u8)> {
        let top = self.top()?;
        let machine = self.draw_blindly(rng).unwrap_or_else(|| self.draw_a_member(rng));
        self.bytes[machine as usize] = 0;
        self.left -= 1;
        self.changed.push(machine);
        Some((MachineId(machine), top))
    }

    fn draw_blindly(&mut self, rng: &mut Rng) -> Option<u32> {
        if self.members.is_some() || self.left * BLIND < self.bytes.len() {
            return None;
        }
        let mut tries = (0..4 * BLIND).map(|_| rng.random_range(0..self.bytes.len()));
        tries.find(|i| self.bytes[*i] == self.top).map(|i| i as u32)
    }

    fn draw_a_member(&mut self, rng: &mut Rng) -> u32 {
        let (top, bytes) = (self.top, &self.bytes);
        let members = self.members.get_or_insert_with(|| of_level(bytes, top));
        members.swap_remove(rng.random_range(0..members.len()))
    }

    fn set(&mut self, machine: MachineId, level: u8) {
        self.changed.push(machine.0);
        let before = std::mem::replace(&mut self.bytes[machine.index()], level);
        if self.left == 0 || level == before {
            return;
        }
        if before == self.top || level > self.top {
            // Looked for anew: this is rare.
            self.left = 0;
        } else if level == self.top {
            self.left += 1;
            self.members.iter_mut().for_each(|members| members.push(machine.0));
        }
    }
}

/// The machines of a level.
fn of_level(bytes: &[u8], level: u8) -> Vec<u32> {
    let mut found = Vec::new();
    for (b, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().fold(false, |any, byte| any | (*byte == level)) {
            let here = block.iter().enumerate().filter(|(_, byte)| **byte == level);
            found.extend(here.map(|(lane, _)| (b * BLOCK + lane) as u32));
        }
    }
    found
}
