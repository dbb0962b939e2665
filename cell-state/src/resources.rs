//! Resources: a fixed small vector of integers whose names the cell's schema gives.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bounds::{AMOUNT_MAX, OVERCOMMIT_PERCENT};

/// How many dimensions a resource vector has.
pub const DIMENSIONS: usize = 8;

/// One dimension of a resource vector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Dimension(pub u8);

impl Dimension {
    /// Processor time, in millicores.
    pub const CPU: Dimension = Dimension(0);
    /// Memory, in bytes.
    pub const MEMORY: Dimension = Dimension(1);
    /// Disk, in bytes.
    pub const DISK: Dimension = Dimension(2);
    /// GPUs, in thousandths of one device.
    pub const GPU: Dimension = Dimension(3);
    /// Network bandwidth, in Mbit/s.
    pub const NET: Dimension = Dimension(4);

    /// All dimensions in order.
    pub fn all() -> impl Iterator<Item = Dimension> {
        (0..DIMENSIONS as u8).map(Dimension)
    }

    /// The index into a resource vector.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// An amount per dimension. Units: see the constants of [`Dimension`]; operators name the last three.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Resources(pub [u64; DIMENSIONS]);

impl Resources {
    /// Nothing of anything.
    pub const ZERO: Resources = Resources([0; DIMENSIONS]);

    /// Millicores and bytes of memory, nothing else.
    pub fn cpu_memory(cpu_milli: u64, memory_bytes: u64) -> Resources {
        Resources([cpu_milli, memory_bytes, 0, 0, 0, 0, 0, 0])
    }

    /// The amount in one dimension.
    #[inline]
    pub fn get(&self, dimension: Dimension) -> u64 {
        self.0[dimension.index()]
    }

    /// The same vector with one dimension replaced.
    pub fn with(mut self, dimension: Dimension, amount: u64) -> Resources {
        self.0[dimension.index()] = amount;
        self
    }

    /// The sum, dimension by dimension.
    #[inline]
    pub fn plus(&self, other: &Resources) -> Resources {
        self.zip(other, u64::saturating_add)
    }

    /// The difference, dimension by dimension, never below zero.
    #[inline]
    pub fn minus(&self, other: &Resources) -> Resources {
        self.zip(other, u64::saturating_sub)
    }

    /// So many times this.
    #[inline]
    pub fn times(&self, count: u32) -> Resources {
        Resources(self.0.map(|amount| amount.saturating_mul(u64::from(count))))
    }

    /// The larger of the two, dimension by dimension.
    #[inline]
    pub fn max(&self, other: &Resources) -> Resources {
        self.zip(other, u64::max)
    }

    /// The first dimension in which this vector exceeds `limit`.
    #[inline]
    pub fn first_over(&self, limit: &Resources) -> Option<Dimension> {
        // Almost always there is none, which is decided without a branch per dimension.
        let over = self.0.iter().zip(&limit.0).fold(false, |over, (amount, limit)| over | (amount > limit));
        if !over {
            return None;
        }
        Dimension::all().find(|d| self.get(*d) > limit.get(*d))
    }

    /// True when every dimension is zero.
    #[inline]
    pub fn is_zero(&self) -> bool {
        *self == Resources::ZERO
    }

    #[inline]
    fn zip(&self, other: &Resources, f: impl Fn(u64, u64) -> u64) -> Resources {
        let mut out = [0; DIMENSIONS];
        for (i, slot) in out.iter_mut().enumerate() {
            *slot = f(self.0[i], other.0[i]);
        }
        Resources(out)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = Schema::default();
        let mut map = f.debug_map();
        for d in Dimension::all().filter(|d| self.get(*d) > 0) {
            map.entry(&schema.name(d), &self.get(d));
        }
        map.finish()
    }
}

/// The names of the dimensions. The first five are fixed; an operator may name up to three more.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Names of dimensions 5, 6 and 7, in that order.
    pub custom: Vec<String>,
}

/// The names of the first five dimensions.
pub const FIXED_NAMES: [&str; 5] = ["cpu", "memory", "disk", "gpu", "net"];

impl Schema {
    /// The name of a dimension; an unnamed one is called by its number (`dim6`).
    pub fn name(&self, dimension: Dimension) -> String {
        let i = dimension.index();
        match FIXED_NAMES.get(i) {
            Some(name) => (*name).to_owned(),
            None => self.custom.get(i - FIXED_NAMES.len()).cloned().unwrap_or_else(|| format!("dim{i}")),
        }
    }

    /// The dimension of that name, if the cell has one.
    pub fn dimension(&self, name: &str) -> Option<Dimension> {
        let fixed = FIXED_NAMES.iter().position(|n| *n == name);
        let custom = self.custom.iter().position(|n| n == name).map(|i| i + FIXED_NAMES.len());
        fixed.or(custom).map(|i| Dimension(i as u8))
    }

    /// The dimensions that have a name.
    pub fn named(&self) -> impl Iterator<Item = Dimension> {
        (0..(FIXED_NAMES.len() + self.custom.len()).min(DIMENSIONS) as u8).map(Dimension)
    }
}

/// How far each dimension may be promised beyond a machine's capacity, in percent (100 = not at all).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Overcommit(pub [u16; DIMENSIONS]);

impl Default for Overcommit {
    fn default() -> Self {
        Overcommit([100; DIMENSIONS])
    }
}

impl Overcommit {
    /// The most that may be committed on a machine of this capacity.
    pub fn limit(&self, capacity: &Resources) -> Resources {
        let mut out = [0; DIMENSIONS];
        for (i, slot) in out.iter_mut().enumerate() {
            *slot = (u128::from(capacity.0[i]) * u128::from(self.0[i]) / 100) as u64;
        }
        Resources(out)
    }

    /// The first dimension whose factor is outside the bound.
    pub fn first_out_of_bounds(&self) -> Option<Dimension> {
        Dimension::all().find(|d| !OVERCOMMIT_PERCENT.contains(&self.0[d.index()]))
    }
}

/// The first dimension of `amounts` over [`AMOUNT_MAX`].
pub fn first_over_bound(amounts: &Resources) -> Option<Dimension> {
    Dimension::all().find(|d| amounts.get(*d) > AMOUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overcommit_scales_each_dimension_by_itself() {
        let factors = Overcommit([150, 125, 100, 100, 100, 100, 100, 100]);
        let limit = factors.limit(&Resources([1000, 1000, 7, 0, 0, 0, 0, AMOUNT_MAX]));
        assert_eq!(limit.0, [1500, 1250, 7, 0, 0, 0, 0, AMOUNT_MAX]);
    }

    #[test]
    fn names_and_dimensions_agree() {
        let schema = Schema { custom: vec!["fpga".into()] };
        for d in schema.named() {
            assert_eq!(schema.dimension(&schema.name(d)), Some(d));
        }
        assert_eq!(schema.dimension("dim6"), None);
        assert_eq!(schema.name(Dimension(6)), "dim6");
    }
}
