//! The jobs of a run, and what became of each.

use super::amounts::Amounts;
use super::{Class, StreamJob};

/// A job of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<A> {
    pub(super) class: Class,
    /// The scheduler it was dealt to.
    pub(super) scheduler: u32,
    pub(super) of: StreamJob,
    /// What one task needs.
    pub(super) need: A,
    pub(super) unscheduled: u32,
    pub(super) attempts: u32,
    pub(super) wait_first_s: f64,
    pub(super) wait_full_s: f64,
    queued_at: f64,
    /// All of it is placed, or it was given up: its place is free for another.
    pub(super) over: bool,
}

/// Attempts after which a job of which nothing was placed is given up.
const FRUITLESS_MAX: u32 = 100;

/// Attempts after which any job is given up.
const ATTEMPTS_MAX: u32 = 1_000;

impl<A: Amounts> Job<A> {
    pub(super) fn new(class: Class, scheduler: u32, of: StreamJob, need: A) -> Job<A> {
        Job {
            class,
            scheduler,
            of,
            need,
            unscheduled: of.tasks,
            attempts: 0,
            wait_first_s: 0.0,
            wait_full_s: 0.0,
            queued_at: 0.0,
            over: false,
        }
    }

    /// It is put into its scheduler's queue.
    pub(super) fn queue(&mut self, now: f64) {
        self.queued_at = now;
    }

    /// It is taken out of the queue: waiting is charged.
    pub(super) fn take_up(&mut self, now: f64) {
        let waited = now - self.queued_at;
        self.wait_full_s += waited;
        if self.attempts == 0 {
            self.wait_first_s += waited;
        }
    }

    /// Whether it is given up, with tasks left after this many attempts.
    pub(super) fn is_hopeless(&self) -> bool {
        let fruitless = self.unscheduled == self.of.tasks;
        (self.attempts > FRUITLESS_MAX && fruitless) || self.attempts > ATTEMPTS_MAX
    }
}
