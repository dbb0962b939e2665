//! `java.util.Random`: 48 bits of linear congruence, whose draws the original's results depend on.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const ADDEND: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;

/// Draws what `java.util.Random` of the same seed draws.
#[derive(Clone, Debug)]
pub struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    /// The generator of this seed.
    pub fn new(seed: i64) -> JavaRandom {
        JavaRandom { state: (seed as u64 ^ MULTIPLIER) & MASK }
    }

    /// The next 31 bits.
    #[inline]
    fn bits(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(ADDEND) & MASK;
        (self.state >> 17) as u32
    }

    /// A number below the bound, which is positive and below 2^31: `nextInt(bound)`.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            return ((u64::from(bound) * u64::from(self.bits())) >> 31) as u32;
        }
        loop {
            let bits = self.bits();
            let drawn = bits % bound;
            // The last, incomplete run of `bound` numbers below 2^31 would favour small ones.
            if bits - drawn <= (1 << 31) - bound {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_java() {
        // What `new Random(0)` and `new Random(42)` are known to draw.
        let draws = |seed, bound| {
            let mut random = JavaRandom::new(seed);
            (0..5).map(|_| random.below(bound)).collect::<Vec<_>>()
        };
        assert_eq!(draws(42, 10), [0, 3, 8, 4, 0]);
        assert_eq!(draws(0, 100), [60, 48, 29, 47, 15]);
        assert_eq!(draws(42, 16), [11, 0, 10, 0, 4]);
    }
}
