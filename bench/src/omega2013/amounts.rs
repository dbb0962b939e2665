//! Amounts of cpu and memory together: packed into one word when they are on a grid, as floating point otherwise.
//!
//! The original adds and compares floating-point numbers. When every amount of a run is a multiple of a common power
//! of two, those sums are exact, and whole numbers of that unit give the same answers in a sixth of the memory.

/// Cpu and memory of tasks or machines.
pub(super) trait Amounts: Copy {
    /// None.
    const ZERO: Self;

    /// Both added.
    fn plus(self, other: Self) -> Self;

    /// Both taken off.
    fn minus(self, other: Self) -> Self;

    /// Whether this much more fits a machine of this capacity that already holds so much.
    fn fits(self, held: Self, capacity: Self) -> bool;

    /// Whether both are none.
    fn is_zero(self) -> bool;
}

/// Whole numbers of a unit, cpu above memory, each in 15 bits below a guard bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed(u32);

const GUARDS: u32 = 1 << 31 | 1 << 15;
const LANE_MAX: f64 = (1 << 15) as f64;

impl Amounts for Packed {
    const ZERO: Packed = Packed(0);

    #[inline]
    fn plus(self, other: Packed) -> Packed {
        Packed(self.0.wrapping_add(other.0))
    }

    #[inline]
    fn minus(self, other: Packed) -> Packed {
        Packed(self.0.wrapping_sub(other.0))
    }

    #[inline]
    fn fits(self, held: Packed, capacity: Packed) -> bool {
        // A guard bit that was borrowed from shows that its lane went below zero; a lane can't borrow twice, as both
        // subtrahends are at most the capacity, which is below the guard.
        (capacity.0 | GUARDS).wrapping_sub(held.0).wrapping_sub(self.0) & GUARDS == GUARDS
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Floating-point numbers, added and compared as in the original.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Floats {
    cpus: f64,
    memory: f64,
}

impl Amounts for Floats {
    const ZERO: Floats = Floats { cpus: 0.0, memory: 0.0 };

    #[inline]
    fn plus(self, other: Floats) -> Floats {
        Floats { cpus: self.cpus + other.cpus, memory: self.memory + other.memory }
    }

    #[inline]
    fn minus(self, other: Floats) -> Floats {
        Floats { cpus: self.cpus - other.cpus, memory: self.memory - other.memory }
    }

    #[inline]
    fn fits(self, held: Floats, capacity: Floats) -> bool {
        capacity.cpus - held.cpus >= self.cpus && capacity.memory - held.memory >= self.memory
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.cpus <= 0.0 && self.memory <= 0.0
    }
}

/// How amounts become floating-point pairs.
pub(super) fn floats(cpus: f64, memory: f64) -> Floats {
    Floats { cpus, memory }
}

/// The units of which all amounts of a run are whole numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Grid {
    per_cpu: f64,
    per_gb: f64,
}

impl Grid {
    /// The coarsest grid all these pairs are on, if each of them fits a word and none is larger than the first two
    /// allow: the capacity of a machine.
    pub(super) fn of(capacity: (f64, f64), amounts: impl Iterator<Item = (f64, f64)>) -> Option<Grid> {
        let (mut per_cpu, mut per_gb) = (1.0, 1.0);
        for (cpus, memory) in amounts.chain([capacity]) {
            refine(&mut per_cpu, cpus)?;
            refine(&mut per_gb, memory)?;
            if cpus > capacity.0 || memory > capacity.1 {
                return None;
            }
        }
        let fits = capacity.0 * per_cpu < LANE_MAX && capacity.1 * per_gb < LANE_MAX;
        fits.then_some(Grid { per_cpu, per_gb })
    }

    /// A pair on this grid.
    pub(super) fn packed(self, cpus: f64, memory: f64) -> Packed {
        Packed(((cpus * self.per_cpu) as u32) << 16 | (memory * self.per_gb) as u32)
    }
}

/// Halves the unit until the amount is a whole number of it.
fn refine(per_unit: &mut f64, amount: f64) -> Option<()> {
    while (amount * *per_unit).fract() != 0.0 {
        *per_unit *= 2.0;
        if *per_unit > LANE_MAX {
            return None;
        }
    }
    (amount >= 0.0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_agree_on_what_fits() {
        let sizes = [(0.25, 0.5), (0.5, 4.0), (2.0, 1.0), (4.0, 16.0), (0.0, 16.0), (4.0, 0.0)];
        let grid = Grid::of((4.0, 16.0), sizes.into_iter()).unwrap();
        assert_eq!(grid, Grid { per_cpu: 4.0, per_gb: 2.0 });
        for held in sizes {
            for need in sizes {
                let packed =
                    grid.packed(need.0, need.1).fits(grid.packed(held.0, held.1), grid.packed(4.0, 16.0));
                let float = floats(need.0, need.1).fits(floats(held.0, held.1), floats(4.0, 16.0));
                assert_eq!(packed, float, "{need:?} beside {held:?}");
            }
        }
    }

    #[test]
    fn what_is_on_no_grid_stays_floating_point() {
        assert_eq!(Grid::of((4.0, 16.0), [(0.1, 1.0)].into_iter()), None);
        assert_eq!(Grid::of((4.0, 16.0), [(8.0, 1.0)].into_iter()), None);
        assert_eq!(Grid::of((65_536.0, 16.0), [(1.0, 1.0)].into_iter()), None);
        assert_eq!(Grid::of((4.0, f64::NAN), [(1.0, 1.0)].into_iter()), None);
    }
}
