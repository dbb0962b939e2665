//! What everybody who takes part in a load has to know of each other: the phase, how far the first copy is, and how long
//! it took to get there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cell_state::Seq;

use super::counts::Times;
use crate::bounds::LOAD_LAGS_MAX;

/// Where a load stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Running, not yet counted.
    WarmUp,
    /// Running and counted.
    Measured,
    /// Proposing nothing more.
    Over,
}

/// What everybody looks at, and writes down for all.
#[derive(Debug, Default)]
pub(super) struct Board {
    phase: AtomicU8,
    lags: Mutex<Lags>,
    /// How far the first copy is: what a proposal may be based on.
    copied: AtomicU64,
    /// Committed so far, for the progress bar.
    placed: AtomicU64,
}

/// Acknowledged positions that the first copy hasn't applied yet, and how long it took with the others.
#[derive(Debug, Default)]
struct Lags {
    waiting: BinaryHeap<Reverse<(Seq, Instant)>>,
    times: Times,
}

impl Board {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Measured,
            _ => Phase::Over,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// The position the first copy has reached, if there is a copy.
    pub(super) fn copied(&self) -> Option<Seq> {
        Some(Seq(self.copied.load(Ordering::Acquire))).filter(|at| at.0 > 0)
    }

    /// Placements committed so far.
    pub(super) fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    fn lags(&self) -> MutexGuard<'_, Lags> {
        self.lags.lock().expect("no panic while it is held")
    }

    /// These positions were acknowledged just now, with so many placements.
    pub(super) fn acknowledged(&self, phase: Phase, now: Instant, positions: &[Seq], placed: u64) {
        self.placed.fetch_add(placed, Ordering::Relaxed);
        if phase != Phase::Measured {
            return;
        }
        let mut lags = self.lags();
        // Looked at under the lock that the copy takes after it has moved on, so none is left waiting.
        let copied = self.copied.load(Ordering::Acquire);
        for at in positions {
            if copied >= at.0 {
                lags.times.add(Duration::ZERO);
            } else if lags.waiting.len() < LOAD_LAGS_MAX {
                lags.waiting.push(Reverse((*at, now)));
            }
        }
    }

    /// The first copy has applied everything up to a position.
    pub(super) fn applied(&self, upto: Seq) {
        self.copied.store(upto.0, Ordering::Release);
        let mut lags = self.lags();
        if lags.waiting.peek().is_none_or(|Reverse((at, _))| *at > upto) {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse((at, acknowledged))) = lags.waiting.peek().copied()
            && at <= upto
        {
            lags.waiting.pop();
            lags.times.add(now.saturating_duration_since(acknowledged));
        }
    }

    /// How long the first copy took to apply what was acknowledged.
    pub(super) fn lag_times(&self) -> Times {
        self.lags().times.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_counts_once_and_is_nothing_when_the_copy_came_first() {
        let board = Board::default();
        let tell = |phase, positions: &[u64]| {
            let positions: Vec<Seq> = positions.iter().copied().map(Seq).collect();
            board.acknowledged(phase, Instant::now(), &positions, 10);
        };
        tell(Phase::WarmUp, &[1]);
        tell(Phase::Measured, &[5, 4]);
        assert_eq!((board.copied(), board.placed()), (None, 20));
        board.applied(Seq(4));
        assert_eq!((board.copied(), board.lag_times().count()), (Some(Seq(4)), 1));
        board.applied(Seq(6));
        tell(Phase::Measured, &[6]);
        assert_eq!(board.lag_times().count(), 3);
        assert_eq!(board.lag_times().percentile(1.0), 0);
    }
}
