//! The machines of Google's cell C: 12,477 in ten shapes.

use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::trace::TraceMachine;
use crate::units;

/// One shape of machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The platform (micro-architecture and chipset), a letter of our own for Google's hash.
    pub platform: &'static str,
    /// Cpu, normalised, as the trace writes it.
    pub cpu: &'static str,
    /// Memory, normalised, as the trace writes it.
    pub memory: &'static str,
    /// How many machines of it there are at the start of the trace.
    pub count: u32,
}

const fn shape(platform: &'static str, cpu: &'static str, memory: &'static str, count: u32) -> Shape {
    Shape { platform, cpu, memory, count }
}

/// The shapes, most frequent first: machine events at time 0 of "ClusterData2011_2" (CC BY 4.0), counted.
pub const SHAPES: [Shape; 10] = [
    shape("P0", "0.5", "0.4995", 6_672),
    shape("P0", "0.5", "0.2493", 3_835),
    shape("P0", "0.5", "0.749", 992),
    shape("P1", "1.0", "1.0", 788),
    shape("P2", "0.25", "0.2498", 123),
    shape("P0", "0.5", "0.1241", 54),
    shape("P0", "0.5", "0.03085", 5),
    shape("P0", "0.5", "0.9678", 4),
    shape("P1", "1.0", "0.5", 3),
    shape("P0", "0.5", "0.06158", 1),
];

/// The number of machines of the cell.
pub const MACHINES: u32 = 12_477;

/// The trace has no failure domains: machines are put in racks of this size, …
pub const RACK_MACHINES: usize = 40;

/// … and racks in this many zones.
pub const ZONES: usize = 4;

/// What the name of every machine starts with: one agent certificate may then play all of them.
pub const NAME_PREFIX: &str = "c-";

/// The machines of the cell, without a trace, in an order that the seed decides.
pub fn machines(seed: u64) -> Vec<MachineSpec> {
    resized(MACHINES, seed)
}

/// A cell of another size with the same mix of shapes.
pub fn resized(count: u32, seed: u64) -> Vec<MachineSpec> {
    let mut all = Vec::with_capacity(count as usize);
    let mut shapes_so_far = 0;
    for shape in SHAPES {
        shapes_so_far += shape.count;
        let capacity =
            units::machine_capacity(shape.cpu, shape.memory).expect("the shapes are valid amounts");
        // Cumulative shares, so that the counts add up to the wanted number whatever it is.
        let until = u64::from(shapes_so_far) * u64::from(count) / u64::from(MACHINES);
        while (all.len() as u64) < until {
            all.push(TraceMachine { id: 0, platform: shape.platform.to_owned(), capacity });
        }
    }
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    for (id, machine) in (0..).zip(&mut all) {
        machine.id = id;
    }
    specs(&all, seed)
}

/// The specs of these machines: names, platforms, and seeded racks and zones.
pub fn specs(machines: &[TraceMachine], seed: u64) -> Vec<MachineSpec> {
    let racks = machines.len().div_ceil(RACK_MACHINES).max(1);
    let mut places: Vec<usize> = (0..machines.len()).map(|i| i / RACK_MACHINES).collect();
    places.shuffle(&mut ChaCha8Rng::seed_from_u64(seed ^ 0x7261_636b));
    let spec = |(machine, rack): (&TraceMachine, usize)| {
        let zone = rack * ZONES / racks;
        let attributes = [
            ("platform", machine.platform.clone()),
            ("rack", format!("r{rack:03}")),
            ("zone", format!("z{zone}")),
        ];
        MachineSpec {
            name: format!("{NAME_PREFIX}{}", machine.id),
            capacity: machine.capacity,
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            devices: Vec::new(),
            ports: DEFAULT_PORTS,
        }
    };
    machines.iter().zip(places).map(spec).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_cell_has_the_recorded_shapes_and_counts() {
        let all = machines(1);
        assert_eq!(all.len(), MACHINES as usize);
        let mut counts: BTreeMap<[u64; 2], u32> = BTreeMap::new();
        for machine in &all {
            *counts.entry([machine.capacity.0[0], machine.capacity.0[1]]).or_default() += 1;
        }
        assert_eq!(counts.len(), SHAPES.len());
        assert_eq!(counts.values().copied().max(), Some(6_672));
        assert_eq!(all.iter().map(|m| m.capacity.0[0]).sum::<u64>(), 422_608_000);
    }

    #[test]
    fn names_are_unique_and_the_seed_decides_racks() {
        let all = machines(1);
        assert_eq!(all.iter().map(|m| &m.name).collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all, machines(1));
        assert_ne!(all, machines(2));
        let zones: BTreeSet<_> = all.iter().map(|m| m.attributes["zone"].as_str()).collect();
        assert_eq!(zones.into_iter().collect::<Vec<_>>(), ["z0", "z1", "z2", "z3"]);
    }

    #[test]
    fn a_cell_of_another_size_has_exactly_that_size() {
        for count in [0, 1, 10, 999, 10_000, 20_000] {
            assert_eq!(resized(count, 7).len(), count as usize);
        }
    }
}
