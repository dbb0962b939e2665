//! The shared cell, and views of it at earlier moments without copies.
//!
//! While schedulers think, every change is noted with what was there before. A scheduler that decides on the state of
//! an earlier moment has the changes since then undone in place, places its tasks, and has all of it put back:
//! work in proportion to what changed while it thought, never to the number of machines.

use super::amounts::Amounts;

/// The machines' state.
#[derive(Debug)]
pub(super) struct Cell<A> {
    pub(super) capacity: A,
    pub(super) held: Vec<A>,
    /// Sequence numbers, kept only when conflicts are found by them.
    numbers: Option<Vec<u32>>,
    /// All sequence numbers together.
    pub(super) numbers_sum: u64,
    changes: Vec<Change<A>>,
    /// Changes dropped from the front.
    dropped: u64,
    /// Schedulers that may still ask for an earlier moment.
    watchers: u32,
}

/// What a machine was before a change.
#[derive(Clone, Copy, Debug)]
struct Change<A> {
    machine: u32,
    number: u32,
    held: A,
}

/// A moment, as the number of changes before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u64);

/// A list of changes shorter than this isn't worth trimming.
const TRIM_FROM: usize = 4_096;

impl<A: Amounts> Cell<A> {
    /// Empty machines, with sequence numbers or without.
    pub(super) fn new(machines: u32, capacity: A, numbered: bool) -> Cell<A> {
        Cell {
            capacity,
            held: vec![A::ZERO; machines as usize],
            numbers: numbered.then(|| vec![0; machines as usize]),
            numbers_sum: 0,
            changes: Vec::new(),
            dropped: 0,
            watchers: 0,
        }
    }

    /// Remembers this moment, until it is forgotten.
    pub(super) fn watch(&mut self) -> Moment {
        self.watchers += 1;
        Moment(self.dropped + self.changes.len() as u64)
    }

    /// Forgets a moment; `oldest` is the oldest of those still watched.
    pub(super) fn forget(&mut self, oldest: impl FnOnce() -> Option<Moment>) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.dropped += self.changes.len() as u64;
            self.changes.clear();
        } else if self.changes.len() >= TRIM_FROM
            && let Some(Moment(oldest)) = oldest()
        {
            let old = (oldest - self.dropped) as usize;
            // Dropping less than half would move the rest too often.
            if old * 2 >= self.changes.len() {
                self.changes.drain(..old);
                self.dropped = oldest;
            }
        }
    }

    /// Claims machines on the state of an earlier moment, and puts the state back. `claims` lists the machines,
    /// `recorded` the sequence number each had.
    pub(super) fn claim_at(
        &mut self,
        moment: Moment,
        need: A,
        claims: &mut Vec<u32>,
        recorded: &mut Vec<u32>,
        place: impl FnOnce(&mut [A], A, &mut Vec<u32>),
    ) {
        let since = (moment.0 - self.dropped) as usize;
        for change in self.changes[since..].iter_mut().rev() {
            swap(&mut self.held, self.numbers.as_mut(), change);
        }
        place(&mut self.held, self.capacity, claims);
        if let Some(numbers) = &mut self.numbers {
            for machine in claims.iter() {
                let number = &mut numbers[*machine as usize];
                recorded.push(*number);
                *number += 1;
            }
            claims.iter().for_each(|machine| numbers[*machine as usize] -= 1);
        }
        for machine in claims.iter() {
            let held = &mut self.held[*machine as usize];
            *held = held.minus(need);
        }
        for change in &mut self.changes[since..] {
            swap(&mut self.held, self.numbers.as_mut(), change);
        }
    }

    /// Whether a claim conflicts with what the cell is now: by the recorded number if there is one, else by fit.
    #[inline]
    pub(super) fn conflicts(&self, machine: u32, need: A, recorded: Option<u32>) -> bool {
        match (&self.numbers, recorded) {
            (Some(numbers), Some(recorded)) => numbers[machine as usize] != recorded,
            _ => !need.fits(self.held[machine as usize], self.capacity),
        }
    }

    /// Adds a task to a machine and bumps its sequence number.
    #[inline]
    pub(super) fn claim(&mut self, machine: u32, need: A) {
        self.note(machine);
        let held = &mut self.held[machine as usize];
        *held = held.plus(need);
        self.numbers_sum += 1;
        if let Some(numbers) = &mut self.numbers {
            numbers[machine as usize] += 1;
        }
    }

    /// Takes a task off a machine; its sequence number stays.
    #[inline]
    pub(super) fn free(&mut self, machine: u32, need: A) {
        self.note(machine);
        let held = &mut self.held[machine as usize];
        *held = held.minus(need);
    }

    /// Takes back the bump of a claim undone.
    pub(super) fn unmark(&mut self, machine: u32) {
        self.note(machine);
        self.numbers_sum -= 1;
        if let Some(numbers) = &mut self.numbers {
            numbers[machine as usize] -= 1;
        }
    }

    #[inline]
    fn note(&mut self, machine: u32) {
        if self.watchers > 0 {
            let number = self.numbers.as_ref().map_or(0, |numbers| numbers[machine as usize]);
            self.changes.push(Change { machine, number, held: self.held[machine as usize] });
        }
    }
}

/// Exchanges a machine's state with the noted one: undoes a change, or does it again.
#[inline]
fn swap<A: Amounts>(held: &mut [A], numbers: Option<&mut Vec<u32>>, change: &mut Change<A>) {
    let machine = change.machine as usize;
    std::mem::swap(&mut held[machine], &mut change.held);
    if let Some(numbers) = numbers {
        std::mem::swap(&mut numbers[machine], &mut change.number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::amounts::floats;
    use super::*;

    #[test]
    fn a_claim_sees_the_moment_and_leaves_no_trace() {
        let one = floats(1.0, 1.0);
        let mut cell = Cell::new(3, floats(2.0, 2.0), true);
        cell.claim(0, one);
        let moment = cell.watch();
        cell.claim(0, one);
        cell.claim(0, one);
        cell.free(0, one);
        cell.claim(2, one);
        let before = cell.held.clone();
        let (mut claims, mut recorded) = (Vec::new(), Vec::new());
        let mut seen = Vec::new();
        cell.claim_at(moment, one, &mut claims, &mut recorded, |held, _, claims| {
            seen = held.to_vec();
            for machine in [0, 1, 1] {
                held[machine] = held[machine].plus(one);
                claims.push(machine as u32);
            }
        });
        assert_eq!(seen, [one, floats(0.0, 0.0), floats(0.0, 0.0)]);
        assert_eq!((claims, recorded), (vec![0, 1, 1], vec![1, 0, 1]));
        assert_eq!(cell.held, before);
        assert!(cell.conflicts(0, one, Some(1)) && !cell.conflicts(0, one, Some(3)));
        cell.forget(|| None);
        assert_eq!((cell.changes.len(), cell.dropped, cell.numbers_sum), (0, 4, 4));
    }

    #[test]
    fn changes_nobody_can_ask_for_are_dropped() {
        let one = floats(1.0, 1.0);
        let mut cell = Cell::new(1, floats(2.0, 2.0), false);
        let _first = cell.watch();
        for _ in 0..TRIM_FROM {
            cell.claim(0, one);
            cell.free(0, one);
        }
        let second = cell.watch();
        cell.forget(|| Some(second));
        assert_eq!(cell.changes.len(), 0);
        assert_eq!(second, Moment(2 * TRIM_FROM as u64));
    }
}
