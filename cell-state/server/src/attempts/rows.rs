//! Rows: where each judged transaction is in the log, packed into blocks for the disk.

use std::collections::{BTreeMap, VecDeque};

use cell_state::{Seq, SessionId, TxnId};
use serde::{Deserialize, Serialize};

use crate::bounds::{ATTEMPTS_KEPT, ATTEMPTS_PER_BLOCK};

/// One judged transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// Its entry in the log, which has everything else about it.
    pub(super) at: Seq,
    /// Its id.
    pub(super) txn: TxnId,
    /// Whether it lost something.
    pub(super) lost: bool,
}

/// The latest rows, oldest first, numbered without gaps. Whole blocks are dropped, so the oldest row begins one.
#[derive(Default, Debug)]
pub(super) struct Rows {
    kept: VecDeque<Row>,
    /// The number of the oldest one kept.
    first: u64,
}

/// Neighbouring rows as they are on the disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Block {
    /// Rows `number * ATTEMPTS_PER_BLOCK` and following.
    pub(super) number: u64,
    /// Position less that of the row before, session, number, whether something was lost.
    rows: Vec<(u64, u32, u64, bool)>,
    /// The schedulers of the sessions.
    pub(super) names: Vec<(SessionId, String)>,
}

impl Rows {
    /// Adds the next row, and drops the oldest block when there is one too many.
    pub(super) fn push(&mut self, row: Row) {
        if self.kept.len() == ATTEMPTS_KEPT + ATTEMPTS_PER_BLOCK {
            self.kept.drain(..ATTEMPTS_PER_BLOCK);
            self.first += ATTEMPTS_PER_BLOCK as u64;
        }
        self.kept.push_back(row);
    }

    /// The number of the next row.
    pub(super) fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Rows before number `end`, newest first, with their numbers.
    pub(super) fn before(&self, end: u64) -> impl Iterator<Item = (u64, &Row)> {
        let count = end.saturating_sub(self.first).min(self.kept.len() as u64);
        let numbers = (self.first..self.first + count).rev();
        numbers.zip(self.kept.range(..count as usize).rev())
    }

    /// The blocks that hold the rows from number `from` on, as far as they are kept. `names` gives the schedulers.
    pub(super) fn blocks(&self, from: u64, names: &BTreeMap<SessionId, String>) -> Vec<Block> {
        let per_block = ATTEMPTS_PER_BLOCK as u64;
        let numbers = from.max(self.first) / per_block..self.end().div_ceil(per_block);
        let block = |number: u64| {
            let start = (number * per_block - self.first) as usize;
            let end = (start + ATTEMPTS_PER_BLOCK).min(self.kept.len());
            Block::of(number, self.kept.range(start..end), names)
        };
        numbers.map(block).collect()
    }

    /// The rows of blocks that were read from the disk: of those that don't follow each other the newest.
    pub(super) fn restore(mut blocks: Vec<Block>) -> Rows {
        blocks.sort_by_key(|block| block.number);
        let mut rows = Rows::default();
        for block in blocks {
            let start = block.number * ATTEMPTS_PER_BLOCK as u64;
            if rows.end() != start {
                rows = Rows { kept: VecDeque::new(), first: start };
            }
            block.rows().take(ATTEMPTS_PER_BLOCK).for_each(|row| rows.push(row));
        }
        rows
    }
}

impl Block {
    fn of<'a>(
        number: u64,
        rows: impl Iterator<Item = &'a Row>,
        names: &BTreeMap<SessionId, String>,
    ) -> Block {
        let (mut last, mut packed, mut sessions) = (0, Vec::new(), BTreeMap::new());
        for Row { at, txn, lost } in rows {
            packed.push((at.0 - last, txn.session.0, txn.number, *lost));
            sessions
                .entry(txn.session)
                .or_insert_with(|| names.get(&txn.session).cloned().unwrap_or_default());
            last = at.0;
        }
        Block { number, rows: packed, names: sessions.into_iter().collect() }
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let mut last = 0u64;
        self.rows.iter().map(move |(step, session, number, lost)| {
            last = last.wrapping_add(*step);
            let txn = TxnId { session: SessionId(*session), number: *number };
            Row { at: Seq(last), txn, lost: *lost }
        })
    }
}
