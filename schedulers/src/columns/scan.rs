//! The scan for feasibility: a pure function over columns, 64 machines to a word of the result.
//!
//! It is written so that the compiler turns it into vector instructions by itself: no branch inside a block, and the
//! number of dimensions known when it is compiled. Only the dimensions a task asks for are read.

use std::ops::Range;
use std::sync::Arc;

use cell_state::resources::DIMENSIONS;
use cell_state::{Dimension, MachineId};

use super::{BLOCK, Columns};
use crate::score::RARE;

/// Blocks scanned at once at most: enough to make starting worth it, few enough to stop early.
const RUN: usize = 32;

/// What a task asks the columns for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Query {
    dimensions: [u8; DIMENSIONS],
    wanted: [i32; DIMENSIONS],
    asked: usize,
    /// No machine is large enough.
    pub(super) impossible: bool,
    /// Machines its constraints hold on; `None` when it has none.
    pub(super) matching: Option<Arc<Vec<u64>>>,
}

impl Query {
    pub(super) fn new() -> Query {
        Query {
            dimensions: [0; DIMENSIONS],
            wanted: [0; DIMENSIONS],
            asked: 0,
            impossible: false,
            matching: None,
        }
    }

    pub(super) fn ask(&mut self, dimension: Dimension, wanted: i32) {
        self.dimensions[self.asked] = dimension.0;
        self.wanted[self.asked] = wanted;
        self.asked += 1;
    }

    /// Positions of the dimensions asked for, with how many units of each.
    pub(super) fn asked(&self) -> impl ExactSizeIterator<Item = (usize, i32)> {
        (0..self.asked).map(|i| (usize::from(self.dimensions[i]), self.wanted[i]))
    }

    /// Only machines of this set will do.
    pub(crate) fn restrict(&mut self, mask: &Arc<Vec<u64>>) {
        self.matching = Some(match &self.matching {
            None => mask.clone(),
            Some(matching) => Arc::new(matching.iter().zip(mask.iter()).map(|(a, b)| a & b).collect()),
        });
    }

    /// The rare resources it doesn't ask for, by their place among all of them.
    pub(super) fn unasked_rare(&self) -> impl Iterator<Item = usize> {
        let asked = &self.dimensions[..self.asked];
        RARE.iter().enumerate().filter(|(_, d)| !asked.contains(&d.0)).map(|(r, _)| r)
    }

    /// Which machines of a block it may use at all: they take tasks, and its constraints hold there.
    pub(super) fn usable(&self, columns: &Columns, block: usize) -> u64 {
        columns.ready[block] & self.matching.as_ref().map_or(u64::MAX, |matching| matching[block])
    }
}

/// Which machines of each block have at least `wanted` free in each column.
#[inline(never)]
fn roomy<const D: usize>(free: [&[[i32; BLOCK]]; D], wanted: [i32; D], out: &mut [u64]) {
    let free = free.map(|column| &column[..out.len()]);
    for (b, word) in out.iter_mut().enumerate() {
        // A machine that lacks something anywhere ends up with the sign bit set.
        let mut lacking = [0i32; BLOCK];
        for d in 0..D {
            let (column, wanted) = (&free[d][b], wanted[d]);
            for i in 0..BLOCK {
                lacking[i] |= column[i].wrapping_sub(wanted);
            }
        }
        let mut fits = [0u8; BLOCK];
        for i in 0..BLOCK {
            fits[i] = u8::from(lacking[i] >= 0);
        }
        *word = packed(&fits);
    }
}

/// Bytes of 0 or 1 as bits.
fn packed(bytes: &[u8; BLOCK]) -> u64 {
    // The product moves the eight low bits of eight bytes next to each other.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = bytes.as_chunks::<8>();
    let bits = eights.iter().map(|eight| u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56);
    bits.enumerate().fold(0, |word, (i, byte)| word | byte << (8 * i))
}

impl Columns {
    /// Candidates among the blocks from `first` on, a word for each.
    pub(crate) fn candidates(&self, query: &Query, first: usize, out: &mut [u64]) {
        if query.impossible {
            return out.fill(0);
        }
        match query.asked {
            0 => out.fill(u64::MAX),
            1 => self.roomy_in::<1>(query, first, out),
            2 => self.roomy_in::<2>(query, first, out),
            3 => self.roomy_in::<3>(query, first, out),
            4 => self.roomy_in::<4>(query, first, out),
            5 => self.roomy_in::<5>(query, first, out),
            6 => self.roomy_in::<6>(query, first, out),
            7 => self.roomy_in::<7>(query, first, out),
            _ => self.roomy_in::<8>(query, first, out),
        }
        out.iter_mut().enumerate().for_each(|(i, word)| *word &= query.usable(self, first + i));
    }

    fn roomy_in<const D: usize>(&self, query: &Query, first: usize, out: &mut [u64]) {
        let dimension = |i: usize| usize::from(query.dimensions[i]);
        let free = std::array::from_fn::<_, D, _>(|i| &self.by_dimension[dimension(i)].free[first..]);
        roomy(free, std::array::from_fn(|i| query.wanted[i]), out);
    }
}

/// A walk over the machines that may fit a task, once around from one of them. See [`crate::Plan::scan`].
#[derive(Debug)]
pub struct Scan {
    query: Query,
    /// The blocks walked over: from this one on, so many.
    from: usize,
    blocks: usize,
    /// Where the walk began: its first block comes again at the end, for the machines before this one.
    start: usize,
    /// Blocks begun.
    visited: usize,
    run: usize,
    words: [u64; RUN],
    /// Of `words`: how many are filled and which is next.
    filled: usize,
    next: usize,
    /// The block of `word`, and its candidates not yet named.
    block: usize,
    word: u64,
}

impl Scan {
    /// A walk over these machines, in whole blocks, from one of them on.
    pub(crate) fn new(query: Query, machines: Range<usize>, start: usize) -> Scan {
        let from = machines.start / BLOCK;
        let blocks = if machines.is_empty() { 0 } else { machines.end.div_ceil(BLOCK) - from };
        Scan {
            query,
            from,
            blocks,
            start,
            visited: 0,
            run: 1,
            words: [0; RUN],
            filled: 0,
            next: 0,
            block: 0,
            word: 0,
        }
    }

    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    pub(crate) fn next_candidate(&mut self, columns: &Columns) -> Option<MachineId> {
        while self.word == 0 {
            if self.next == self.filled && !self.fill(columns) {
                return None;
            }
            (self.word, self.next, self.block) = (self.words[self.next], self.next + 1, self.block + 1);
        }
        let lane = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(MachineId(((self.block - 1) * BLOCK + lane) as u32))
    }

    /// How many candidates are left; none afterwards.
    pub(crate) fn count(&mut self, columns: &Columns) -> u32 {
        let mut count = self.word.count_ones();
        self.word = 0;
        loop {
            let words = &self.words[self.next..self.filled];
            count += words.iter().map(|word| word.count_ones()).sum::<u32>();
            self.next = self.filled;
            if !self.fill(columns) {
                return count;
            }
        }
    }

    /// Scans the next run of blocks, longer each time; false when the walk is over.
    fn fill(&mut self, columns: &Columns) -> bool {
        if self.visited > self.blocks || self.blocks == 0 || self.query.impossible {
            return false;
        }
        let first = self.from + (self.start / BLOCK - self.from + self.visited) % self.blocks;
        // The last visit is to the first block again, alone.
        let left = if self.visited < self.blocks { self.blocks - self.visited } else { 1 };
        let count = self.run.min(left).min(self.from + self.blocks - first);
        columns.candidates(&self.query, first, &mut self.words[..count]);
        let from_start = u64::MAX << (self.start % BLOCK);
        if self.visited == 0 {
            self.words[0] &= from_start;
        } else if self.visited == self.blocks {
            self.words[0] &= !from_start;
        }
        self.visited += count;
        self.run = (self.run * 2).min(RUN);
        (self.filled, self.next, self.block) = (count, 0, first);
        true
    }
}
