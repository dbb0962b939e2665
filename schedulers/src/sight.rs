//! What a plan sees of the machines, when that isn't the copy as it is: an older state of each, or a part of it.
//!
//! Processes plan on what their copy shows. A simulator has many schedulers look at one cell, each at a state of its
//! own: it lends their plans a [`Sight`] instead of a copy each.

use std::ops::Range;
use std::sync::Arc;

use cell_state::machine::Machine;
use cell_state::{MachineId, Resources, Seq};

/// What a plan sees of machines.
pub trait Sight {
    /// The machine as it is seen, given how it is. What was seen is seen the same again.
    fn machine<'s>(&'s self, now: &'s Machine) -> &'s Machine;

    /// What of that isn't to be used, though it is free: others have been offered it.
    fn withheld(&self, seen: &Machine) -> Option<Resources>;

    /// The position of the log up to which a machine is seen, on a copy that stands at `now`.
    fn seq(&self, machine: MachineId, now: Seq) -> Seq;
}

/// The machines a plan may use: all in a range whose bits are set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Within {
    range: Range<usize>,
    mask: Arc<Vec<u64>>,
}

impl Within {
    /// The machines with these numbers, in a cell of so many.
    pub fn range(range: Range<usize>, machines: usize) -> Within {
        let mut mask = vec![0; machines.div_ceil(64)];
        for i in range.clone() {
            mask[i / 64] |= 1 << (i % 64);
        }
        Within { range, mask: Arc::new(mask) }
    }

    /// These machines of a cell of so many.
    pub fn list(list: impl IntoIterator<Item = MachineId>, machines: usize) -> Within {
        let mut mask = vec![0; machines.div_ceil(64)];
        let (mut first, mut end) = (machines, 0);
        for i in list.into_iter().map(MachineId::index) {
            mask[i / 64] |= 1 << (i % 64);
            (first, end) = (first.min(i), end.max(i + 1));
        }
        Within { range: first.min(end)..end, mask: Arc::new(mask) }
    }

    /// Whether a machine is among them.
    pub fn contains(&self, machine: MachineId) -> bool {
        let i = machine.index();
        self.mask.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    /// No machine outside of it is among them.
    pub(crate) fn bounds(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(crate) fn mask(&self) -> &Arc<Vec<u64>> {
        &self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_a_range_of_the_same_machines_are_equal() {
        let list = Within::list((60..70).map(MachineId), 100);
        assert_eq!(list, Within::range(60..70, 100));
        let members: Vec<u32> = (0..200).filter(|i| list.contains(MachineId(*i))).collect();
        assert_eq!(members, (60..70).collect::<Vec<_>>());
        assert!(Within::list([], 100).bounds().is_empty());
    }
}
