//! Machines of a cell that no trace describes: several shapes, mixed by the seed, in racks and zones.

use cell_state::Resources;
use cell_state::machine::MachineSpec;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::cell_c::{RACK_MACHINES, ZONES};
use crate::scenario::machine;

/// So many machines of this capacity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// How many.
    pub count: u32,
    /// What each has.
    pub capacity: Resources,
}

/// The machines `m-0`, `m-1`, … with the attributes `rack` and `zone`.
pub fn machines(shapes: &[Shape], seed: u64) -> Vec<MachineSpec> {
    let mut all: Vec<Resources> =
        shapes.iter().flat_map(|s| std::iter::repeat_n(s.capacity, s.count as usize)).collect();
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed ^ 0x666c_6565));
    let racks = all.len().div_ceil(RACK_MACHINES).max(1);
    let spec = |(i, capacity): (usize, Resources)| {
        let rack = i / RACK_MACHINES;
        let attributes = [("rack", format!("r{rack:04}")), ("zone", format!("z{}", rack * ZONES / racks))];
        let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        machine(format!("m-{i}"), capacity, attributes)
    };
    all.into_iter().enumerate().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_mixed_by_the_seed_and_none_is_lost() {
        let shapes = [(70, 1_000), (30, 2_000)].map(|(count, cpu)| Shape {
            count,
            capacity: Resources::cpu_memory(cpu, 1).with(cell_state::Dimension::GPU, cpu),
        });
        let all = machines(&shapes, 1);
        assert_eq!(all, machines(&shapes, 1));
        assert_ne!(all, machines(&shapes, 2));
        assert_eq!(all.iter().filter(|m| m.devices.len() == 2).count(), 30);
        assert_eq!(
            (all[0].attributes["rack"].as_str(), all[99].attributes["zone"].as_str()),
            ("r0000", "z2")
        );
        for spec in &all {
            cell_state::validate::machine(spec, &cell_state::resources::Schema::default()).unwrap();
        }
    }
}
