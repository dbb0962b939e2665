//! Starts that wait for their turn: a bounded number of shims are being started at a time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use agent::Start;

use crate::bounds::STARTS_AT_ONCE;

#[derive(Default)]
pub(super) struct Starts {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bounded by the placements that the machine has.
    waiting: VecDeque<Start>,
    /// Those that were taken and have neither started nor failed.
    starting: usize,
    closed: bool,
    nurseries: u64,
}

impl Starts {
    pub(super) fn add(&self, start: Start) {
        self.state().waiting.push_back(start);
        self.changed.notify_one();
    }

    /// The next one, once there is room for it. `None` when there will be none.
    pub(super) fn next(&self) -> Option<Start> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if state.starting < STARTS_AT_ONCE
                && let Some(start) = state.waiting.pop_front()
            {
                state.starting += 1;
                return Some(start);
            }
            state = self.changed.wait(state).expect("nothing panics while it holds this lock");
        }
    }

    /// One of those that were taken has started, or failed to.
    pub(super) fn settled(&self) {
        self.state().starting -= 1;
        self.changed.notify_one();
    }

    /// The number of the next nursery.
    pub(super) fn count_nursery(&self) -> u64 {
        let mut state = self.state();
        state.nurseries += 1;
        state.nurseries
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}
